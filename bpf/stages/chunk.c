/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * CHUNK: follow the chunks of a body through the new bytes of one segment.
 *
 *   HTTP --> FRAMING --a line--> data, skipped --> FRAMING --last chunk--> HTTP
 *               |
 *               +-- malformed, or trailers --> VERDICT
 *
 * A run takes CHUNKS_A_RUN steps, each the data of a chunk and the framing
 * behind it; then it calls itself. What does not fit into one packet's runs,
 * or into the log of framing, is cut off and comes again.
 */

#define CHUNKS_A_RUN 32

/* How framing() ends beside the results of chunk_byte(). */
#define CHUNK_LOG_FULL 0x40000

/* Data of known size: its bytes do not matter. */
static __always_inline void skip_data(struct context *c)
{
	u64 left = c->packet.length - c->position;
	u64 bytes = c->head.length < left ? c->head.length : left;

	c->position += bytes;
	c->head.length -= bytes;
	if (!c->head.length)
		after_data(&c->head);
}

/*
 * The record that takes the byte under the cursor, in note.at: a new one, or the
 * one that an earlier segment has begun. -1: the log is full.
 */
static __always_inline int open_record(struct context *c, struct flow *flow, u8 *log,
				       const u32 mask)
{
	u32 state = c->head.state;
	struct record *record;

	if (state != CHUNK_BEGIN && state != CHUNK_DATA_CR && flow->log_first != c->log_next) {
		c->note.at = c->log_next - 1;
		return 0;
	}
	if (c->log_next - flow->log_first > mask) {
		record = record_at(log, mask, flow->log_first);
		if (after(record->start + record->length, c->acked))
			return -1;
		flow->log_first++;
	}
	record = record_at(log, mask, c->log_next);
	record->start = c->packet.seq + c->position;
	record->length = 0;
	c->note.at = c->log_next++;
	return 0;
}

/* Walk over the bytes that are loaded; note.taken and note.stop are what came of it. */
static __always_inline void framing_bytes(struct context *c, struct record *record, u32 bytes)
{
	volatile struct walk_note *note = &c->note;
	u32 length = record->length, i;

	note->stop = CHUNK_ON;
#pragma clang loop unroll(disable)
	for (i = 0; i < RECORD_TEXT; i++) {
		u32 byte;

		opaque(i);
		if (i >= bytes || note->stop)
			break;
		byte = c->piece[i];
		record->text[bounded(length + i, 31)] = byte;
		note->stop = chunk_byte(&c->head, byte);
	}
	note->taken = i;
}

/*
 * The framing under the cursor, up to the data behind it or the segment's end.
 * Everything goes through memory (lib/context.h), or the verifier would follow
 * each step once more for each number of bytes that the one before can take.
 */
static __always_inline u32 framing(FRAME *ctx, struct context *c, struct flow *flow, u8 *log,
				   const u32 mask)
{
	volatile struct walk_note *note = &c->note;
	struct record *record;
	u32 bytes = c->packet.length - c->position;

	if (open_record(c, flow, log, mask))
		return CHUNK_LOG_FULL;
	note->bytes = bytes > RECORD_TEXT ? RECORD_TEXT : bytes;
	bytes = bounded_size(note->bytes, 32);
	if (frame_load(ctx, c->packet.payload + c->position, c->piece, bytes))
		return REASON_BAD_PACKET;
	record = record_at(log, mask, note->at);
	framing_bytes(c, record, bytes);
	record->length += note->taken;
	c->position += note->taken;
	c->log_end = c->packet.seq + c->position;
	if (note->stop == CHUNK_DATA)
		c->head.phase = PHASE_BODY;
	return note->stop;
}

/* As many steps as a run takes. */
static __always_inline u32 chunks(FRAME *ctx, struct context *c, struct flow *flow, u8 *log,
				  const u32 mask)
{
	u32 step;

#pragma clang loop unroll(disable)
	for (step = 0; step < CHUNKS_A_RUN; step++) {
		u32 result;

		opaque(step);
		if (c->head.phase == PHASE_BODY)
			skip_data(c);
		if (c->position >= c->packet.length)
			break;
		result = framing(ctx, c, flow, log, mask);
		if (result != CHUNK_ON && result != CHUNK_DATA)
			return result;
	}
	return CHUNK_ON;
}

/* The log is full: into a slot of the pool, or wait until the server has some of it. */
static __always_inline int enlarge_log(FRAME *ctx, struct context *c, struct flow *flow)
{
	u32 slot, i, n = c->log_next - LOG_INLINE;
	u8 *large;

	if (flow->log_slot || bpf_map_pop_elem(MAP(MAP_COPIES_FREE), &slot))
		return cut_or_drop(ctx, c, REASON_UNPROVED_SEGMENT);
	flow->log_slot = slot + 1;
	large = log_large(flow);
	if (!large)
		return drop(c, REASON_INTERNAL);
#pragma clang loop unroll(disable)
	for (i = 0; i < LOG_INLINE; i++) {
		opaque(i);
		*record_at(large, LOG_LARGE - 1, n + i) =
			*record_at(flow->log, LOG_INLINE - 1, n + i);
	}
	return repeat(ctx, c);
}

/*
 * A request that was allowed and is denied for its body: it is taken back, so
 * that the answer finds its place as for any other request.
 */
static __always_inline int deny_body(FRAME *ctx, struct context *c, u32 reason)
{
	c->head.requests--;
	if (before(c->head.start, c->packet.seq + c->prove_to))
		c->requests_before--;
	return deny(ctx, c, reason);
}

static __always_inline int stage_chunk(FRAME *ctx)
{
	struct context *c = context_get();
	struct flow *flow;
	u32 result;

	if (!c)
		return FRAME_DROP;
	flow = flow_get(&c->key);
	if (!flow)
		return drop(c, REASON_INTERNAL);
	if (flow->log_slot) {
		u8 *large = log_large(flow);

		if (!large)
			return drop(c, REASON_INTERNAL);
		result = chunks(ctx, c, flow, large, LOG_LARGE - 1);
	} else {
		result = chunks(ctx, c, flow, flow->log, LOG_INLINE - 1);
	}
	if (result == CHUNK_LOG_FULL)
		return enlarge_log(ctx, c, flow);
	if (result == CHUNK_OVER)
		after_data(&c->head);
	else if (result)
		return deny_body(ctx, c, result);
	if (c->position < c->packet.length)
		return repeat(ctx, c);
	return commit(ctx, c, flow);
}
