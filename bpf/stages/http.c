/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * HTTP: follow the requests through the new bytes of one segment.
 *
 *   IDLE --first byte--> HEAD --allowed--> BODY --last byte--> IDLE or CLOSED
 *                         | ^                ^
 *                         | +-- next PIECE   +-- bytes skipped, not read
 *                         +-- denied --> VERDICT     a chunked one: CHUNK
 *
 * Each run takes one PIECE, or less where a head wants more than the walk can
 * do, and then calls itself, HTTP_RUNS times at most. All that a segment changes is kept in the context and written to
 * the flow at its end: a segment passes whole and changes everything, or does
 * not pass and changes nothing.
 *
 * Head bytes are kept (flow->copy, then a slot of the pool) until the server
 * has acknowledged them: PROVE compares retransmissions with them. The copy is
 * one run of bytes, so small bodies between two heads of one segment are kept
 * with them.
 */

#define TAIL_CALLS 33     /* the kernel's limit for one packet */
#define HTTP_RUNS 30      /* beside them ENTRY -> FLOW -> HTTP -> VERDICT */
#define RUNS_FOR_A_HEAD 5 /* left for a head that is begun */
_Static_assert(HTTP_RUNS + 3 <= TAIL_CALLS, "more calls than the kernel allows");
_Static_assert(INLINE_COPY + HTTP_RUNS * PIECE >= MAX_HEAD_BYTES, "the longest head must fit");

static __always_inline int repeat(FRAME *ctx, struct context *c)
{
	c->runs++;
	/*
	 * Many requests in one segment: pass those that are whole, and cut off the
	 * rest; TCP sends it again.
	 */
	if (c->runs >= HTTP_RUNS - RUNS_FOR_A_HEAD &&
	    (c->head.phase == PHASE_IDLE || in_chunks(&c->head)))
		return judge(ctx, c, OUTCOME_CUT, REASON_TOO_MANY_REQUESTS);
	if (c->runs >= HTTP_RUNS)
		return drop(c, REASON_TOO_MANY_REQUESTS);
	jump(ctx, in_chunks(&c->head) ? SLOT_CHUNK : SLOT_HTTP);
	return missed(c);
}

/* The segment is allowed: write what it changed, and pass it. */
static __always_inline int commit(FRAME *ctx, struct context *c, struct flow *flow)
{
	struct packet *packet = &c->packet;
	u32 end = packet->seq + packet->length;

	if (packet->flags & TCP_FIN) {
		/* Servers answer heads that were never finished. */
		if (c->head.phase == PHASE_HEAD)
			return judge(ctx, c, OUTCOME_RESET, REASON_FIN_IN_HEAD);
		flow->client_fin = 1;
	}
	if (c->changed)
		flow_commit(flow, c);
	flow->expected = later_of(flow->expected, end);
	return pass_flow(ctx, c, flow);
}

/* As commit(); a segment of whole heads, all in this piece, is remembered. */
static __always_inline int remember(FRAME *ctx, struct context *c, struct flow *flow)
{
	if (c->whole && !c->runs && c->head.phase == PHASE_IDLE && c->event_mode != EVENTS_ALL &&
	    memo_takes(c->packet.length))
		memo_keep(c, rule_set_get(flow->rule_set), c->head.requests - flow->head.requests);
	return commit(ctx, c, flow);
}

static __always_inline int deny(FRAME *ctx, struct context *c, u32 reason)
{
	return judge(ctx, c, OUTCOME_DENY, reason);
}

/* Load `bytes` payload bytes at the cursor into the piece; 0 or -1. */
static __always_inline int load_piece(FRAME *ctx, struct context *c, u32 bytes)
{
	bytes = bounded_size(bytes, PIECE);
	return frame_load(ctx, c->packet.payload + c->position, c->piece, bytes) ? -1 : 0;
}

/* The pool slot for head bytes behind the first INLINE_COPY; 0: none is free. */
static __always_inline u8 *large_copy(struct flow *flow)
{
	u32 slot;

	if (!flow->large) {
		if (bpf_map_pop_elem(MAP(MAP_COPIES_FREE), &slot))
			return 0;
		flow->large = slot + 1;
	}
	slot = flow->large - 1;
	return bpf_map_lookup_elem(MAP(MAP_COPIES), &slot);
}

/* Words, so up to COPY_SLACK - 1 bytes behind `bytes` are written too. */
static __always_inline void keep_words(u8 *copy, const u32 mask, u32 index, const u8 *piece,
				       u32 bytes)
{
	u32 i;

#pragma clang loop unroll(disable)
	for (i = 0; i < PIECE; i += COPY_SLACK) {
		opaque(i);
		if (i >= bytes)
			break;
		*(u64 *)&copy[bounded(index + i, mask)] = *(const u64 *)&piece[i];
	}
}

/* Keep the piece at `index` of the copy; 0, or -1 when no slot is free. */
static __always_inline int keep(struct context *c, struct flow *flow, u32 index, u32 bytes)
{
	u8 *large;

	if (index < INLINE_COPY) {
		keep_words(flow->copy, INLINE_COPY - 1, index, c->piece, bytes);
		return 0;
	}
	large = large_copy(flow);
	if (!large)
		return -1;
	keep_words(large, LARGE_COPY - 1, index, c->piece, bytes);
	return 0;
}

