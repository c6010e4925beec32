/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The framing of a chunked body (RFC 9112 7.1), a byte at a time. Pure: compiles
 * for the host.
 *
 *   BEGIN --digit--> DIGITS --CR--> LINE_LF --LF--> data, if the size is not 0
 *                      ^                |                |
 *   FIRST --digit------+                +--> END_CR      DATA_CR --CR--> DATA_LF --LF--> FIRST
 *                                            END_LF --LF--> over
 *
 * Strict: 1 to 15 hexadecimal digits, no chunk extensions, no trailers. The
 * grammar is the same for every rule set, so it is not in the tables
 * (docs/decisions/0007).
 *
 * In a head that is decided, `length` is the size that is being read or the
 * data that is left, `lines` counts digits, `state` is an enum chunk_state.
 */
#ifndef BPFAST_LIB_CHUNK_H
#define BPFAST_LIB_CHUNK_H

#include "compat.h"

/* What a byte has ended; a reason (below CHUNK_DATA) is a denial. */
#define CHUNK_ON 0
#define CHUNK_DATA 0x10000 /* a line: head->length bytes of data follow */
#define CHUNK_OVER 0x20000 /* the body */

enum chunk_state {
	CHUNK_BEGIN = 0, /* no byte of the body has come */
	CHUNK_FIRST,     /* behind the data's CRLF */
	CHUNK_DIGITS,
	CHUNK_LINE_LF,
	CHUNK_DATA_CR, /* behind data */
	CHUNK_DATA_LF,
	CHUNK_END_CR, /* behind the last chunk */
	CHUNK_END_LF,
};

/* The value of a hexadecimal digit; 16: it is none. */
static __always_inline u32 chunk_digit(u32 byte)
{
	u32 letter = (byte | 0x20) - 'a';

	if (byte - '0' < 10)
		return byte - '0';
	return letter < 6 ? letter + 10 : 16;
}

static __always_inline u32 chunk_size_byte(struct head *head, u32 byte)
{
	u32 digit = chunk_digit(byte);

	if (digit > 15) {
		if (byte != '\r' || head->state != CHUNK_DIGITS)
			return REASON_BAD_CHUNK;
		head->state = CHUNK_LINE_LF;
		return CHUNK_ON;
	}
	if (head->lines >= CHUNK_DIGITS_MOST)
		return REASON_BAD_CHUNK;
	head->lines++;
	head->length = head->length * 16 + digit;
	head->state = CHUNK_DIGITS;
	return CHUNK_ON;
}

static __always_inline u32 chunk_line_feed(struct head *head, u32 byte)
{
	u32 state = head->state;

	if (byte != '\n')
		return REASON_BAD_CHUNK;
	if (state == CHUNK_END_LF)
		return CHUNK_OVER;
	if (state == CHUNK_DATA_LF) {
		head->state = CHUNK_FIRST;
		return CHUNK_ON;
	}
	if (head->length)
		return CHUNK_DATA;
	head->state = CHUNK_END_CR;
	return CHUNK_ON;
}

/* One byte of framing. */
static __always_inline u32 chunk_byte(struct head *head, u32 byte)
{
	u32 state = head->state;

	if (state <= CHUNK_DIGITS)
		return chunk_size_byte(head, byte);
	if (state == CHUNK_DATA_CR) {
		if (byte != '\r')
			return REASON_BAD_CHUNK;
		head->state = CHUNK_DATA_LF;
		return CHUNK_ON;
	}
	if (state == CHUNK_END_CR) {
		if (byte != '\r')
			return byte == '\n' ? REASON_BAD_CHUNK : REASON_CHUNK_TRAILER;
		head->state = CHUNK_END_LF;
		return CHUNK_ON;
	}
	return chunk_line_feed(head, byte);
}

/* Framing comes next: of a body that begins, or behind the data of a chunk. */
static __always_inline void chunk_framing(struct head *head, u32 state)
{
	head->phase = PHASE_FRAMING;
	head->state = state;
	head->lines = 0;
	head->length = 0;
}

/* Inside a chunked body? */
static __always_inline int in_chunks(const struct head *head)
{
	return head->phase == PHASE_FRAMING ||
	       (head->phase == PHASE_BODY && head->flags & HEAD_CHUNKED);
}

/* Behind a head that is allowed, a body, or the data of a chunk: what comes next? */
static __always_inline void after_data(struct head *head)
{
	if (head->phase == PHASE_BODY && head->flags & HEAD_CHUNKED)
		chunk_framing(head, CHUNK_DATA_CR);
	else
		head->phase = head->flags & HEAD_CLOSE ? PHASE_CLOSED : PHASE_IDLE;
}

#endif /* BPFAST_LIB_CHUNK_H */
