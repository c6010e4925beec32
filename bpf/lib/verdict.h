/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The only ways out of the chain: pass, drop, send back.
 *
 * Each releases the claim; what passes carries the mark for the guard and goes
 * through slot NEXT, what does not is counted under its reason.
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
	return XDP_DROP;
}

/* What is none of ours goes on to whoever was there before us. */
static __always_inline int pass_unmarked(struct xdp_md *ctx)
{
	jump(ctx, SLOT_NEXT);
	return XDP_PASS; /* an empty slot: nobody was */
}

/* The watcher as XDP judges nothing: what it has seen goes on. */
static __always_inline int unjudged(void)
{
	return XDP_PASS;
}

/* Pass a packet that the chain has judged, with the mark that the guard demands. */
static __always_inline int pass(struct xdp_md *ctx, struct context *c)
{
	u64 *mark;

	release(c);
	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*mark)))
		return drop(c, REASON_NO_MARK);
	mark = (void *)(long)ctx->data_meta;
	if ((void *)(mark + 1) > (void *)(long)ctx->data)
		return drop(c, REASON_NO_MARK);
	*mark = c->mark;
	jump(ctx, SLOT_NEXT);
	return XDP_PASS;
}

/* Send back what VERDICT has made of the packet. */
static __always_inline int send_back(struct context *c)
{
	release(c);
	return XDP_TX;
}

/* Behind a jump that must not return. */
static __always_inline int missed(struct context *c)
{
	return drop(c, REASON_MISSED_TAIL_CALL);
}

/* Hand the packet to VERDICT. */
static __always_inline int judge(struct xdp_md *ctx, struct context *c, u32 outcome, u32 reason)
{
	c->outcome = outcome;
	c->reason = reason;
	jump(ctx, SLOT_VERDICT);
	return missed(c);
}

#endif /* BPFAST_LIB_VERDICT_H */
