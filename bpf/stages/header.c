/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * HEADER: peer address -> identity -> port policy; and the birth of flows.
 *
 * A flow is born when a client's segment fits a SYN-ACK that the watcher saw:
 * it acknowledges exactly the server's number and starts at the client's own
 * number + 1. A SYN by itself changes nothing. Anything else without a flow
 * never passes to an inspected port, pure ACKs included: with SYN cookies a
 * bare ACK opens a socket without any SYN-ACK.
 */

/* Has the other side of the rules begun this exchange, with this one? The watcher wrote it down. */
static __always_inline int is_reply(const struct context *c)
{
	struct reply_key key = {
		.endpoint = c->endpoint,
		.peer_port = c->packet.source_port_net,
		.port = c->packet.destination_port_net,
		.protocol = c->packet.protocol,
		.peer = c->direction == DIRECTION_EGRESS ? c->packet.destination : c->packet.source,
	};

	return bpf_map_lookup_elem(MAP(MAP_REPLIES), &key) != 0;
}

/*
 * ICMP that a pod cannot do without: errors, answers to its own echo requests,
 * and for IPv6 neighbour discovery. Its kernel checks what they refer to.
 */
static __always_inline int is_needed_icmp(const struct packet *packet)
{
	if (packet->kind != PACKET_ICMP)
		return 0;
	if (packet->version == 6)
		return packet->icmp_type != 128;
	return (packet->icmp_type == 0 || packet->icmp_type == 3 || packet->icmp_type == 11 ||
		packet->icmp_type == 12);
}

/* Not an inspected connection: layer 3 and 4 decide. */
static __always_inline int plain(FRAME *ctx, struct context *c, u32 verdict)
{
	struct packet *packet = &c->packet;
	int opens = packet->protocol == PROTO_TCP && packet->flags & TCP_SYN &&
		    !(packet->flags & TCP_ACK);

	if (verdict == PORT_ALLOW || packet->kind == PACKET_LATER_FRAGMENT)
		return pass(ctx, c);
	if (packet->protocol == PROTO_TCP || packet->protocol == PROTO_UDP ||
	    packet->protocol == PROTO_SCTP) {
		if (!opens && is_reply(c))
			return pass(ctx, c);
	} else if (is_needed_icmp(packet)) {
		return pass(ctx, c);
	}
	if (opens)
		report(c, 0, VERDICT_DENY, REASON_L4_DENIED);
	return drop(c, REASON_L4_DENIED);
}

/* A segment of a connection that is over: may it still come? */
static __always_inline int late(FRAME *ctx, struct context *c)
{
	struct packet *packet = &c->packet;
	u32 end = packet->seq + packet->length + (packet->flags & TCP_FIN ? 1 : 0);
	struct ended *ended = bpf_map_lookup_elem(MAP(MAP_ENDED), &c->key);

	if (packet->flags & TCP_RST)
		return pass(ctx, c); /* the server checks its numbers */
	if (ended && bpf_ktime_get_ns() < ended->until) {
		if (ended->answered) {
			if (end == packet->seq)
				return drop(c, REASON_AFTER_ANSWER);
			return judge(ctx, c, OUTCOME_ACKNOWLEDGE, REASON_AFTER_ANSWER);
		}
		if (end == ended->client && packet->ack == ended->server) {
			if (!packet->length)
				return pass(ctx, c);
			return drop(c, REASON_OLD_SEGMENT);
		}
	}
	return judge(ctx, c, OUTCOME_RESET_SENDER, REASON_NO_FLOW);
}

static __always_inline void fill_fresh(struct flow *flow, const struct context *c,
				       const struct embryo *embryo, u32 rule_set)
{
	u64 tagged = (u64)embryo->server << 32;

	flow->claim = 0;
	flow->tag = embryo->server;
	flow->acked = tagged | embryo->client;
	flow->sent = tagged | embryo->server;
	flow->server = tagged;
	flow->server_time = 0;
	flow->due = NOT_DUE(embryo->server);
	flow->blind = 0;
	flow->key = c->key;
	flow->client_start = embryo->client;
	flow->expected = embryo->client;
	flow->furthest = embryo->client;
	flow->client_acked = embryo->server;
	flow->client_fin = 0;
	flow->generation = c->generation;
	flow->rule_set = rule_set;
	flow->stage = FLOW_OPEN;
	flow->answer = 0;
	flow->answer_end = 0;
	flow->resets = 0;
	flow->sent_before = embryo->server;
	flow->copy_base = embryo->client;
	flow->copy_end = embryo->client;
	flow->large = 0;
	flow->log_first = 0;
	flow->log_next = 0;
	flow->log_end = embryo->client;
	flow->log_slot = 0;
	flow->stage_time = 0;
	head_begin(&flow->head, 0, embryo->client);
	flow->head.phase = PHASE_IDLE;
	flow->head.requests = 0;
	flow->head.serial = 0;
}