/* A body that ends inside of the segment, with more behind it. */
static __always_inline int keep_body(FRAME *ctx, struct context *c, struct flow *flow)
{
	u32 index = c->copy_end - c->copy_base, bytes;

	if (c->copy_end != c->packet.seq + c->position)
		return drop(c, REASON_UNPROVED_SEGMENT);
	bytes = copy_part(index, c->head.length > PIECE ? PIECE : c->head.length);
	if (index + bytes > LARGE_COPY)
		return drop(c, REASON_UNPROVED_SEGMENT); /* until the server has some of it */
	if (load_piece(ctx, c, bytes))
		return drop(c, REASON_BAD_PACKET);
	if (keep(c, flow, index, bytes))
		return judge(ctx, c, OUTCOME_RESET, REASON_COPY_FULL);
	c->copy_end += bytes;
	c->position += bytes;
	c->head.length -= bytes;
	if (!c->head.length)
		after_data(&c->head);
	return repeat(ctx, c);
}

static __always_inline int body(FRAME *ctx, struct context *c, struct flow *flow)
{
	u32 left = c->packet.length - c->position;

	if (c->head.length >= left) {
		c->head.length -= left;
		c->position += left;
		if (!c->head.length)
			after_data(&c->head);
		return commit(ctx, c, flow);
	}
	if (before(c->acked, c->copy_end))
		return keep_body(ctx, c, flow);
	c->position += c->head.length;
	c->head.length = 0;
	after_data(&c->head);
	return repeat(ctx, c);
}

/* What has no place in a copy: pass what stands before it, TCP sends the rest again. */
static __always_inline int cut_or_drop(FRAME *ctx, struct context *c, u32 reason)
{
	if (c->position > c->prove_to)
		return judge(ctx, c, OUTCOME_CUT, reason);
	return drop(c, reason);
}

/* The first byte of a request: choose the table and where its copy begins. */
static __always_inline u32 begin(struct context *c, const struct rule_set *rules)
{
	u32 at = c->packet.seq + c->position;

	if (!before(c->acked, c->copy_end)) {
		c->copy_base = at;
		c->copy_end = at;
	} else if (c->copy_end != at) {
		return REASON_UNPROVED_SEGMENT;
	}
	head_begin(&c->head, rules->start, at);
	c->head.phase = PHASE_HEAD;
	c->head.serial = rules->serial;
	return 0;
}

/* A small body behind its head in one piece, with more behind it: it is kept already. */
static __always_inline void pass_kept_body(struct context *c)
{
	u64 end = c->position + c->head.length;

	if (end >= c->packet.length || c->copy_end + c->head.length - c->copy_base > LARGE_COPY ||
	    after(c->packet.seq + (u32)end, c->kept_end))
		return;
	c->position = end;
	c->copy_end += c->head.length;
	c->head.length = 0;
}

/*
 * A body that is not all here, behind a request that is not answered yet. An
 * answer could then be to either, and whether it comes early could not be seen.
 */
static __always_inline int must_wait(const struct context *c, const struct flow *flow)
{
	int unanswered = c->head.requests &&
			 (after(c->head.start, c->packet.seq) || c->sent == flow->sent_before);

	return unanswered &&
	       (c->head.flags & HEAD_CHUNKED || c->position + c->head.length > c->packet.length);
}

/* Pass what stands before the head; the head comes again, as through Envoy: one by one. */
static __always_inline int wait_for_answer(FRAME *ctx, struct context *c)
{
	if (!after(c->head.start, c->packet.seq))
		return drop(c, REASON_AWAITS_ANSWER);
	c->position = c->head.start - c->packet.seq;
	c->copy_end = c->head.start;
	c->head.phase = PHASE_IDLE;
	return judge(ctx, c, OUTCOME_CUT, REASON_AWAITS_ANSWER);
}

/* The head is complete and allowed, or not. */
static __always_inline int decide(FRAME *ctx, struct context *c, struct flow *flow,
				  const u32 *words, u32 base)
{
	u32 reason = walk_decide(&c->head, words, base, &c->rule);

	if (reason)
		return deny(ctx, c, reason);
	if (must_wait(c, flow))
		return wait_for_answer(ctx, c);
	c->head.requests++;
	count(COUNT_REQUESTS_ALLOWED);
	report(c, flow, VERDICT_ALLOW, REASON_RULE);
	if (c->head.flags & HEAD_CHUNKED) {
		chunk_framing(&c->head, CHUNK_BEGIN);
	} else {
		c->head.phase = PHASE_BODY;
		pass_kept_body(c);
		if (!c->head.length)
			after_data(&c->head);
	}
	if (c->position < c->packet.length)
		return repeat(ctx, c);
	return remember(ctx, c, flow);
}

