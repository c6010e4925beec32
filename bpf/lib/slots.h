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
 *             guard (tcx, behind the chain on the same device)
 *
 * A tail call that misses continues behind it: it is counted, and what is
 * policed is denied (missed()).
 */
#ifndef BPFAST_LIB_SLOTS_H
#define BPFAST_LIB_SLOTS_H

#include "flow.h"

/* Hidden from the compiler: it would calculate with the end pointer itself. */
static __always_inline u32 frame_bytes(struct xdp_md *ctx)
{
	u64 bytes = ctx->data_end - ctx->data;

	opaque(bytes);
	return (u32)bytes;
}

/* Go to a stage; returns only when the slot is empty or calls are used up. */
static __always_inline void jump(void *ctx, u32 slot)
{
	bpf_tail_call_(bpf_pseudo_fd(1, MAP_CHAIN), ctx, slot);
}

#endif /* BPFAST_LIB_SLOTS_H */
