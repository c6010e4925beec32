/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * VERDICT: what does not simply pass. One packet comes in, one goes out:
 *
 *   DENY          403 and FIN to the client, placed only where it fits; else as RESET
 *   RESET         reset to the server now; to the client on its next packet
 *   STAND_IN      the flow is answered or drained: we are the server for this client
 *   CUT           the segment goes on up to the cursor: whole, allowed requests
 *   BARE_ACK      the segment goes on without payload, one number below
 *   RESET_SENDER  no flow: a reset with the sender's own number
 *   ACKNOWLEDGE   the last FIN of an answered connection
 *
 * The flow leaves FLOW_OPEN before any answer leaves: our answers pass the
 * watcher like the server's, and from then on it believes neither.
 */

/* What is to become of the packet once `segment` is filled. */
enum next {
	NEXT_DROP = 0,
	NEXT_SEND, /* compose and send back */
	NEXT_PASS, /* compose and pass on to the server */
	NEXT_CUT,  /* pass on without what lies behind the cursor */
};

static __always_inline void to_server(struct segment *segment, u32 seq, u32 ack, u32 flags)
{
	segment->to_client = 0;
	segment->seq = seq;
	segment->ack = ack;
	segment->flags = flags;
	segment->text = NO_TEXT;
}

static __always_inline void to_client(struct segment *segment, u32 seq, u32 ack, u32 flags)
{
	segment->to_client = 1;
	segment->seq = seq;
	segment->ack = ack;
	segment->flags = flags;
	segment->text = NO_TEXT;
}

static __always_inline u32 segment_end(const struct packet *packet)
{
	return packet->seq + packet->length + (packet->flags & TCP_FIN ? 1 : 0);
}

static __always_inline void enter(struct flow *flow, u32 stage)
{
	flow->stage = stage;
	flow->stage_time = bpf_ktime_get_ns();
	/* A full barrier (BPF has no fence): the watcher sees the stage first. */
	__sync_val_compare_and_swap(&flow->claim, 1ULL, 1ULL);
}

static __always_inline void leave_open(struct flow *flow, u32 stage)
{
	flow->answer_end = flow->expected;
	enter(flow, stage);
}

/*
 * Reset the server's side with the packet in hand. The number must be exactly
 * the one that it expects next: what we passed, or, if that was lost behind
 * us, what it has acknowledged; the two are tried in turn.
 */
static __always_inline u32 reset_server(struct context *c, struct flow *flow,
					struct segment *segment)
{
	u32 seq = flow->resets & 1 ? watched(flow->acked) : flow->expected + flow->client_fin;

	flow->resets++;
	count(COUNT_SERVER_RESETS);
	to_server(segment, seq, watched(flow->sent), TCP_RST | TCP_ACK);
	return NEXT_PASS;
}

static __always_inline u32 reset_both(struct context *c, struct flow *flow, struct segment *segment)
{
	leave_open(flow, FLOW_KILLED);
	return reset_server(c, flow, segment);
}

/*
 * Nothing pipelined before may be unanswered: it is the connection's first
 * request, or the server has spoken since the last one ended; and the client
 * has acknowledged all that the server said.
 */
static __always_inline int has_place(const struct context *c, const struct flow *flow)
{
	if (c->packet.ack != c->sent)
		return 0;
	if (!c->head.requests)
		return 1;
	return c->head.requests == c->requests_before && c->sent != flow->sent_before;
}

static __always_inline u32 answer_with(struct context *c, struct flow *flow,
				       struct segment *segment)
{
	flow->answer_end = later_of(flow->answer_end, segment_end(&c->packet));
	to_client(segment, flow->answer, segment_end(&c->packet), TCP_FIN | TCP_ACK);
	if (c->head.flags & HEAD_BARE)
		return NEXT_SEND;
	segment->flags |= TCP_PSH;
	segment->text = c->head.flags & HEAD_IS_HEAD ? ANSWER_NO_BODY : ANSWER_BODY;
	return NEXT_SEND;
}

