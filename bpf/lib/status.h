/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How an answer begins: the status line (RFC 9112 4), "HTTP/1.1 200 " or the same
 * of HTTP/1.0. Pure: compiles for the host.
 *
 * The bytes are the server's, and perhaps no answer's beginning at all: what is not
 * a status line to the last of STATUS_BYTES has no status.
 */
#ifndef BPFAST_LIB_STATUS_H
#define BPFAST_LIB_STATUS_H

#include "compat.h"

#define STATUS_BYTES 13               /* up to the blank, or the line's end, behind the number */
#define STATUS_ROOM 16                /* what is read into: the rest is zeros */
#define HTTP_11 0x312e312f50545448ULL /* "HTTP/1.1" */
#define HTTP_10_DIFFERS (1ULL << 56)  /* "HTTP/1.0" is one bit away */

/* What is no number of three digits. */
#define STATUS_FOREIGN 0        /* no status line */
#define STATUS_CUT 1            /* the beginning of one, and no more in the segment */
#define STATUS_CUT_IN_INTERIM 2 /* the same, of an interim response */
_Static_assert(STATUS_BYTES <= STATUS_ROOM, "a status line must fit");

/* The status in the first `bytes` (1 to STATUS_BYTES) of `text`; else one of the above. */
static __always_inline u32 status_of(const u8 *text, u32 bytes)
{
	u64 known = bytes < 8 ? (1ULL << bytes * 8) - 1 : ~0ULL;
	u32 status = 0, i;

	if ((*(const u64 *)text ^ HTTP_11) & known & ~HTTP_10_DIFFERS)
		return STATUS_FOREIGN;
	if (bytes > 8 && text[8] != ' ')
		return STATUS_FOREIGN;
#pragma clang loop unroll(full)
	for (i = 9; i < 12; i++) {
		u32 digit = text[i] - '0';

		if (bytes > i && digit > 9)
			return STATUS_FOREIGN;
		status = status * 10 + digit;
	}
	if (bytes > 9 && text[9] == '0')
		return STATUS_FOREIGN;
	if (bytes < STATUS_BYTES)
		return bytes > 9 && text[9] == '1' ? STATUS_CUT_IN_INTERIM : STATUS_CUT;
	return text[12] == ' ' || text[12] == '\r' || text[12] == '\n' ? status : STATUS_FOREIGN;
}

/* 1 to 5 for 1xx to 5xx, 0 for all else. */
static __always_inline u32 status_class(u32 status)
{
	u32 class = status / 100;

	return class > 5 ? 0 : class;
}

#endif /* BPFAST_LIB_STATUS_H */
