/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The words of stages/watch.c over a tcx context; lib/watch_xdp.h has the same ones over XDP. */
#ifndef BPFAST_LIB_WATCH_TCX_H
#define BPFAST_LIB_WATCH_TCX_H

#include "witness.h"

#define FRAME struct __sk_buff
#define TWIN(name) name##_tcx
#define WATCHED TCX_CONTINUE

/* Ethernet, two tags, IPv6 and TCP with all options. */
#define HEADERS_MOST 128

static __always_inline u32 frame_size_tcx(struct __sk_buff *skb)
{
	return skb->len;
}

static __always_inline int frame_load_tcx(struct __sk_buff *skb, u32 from, void *to, u32 bytes)
{
	return bpf_skb_load_bytes(skb, from, to, bytes);
}

/* Make the headers readable; not zero when that may have changed something. */
static __always_inline int frame_pull_tcx(struct __sk_buff *skb)
{
	bpf_skb_pull_data(skb, skb->len < HEADERS_MOST ? skb->len : HEADERS_MOST);
	return 1;
}

/* What was made from a GSO frame is one segment now. */
static __always_inline void frame_is_one_tcx(struct __sk_buff *skb)
{
	if (skb->gso_size)
		bpf_skb_change_tail(skb, skb->len, 0);
}

#endif /* BPFAST_LIB_WATCH_TCX_H */
