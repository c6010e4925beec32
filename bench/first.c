/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * For the benchmarks only, no part of the product: what runs in front of the
 * chain when one packet is repeated.
 *
 * A packet changes its flow, and in a repeated run it would be old the second
 * time. So the flow is made again what it was, from a copy, and the mark of the
 * last time is taken off. Where heads are to be new each time, eight letters of
 * the frame are written, too. What this costs is measured alone: with an empty
 * program behind it instead of ENTRY.
 */
#include "lib/compat.h"

#define MAP(fd) ((void *)bpf_pseudo_fd(1, fd))

/* What the chain changes of a flow: all before the copy of the head. */
#define CHANGED_WORDS (__builtin_offsetof(struct flow, copy) / 8)

struct kept {
	struct flow flow;
	u32 letters; /* where they stand in the frame; 0: nowhere */
	u32 number;
};

/* Eight letters that say a number: four bits each. */
static __always_inline u64 letters_of(u32 number)
{
	u64 spread = number;

	spread = (spread | spread << 16) & 0x0000ffff0000ffffULL;
	spread = (spread | spread << 8) & 0x00ff00ff00ff00ffULL;
	spread = (spread | spread << 4) & 0x0f0f0f0f0f0f0f0fULL;
	return spread + 0x6161616161616161ULL;
}

int bench_first(struct xdp_md *ctx)
{
	u32 zero = 0, i;
	struct kept *kept = bpf_map_lookup_elem(MAP(BENCH_KEPT), &zero);
	struct flow *flow;
	u64 letters;

	if (!kept || bpf_xdp_adjust_meta(ctx, (int)(ctx->data - ctx->data_meta)))
		return XDP_ABORTED;
	flow = bpf_map_lookup_elem(MAP(BENCH_FLOWS), &kept->flow.key);
	if (flow) {
#pragma clang loop unroll(full)
		for (i = 0; i < CHANGED_WORDS; i++)
			((volatile u64 *)flow)[i] = ((u64 *)&kept->flow)[i];
	}
	if (kept->letters) {
		letters = letters_of(kept->number++);
		bpf_xdp_store_bytes(ctx, kept->letters, &letters, sizeof(letters));
	}
	bpf_tail_call_(bpf_pseudo_fd(1, BENCH_SECOND), ctx, 0);
	return XDP_ABORTED;
}

int bench_empty(struct xdp_md *ctx)
{
	return XDP_PASS;
}
