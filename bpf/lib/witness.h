/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What WATCH writes down, whatever kind of program it is: replies that may come
 * in, embryos, the end of a flow.
 */
#ifndef BPFAST_LIB_WITNESS_H
#define BPFAST_LIB_WITNESS_H

#include "flow.h"

/*
 * Who was spoken to may answer: the other side, which is the sender where the
 * rules are about the way out.
 */
static __always_inline void remember_reply(u32 endpoint, int egress, const struct packet *packet)
{
	struct reply_key key = {
		.endpoint = endpoint,
		.peer_port = packet->destination_port_net,
		.port = packet->source_port_net,
		.protocol = packet->protocol,
		.peer = egress ? packet->source : packet->destination,
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

#endif /* BPFAST_LIB_WITNESS_H */
