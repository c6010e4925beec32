/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Heads that were plainly allowed, one memory a CPU: the same bytes in the same
 * table need no walk.
 *
 * What a walk finds depends on the table and the bytes alone, when it begins
 * between requests. Where a segment was whole heads and nothing else, its bytes
 * are kept with the name of the table; FLOW compares the next segment's with
 * them, all of them, eight at a time. A slot is chosen by the sum of the words:
 * who makes two segments share one makes them slow again and nothing else.
 */
#ifndef BPFAST_LIB_MEMO_H
#define BPFAST_LIB_MEMO_H

#include "maps.h"

#define MEMO_WORD 8
#define MEMO_SPREAD 0x9e3779b97f4a7c15ULL
_Static_assert(MEMO_BYTES <= INLINE_COPY, "FLOW keeps them in the flow alone");
_Static_assert((MEMO_SLOTS & (MEMO_SLOTS - 1)) == 0, "MEMO_SLOTS must be a power of two");

/* A length that is remembered? The shortest head is longer than a word. */
static __always_inline int memo_takes(u32 bytes)
{
	return bytes >= MEMO_WORD && bytes <= MEMO_BYTES;
}

/* The last word of `bytes` bytes, which may overlap the one before. */
static __always_inline u32 memo_last(u32 bytes)
{
	return bounded(bytes - MEMO_WORD, MEMO_BYTES - 1);
}

/* The slot for the piece's first `bytes` bytes. */
static __always_inline struct memo *memo_at(const u8 *piece, u32 bytes)
{
	u64 sum = *(const u64 *)&piece[memo_last(bytes)];
	u32 i, slot;

#pragma clang loop unroll(disable)
	for (i = 0; i < MEMO_BYTES; i += MEMO_WORD) {
		opaque(i);
		if (i + MEMO_WORD > bytes)
			break;
		sum += *(const u64 *)&piece[i];
	}
	slot = (sum * MEMO_SPREAD >> 32) & (MEMO_SLOTS - 1);
	return bpf_map_lookup_elem(MAP(MAP_MEMO), &slot);
}

/* Copy the bytes; not zero when they were not equal to `like`. */
static __always_inline u64 memo_copy(u8 *to, const u8 *piece, const u8 *like, u32 bytes)
{
	u32 i, last = memo_last(bytes);
	u64 word = *(const u64 *)&piece[last], differs = word ^ *(const u64 *)&like[last];

	*(u64 *)&to[last] = word;
#pragma clang loop unroll(disable)
	for (i = 0; i < MEMO_BYTES; i += MEMO_WORD) {
		opaque(i);
		if (i + MEMO_WORD > bytes)
			break;
		word = *(const u64 *)&piece[i];
		differs |= word ^ *(const u64 *)&like[i];
		*(u64 *)&to[i] = word;
	}
	return differs;
}

/*
 * Remember the segment in the piece: whole heads that the table at c->base has
 * allowed. The place in rule_sets may have been given to another since then, and
 * places in memory are not used again so soon.
 */
static __always_inline void memo_keep(struct context *c, const struct rule_set *rules, u32 heads)
{
	u32 bytes = c->packet.length;
	struct memo *memo;

	if (!rules)
		return;
	if (*(volatile u32 *)&rules->serial != c->head.serial ||
	    *(volatile u32 *)&rules->base != c->base)
		return;
	memo = memo_at(c->piece, bytes);
	if (!memo)
		return;
	memo_copy(memo->text, c->piece, c->piece, bytes);
	memo->serial = c->head.serial;
	memo->bytes = bytes;
	memo->heads = heads;
}

/* Has this table allowed exactly these bytes before? How many heads they are, or 0. */
static __always_inline u32 memo_heads(const struct memo *memo, const struct rule_set *rules,
				      u32 bytes)
{
	if (!memo || !rules || !rules->serial || memo->serial != rules->serial ||
	    memo->bytes != bytes)
		return 0;
	return memo->heads;
}

#endif /* BPFAST_LIB_MEMO_H */