static __always_inline u32 deny_request(struct context *c, struct flow *flow,
					struct segment *segment)
{
	count(COUNT_REQUESTS_DENIED);
	report(c, flow, VERDICT_DENY, c->reason);
	if (c->deny_mode == DENY_DROP) {
		/* Nothing for the client; the server must not wait for it for ever. */
		leave_open(flow, FLOW_MUTE);
		return reset_server(c, flow, segment);
	}
	if (c->deny_mode == DENY_RESET)
		return reset_both(c, flow, segment);
	if (!has_place(c, flow)) {
		count_reason(REASON_UNPLACEABLE);
		return reset_both(c, flow, segment);
	}
	flow->answer = c->packet.ack;
	flow->head.flags = c->head.flags;
	leave_open(flow, FLOW_ANSWERED);
	return answer_with(c, flow, segment);
}

/* Is this packet the one to be made into the server's reset? */
static __always_inline int server_is_due(const struct context *c, const struct flow *flow)
{
	const struct packet *packet = &c->packet;

	if (packet->flags & TCP_RST)
		return 1;
	if (flow->stage == FLOW_ANSWERED)
		return !flow->resets || (segment_end(packet) == packet->seq && flow->resets < 3);
	/* Drained: the server's answer must have reached the client first. */
	return flow->stage == FLOW_DRAINED && !flow->resets && packet->ack == watched(flow->sent) &&
	       watched(flow->server) & SERVER_FIN;
}

/* We stand in for the server: what the client says is acknowledged and thrown away. */
static __always_inline u32 acknowledge(struct context *c, struct flow *flow,
				       struct segment *segment)
{
	u32 end = segment_end(&c->packet);

	to_client(segment, c->packet.ack, end, TCP_ACK);
	if (c->packet.flags & TCP_FIN) {
		flow_end(flow, &c->key, end, c->packet.ack, 1);
		c->holds_claim = 0;
	}
	return NEXT_SEND;
}

/* Is this the last word of a client whose FIN and ours have met? */
static __always_inline int is_finished(const struct packet *packet, const struct flow *flow)
{
	return flow->stage == FLOW_ANSWERED && flow->head.flags & HEAD_FINISHED &&
	       segment_end(packet) == packet->seq && packet->ack == flow->answer + 1;
}

static __always_inline u32 drained(FRAME *ctx, struct context *c, struct flow *flow,
				   struct segment *segment)
{
	struct packet *packet = &c->packet;

	switch (drain(ctx, c, flow)) {
	case DRAIN_TO_SERVER:
		to_server(segment, flow->expected + flow->client_fin, packet->ack, TCP_ACK);
		return NEXT_PASS;
	case DRAIN_ACKNOWLEDGE:
		drain_to(flow, segment_end(packet));
		return acknowledge(c, flow, segment);
	case DRAIN_CLOSE:
		/* As our answer, without a text; what comes next becomes the server's reset. */
		flow->answer = packet->ack;
		flow->head.flags = HEAD_BARE | (packet->flags & TCP_FIN ? HEAD_FINISHED : 0);
		enter(flow, FLOW_ANSWERED);
		c->head.flags = flow->head.flags;
		return answer_with(c, flow, segment);
	}
	return NEXT_DROP;
}

static __always_inline u32 stand_in(FRAME *ctx, struct context *c, struct flow *flow,
				    struct segment *segment)
{
	struct packet *packet = &c->packet;
	u32 end = segment_end(packet);

	if (flow->stage == FLOW_OPEN) {
		leave_open(flow, FLOW_DRAINED);
		flow->server_time = flow->stage_time;
	}
	if (flow->stage == FLOW_ANSWERED && packet->ack - flow->answer > ANSWER_BYTES + 1 &&
	    !(packet->flags & TCP_RST)) {
		c->reason = REASON_BAD_NUMBERS;
		return NEXT_DROP;
	}
	/* A blind reset would become one with the right number. */
	if (packet->flags & TCP_RST &&
	    packet->seq - flow->expected > flow->answer_end - flow->expected + BEHIND_MOST) {
		c->reason = REASON_BAD_NUMBERS;
		return NEXT_DROP;
	}
	if (server_is_due(c, flow)) {
		u32 next = reset_server(c, flow, segment);

		if (packet->flags & TCP_RST || is_finished(packet, flow)) {
			/* The client will say no more. */
			flow_end(flow, &c->key, end, packet->ack, 1);
			c->holds_claim = 0;
		}
		return next;
	}
	if (flow->stage == FLOW_KILLED) {
		count(COUNT_CLIENT_RESETS);
		to_client(segment, packet->ack, end, TCP_RST | TCP_ACK);
		flow_delete(flow, &c->key);
		c->holds_claim = 0;
		return NEXT_SEND;
	}
	if (flow->stage == FLOW_DRAINED)
		return drained(ctx, c, flow, segment);
	if (end == packet->seq)
		return NEXT_DROP;
	if (flow->stage == FLOW_ANSWERED && packet->ack == flow->answer) {
		c->head.flags = flow->head.flags;
		return answer_with(c, flow, segment); /* the first answer was lost */
	}
	flow->answer_end = later_of(flow->answer_end, end);
	return acknowledge(c, flow, segment);
}

