/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * WATCH (the other direction): write down what the server really did.
 *
 *   SYN-ACK            an embryo; a flow of another incarnation is told
 *   any segment        its acknowledgement and its end, never backwards
 *   FIN, RST           noted; RST ends the flow
 *   early payload      a final status before the request's body has ended
 *   an answer's start  its status is counted and, when asked for, reported
 *   the pod's own SYN  and datagrams: their replies may come in
 *
 * A tcx program; generic XDP on kernels that have no tcx. A clsact filter on the
 * host side would not do there: Cilium's own one ends the classification. What
 * XDP cannot: an answer that was made from a GSO frame keeps its GSO size, and
 * where the way back has no segmentation offload only the client's retransmission
 * is answered (0.2 s).
 *
 * Our own answers pass here too. A flow leaves FLOW_OPEN before they leave, and
 * then only a reset is believed (and, while it is drained, what the server
 * sends: there we only acknowledge).
 */

/*
 * An interim response (RFC 9110 15.2) and nothing else in the segment: it
 * begins with "HTTP/1.1 1" and its first empty line is the segment's end.
 */
#define INTERIM_MOST 128

static __always_inline int is_interim(FRAME *ctx, const struct packet *packet)
{
	u8 text[INTERIM_MOST];
	u32 bytes = packet->length, i;

	if (bytes < 14 || bytes > INTERIM_MOST)
		return 0;
	bytes = bounded_size(bytes, INTERIM_MOST);
	if (frame_load(ctx, packet->payload, text, bytes))
		return 0;
	if (*(u64 *)text != 0x312e312f50545448ULL /* HTTP/1.1 */ || text[8] != ' ' ||
	    text[9] != '1')
		return 0;
#pragma clang loop unroll(disable)
	for (i = 10; i < INTERIM_MOST - 3; i++) {
		opaque(i);
		if (i + 4 > bytes)
			return 0;
		if (text[i] == '\r' && text[i + 1] == '\n' && text[i + 2] == '\r' &&
		    text[i + 3] == '\n')
			return i + 4 == bytes;
	}
	return 0;
}

static __always_inline int is_early(FRAME *ctx, const struct flow *flow,
				    const struct packet *packet)
{
	s64 left = (s64)distance(flow->expected, watched(flow->acked)) + (s64)flow->head.length;
	u32 phase = flow->head.phase;

	/* Framing never passes ahead of us: behind a chunk there is always more. */
	if (phase != PHASE_FRAMING &&
	    (phase != PHASE_BODY || (left <= 0 && !(flow->head.flags & HEAD_CHUNKED))))
		return 0;
	return packet->length && !is_interim(ctx, packet);
}

static __always_inline void saw_segment(FRAME *ctx, struct flow *flow, const struct flow_key *key,
					const struct packet *packet)
{
	u32 tag = flow->tag, stage = *(volatile u32 *)&flow->stage;
	u32 end = packet->seq + packet->length + (packet->flags & TCP_FIN ? 1 : 0);

	/* The tag is this flow's only if the memory still is. */
	if (!same_key(&flow->key, key) || watched(flow->server) & SERVER_REBORN)
		return;
	if (packet->flags & TCP_RST) {
		if (near(packet->seq, watched(flow->sent)))
			saw_reset(flow, key, tag);
		return;
	}
	if (stage != FLOW_OPEN && stage != FLOW_DRAINED) {
		/* Our answer may have been made from a GSO frame: it is one segment. */
		if (packet->length <= ANSWER_BYTES)
			frame_is_one(ctx);
		return;
	}
	if (!(packet->flags & TCP_ACK) || !near(packet->seq, watched(flow->sent)))
		return;
	if (stage == FLOW_OPEN)
		watched_advance(&flow->acked, tag, packet->ack);
	if (after(end, watched(flow->sent))) {
		if (stage == FLOW_OPEN && is_early(ctx, flow, packet))
			watched_set(&flow->server, tag, SERVER_EARLY);
		watched_advance(&flow->sent, tag, end);
	}
	/* The time first: a sweep must not see a FIN without one. Our own ACKs are no early answer. */
	if (packet->flags & TCP_FIN || watched(flow->server) & SERVER_FIN ||
	    (packet->length && watched(flow->server) & SERVER_EARLY))
		flow->server_time = bpf_ktime_get_ns();
	if (packet->flags & TCP_FIN)
		watched_set(&flow->server, tag, SERVER_FIN);
	settle(flow, key, tag);
}

