/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * RECALL: as PROVE, for the framing of chunks: where a segment comes again that
 * is not acknowledged, its size lines must be those in the log. The data
 * between them is of known length and needs no proof.
 */

#define RECORDS_A_RUN 64

/* Is what the segment has of a record equal to it? 1 or 0; -1: it lies behind the old bytes. */
static __always_inline int is_logged(FRAME *ctx, struct context *c, const struct record *record)
{
	u32 begin = c->packet.seq, end = begin + c->prove_to, from, bytes, i;

	if (!before(record->start, end))
		return -1;
	from = later_of(record->start, begin);
	bytes = record->start + record->length - from;
	if (!after(from + bytes, from))
		return 1; /* before the segment */
	if (bytes > end - from)
		bytes = end - from;
	bytes = bounded_size(bytes, 32);
	if (frame_load(ctx, c->packet.payload + (from - begin), c->piece, bytes))
		return 0;
	from -= record->start;
#pragma clang loop unroll(disable)
	for (i = 0; i < RECORD_TEXT; i++) {
		opaque(i);
		if (i >= bytes)
			break;
		if (record->text[bounded(from + i, 31)] != c->piece[i])
			return 0;
	}
	return 1;
}

/* Compare with records of chunk framing: 1: all are equal; 0: one is not; -1: there are more. */
static __always_inline int are_logged(FRAME *ctx, struct context *c, struct flow *flow, u8 *log,
				      const u32 mask)
{
	u32 i;

#pragma clang loop unroll(disable)
	for (i = 0; i < RECORDS_A_RUN; i++) {
		int equal;

		opaque(i);
		if (c->log_at == flow->log_next)
			return 1;
		equal = is_logged(ctx, c, record_at(log, mask, c->log_at));
		if (equal <= 0)
			return equal ? 1 : 0;
		c->log_at++;
	}
	return -1;
}

static __always_inline int stage_recall(FRAME *ctx)
{
	struct context *c = context_get();
	struct flow *flow;
	int equal;

	if (!c)
		return FRAME_DROP;
	flow = flow_get(&c->key);
	if (!flow)
		return drop(c, REASON_INTERNAL);
	if (flow->log_slot) {
		u8 *large = log_large(flow);

		if (!large)
			return drop(c, REASON_INTERNAL);
		equal = are_logged(ctx, c, flow, large, LOG_LARGE - 1);
	} else {
		equal = are_logged(ctx, c, flow, flow->log, LOG_INLINE - 1);
	}
	if (!equal)
		return drop(c, REASON_CHANGED_SEGMENT);
	if (equal < 0) {
		c->runs++;
		if (c->runs >= PROVE_RUNS)
			return drop(c, REASON_UNPROVED_SEGMENT);
		jump(ctx, SLOT_RECALL);
		return missed(c);
	}
	count(COUNT_PROVED);
	jump(ctx, SLOT_HTTP);
	return missed(c);
}
