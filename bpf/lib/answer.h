/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which of the server's bytes begin an answer, and to which request.
 *
 * Answers are not parsed, so where one ends is not known. Known is where one
 * begins: at the server's next byte, when a request passes on a quiet connection.
 *
 *   quiet     every request before was the only one under way, its answer has
 *             begun, and the client had all that the server said
 *   due       tag and number of that byte; the watcher takes it, once
 *   NOT_DUE   nobody waits for an answer that could be told
 *   BLIND     the server said something else: from here on nothing is known
 *
 * Once a client has sent a request behind another that was under way, nothing is
 * known of the connection any more: that answer was the last one that is told.
 */
#ifndef BPFAST_LIB_ANSWER_H
#define BPFAST_LIB_ANSWER_H

#include "maps.h"
#include "sequence.h"

/* No flow's tag is in the high half of these. */
#define NOT_DUE(tag) ((u64) ~(tag) << 32)
#define BLIND(tag) (NOT_DUE(tag) | 1)

/*
 * `heads` requests pass with the segment in hand: may an answer be told? Under the
 * claim. Only where requests have events: an answer's first segment costs the watcher
 * a third more when it is looked at.
 */
static __always_inline void await_answer(struct flow *flow, const struct context *c, u32 heads)
{
	u64 due = *(volatile u64 *)&flow->due;
	u32 tag = flow->tag, under_way;

	if (!heads)
		return;
	if (!c->asked_time || due == BLIND(tag))
		flow->blind = 1;
	if (flow->blind)
		return;
	under_way = due >> 32 == tag && (u32)due == c->sent;
	flow->blind = heads > 1 || under_way || c->packet.ack != c->sent;
	if (under_way)
		return; /* the answer to the first of them is still due */
	if (c->packet.ack != c->sent) {
		*(volatile u64 *)&flow->due = NOT_DUE(tag);
		return;
	}
	flow->asked_time = c->asked_time;
	flow->asked_at = c->asked_at;
	*(volatile u64 *)&flow->due = (u64)tag << 32 | c->sent;
}

/* Is this the byte? The watcher's one question on most packets. */
static __always_inline int is_due(const struct flow *flow, const struct packet *packet)
{
	return *(volatile u64 *)&flow->due == ((u64)flow->tag << 32 | packet->seq);
}

/* One watcher alone takes it, or moves it on behind an interim response. */
static __always_inline int take_due(struct flow *flow, u32 tag, u32 seq, u64 next)
{
	u64 due = (u64)tag << 32 | seq;

	return __sync_val_compare_and_swap(&flow->due, due, next) == due;
}

#endif /* BPFAST_LIB_ANSWER_H */
