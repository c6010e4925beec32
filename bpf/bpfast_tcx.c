/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The text of the tcx programs: the twin of bpfast.c, where more is said. GUARD is
 * for XDP chains; SWEEP is there only.
 */
#include "lib/frame_tcx.h"
#include "lib/cut.h"
#include "lib/drain.h"
#include "lib/log.h"
#include "lib/memo.h"
#include "lib/options.h"
#include "lib/status.h"
#include "lib/witness.h"

#include "stages/entry.c"
#include "stages/flow.c"
#include "stages/prove.c"
#include "stages/recall.c"
#include "stages/header.c"
#include "stages/http.c"
#include "stages/chunk.c"
#include "stages/verdict.c"
#include "stages/watch.c"
#include "stages/guard.c"

/* The programs; bcc knows only functions of this file. */

int bpfast_entry(FRAME *ctx)
{
	return stage_entry(ctx);
}

int bpfast_flow(FRAME *ctx)
{
	return stage_flow(ctx);
}

int bpfast_prove(FRAME *ctx)
{
	return stage_prove(ctx);
}

int bpfast_recall(FRAME *ctx)
{
	return stage_recall(ctx);
}

int bpfast_header(FRAME *ctx)
{
	return stage_header(ctx);
}

int bpfast_http(FRAME *ctx)
{
	return stage_http(ctx);
}

int bpfast_chunk(FRAME *ctx)
{
	return stage_chunk(ctx);
}

int bpfast_verdict(FRAME *ctx)
{
	return stage_verdict(ctx);
}

int bpfast_watch(FRAME *ctx)
{
	return stage_watch(ctx);
}

int bpfast_guard(FRAME *ctx)
{
	return stage_guard(ctx);
}