/* What became of a segment that may be the first of a connection. */
enum birth {
	BIRTH_NONE = 0, /* no SYN-ACK fits */
	BIRTH_BORN,
	BIRTH_LATER, /* of the connection, but not its first byte */
	BIRTH_RACED, /* another CPU was faster */
	BIRTH_FULL,
};

static __always_inline int promote(struct context *c, u32 rule_set)
{
	struct embryo *found = bpf_map_lookup_elem(MAP(MAP_EMBRYOS), &c->key);
	struct embryo embryo;
	u32 zero = 0;
	struct flow *fresh;

	if (!found)
		return BIRTH_NONE;
	embryo = *found; /* its memory may become another's */
	if (!(c->packet.flags & TCP_ACK) || c->packet.ack != embryo.server)
		return BIRTH_NONE;
	if (c->packet.seq != embryo.client)
		return after(c->packet.seq, embryo.client) ? BIRTH_LATER : BIRTH_NONE;
	fresh = bpf_map_lookup_elem(MAP(MAP_FRESH), &zero);
	if (!fresh)
		return BIRTH_FULL;
	fill_fresh(fresh, c, &embryo, rule_set);
	if (c->holds_claim) {
		/* Another incarnation takes the place of the old by its own birth. */
		struct flow *old = flow_get(&c->key);

		if (old)
			flow_delete(old, &c->key);
		c->holds_claim = 0;
	}
	/* First the flow, then the embryo: never neither. */
	if (bpf_map_update_elem(MAP(MAP_FLOWS), &c->key, fresh, 1 /* BPF_NOEXIST */))
		return flow_get(&c->key) ? BIRTH_RACED : BIRTH_FULL;
	bpf_map_delete_elem(MAP(MAP_EMBRYOS), &c->key);
	count(COUNT_FLOWS_BORN);
	return BIRTH_BORN;
}

/* A segment that no flow knows: born, or on to whoever explains it. */
static __always_inline int unborn(FRAME *ctx, struct context *c, int birth)
{
	switch (birth) {
	case BIRTH_BORN:
		jump(ctx, SLOT_FLOW);
		return missed(c);
	case BIRTH_LATER:
		return drop(c, REASON_FUTURE_SEGMENT); /* the first byte comes again */
	case BIRTH_RACED:
		return drop(c, REASON_FLOW_BUSY);
	case BIRTH_FULL:
		return judge(ctx, c, OUTCOME_RESET_SENDER, REASON_FLOWS_FULL);
	}
	return late(ctx, c);
}

/* The claimed flow's verdict is of another generation, or it was reborn. */
static __always_inline int revise(FRAME *ctx, struct context *c, const struct port_policy *policy)
{
	struct flow *flow = flow_get(&c->key);

	if (!flow)
		return drop(c, REASON_INTERNAL);
	if (flow->stage != FLOW_OPEN && !(watched(flow->server) & SERVER_REBORN)) {
		/* It is being ended already. */
		flow->generation = c->generation;
		c->revised = 1;
		jump(ctx, SLOT_FLOW);
		return missed(c);
	}
	if (policy->verdict == PORT_DENY)
		return judge(ctx, c, OUTCOME_RESET, REASON_L4_DENIED);
	if (policy->verdict == PORT_ALLOW) {
		flow_delete(flow, &c->key);
		c->holds_claim = 0;
		return pass(ctx, c);
	}
	if (watched(flow->server) & SERVER_REBORN) {
		int birth = promote(c, policy->rule_set);

		if (birth != BIRTH_NONE && birth != BIRTH_LATER)
			return unborn(ctx, c, birth);
		/* The old incarnation is over; its state must not judge the new one. */
		if (c->packet.flags & TCP_RST)
			return pass(ctx, c);
		return drop(c, REASON_BAD_NUMBERS);
	}
	if (flow->rule_set != policy->rule_set && flow->head.phase == PHASE_HEAD)
		return judge(ctx, c, OUTCOME_RESET, REASON_STALE_TABLE);
	flow->rule_set = policy->rule_set;
	flow->generation = c->generation;
	c->revised = 1;
	jump(ctx, SLOT_FLOW);
	return missed(c);
}

static __always_inline int stage_header(FRAME *ctx)
{
	struct context *c = context_get();
	struct port_policy policy;
	struct packet *packet;
	u32 identity;
	u16 port_net;

	if (!c)
		return FRAME_DROP;
	packet = &c->packet;
	identity = identity_of(packet->version,
			       c->direction == DIRECTION_EGRESS ? &c->key.local : &c->key.peer);
	port_net = packet->kind == PACKET_ICMP ? swap16((u16)packet->icmp_type) : c->key.port;
	policy = port_policy_of(c->policy, identity, packet->protocol, port_net);
	if (c->holds_claim)
		return revise(ctx, c, &policy);
	if (packet->protocol != PROTO_TCP || policy.verdict != PORT_INSPECT)
		return plain(ctx, c, policy.verdict);
	if (packet->flags & TCP_SYN) {
		if (strip_mptcp(ctx, c))
			return drop(c, REASON_BAD_PACKET);
		return pass(ctx, c);
	}
	return unborn(ctx, c, promote(c, policy.rule_set));
}
