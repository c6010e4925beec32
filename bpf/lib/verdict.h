/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The only ways out of the chain: pass, drop, send back; and those of the guard
 * and the watcher.
 *
 * Each of the chain's releases the claim; what passes carries the mark for the
 * guard and goes on to NEXT, what does not is counted under its reason.
 */
#ifndef BPFAST_LIB_VERDICT_H
#define BPFAST_LIB_VERDICT_H

#include "slots.h"

static __always_inline void release(struct context *c)
{
	struct flow *flow;

	if (!c->holds_claim)
		return;
	c->holds_claim = 0;
	flow = flow_get(&c->key);
	if (flow)
		flow_release(flow);
}

static __always_inline int drop(struct context *c, u32 reason)
{
	count_reason(reason);
	release(c);
	return FRAME_DROP;
}

/* What is none of ours goes on to whoever was there before us. */
static __always_inline int pass_unmarked(FRAME *ctx, u32 endpoint)
{
	jump_next(ctx, endpoint);
	return FRAME_PASS;
}

/* The watcher judges nothing, and the guard not what the chain has: it goes on. */
static __always_inline int unjudged(void)
{
	return FRAME_PASS;
}

/* What the guard does not let in. */
static __always_inline int keep_out(u32 reason)
{
	count_reason(reason);
	return FRAME_DROP;
}

/* Pass a packet that the chain has judged, with the mark that the guard demands. */
static __always_inline int pass(FRAME *ctx, struct context *c)
{
	release(c);
	if (frame_mark(ctx, c->mark))
		return drop(c, REASON_NO_MARK);
	jump_next(ctx, c->endpoint);
	return FRAME_PASS;
}

/* As pass(), with the claimed flow in hand: looking it up again costs 30 ns. */
static __always_inline int pass_flow(FRAME *ctx, struct context *c, struct flow *flow)
{
	c->holds_claim = 0;
	flow_release(flow);
	return pass(ctx, c);
}

/* Send back what VERDICT has made of the packet. */
static __always_inline int send_back(FRAME *ctx, struct context *c)
{
	release(c);
	return frame_send_back(ctx);
}

/* Behind a jump that must not return. */
static __always_inline int missed(struct context *c)
{
	return drop(c, REASON_MISSED_TAIL_CALL);
}

/* Hand the packet to VERDICT. */
static __always_inline int judge(FRAME *ctx, struct context *c, u32 outcome, u32 reason)
{
	c->outcome = outcome;
	c->reason = reason;
	jump(ctx, SLOT_VERDICT);
	return missed(c);
}

#endif /* BPFAST_LIB_VERDICT_H */
