/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Kernel or host: the only file that asks. */
#ifndef BPFAST_LIB_COMPAT_H
#define BPFAST_LIB_COMPAT_H

#include "abi.h"

#ifdef BPFAST_HOST
#include <stdint.h>
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/*
 * `value & mask` that the compiler can neither drop nor move: what it has
 * proved the verifier may not see. The mask must be a constant of 31 bits.
 */
static __always_inline u32 bounded(u32 value, const u32 mask)
{
#ifdef BPFAST_HOST
	return value & mask;
#else
	u64 wide = value;

	asm volatile("%0 &= %1" : "+r"(wide) : "i"(mask));
	return (u32)wide;
#endif
}

/*
 * Hides from the compiler what it knows of a loop's counter, so that it does
 * not melt two bounds into one that the verifier cannot follow.
 */
#define opaque(counter) asm volatile("" : "+r"(counter))

/* For a size that is known to be 1 to `most` (a power of two): says so. */
static __always_inline u32 bounded_size(u32 size, const u32 most)
{
	return bounded(size - 1, most - 1) + 1;
}

#define swap16(x) __builtin_bswap16(x)
#define swap32(x) __builtin_bswap32(x)

#endif /* BPFAST_LIB_COMPAT_H */
