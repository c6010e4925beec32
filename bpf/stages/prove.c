/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * PROVE: bytes that passed before and are not acknowledged pass again only when
 * they are equal to the copy. Calls itself a PIECE at a time.
 *
 * The first copy may have died behind our hook (checksum, TTL, window), so the
 * server may take any of the two; a hash a segment would fail honest clients,
 * who cut a retransmission elsewhere.
 */

#define PROVE_RUNS 20 /* the rest is left to HTTP: they share the tail calls */

static __always_inline int is_equal(const u8 *copy, const u32 mask, u32 index, const u8 *piece,
				    u32 bytes)
{
	u32 i;

#pragma clang loop unroll(disable)
	for (i = 0; i < PIECE; i++) {
		opaque(i);
		if (i >= bytes)
			break;
		if (copy[bounded(index + i, mask)] != piece[i])
			return 0;
	}
	return 1;
}

/* Compare with the part of the copy that `index` lies in; 0 where there is none. */
static __always_inline int is_copied(struct context *c, struct flow *flow, u32 index, u32 bytes)
{
	u32 slot = flow->large - 1;
	u8 *large;

	if (index < INLINE_COPY)
		return is_equal(flow->copy, INLINE_COPY - 1, index, c->piece, bytes);
	if (!flow->large || index + bytes > LARGE_COPY)
		return 0;
	large = bpf_map_lookup_elem(MAP(MAP_COPIES), &slot);
	return large && is_equal(large, LARGE_COPY - 1, index, c->piece, bytes);
}

static __always_inline int stage_prove(FRAME *ctx)
{
	struct context *c = context_get();
	struct flow *flow;
	u32 bytes, index;

	if (!c)
		return FRAME_DROP;
	flow = flow_get(&c->key);
	if (!flow)
		return drop(c, REASON_INTERNAL);
	bytes = c->prove_to - c->position;
	if (bytes > PIECE)
		bytes = PIECE;
	index = c->packet.seq + c->position - flow->copy_base;
	/* Behind the copy lies only body: nothing left to prove. */
	if (bytes > flow->copy_end - (c->packet.seq + c->position))
		bytes = flow->copy_end - (c->packet.seq + c->position);
	bytes = copy_part(index, bytes);
	if (!bytes)
		return drop(c, REASON_UNPROVED_SEGMENT);
	bytes = bounded_size(bytes, PIECE);
	if (frame_load(ctx, c->packet.payload + c->position, c->piece, bytes))
		return drop(c, REASON_BAD_PACKET);
	if (!is_copied(c, flow, index, bytes))
		return drop(c, REASON_CHANGED_SEGMENT);
	c->position += bytes;
	if (c->position < c->prove_to && before(c->packet.seq + c->position, flow->copy_end)) {
		c->runs++;
		if (c->runs >= PROVE_RUNS)
			return drop(c, REASON_UNPROVED_SEGMENT);
		jump(ctx, SLOT_PROVE);
		return missed(c);
	}
	c->position = c->prove_to;
	if (has_log(c, flow)) {
		jump(ctx, SLOT_RECALL);
		return missed(c);
	}
	count(COUNT_PROVED);
	jump(ctx, SLOT_HTTP);
	return missed(c);
}
