/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The words of stages/watch.c over generic XDP, for kernels that have no tcx.
 *
 * A clsact filter on the host side would not do: Cilium's own one there ends the
 * classification. Generic XDP shows the whole frame, but not its GSO size: an
 * answer that was made from a GSO frame keeps it, and where the way back has no
 * segmentation offload only the client's retransmission is answered (0.2 s).
 */
#ifndef BPFAST_LIB_WATCH_XDP_H
#define BPFAST_LIB_WATCH_XDP_H

#include "verdict.h"
#include "witness.h"

#undef FRAME
#undef TWIN
#undef WATCHED
#define FRAME struct xdp_md
#define TWIN(name) name##_xdp
#define WATCHED unjudged()

static __always_inline u32 frame_size_xdp(struct xdp_md *ctx)
{
	return frame_bytes(ctx);
}

static __always_inline int frame_load_xdp(struct xdp_md *ctx, u32 from, void *to, u32 bytes)
{
	return bpf_xdp_load_bytes(ctx, from, to, bytes);
}

static __always_inline int frame_pull_xdp(struct xdp_md *ctx)
{
	return 0; /* generic XDP has made it linear */
}

static __always_inline void frame_is_one_xdp(struct xdp_md *ctx)
{
}

#endif /* BPFAST_LIB_WATCH_XDP_H */