/* How many bytes of the head this run may take; 0: the copy is full. */
static __always_inline u32 head_bytes(const struct context *c, u32 index)
{
	u32 bytes = c->packet.length - c->position;
	u32 limit = MAX_HEAD_BYTES - (c->packet.seq + c->position - c->head.start);

	if (bytes > limit)
		bytes = limit;
	if (bytes > PIECE)
		bytes = PIECE;
	bytes = copy_part(index, bytes);
	return index + bytes > LARGE_COPY ? 0 : bytes;
}

/* Heads that the walk has allowed by itself. */
static __always_inline void took_heads(struct context *c)
{
	u32 passed = *(volatile u64 *)&c->note.passed;

	if (!passed)
		return;
	c->head.requests += passed;
	count_many(COUNT_REQUESTS_ALLOWED, passed);
	if (c->head.start == c->packet.seq + c->position)
		c->head.phase = PHASE_IDLE; /* the last one ended with the piece */
}

static __always_inline int head(FRAME *ctx, struct context *c, struct flow *flow,
				const struct rule_set *rules)
{
	u32 index, bytes, result;
	const u32 *words;
	u64 base = rules->base;

	if (c->head.phase == PHASE_IDLE) {
		c->whole = !c->position;
		c->base = base;
		result = begin(c, rules);
		if (result)
			return cut_or_drop(ctx, c, result);
	}
	/* It may be a request that old and new rules allow: no 403 without having read it. */
	if (c->head.serial != rules->serial)
		return judge(ctx, c, OUTCOME_RESET, REASON_STALE_TABLE);
	if (c->packet.seq + c->position - c->head.start >= MAX_HEAD_BYTES)
		return deny(ctx, c, REASON_HEAD_TOO_LARGE);
	index = c->copy_end - c->copy_base;
	bytes = head_bytes(c, index);
	if (!bytes)
		return drop(c, REASON_UNPROVED_SEGMENT); /* until the server has some of it */
	if (load_piece(ctx, c, bytes))
		return drop(c, REASON_BAD_PACKET);
	c->note.taken = bytes;
	c->kept_end = c->copy_end + bytes;
	if (keep(c, flow, index, bytes))
		return judge(ctx, c, OUTCOME_RESET, REASON_COPY_FULL);
	/* From memory: the two ways through keep() become one to the verifier. */
	bytes = *(volatile u32 *)&c->note.taken;
	words = tables_get();
	if (!words)
		return drop(c, REASON_INTERNAL);
	c->note.sequence = c->packet.seq + c->position;
	c->note.slow = c->event_mode == EVENTS_ALL; /* each head has its event */
	result = walk_bytes(&c->head, words, base, rules->rows, rules->classes, c->piece, bytes,
			    &c->note);
	c->position += *(volatile u32 *)&c->note.taken;
	c->copy_end += *(volatile u32 *)&c->note.taken;
	took_heads(c);
	if (result == WALK_HEAD_END)
		return decide(ctx, c, flow, words, base);
	if (result)
		return deny(ctx, c, result);
	if (c->position < c->packet.length)
		return repeat(ctx, c);
	return remember(ctx, c, flow);
}

/*
 * Segments that end inside heads, one after the other, would fill the copy with
 * what the server has long acknowledged. Let go of it when it is half full: an
 * event then lacks the head's first bytes, which is why not sooner.
 */
static __always_inline void forget_acknowledged(struct context *c)
{
	if (!before(c->acked, c->copy_end) && c->copy_end - c->copy_base > LARGE_COPY / 2)
		c->copy_base = c->copy_end;
}

static __always_inline int stage_http(FRAME *ctx)
{
	struct context *c = context_get();
	struct rule_set *rules;
	struct flow *flow;

	if (!c)
		return FRAME_DROP;
	flow = flow_get(&c->key);
	if (!flow)
		return drop(c, REASON_INTERNAL);
	if (!c->begun) {
		c->begun = 1;
		c->head = flow->head;
		c->copy_base = flow->copy_base;
		c->copy_end = flow->copy_end;
		c->kept_end = flow->copy_end;
		c->changed = 0;
		c->whole = 0;
		log_forget(flow, c->acked);
		c->log_next = flow->log_next;
		c->log_end = flow->log_end;
		forget_acknowledged(c);
	}
	if (c->position >= c->packet.length)
		return commit(ctx, c, flow);
	c->changed = 1;
	if (in_chunks(&c->head))
		return repeat(ctx, c);
	if (c->head.phase == PHASE_BODY)
		return body(ctx, c, flow);
	if (c->head.phase == PHASE_CLOSED) {
		if (!c->position)
			return drop(c, REASON_AFTER_CLOSE);
		return judge(ctx, c, OUTCOME_RESET, REASON_AFTER_CLOSE);
	}
	rules = rule_set_get(flow->rule_set);
	if (!rules || !rules->serial) {
		/* Its verdict was switched while this packet was on its way: the next try is judged anew. */
		if (c->head.phase == PHASE_IDLE)
			return cut_or_drop(ctx, c, REASON_STALE_TABLE);
		return judge(ctx, c, OUTCOME_RESET, REASON_STALE_TABLE);
	}
	return head(ctx, c, flow, rules);
}
