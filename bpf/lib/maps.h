/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Every map of the programs: what it is from, to what, and who writes it.
 *
 * The maps are created by user space (addon/bpfast/kernel/maps.py has their
 * types and sizes) and named in the text by numbers, which the loader turns
 * into descriptors; bcc's compile time grows with the size of each map that is
 * declared in the text, and ours are large.
 *
 *   endpoints      endpoint -> struct endpoint           user space
 *   flows          flow_key -> struct flow               HEADER makes; claim
 *                  holder and watcher change; never evicted
 *   embryos        flow_key -> struct embryo (LRU)       watcher makes,
 *                  HEADER takes away
 *   ended          flow_key -> struct ended (LRU)        whoever ends a flow
 *   replies        reply_key -> u64 (LRU)                watcher
 *   peers          prefix of a peer_key -> identity      user space
 *   port_policies  prefix of a port_key ->               user space
 *                  struct port_policy
 *   rule_sets      index -> struct rule_set              user space
 *   tables         one value: the words of all images    user space (mmap)
 *   context        per CPU: struct context               the chain
 *   fresh          per CPU: struct flow, all of it made  HEADER
 *                  anew for each flow that is born
 *   copies         slot -> 64 KiB of head bytes          HTTP
 *   copies_free    queue of free slots of copies         chain and watcher
 *   events         ring of struct event and of struct    HTTP, VERDICT,
 *                  response                              watcher
 *   reasons        per CPU: enum reason -> packets       all
 *   counts         per CPU: enum count -> number         all
 *   rates          per CPU: struct rate                  VERDICT, watcher
 *   answers        enum answer_index -> struct answer    user space
 *   chain          enum slot -> XDP program              user space
 *   chain_tcx      enum slot -> tcx program: such an     user space
 *                  array takes one type of program
 *   next           endpoint -> the foreign XDP program   user space
 *                  that was there before us
 *   sweep          one struct sweep: a flow to look at   user space
 *   memo           per CPU: slot -> struct memo          HTTP
 */
#ifndef BPFAST_LIB_MAPS_H
#define BPFAST_LIB_MAPS_H

#include "context.h"

#define MAP(number) ((void *)bpf_pseudo_fd(1, number))

static __always_inline struct context *context_get(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(MAP(MAP_CONTEXT), &zero);
}

static __always_inline struct endpoint *endpoint_get(u32 number)
{
	return bpf_map_lookup_elem(MAP(MAP_ENDPOINTS), &number);
}

static __always_inline struct flow *flow_get(const struct flow_key *key)
{
	return bpf_map_lookup_elem(MAP(MAP_FLOWS), (void *)key);
}

static __always_inline struct rule_set *rule_set_get(u32 index)
{
	return bpf_map_lookup_elem(MAP(MAP_RULE_SETS), &index);
}

static __always_inline const u32 *tables_get(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(MAP(MAP_TABLES), &zero);
}

/* Count a reason; `number` may be any u32. */
static __always_inline void count_reason(u32 number)
{
	u64 *value = bpf_map_lookup_elem(MAP(MAP_REASONS), &number);

	if (value)
		*value += 1;
}

static __always_inline void count(u32 number)
{
	u64 *value = bpf_map_lookup_elem(MAP(MAP_COUNTS), &number);

	if (value)
		*value += 1;
}

static __always_inline void count_many(u32 number, u64 many)
{
	u64 *value = bpf_map_lookup_elem(MAP(MAP_COUNTS), &number);

	if (value)
		*value += many;
}

/* The identity of an address of IPv4 or IPv6; what nobody knows is the world. */
static __always_inline u32 identity_of(u32 family, const struct address *address)
{
	struct peer_key key = { .bits = PEER_BITS, .family = family, .address = *address };
	u32 *identity = bpf_map_lookup_elem(MAP(MAP_PEERS), &key);

	return identity ? *identity : IDENTITY_WORLD;
}

/*
 * What this peer may do with this protocol and port (network order; the type of
 * ICMP, 0 where there is none). Nothing known means denied.
 */
static __always_inline struct port_policy port_policy_of(u32 number, u32 identity, u32 protocol,
							 u16 port_net)
{
	struct port_policy denied = { .verdict = PORT_DENY };
	struct port_key key = {
		.bits = PORT_KEY_BITS,
		.policy = number,
		.identity = identity,
		.protocol = protocol,
	};
	struct port_policy *policy;

	__builtin_memcpy(key.port, &port_net, 2);
	policy = bpf_map_lookup_elem(MAP(MAP_PORT_POLICIES), &key);
	return policy ? *policy : denied;
}

#endif /* BPFAST_LIB_MAPS_H */