static __always_inline u32 bare_ack(struct context *c, const struct flow *flow,
				    struct segment *segment)
{
	struct packet *packet = &c->packet;

	if (c->reason == REASON_FUTURE_SEGMENT)
		to_server(segment, flow->expected + flow->client_fin, packet->ack, TCP_ACK);
	else if (packet->flags & TCP_FIN && !after(packet->seq + packet->length, c->acked))
		to_server(segment, packet->seq + packet->length, packet->ack, TCP_FIN | TCP_ACK);
	else
		to_server(segment, c->acked - 1, packet->ack, TCP_ACK);
	return NEXT_PASS;
}

static __always_inline u32 reset_sender(struct context *c, struct segment *segment)
{
	if (c->packet.flags & TCP_RST || !(c->packet.flags & TCP_ACK))
		return NEXT_DROP;
	if (!rate_takes_reset(bpf_ktime_get_ns())) {
		count(COUNT_RESETS_WITHHELD);
		return NEXT_DROP;
	}
	count(COUNT_CLIENT_RESETS);
	to_client(segment, c->packet.ack, 0, TCP_RST);
	return NEXT_SEND;
}

/* What the packet in hand is to become. */
static __always_inline u32 choose(FRAME *ctx, struct context *c, struct flow *flow,
				  struct segment *segment)
{
	if (c->outcome == OUTCOME_RESET_SENDER)
		return reset_sender(c, segment);
	if (c->outcome == OUTCOME_ACKNOWLEDGE) {
		to_client(segment, c->packet.ack, segment_end(&c->packet), TCP_ACK);
		return NEXT_SEND;
	}
	if (!flow)
		return NEXT_DROP;
	switch (c->outcome) {
	case OUTCOME_DENY:
		return deny_request(c, flow, segment);
	case OUTCOME_RESET:
		return reset_both(c, flow, segment);
	case OUTCOME_STAND_IN:
		return stand_in(ctx, c, flow, segment);
	case OUTCOME_CUT:
		return NEXT_CUT;
	case OUTCOME_BARE_ACK:
		return bare_ack(c, flow, segment);
	}
	return NEXT_DROP;
}

/* What is left of the segment passes and changes the flow; or nothing does. */
static __always_inline int pass_cut(FRAME *ctx, struct context *c, struct flow *flow)
{
	if (!flow || cut(ctx, c))
		return drop(c, REASON_BAD_PACKET);
	/* A copy's bytes behind the cut are not in [copy_base, copy_end). */
	flow_commit(flow, c);
	flow->expected = later_of(flow->expected, c->packet.seq + c->position);
	return pass(ctx, c);
}

static __always_inline int stage_verdict(FRAME *ctx)
{
	struct context *c = context_get();
	struct segment segment = { .text = NO_TEXT };
	struct flow *flow = 0;
	u32 next, composed;

	if (!c)
		return FRAME_DROP;
	if (c->holds_claim)
		flow = flow_get(&c->key);
	next = choose(ctx, c, flow, &segment);
	if (next == NEXT_DROP)
		return drop(c, c->reason);
	count_reason(c->reason);
	if (next == NEXT_CUT)
		return pass_cut(ctx, c, flow);
	composed = compose(ctx, c, &segment);
	if (composed == NO_ROOM && flow && c->holds_claim && segment.text != NO_TEXT) {
		/* It cannot grow into an answer: shrink it into a reset. */
		next = reset_both(c, flow, &segment);
		composed = compose(ctx, c, &segment);
	}
	if (composed != COMPOSED)
		return drop(c, REASON_BAD_PACKET);
	if (segment.text != NO_TEXT) {
		count(COUNT_ANSWERS);
	}
	return next == NEXT_SEND ? send_back(ctx, c) : pass(ctx, c);
}
