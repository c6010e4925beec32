/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * FLOW: claim the connection and find out what this segment is to it.
 *
 *        acked            expected
 *   -------|-----------------|--------------------> the client's numbers
 *    the server has   it was passed but   next bytes:
 *    it: never        not acknowledged:   HTTP
 *    again            PROVE
 */

/* How far honest numbers lie behind the newest: reordering, a retransmitted frame. */
#define BEHIND_MOST 65535

/*
 * Payload that the server has: it never passes again, only what the segment
 * says beside it. A FIN stands where the client's bytes end, so it is new.
 */
static __always_inline int take_old(FRAME *ctx, struct context *c, struct flow *flow, int fin)
{
	if (fin) {
		if (flow->head.phase == PHASE_HEAD)
			return judge(ctx, c, OUTCOME_RESET, REASON_FIN_IN_HEAD);
		flow->client_fin = 1;
	}
	return judge(ctx, c, OUTCOME_BARE_ACK, REASON_OLD_SEGMENT);
}

/* Could this segment be heads and nothing else, with nothing before it left to prove? */
static __always_inline int may_be_known(const struct context *c, const struct flow *flow)
{
	return !c->position && flow->head.phase == PHASE_IDLE && !(c->packet.flags & TCP_FIN) &&
	       c->event_mode != EVENTS_ALL && !before(c->acked, flow->copy_end) &&
	       memo_takes(c->packet.length);
}

/*
 * The whole way of HTTP for a segment whose very bytes this table has allowed: they
 * are kept for PROVE, and the flow becomes what it would have become.
 */
static __always_inline int is_known(FRAME *ctx, struct context *c, struct flow *flow)
{
	u32 bytes = bounded_size(c->packet.length, MEMO_BYTES), heads;
	struct rule_set *rules = rule_set_get(flow->rule_set);
	struct memo *memo;

	if (frame_load(ctx, c->packet.payload, c->piece, bytes))
		return 0;
	memo = memo_at(c->piece, bytes);
	heads = memo_heads(memo, rules, bytes);
	if (!heads || memo_copy(flow->copy, c->piece, memo->text, bytes))
		return 0;
	count_many(COUNT_REQUESTS_ALLOWED, heads);
	log_forget(flow, c->acked);
	flow->blind = 1; /* a request without an event: nothing is known of answers */
	flow->copy_base = c->packet.seq;
	flow->copy_end = c->packet.seq + c->packet.length;
	copy_free(flow);
	head_begin(&flow->head, rules->start, flow->copy_end);
	flow->head.phase = PHASE_IDLE;
	flow->head.serial = memo->serial;
	flow->head.requests += heads;
	flow->sent_before = c->sent;
	flow->expected = flow->copy_end;
	return 1;
}

/* Is this payload old, new or both? Positions are offsets in the payload. */
static __always_inline int take_payload(FRAME *ctx, struct context *c, struct flow *flow)
{
	struct packet *packet = &c->packet;
	u32 end = packet->seq + packet->length;
	int fin = packet->flags & TCP_FIN;

	/* Numbers far below what the client has acknowledged are nobody's of this connection. */
	if (distance(flow->client_acked, packet->ack) > BEHIND_MOST ||
	    (fin && before(end, flow->expected)))
		return drop(c, REASON_BAD_NUMBERS);
	if (packet->length && !after(end, c->acked))
		return take_old(ctx, c, flow, fin);
	/* The server's answer has the client begin where it stands. */
	if (packet->length && before(packet->seq, c->acked))
		return judge(ctx, c, OUTCOME_BARE_ACK, REASON_OLD_SEGMENT);
	if (watched(flow->server) & (SERVER_FIN | SERVER_EARLY) && packet->length) {
		s32 apart = distance(packet->seq, flow->expected);

		if (apart > BEHIND_MOST || apart < -BEHIND_MOST)
			return drop(c, REASON_BAD_NUMBERS);
		return judge(ctx, c, OUTCOME_STAND_IN,
			     watched(flow->server) & SERVER_FIN ? REASON_AFTER_SERVER_FIN :
								  REASON_EARLY_ANSWER);
	}
	if (flow->client_fin && after(end, flow->expected))
		return drop(c, REASON_AFTER_CLIENT_FIN);
	if (after(packet->seq, flow->expected)) {
		/* Inside a body of known length the bytes do not matter. */
		if (flow->head.phase == PHASE_BODY && !fin &&
		    (u64)(end - flow->expected) <= flow->head.length) {
			/* Should it end the body, then the server had said so much by then. */
			flow->sent_before = c->sent;
			flow->furthest = later_of(flow->furthest, end);
			return pass_flow(ctx, c, flow);
		}
		return drop(c, REASON_FUTURE_SEGMENT);
	}
	c->position = flow->expected - packet->seq;
	if (c->position > packet->length)
		c->position = packet->length;
	c->prove_to = c->position;
	c->log_at = flow->log_first;
	if (c->position) {
		u32 from = later_of(packet->seq, flow->copy_base);

		if (before(from, flow->copy_end) && before(from, packet->seq + c->prove_to)) {
			c->position = from - packet->seq;
			jump(ctx, SLOT_PROVE);
			return missed(c);
		}
		c->position = c->prove_to;
		if (has_log(c, flow)) {
			jump(ctx, SLOT_RECALL);
			return missed(c);
		}
	}
	if (may_be_known(c, flow) && is_known(ctx, c, flow))
		return pass_flow(ctx, c, flow);
	jump(ctx, SLOT_HTTP);
	return missed(c);
}

