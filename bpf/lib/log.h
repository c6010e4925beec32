/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The log of chunk framing: what passed of it and may not be acknowledged yet,
 * for PROVE. Data between two lines may be megabytes and needs no proof, so the
 * log is not one run of bytes as the copy of heads is, but records:
 *
 *   record n    number of its first byte | length | up to 24 bytes
 *
 * [log_first, log_next) of the flow are in it. The last LOG_INLINE lie in the
 * flow itself; where more are not acknowledged, in a slot of the pool. Like the
 * copy it is written at once and counts only when the segment passes.
 */
#ifndef BPFAST_LIB_LOG_H
#define BPFAST_LIB_LOG_H

#include "flow.h"

#define RECORD_BYTES 32
#define RECORD_TEXT 24 /* a line, the CRLF before it and the last CRLF are 21 at most */
#define LOG_LARGE (LARGE_COPY / RECORD_BYTES)
_Static_assert(2 + CHUNK_DIGITS_MOST + 4 <= RECORD_TEXT, "framing must fit");

struct record {
	u32 start; /* number of its first byte */
	u32 length;
	u8 text[RECORD_TEXT];
};
_Static_assert(sizeof(struct record) == RECORD_BYTES, "records lie one behind the other");

/* Record `n` of a log of mask + 1 records. */
static __always_inline struct record *record_at(u8 *log, const u32 mask, u32 n)
{
	return (struct record *)&log[bounded(n, mask) * RECORD_BYTES];
}

static __always_inline u8 *log_large(struct flow *flow)
{
	u32 slot = flow->log_slot - 1;

	return bpf_map_lookup_elem(MAP(MAP_COPIES), &slot);
}

/* Is framing in the log that this segment may have again? */
static __always_inline int has_log(const struct context *c, const struct flow *flow)
{
	return flow->log_first != flow->log_next && before(c->packet.seq, flow->log_end);
}

/* Forget what the server has acknowledged. */
static __always_inline void log_forget(struct flow *flow, u32 acked)
{
	if (flow->log_first == flow->log_next || before(acked, flow->log_end))
		return;
	flow->log_first = flow->log_next;
	log_free(flow);
}

#endif /* BPFAST_LIB_LOG_H */
