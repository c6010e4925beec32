/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * From stage to stage.
 *
 *   packet -> ENTRY --not ours-----------------------------------> NEXT
 *               |
 *               +-> FLOW --no flow, other generation--> HEADER --> NEXT
 *               |    | ^                                  |
 *               |    | +------------- born ---------------+
 *               |    +--old bytes--> PROVE, RECALL (call themselves)
 *               |    |                 |
 *               |    +--new bytes--> HTTP, CHUNK (call themselves and each other) --> NEXT
 *               |    |                 |
 *               |    +-----------------+--> VERDICT --> 403, reset, drop
 *               |
 *             guard (tcx, behind an XDP chain on the same device)
 *
 * NEXT is a foreign XDP program, one an endpoint, or nobody; behind a tcx chain
 * it is always nobody: tcx programs follow each other by themselves.
 * A tail call that misses continues behind it: it is counted, and what is
 * policed is denied (missed()).
 */
#ifndef BPFAST_LIB_SLOTS_H
#define BPFAST_LIB_SLOTS_H

#include "flow.h"

/* Go to a stage; returns only when the slot is empty or calls are used up. */
static __always_inline void jump(void *ctx, u32 slot)
{
	bpf_tail_call_(bpf_pseudo_fd(1, FRAME_CHAIN), ctx, slot);
}

/* Go to whoever was on the device before us; returns when nobody was. */
static __always_inline void jump_next(void *ctx, u32 endpoint)
{
	if (FRAME_HAS_NEXT)
		bpf_tail_call_(bpf_pseudo_fd(1, MAP_NEXT), ctx, endpoint);
}

#endif /* BPFAST_LIB_SLOTS_H */