/* The server's numbers, and what they say about what we passed. */
static __always_inline u32 read_server(struct context *c, struct flow *flow)
{
	u32 fin = flow->client_fin;
	s32 ahead;

	c->acked = watched(*(volatile u64 *)&flow->acked);
	c->sent = watched(*(volatile u64 *)&flow->sent);
	flow->furthest = later_of(flow->furthest, flow->expected + fin);
	ahead = distance(c->acked, flow->expected + fin);
	if (ahead <= 0)
		return 0;
	/* Future segments of a body may have passed: the server says so. */
	if (flow->head.phase != PHASE_BODY || fin || (u64)ahead > flow->head.length)
		return REASON_UNSEEN_BYTES;
	flow->head.length -= ahead;
	flow->expected = c->acked;
	if (!flow->head.length)
		after_data(&flow->head);
	return 0;
}

/*
 * A client's reset always passes, the server checks its number. One that the
 * server may take ends the connection here too: with SYN cookies the client
 * could open the next one on these numbers without any SYN-ACK. It takes the
 * number that it waits for, or the one behind all that it has.
 */
static __always_inline int take_reset(FRAME *ctx, struct context *c, struct flow *flow)
{
	if (!before(c->packet.seq, c->acked) && !after(c->packet.seq, flow->furthest)) {
		flow->resets = 1;
		flow->answer_end = flow->expected;
		flow->stage_time = bpf_ktime_get_ns();
		flow->stage = FLOW_KILLED;
	}
	return pass(ctx, c);
}

/*
 * A segment without payload. Where its number is not one that the server can be
 * waiting for, it goes on with one that is: a bare ACK must not open a socket
 * in the middle of the stream (SYN cookies).
 */
static __always_inline int take_ack(FRAME *ctx, struct context *c, struct flow *flow)
{
	if (before(c->packet.seq, c->acked - 1))
		return judge(ctx, c, OUTCOME_BARE_ACK, REASON_OLD_SEGMENT);
	if (after(c->packet.seq, flow->expected + flow->client_fin))
		return judge(ctx, c, OUTCOME_BARE_ACK, REASON_FUTURE_SEGMENT);
	log_forget(flow, c->acked); /* an idle connection needs no slot of the pool */
	if (flow_is_over(flow)) {
		flow_end(flow, &c->key, flow->expected + 1, c->sent, 0);
		c->holds_claim = 0;
		return pass(ctx, c);
	}
	return pass_flow(ctx, c, flow);
}

static __always_inline int claimed(FRAME *ctx, struct context *c, struct flow *flow)
{
	struct packet *packet = &c->packet;
	u32 unseen;

	if (watched(flow->server) & SERVER_RST) {
		flow_delete(flow, &c->key);
		c->holds_claim = 0;
		jump(ctx, SLOT_HEADER);
		return missed(c);
	}
	if (!c->revised &&
	    (flow->generation != c->generation || watched(flow->server) & SERVER_REBORN)) {
		jump(ctx, SLOT_HEADER);
		return missed(c);
	}
	if (flow->stage == FLOW_MUTE)
		return drop(c, REASON_AFTER_ANSWER);
	if (flow->stage != FLOW_OPEN)
		return judge(ctx, c, OUTCOME_STAND_IN, REASON_AFTER_ANSWER);
	unseen = read_server(c, flow);
	if (packet->flags & TCP_RST)
		return take_reset(ctx, c, flow);
	if (unseen)
		return judge(ctx, c, OUTCOME_RESET, unseen);
	/* Blind packets: what has wrong numbers is nobody's fault but the sender's. */
	if (!near(packet->seq, flow->expected) || after(packet->ack, c->sent) ||
	    !near(packet->ack, c->sent))
		return drop(c, REASON_BAD_NUMBERS);
	if (packet->seq == flow->expected + flow->client_fin)
		flow->client_acked = later_of(flow->client_acked, packet->ack);
	c->requests_before = flow->head.requests;
	if (packet->length || packet->flags & TCP_FIN)
		return take_payload(ctx, c, flow);
	return take_ack(ctx, c, flow);
}

static __always_inline int stage_flow(FRAME *ctx)
{
	struct context *c = context_get();
	struct packet *packet;
	struct flow *flow;

	if (!c)
		return FRAME_DROP;
	packet = &c->packet;
	c->runs = 0;
	c->begun = 0;
	c->copy_rest = 0;
	c->rule = RULE_NONE;
	c->asked_time = 0;
	if (packet->flags & TCP_SYN) {
		if (packet->flags & (TCP_ACK | TCP_FIN | TCP_RST | TCP_URG))
			return drop(c, REASON_ODD_FLAGS);
		if (packet->length)
			return drop(c, REASON_SYN_DATA);
		jump(ctx, SLOT_HEADER);
		return missed(c);
	}
	if (packet->flags & TCP_URG)
		return drop(c, REASON_ODD_FLAGS);
	if (packet->flags & TCP_RST && (packet->length || packet->flags & TCP_FIN))
		return drop(c, REASON_ODD_FLAGS);
	if (!(packet->flags & (TCP_ACK | TCP_RST)))
		return drop(c, REASON_ODD_FLAGS);
	flow = flow_get(&c->key);
	if (!flow) {
		jump(ctx, SLOT_HEADER);
		return missed(c);
	}
	if (!c->holds_claim && !flow_claim(flow, &c->key))
		return drop(c, REASON_FLOW_BUSY);
	c->holds_claim = 1;
	return claimed(ctx, c, flow);
}
