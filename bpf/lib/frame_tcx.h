/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The packet in hand as tcx shows it; lib/frame_xdp.h has the same words over
 * XDP. tcx sees every packet, so nobody demands a mark; nothing is called
 * behind the chain, since tcx programs follow each other by themselves.
 *
 *   payload        may lie in fragments, which may be pages that the sender can
 *                  still write to: what is inspected is pulled before
 *   GSO            many segments in one; frame_resize() makes it one segment
 *   checksum       one that is summed already is kept right by what writes
 *                  (BPF_F_RECOMPUTE_CSUM; resizing forgets it); one that the
 *                  device is to complete has its place from the buffer's
 *                  start, so TCP must not move (frame_remake())
 *   VLAN           the outer tag is in the packet's metadata, where it stays
 *                  when the packet is sent back
 */
#ifndef BPFAST_LIB_FRAME_TCX_H
#define BPFAST_LIB_FRAME_TCX_H

#include "packet.h"

typedef struct __sk_buff FRAME;

#define FRAME_DROP 2    /* TCX_DROP */
#define FRAME_PASS (-1) /* TCX_NEXT: Cilium's programs, then the stack */
#define FRAME_CHAIN MAP_CHAIN_TCX
#define FRAME_HAS_NEXT 0

/* Ethernet, two tags, IPv6 and TCP with all options. */
#define HEADERS_MOST 128
_Static_assert(ETHERNET_BYTES + 2 * VLAN_BYTES + IPV6_BYTES + OPTIONS6_BYTES + TCP_BYTES <=
		       HEADERS_MOST,
	       "parse_packet() reads so much");
/* bpf_skb_change_tail() makes nothing longer: four pages and what the kernel adds. */
#define RESIZED_MOST 16000

static __always_inline u32 frame_size(FRAME *skb)
{
	return skb->len;
}

/*
 * Fragments of a frame from this node may be pages of the sender's file or memory
 * (sendfile(), MSG_ZEROCOPY, packet rings), which it can change until the receiver
 * reads them. What is inspected is therefore made the frame's own first; twice as
 * much as is asked for, so that many reads of a long frame do not copy it each time.
 */
static __always_inline int frame_own(FRAME *skb, u32 end)
{
	u64 own = skb->data_end - skb->data;
	u32 want = end * 2;

	opaque(own);
	if (end <= own)
		return 0;
	return bpf_skb_pull_data(skb, want < skb->len ? want : skb->len);
}

static __always_inline int frame_load(FRAME *skb, u32 from, void *to, u32 bytes)
{
	if (frame_own(skb, from + bytes))
		return -1;
	return bpf_skb_load_bytes(skb, from, to, bytes);
}

static __always_inline int frame_store(FRAME *skb, u32 to, void *from, u32 bytes)
{
	return bpf_skb_store_bytes(skb, to, from, bytes, BPF_F_RECOMPUTE_CSUM);
}

/* As frame_store(), for what stands in front of the IP header: it is in no sum. */
static __always_inline int frame_store_link(FRAME *skb, u32 to, void *from, u32 bytes)
{
	return bpf_skb_store_bytes(skb, to, from, bytes, 0);
}

/* Cut the frame off at its end, or let it grow there; from then on it is one segment. */
static __always_inline int frame_resize(FRAME *skb, u32 bytes)
{
	return bpf_skb_change_tail(skb, bytes, 0);
}

/*
 * The same for a frame whose headers are written anew, of which `gap` bytes
 * behind the IP header are not needed. They are taken out: what stands in front
 * of them moves and TCP stays.
 */
static __always_inline int frame_remake(FRAME *skb, u32 bytes, u32 gap)
{
	if (frame_resize(skb, bytes + gap))
		return -1;
	return gap ? bpf_skb_adjust_room(skb, -(int)gap, BPF_ADJ_ROOM_NET, 0) : 0;
}

/*
 * How long a frame may be that is cut. It is one segment then: where it is sent on
 * by the host it must be one that the client would have sent.
 */
static __always_inline u32 frame_cut_most(FRAME *skb, u32 headers, int leaves_host)
{
	if (leaves_host && skb->gso_size)
		return headers + skb->gso_size;
	return RESIZED_MOST;
}

/* Make the headers readable; not zero when that may have changed something. */
static __always_inline int frame_pull(FRAME *skb)
{
	bpf_skb_pull_data(skb, skb->len < HEADERS_MOST ? skb->len : HEADERS_MOST);
	return 1;
}

/* Does the frame carry a VLAN tag that does not stand in it? */
static __always_inline int frame_has_tag(FRAME *skb)
{
	return skb->vlan_present;
}

/* What was made from a GSO frame is one segment now. */
static __always_inline void frame_is_one(FRAME *skb)
{
	if (skb->gso_size)
		bpf_skb_change_tail(skb, skb->len, 0);
}

/* There is no guard. */
static __always_inline int frame_mark(FRAME *skb, u64 value)
{
	return 0;
}

/* Out of the device that it came in by; its tag goes with it. */
static __always_inline int frame_send_back(FRAME *skb)
{
	return bpf_redirect(skb->ifindex, 0);
}

#endif /* BPFAST_LIB_FRAME_TCX_H */
