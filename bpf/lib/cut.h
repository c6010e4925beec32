/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Shorten a segment: what stands before the cursor passes, TCP sends the rest
 * again. A partial checksum stays partial, a whole one is summed anew.
 */
#ifndef BPFAST_LIB_CUT_H
#define BPFAST_LIB_CUT_H

#include "compose.h"

/*
 * The sum of `bytes` payload bytes, or -1 beyond CUT_SUM_MOST: frames with a
 * whole checksum are no longer than a jumbo frame, others carry a partial one.
 */
#define CUT_SUM_CHUNK 512
#define CUT_SUM_PIECES 5
#define CUT_SUM_MOST (CUT_SUM_PIECES * PIECE)

static __always_inline s64 piece_sum(FRAME *ctx, struct context *c, u32 from, u32 bytes)
{
	u64 sum = 0;
	u32 i;

#pragma clang loop unroll(disable)
	for (i = 0; i < PIECE / 8; i++)
		((volatile u64 *)c->piece)[i] = 0; /* or the compiler calls memset() */
	bytes = bounded_size(bytes > PIECE ? PIECE : bytes, PIECE);
	if (frame_load(ctx, c->packet.payload + from, c->piece, bytes))
		return -1;
#pragma clang loop unroll(full)
	for (i = 0; i < PIECE / CUT_SUM_CHUNK; i++)
		sum += (u32)bpf_csum_diff(0, 0, (void *)&c->piece[i * CUT_SUM_CHUNK], CUT_SUM_CHUNK,
					  0);
	return sum;
}

static __always_inline s64 payload_sum(FRAME *ctx, struct context *c, u32 bytes)
{
	s64 sum = 0, part;
	u32 from;

	if (bytes > CUT_SUM_MOST)
		return -1;
#pragma clang loop unroll(disable)
	for (from = 0; from < CUT_SUM_MOST; from += PIECE) {
		opaque(from);
		if (from >= bytes)
			break;
		part = piece_sum(ctx, c, from, bytes - from);
		if (part < 0)
			return -1;
		sum += part;
	}
	return sum;
}

/* The TCP checksum of the packet in hand with `bytes` of its payload; 0, or -1. */
static __always_inline int cut_checksum(FRAME *ctx, struct context *c, u32 bytes, u8 flags,
					u16 *check)
{
	u32 header = c->packet.payload - c->packet.l4;
	u64 sum = pseudo_sum(&c->key, header + bytes);
	s64 tail;

	if (frame_load(ctx, c->packet.l4 + 16, check, sizeof(*check)))
		return -1;
	if (is_partial(c, *check)) {
		*check = fold(sum);
		return 0;
	}
	tail = payload_sum(ctx, c, bytes);
	if (tail < 0 || header < TCP_BYTES || header > TCP_BYTES + MAX_OPTION_BYTES)
		return -1;
	header = bounded_size(header, 64);
	if (frame_load(ctx, c->packet.l4, c->piece, header))
		return -1;
	c->piece[13] = flags;
	c->piece[16] = 0;
	c->piece[17] = 0;
	sum += (u32)bpf_csum_diff(0, 0, (void *)c->piece, bounded(header, 0x7c), 0);
	*check = ~fold(sum + tail);
	return 0;
}

static __always_inline int set_ipv4_length(FRAME *ctx, u32 l3, u32 bytes)
{
	u16 total = length_field(bytes), check = 0;
	u8 ip[IPV4_BYTES];

	if (frame_load(ctx, l3, ip, sizeof(ip)))
		return -1;
	__builtin_memcpy(&ip[2], &total, sizeof(total));
	__builtin_memcpy(&ip[10], &check, sizeof(check));
	check = ~fold((u32)bpf_csum_diff(0, 0, (void *)ip, sizeof(ip), 0));
	__builtin_memcpy(&ip[10], &check, sizeof(check));
	return frame_store(ctx, l3, ip, sizeof(ip)) ? -1 : 0;
}

/* `bytes` behind IPv6's header; options stand there only with BIG TCP (parse_jumbo()). */
static __always_inline int set_ipv6_length(FRAME *ctx, u32 l3, u32 l4, u32 bytes)
{
	u16 payload = length_field(bytes);
	u64 options = jumbo_options(bytes);

	if (l4 != l3 + IPV6_BYTES && frame_store(ctx, l3 + IPV6_BYTES, &options, sizeof(options)))
		return -1;
	return frame_store(ctx, l3 + 4, &payload, sizeof(payload)) ? -1 : 0;
}

/* The IP header's length of a packet that ends at `end`. */
static __always_inline int set_length(FRAME *ctx, const struct context *c, u32 end)
{
	u32 l3 = c->packet.l3;

	if (c->packet.version == 6)
		return set_ipv6_length(ctx, l3, c->packet.l4, end - l3 - IPV6_BYTES);
	return set_ipv4_length(ctx, l3, end - l3);
}

/*
 * Shorten the packet in hand to the payload before the cursor, or to less where
 * the hook cannot do so much: lengths and checksums. FIN and PSH go with what is
 * cut off. 0, or -1.
 */
static __always_inline int cut(FRAME *ctx, struct context *c)
{
	u32 l4 = c->packet.l4, payload = c->packet.payload, end = payload + c->position;
	u32 most = frame_cut_most(ctx, payload, c->direction == DIRECTION_EGRESS);
	u8 flags = c->packet.flags & ~(TCP_FIN | TCP_PSH);
	u16 check;

	if (end > most)
		end = most;
	if (cut_checksum(ctx, c, end - payload, flags, &check) || frame_resize(ctx, end) ||
	    set_length(ctx, c, end) || frame_store(ctx, l4 + 13, &flags, sizeof(flags)) ||
	    frame_store(ctx, l4 + 16, &check, sizeof(check)))
		return -1;
	return 0;
}

#endif /* BPFAST_LIB_CUT_H */
