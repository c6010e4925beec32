/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * ENTRY: whose packet is this, and is it ours? Attached; one an endpoint.
 *
 * Addresses and interface numbers are no keys (a pod can add addresses, eth0
 * is 2 in every namespace): the endpoint's number is an immediate that the
 * loader puts into this program.
 */

static __always_inline void fill_key(struct context *c)
{
	const struct packet *packet = &c->packet;

	c->key.endpoint = c->endpoint;
	c->key.peer_port = packet->source_port_net;
	c->key.port = packet->destination_port_net;
	c->key.peer = packet->source;
	c->key.local = packet->destination;
}

static __always_inline int port_is_inspected(const struct endpoint *endpoint, u16 port_net)
{
	u32 port = swap16(port_net);

	return endpoint->inspected[(port >> 3) & 8191] & (1 << (port & 7));
}

/* The packet in hand; its headers need not be readable yet. */
static __always_inline int parse_frame(FRAME *ctx, struct packet *packet)
{
	int kind = parse_packet((void *)(long)ctx->data, (void *)(long)ctx->data_end,
				frame_size(ctx), packet);

	if (kind == PACKET_REFUSED && packet->reason == REASON_BAD_PACKET && frame_pull(ctx))
		kind = parse_packet((void *)(long)ctx->data, (void *)(long)ctx->data_end,
				    frame_size(ctx), packet);
	if (kind != PACKET_REFUSED && packet->l3 > ETHERNET_BYTES + VLAN_BYTES &&
	    frame_has_tag(ctx))
		return refuse(packet, REASON_VLAN_DEPTH); /* the third */
	return kind;
}

static __always_inline int stage_entry(FRAME *ctx)
{
	u32 number = (u32)bpf_pseudo_fd(0, ENDPOINT_IMMEDIATE);
	struct context *c = context_get();
	struct endpoint *endpoint = endpoint_get(number);
	int kind;

	if (!c)
		return FRAME_DROP;
	c->holds_claim = 0;
	if (!endpoint)
		return drop(c, REASON_INTERNAL);
	c->revised = 0;
	if (!(endpoint->flags & ENDPOINT_ENFORCED))
		return pass_unmarked(ctx, number);
	c->began = endpoint->flags & ENDPOINT_TIMING ? bpf_ktime_get_ns() : 0;
	kind = parse_frame(ctx, &c->packet);
	c->packet.kind = kind;
	if (kind == PACKET_NOT_IP)
		return pass_unmarked(ctx, number);
	if (kind == PACKET_REFUSED)
		return drop(c, c->packet.reason);
	c->endpoint = number;
	c->mark = endpoint->mark;
	c->event_mode = endpoint->event_mode;
	c->deny_mode = endpoint->deny_mode;
	c->generation = endpoint->generation;
	c->policy = endpoint->policy;
	c->direction = endpoint->flags & ENDPOINT_EGRESS ? DIRECTION_EGRESS : DIRECTION_INGRESS;
	fill_key(c);
	if (kind == PACKET_TCP && port_is_inspected(endpoint, c->key.port))
		jump(ctx, SLOT_FLOW);
	else
		jump(ctx, SLOT_HEADER);
	return missed(c);
}
