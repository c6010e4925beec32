/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * TCP options on a SYN: Multipath TCP is taken off (RFC 8684).
 *
 * MP_CAPABLE and MP_JOIN let a client spread one stream over connections that
 * nobody sees together. Overwritten with NOPs, the server answers plain TCP and
 * so does the client.
 */
#ifndef BPFAST_LIB_OPTIONS_H
#define BPFAST_LIB_OPTIONS_H

#include "compose.h"

#define OPTION_MPTCP 30
#define MAX_TCP_BYTES 60

/*
 * Walk over `bytes` bytes of options in the piece, a byte a round; the two counters
 * are in the context so that each round looks the same to the verifier.
 */
static __always_inline void blank_mptcp(struct context *c, u32 bytes)
{
	u32 i;

	c->blanked = 0;
	c->option = 0;       /* bytes left of an option that stays */
	c->option_blank = 0; /* bytes left of one that goes */
#pragma clang loop unroll(disable)
	for (i = 0; i < MAX_OPTION_BYTES; i++) {
		u32 keep = *(volatile u32 *)&c->option, blank = *(volatile u32 *)&c->option_blank;
		u8 *at = &c->piece[TCP_BYTES + (i & 63)], kind = at[0], size = at[1];

		opaque(i);
		if (i >= bytes)
			break;
		if (keep) {
			c->option = keep - 1;
			continue;
		}
		if (blank) {
			at[0] = OPTION_NOP;
			c->option_blank = blank - 1;
			continue;
		}
		if (kind == OPTION_END)
			break;
		if (kind == OPTION_NOP)
			continue;
		if (size < 2)
			break;
		if (kind == OPTION_MPTCP) {
			at[0] = OPTION_NOP;
			c->option_blank = size - 1;
			c->blanked = 1;
		} else {
			c->option = size - 1;
		}
	}
}

/* Take Multipath TCP off a SYN without payload; -1 when the packet cannot be written. */
static __always_inline int strip_mptcp(FRAME *ctx, struct context *c)
{
	u32 l4 = c->packet.l4, bytes = c->packet.payload - l4;
	u16 check, zero = 0;
	u64 sum;

	if (bytes <= TCP_BYTES || bytes > MAX_TCP_BYTES)
		return 0;
	bytes = bounded_size(bytes, 64);
	if (frame_load(ctx, l4, c->piece, bytes))
		return -1;
	blank_mptcp(c, bytes - TCP_BYTES);
	if (!c->blanked)
		return 0;
	__builtin_memcpy(&check, &c->piece[16], 2);
	if (!is_partial(c, check)) {
		__builtin_memcpy(&c->piece[16], &zero, 2);
		sum = pseudo_sum(&c->key, bytes);
		sum += (u32)bpf_csum_diff(0, 0, (void *)c->piece, bounded(bytes, 0x7c), 0);
		check = ~fold(sum);
		__builtin_memcpy(&c->piece[16], &check, 2);
	}
	return frame_store(ctx, l4, c->piece, bytes) ? -1 : 0;
}

#endif /* BPFAST_LIB_OPTIONS_H */
