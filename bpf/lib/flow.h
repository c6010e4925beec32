/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Who may touch a flow, and when.
 *
 * The chain and whoever deletes a flow hold its *claim*, a word taken by
 * compare-and-swap for the time of one packet; two CPUs inside one flow at once
 * are common. Memory of a deleted flow is used again at once, so after
 * claiming the key is compared.
 *
 * The watcher does not claim for what it writes on most packets: each of its
 * words carries the flow's tag in the high half and is changed by
 * compare-and-swap, so that a write to memory that has meanwhile become another
 * flow fails.
 */
#ifndef BPFAST_LIB_FLOW_H
#define BPFAST_LIB_FLOW_H

#include "answer.h"

#define WATCHED_TRIES 8

static __always_inline int same_key(const struct flow_key *a, const struct flow_key *b)
{
	const u64 *x = (const u64 *)a, *y = (const u64 *)b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3] && x[4] == y[4];
}
_Static_assert(sizeof(struct flow_key) == 40, "same_key() compares five words");

static __always_inline void flow_release(struct flow *flow)
{
	__sync_val_compare_and_swap(&flow->claim, 1ULL, 0ULL);
}

static __always_inline int flow_claim(struct flow *flow, const struct flow_key *key)
{
	if (__sync_val_compare_and_swap(&flow->claim, 0ULL, 1ULL) != 0)
		return 0;
	if (same_key(&flow->key, key))
		return 1;
	flow_release(flow);
	return 0;
}

/* The low half of a word that the watcher writes. */
static __always_inline u32 watched(u64 word)
{
	return (u32)word;
}

/* Move a watched number forward, never back. */
static __always_inline void watched_advance(u64 *word, u32 tag, u32 number)
{
	int i;

#pragma clang loop unroll(full)
	for (i = 0; i < WATCHED_TRIES; i++) {
		u64 old = *(volatile u64 *)word;

		if (old >> 32 != tag || !after(number, watched(old)))
			return;
		if (__sync_val_compare_and_swap(word, old, (u64)tag << 32 | number) == old)
			return;
	}
}

static __always_inline void watched_set(u64 *word, u32 tag, u32 bits)
{
	int i;

#pragma clang loop unroll(full)
	for (i = 0; i < WATCHED_TRIES; i++) {
		u64 old = *(volatile u64 *)word;

		if (old >> 32 != tag || (watched(old) & bits) == bits)
			return;
		if (__sync_val_compare_and_swap(word, old, old | bits) == old)
			return;
	}
}

/*
 * How many of `bytes` lie in the same part of the copy as `index` (the first
 * INLINE_COPY bytes are in the flow, the rest in a slot of the pool).
 */
static __always_inline u32 copy_part(u32 index, u32 bytes)
{
	if (index < INLINE_COPY && bytes > INLINE_COPY - index)
		return INLINE_COPY - index;
	return bytes;
}

/* Give the flow's slot of the pool back. Under the claim. */
static __always_inline void copy_free(struct flow *flow)
{
	u32 slot = flow->large - 1;

	if (!flow->large)
		return;
	flow->large = 0;
	bpf_map_push_elem(MAP(MAP_COPIES_FREE), &slot, 0);
}

/* Give the log's slot of the pool back. Under the claim. */
static __always_inline void log_free(struct flow *flow)
{
	u32 slot = flow->log_slot - 1;

	if (!flow->log_slot)
		return;
	flow->log_slot = 0;
	bpf_map_push_elem(MAP(MAP_COPIES_FREE), &slot, 0);
}

/* Forget a flow. Under the claim, which ends with it. */
static __always_inline void flow_delete(struct flow *flow, const struct flow_key *key)
{
	copy_free(flow);
	log_free(flow);
	bpf_map_delete_elem(MAP(MAP_FLOWS), (void *)key);
	count(COUNT_FLOWS_ENDED);
}

/*
 * A connection is over: leave only what late packets are measured against.
 * `client` and `server` are the numbers behind both FINs.
 */
static __always_inline void flow_end(struct flow *flow, const struct flow_key *key, u32 client,
				     u32 server, u32 answered)
{
	struct ended ended = { .client = client, .server = server, .answered = answered };

	ended.until = bpf_ktime_get_ns() + ENDED_NS;
	bpf_map_update_elem(MAP(MAP_ENDED), (void *)key, &ended, 0);
	flow_delete(flow, key);
}

/* Write what the segment in hand has changed; the flow's copy is written already. */
static __always_inline void flow_commit(struct flow *flow, const struct context *c)
{
	await_answer(flow, c, c->head.requests - flow->head.requests);
	flow->head = c->head;
	flow->copy_base = c->copy_base;
	flow->copy_end = c->copy_end;
	flow->log_next = c->log_next;
	flow->log_end = c->log_end;
	/* A request has ended in it: nothing is begun, or what is began behind other bytes. */
	if (c->head.phase == PHASE_IDLE || c->head.phase == PHASE_CLOSED ||
	    after(c->head.start, c->packet.seq + c->prove_to))
		flow->sent_before = c->sent;
	if (c->copy_end - c->copy_base <= INLINE_COPY)
		copy_free(flow);
}

/* Both FINs have been acknowledged by the other side. */
static __always_inline int flow_is_over(const struct flow *flow)
{
	return flow->stage == FLOW_OPEN && flow->client_fin &&
	       watched(flow->acked) == flow->expected + 1 && (watched(flow->server) & SERVER_FIN) &&
	       flow->client_acked == watched(flow->sent);
}

#endif /* BPFAST_LIB_FLOW_H */
