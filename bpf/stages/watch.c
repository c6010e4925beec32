/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * WATCH (tcx, the other direction): write down what the server really did.
 *
 *   SYN-ACK            an embryo; a flow of another incarnation is told
 *   any segment        its acknowledgement and its end, never backwards
 *   FIN, RST           noted; RST ends the flow
 *   early payload      a final status before the request's body has ended
 *   the pod's own SYN  and datagrams: their replies may come in
 *
 * Our own answers pass here too. A flow leaves FLOW_OPEN before they leave, and
 * then only a reset is believed (and, while it is drained, what the server
 * sends: there we only acknowledge).
 */

/* Ethernet, two tags, IPv6 and TCP with all options. */
#define HEADERS_MOST 128

static __always_inline void remember_reply(u32 endpoint, const struct packet *packet)
{
	struct reply_key key = {
		.endpoint = endpoint,
		.peer_port = packet->destination_port_net,
		.port = packet->source_port_net,
		.protocol = packet->protocol,
		.peer = packet->destination,
	};
	u64 one = 1;

	if (!bpf_map_lookup_elem(MAP(MAP_REPLIES), &key))
		bpf_map_update_elem(MAP(MAP_REPLIES), &key, &one, 0);
}

static __always_inline void saw_syn_ack(const struct flow_key *key, const struct packet *packet)
{
	struct embryo embryo = { .client = packet->ack, .server = packet->seq + 1 };
	struct flow *flow = flow_get(key);

	if (flow) {
		if (flow->tag == embryo.server && flow->client_start == embryo.client)
			return; /* a repeated SYN-ACK changes nothing */
		watched_set(&flow->server, flow->tag, SERVER_REBORN);
	}
	bpf_map_update_elem(MAP(MAP_EMBRYOS), (void *)key, &embryo, 0);
}

/*
 * An interim response (RFC 9110 15.2) and nothing else in the segment: it
 * begins with "HTTP/1.1 1" and its first empty line is the segment's end.
 */
#define INTERIM_MOST 128

static __always_inline int is_interim(struct __sk_buff *skb, const struct packet *packet)
{
	u8 text[INTERIM_MOST];
	u32 bytes = packet->length, i;

	if (bytes < 14 || bytes > INTERIM_MOST)
		return 0;
	bytes = bounded_size(bytes, INTERIM_MOST);
	if (bpf_skb_load_bytes(skb, packet->payload, text, bytes))
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

static __always_inline void saw_reset(struct flow *flow, const struct flow_key *key, u32 tag)
{
	if (!flow_claim(flow, key)) {
		watched_set(&flow->server, tag, SERVER_RST);
		return;
	}
	if (flow->tag == tag)
		flow_delete(flow, key);
	else
		flow_release(flow);
}

/* Everything is acknowledged: the copy is not needed, perhaps not even the flow. */
static __always_inline void settle(struct flow *flow, const struct flow_key *key, u32 tag)
{
	if (!flow->large && !flow_is_over(flow))
		return;
	if (!flow_claim(flow, key))
		return;
	if (flow->tag == tag && flow_is_over(flow)) {
		flow_end(flow, key, flow->expected + 1, flow->client_acked, 0);
		return;
	}
	if (flow->tag == tag && !before(watched(flow->acked), flow->copy_end) &&
	    flow->head.phase != PHASE_HEAD)
		copy_free(flow);
	flow_release(flow);
}

static __always_inline int is_early(struct __sk_buff *skb, const struct flow *flow,
				    const struct packet *packet)
{
	s64 left = (s64)distance(flow->expected, watched(flow->acked)) + (s64)flow->head.length;

	return flow->head.phase == PHASE_BODY && packet->length && left > 0 &&
	       !is_interim(skb, packet);
}

static __always_inline void saw_segment(struct __sk_buff *skb, struct flow *flow,
					const struct flow_key *key, const struct packet *packet)
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
		if (skb->gso_size && packet->length <= ANSWER_BYTES)
			bpf_skb_change_tail(skb, skb->len, 0);
		return;
	}
	if (!(packet->flags & TCP_ACK) || !near(packet->seq, watched(flow->sent)))
		return;
	if (stage == FLOW_OPEN)
		watched_advance(&flow->acked, tag, packet->ack);
	if (after(end, watched(flow->sent))) {
		if (stage == FLOW_OPEN && is_early(skb, flow, packet))
			watched_set(&flow->server, tag, SERVER_EARLY);
		watched_advance(&flow->sent, tag, end);
	}
	/* The time first: a sweep must not see a FIN without one. */
	if (packet->flags & TCP_FIN || watched(flow->server) & SERVER_FIN)
		flow->server_time = bpf_ktime_get_ns();
	if (packet->flags & TCP_FIN)
		watched_set(&flow->server, tag, SERVER_FIN);
	settle(flow, key, tag);
}

static __always_inline int stage_watch(struct __sk_buff *skb)
{
	u32 number = (u32)bpf_pseudo_fd(0, ENDPOINT_IMMEDIATE);
	struct endpoint *endpoint = endpoint_get(number);
	struct flow_key key = {};
	struct packet packet;
	struct flow *flow;
	int kind;

	if (!endpoint || !(endpoint->flags & ENDPOINT_ENFORCED))
		return TCX_CONTINUE;
	kind = parse_packet((void *)(long)skb->data, (void *)(long)skb->data_end, skb->len,
			    &packet);
	if (kind == PACKET_REFUSED && packet.reason == REASON_BAD_PACKET) {
		/* Headers that are not in the linear part. */
		bpf_skb_pull_data(skb, skb->len < HEADERS_MOST ? skb->len : HEADERS_MOST);
		kind = parse_packet((void *)(long)skb->data, (void *)(long)skb->data_end, skb->len,
				    &packet);
	}
	/* Linux echoes a client's record-route option in its SYN-ACK. */
	if (kind == PACKET_REFUSED && packet.reason == REASON_IP_OPTIONS)
		kind = PACKET_TCP;
	if (kind == PACKET_UDP ||
	    (kind == PACKET_TCP && packet.flags & TCP_SYN && !(packet.flags & TCP_ACK))) {
		remember_reply(number, &packet);
		return TCX_CONTINUE;
	}
	if (kind != PACKET_TCP || !port_is_inspected(endpoint, packet.source_port_net))
		return TCX_CONTINUE;
	key.endpoint = number;
	key.peer_port = packet.destination_port_net;
	key.port = packet.source_port_net;
	key.peer = packet.destination;
	key.local = packet.source;
	if (packet.flags & TCP_SYN) {
		u32 identity = identity_of(&packet.destination);
		u32 port = swap16(packet.source_port_net);

		if (port_policy_of(endpoint->policy, identity, port).verdict == PORT_INSPECT)
			saw_syn_ack(&key, &packet);
		return TCX_CONTINUE;
	}
	flow = flow_get(&key);
	if (flow)
		saw_segment(skb, flow, &key, &packet);
	return TCX_CONTINUE;
}
