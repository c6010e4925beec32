/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The packet in hand as generic XDP shows it; lib/frame_tcx.h has the same words
 * over a tcx context. A text includes one of them first, and nothing else in it
 * knows which.
 *
 * Generic XDP shows the whole frame in one piece, but neither its GSO size nor
 * whether its checksum is whole. What it skips (packets that were redirected) the
 * guard stops, which demands the mark that is left here.
 */
#ifndef BPFAST_LIB_FRAME_XDP_H
#define BPFAST_LIB_FRAME_XDP_H

#include "compat.h"

typedef struct xdp_md FRAME;

#define FRAME_DROP XDP_DROP
#define FRAME_PASS XDP_PASS
#define FRAME_CHAIN MAP_CHAIN
#define FRAME_HAS_NEXT 1

/* Hidden from the compiler: it would calculate with the end pointer itself. */
static __always_inline u32 frame_size(FRAME *ctx)
{
	u64 bytes = ctx->data_end - ctx->data;

	opaque(bytes);
	return (u32)bytes;
}

static __always_inline int frame_load(FRAME *ctx, u32 from, void *to, u32 bytes)
{
	return bpf_xdp_load_bytes(ctx, from, to, bytes);
}

static __always_inline int frame_store(FRAME *ctx, u32 to, void *from, u32 bytes)
{
	return bpf_xdp_store_bytes(ctx, to, from, bytes);
}

/* As frame_store(), for what stands in front of the IP header. */
static __always_inline int frame_store_link(FRAME *ctx, u32 to, void *from, u32 bytes)
{
	return bpf_xdp_store_bytes(ctx, to, from, bytes);
}

/*
 * Cut the frame off at its end, or let it grow there: to one byte more, which is
 * padding. Generic XDP (net/core/dev.c, bpf_prog_run_generic_xdp()) puts the
 * buffer's tail behind the new end by as much as the Ethernet header has, and
 * what a socket's backlog appends there would come with 14 strange bytes before
 * it. A frame that is longer than its IP header says is trimmed by ip_rcv(),
 * which puts the tail right.
 */
static __always_inline int frame_resize(FRAME *ctx, u32 bytes)
{
	u8 padding = 0;

	if (bpf_xdp_adjust_tail(ctx, (int)(bytes + 1 - frame_size(ctx))))
		return -1;
	return frame_store(ctx, bytes, &padding, sizeof(padding));
}

/*
 * The same for a frame whose headers are written anew, of which `gap` bytes
 * behind the IP header will not be needed: TCP moves forward over them.
 */
static __always_inline int frame_remake(FRAME *ctx, u32 bytes, u32 gap)
{
	return frame_resize(ctx, bytes);
}

/* How long a frame may be that is cut. */
static __always_inline u32 frame_cut_most(FRAME *ctx, u32 headers, int leaves_host)
{
	return ~0U;
}

/* Make the headers readable; not zero when that may have changed something. */
static __always_inline int frame_pull(FRAME *ctx)
{
	return 0; /* they are */
}

/* Does the frame carry a VLAN tag that does not stand in it? */
static __always_inline int frame_has_tag(FRAME *ctx)
{
	return 0;
}

/* What was made from a GSO frame is one segment now: nothing that XDP could see or say. */
static __always_inline void frame_is_one(FRAME *ctx)
{
}

/* Leave the mark for the guard. */
static __always_inline int frame_mark(FRAME *ctx, u64 value)
{
	u64 *mark;

	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*mark)))
		return -1;
	mark = (void *)(long)ctx->data_meta;
	if ((void *)(mark + 1) > (void *)(long)ctx->data)
		return -1;
	*mark = value;
	return 0;
}

/* Out of the device that it came in by. */
static __always_inline int frame_send_back(FRAME *ctx)
{
	return XDP_TX;
}

#endif /* BPFAST_LIB_FRAME_XDP_H */
