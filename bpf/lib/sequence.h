/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Sequence numbers: RFC 9293 3.4, differences are signed 32 bits. Pure. */
#ifndef BPFAST_LIB_SEQUENCE_H
#define BPFAST_LIB_SEQUENCE_H

#include "compat.h"

/* How far numbers may lie apart and still be of one window. */
#define WINDOW_MOST (1 << 30)

static __always_inline s32 distance(u32 later, u32 earlier)
{
	return (s32)(later - earlier);
}

static __always_inline int before(u32 a, u32 b)
{
	return distance(a, b) < 0;
}

static __always_inline int after(u32 a, u32 b)
{
	return distance(a, b) > 0;
}

static __always_inline u32 later_of(u32 a, u32 b)
{
	return after(a, b) ? a : b;
}

static __always_inline int near(u32 a, u32 b)
{
	s32 apart = distance(a, b);

	return apart < WINDOW_MOST && apart > -WINDOW_MOST;
}

#endif /* BPFAST_LIB_SEQUENCE_H */
