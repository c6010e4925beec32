/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The one text that bcc compiles: every stage, in the order of the slots.
 *
 * bcc leaves the relocations of calls at zero, so there are no functions but
 * inlined ones; maps and the endpoint's number are placeholders that the
 * loader fills in (lib/abi.h: enum map_number, ENDPOINT_IMMEDIATE).
 */
#include "lib/cut.h"
#include "lib/log.h"
#include "lib/options.h"

#define TC_SHOT 2
#define TCX_CONTINUE (-1)

#include "stages/entry.c"
#include "stages/flow.c"
#include "stages/prove.c"
#include "stages/recall.c"
#include "stages/header.c"
#include "stages/http.c"
#include "stages/chunk.c"
#include "stages/verdict.c"
#include "stages/guard.c"
#include "lib/watch_tcx.h"
#include "stages/watch.c"
#include "lib/watch_xdp.h"
#include "stages/watch.c"
#include "stages/sweep.c"

/* The programs; bcc knows only functions of this file. */

int bpfast_entry(struct xdp_md *ctx)
{
	return stage_entry(ctx);
}

int bpfast_flow(struct xdp_md *ctx)
{
	return stage_flow(ctx);
}

int bpfast_prove(struct xdp_md *ctx)
{
	return stage_prove(ctx);
}

int bpfast_recall(struct xdp_md *ctx)
{
	return stage_recall(ctx);
}

int bpfast_header(struct xdp_md *ctx)
{
	return stage_header(ctx);
}

int bpfast_http(struct xdp_md *ctx)
{
	return stage_http(ctx);
}

int bpfast_chunk(struct xdp_md *ctx)
{
	return stage_chunk(ctx);
}

int bpfast_verdict(struct xdp_md *ctx)
{
	return stage_verdict(ctx);
}

int bpfast_guard(struct __sk_buff *skb)
{
	return stage_guard(skb);
}

int bpfast_watch(struct __sk_buff *skb)
{
	return stage_watch_tcx(skb);
}

int bpfast_watch_x(struct xdp_md *ctx)
{
	return stage_watch_xdp(ctx);
}

int bpfast_sweep(struct xdp_md *ctx)
{
	return stage_sweep(ctx);
}