/* What the chain says of the way back of this packet: it is an answer, or will get one. */
static __always_inline u32 verdict_of(const struct endpoint *endpoint, const struct packet *packet)
{
	int egress = endpoint->flags & ENDPOINT_EGRESS;
	u32 identity =
		identity_of(packet->version, egress ? &packet->source : &packet->destination);

	return port_policy_of(endpoint->policy, identity, packet->protocol, packet->source_port_net)
		.verdict;
}

/*
 * A segment that begins where an answer is due. Nothing is told of what cannot be
 * known: an answer behind an interim response in one segment, and one in pieces
 * that may be an interim response.
 */
static __always_inline void saw_answer(FRAME *ctx, const struct endpoint *endpoint,
				       struct flow *flow, const struct flow_key *key,
				       const struct packet *packet)
{
	u32 bytes = packet->length < STATUS_BYTES ? packet->length : STATUS_BYTES;
	u32 tag = flow->tag, asked_at = flow->asked_at, status;
	int expects = flow->head.flags & HEAD_EXPECT;
	u64 asked = flow->asked_time, next = NOT_DUE(tag);
	u8 text[STATUS_ROOM] = {};

	if (!packet->length || packet->flags & TCP_RST || !same_key(&flow->key, key) ||
	    *(volatile u32 *)&flow->stage != FLOW_OPEN)
		return;
	if (frame_load(ctx, packet->payload, text, bounded_size(bytes, STATUS_ROOM)))
		return;
	status = status_of(text, bytes);
	if (status == STATUS_FOREIGN)
		next = BLIND(tag);
	else if (status_class(status) == 1 && is_interim(ctx, packet))
		next = (u64)tag << 32 | (packet->seq + packet->length);
	if (!take_due(flow, tag, packet->seq, next) || status == STATUS_FOREIGN ||
	    status == STATUS_CUT_IN_INTERIM || (status == STATUS_CUT && expects))
		return;
	count(COUNT_RESPONSES_OTHER + status_class(status));
	if (status_class(status) != 1 && endpoint->event_mode == EVENTS_ALL)
		report_response(endpoint, key, asked, asked_at, status == STATUS_CUT ? 0 : status);
}

static __always_inline int stage_watch(FRAME *ctx)
{
	u32 number = (u32)bpf_pseudo_fd(0, ENDPOINT_IMMEDIATE);
	struct endpoint *endpoint = endpoint_get(number);
	struct flow_key key = {};
	struct packet packet;
	struct flow *flow;
	int kind;

	if (!endpoint || !(endpoint->flags & ENDPOINT_ENFORCED))
		return unjudged();
	kind = parse_frame(ctx, &packet);
	/* Linux echoes a client's record-route option in its SYN-ACK. */
	if (kind == PACKET_REFUSED && packet.reason == REASON_IP_OPTIONS)
		kind = PACKET_TCP;
	/*
	 * What needs no leave is not remembered: a server's answers to all its clients
	 * would push out what other pods wait for.
	 */
	if (((kind == PACKET_UDP || kind == PACKET_SCTP) &&
	     verdict_of(endpoint, &packet) != PORT_ALLOW) ||
	    (kind == PACKET_TCP && packet.flags & TCP_SYN && !(packet.flags & TCP_ACK))) {
		remember_reply(number, endpoint->flags & ENDPOINT_EGRESS, &packet);
		return unjudged();
	}
	if (kind != PACKET_TCP || !port_is_inspected(endpoint, packet.source_port_net))
		return unjudged();
	key.endpoint = number;
	key.peer_port = packet.destination_port_net;
	key.port = packet.source_port_net;
	key.peer = packet.destination;
	key.local = packet.source;
	if (packet.flags & TCP_SYN) {
		if (verdict_of(endpoint, &packet) == PORT_INSPECT)
			saw_syn_ack(&key, &packet);
		return unjudged();
	}
	flow = flow_get(&key);
	if (flow) {
		if (is_due(flow, &packet))
			saw_answer(ctx, endpoint, flow, &key, &packet);
		saw_segment(ctx, flow, &key, &packet);
	}
	return unjudged();
}
