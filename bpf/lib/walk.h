/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The walk of a table over bytes of a request head. Pure: compiles for the host.
 *
 * The table is a Mealy machine over the whole head, all of HTTP's grammar in
 * it (addon/bpfast/tables/http1.py); what is left to do here is to step and,
 * on the few transitions that are actions, to keep count:
 *
 *      byte -> class -> word = row[class] --+-- a state: go on
 *                                           +-- an action: faults, names seen,
 *                                               constraints set, digits, ends
 *
 * words: the tables of all rule sets; `base` is where this one begins.
 */
#ifndef BPFAST_LIB_WALK_H
#define BPFAST_LIB_WALK_H

#include "compat.h"

#define TABLE_MASK (TABLE_WORDS - 1)
#define TABLE_BYTE_MASK (TABLE_WORDS * 4 - 1)
_Static_assert((TABLE_WORDS & TABLE_MASK) == 0, "TABLE_WORDS must be a power of two");

#define WALK_FLAGS (HEAD_IS_HEAD | HEAD_CLOSE | HEAD_EXPECT | HEAD_CHUNKED)

/* How an action ends the walk; a reason (below WALK_HEAD_END) is a denial. */
#define WALK_ON 0
#define WALK_HEAD_END 0x10000
_Static_assert(REASON_MAX < WALK_HEAD_END, "a reason must not look like an end");

static __always_inline u32 repeated_reason(u64 twice)
{
	if (twice & (1ULL << SEEN_HOST))
		return REASON_BAD_HOST;
	/* This first: a coding counts as a length, too, so that both are one too many. */
	if (twice & (1ULL << SEEN_TRANSFER_ENCODING))
		return REASON_BAD_TRANSFER_ENCODING;
	if (twice & (1ULL << SEEN_CONTENT_LENGTH))
		return REASON_BAD_CONTENT_LENGTH;
	if (twice & (1ULL << SEEN_EXPECT))
		return REASON_BAD_EXPECT;
	return REASON_REPEATED_HEADER;
}

/* The top bit of a 64-bit word: set where `value` is over `limit`. */
static __always_inline u64 over(u64 value, u64 limit)
{
	return (limit - value) & (1ULL << 63);
}

/* The action record at word `at`; records stand on multiples of their size. */
static __always_inline const struct action *action_at(const u32 *words, u64 at)
{
	return (const struct action *)&words[at & (TABLE_MASK & ~(ACTION_WORDS - 1ULL))];
}
_Static_assert(sizeof(struct action) == ACTION_WORDS * 4, "a record is ACTION_WORDS words");

/*
 * One action, for this byte. Not zero when the walk must stop; walk_why() then
 * says why. There is no branch in it on purpose: the verifier would follow
 * each one again for each byte of a piece.
 */
static __always_inline u64 walk_action(struct head *head, const struct action *action, u64 byte)
{
	u64 ops = action->ops, seen = action->seen, twice = head->seen & seen;
	u64 digit = (ops / OP_DIGIT) & 1, lines = head->lines + ((ops / OP_HEADER_LINE) & 1);
	u64 length = head->length + digit * (head->length * 9 + byte - '0');

	head->length = length;
	head->lines = lines;
	head->flags |= (ops / OP_HEAD_METHOD) & WALK_FLAGS;
	head->candidates |= action->candidates;
	head->seen |= seen;
	head->set |= action->set;
	return (ops & (OP_FAULT | OP_HEAD_END)) | twice | over(lines, MAX_HEADER_LINES) |
	       over(length, MAX_CONTENT_LENGTH);
}
_Static_assert(OP_CLOSE == OP_HEAD_METHOD * HEAD_CLOSE, "flags are the ops, shifted");
_Static_assert(OP_EXPECT == OP_HEAD_METHOD * HEAD_EXPECT, "flags are the ops, shifted");
_Static_assert(OP_CHUNKED == OP_HEAD_METHOD * HEAD_CHUNKED, "flags are the ops, shifted");

/* Why this action stopped the walk; `seen` is from before it. */
static __always_inline u32 walk_why(const struct head *head, const struct action *action, u64 seen)
{
	if (action->ops & OP_FAULT)
		return action->ops >> 16;
	if (over(head->length, MAX_CONTENT_LENGTH))
		return REASON_BAD_CONTENT_LENGTH;
	if (over(head->lines, MAX_HEADER_LINES))
		return REASON_TOO_MANY_HEADERS;
	if (seen & action->seen)
		return repeated_reason(seen & action->seen);
	return WALK_HEAD_END;
}

/*
 * Decide a complete head: the first candidate whose constraints all hold.
 * Returns 0 and the rule, or the reason of the denial.
 */
static __always_inline u32 walk_decide(const struct head *head, const u32 *words, u32 base,
				       u32 *rule)
{
	u32 at = base + head->candidates, entries, i;

	if (!(head->seen & (1ULL << SEEN_HOST)))
		return REASON_MISSING_HOST;
	if (!head->candidates)
		return REASON_NO_RULE;
	entries = words[at & TABLE_MASK];
	at++;
#pragma clang loop unroll(disable)
	for (i = 0; i < MAX_CANDIDATES; i++) {
		u64 need;

		opaque(i);
		if (i >= entries)
			break;
		need = words[(at + 1) & TABLE_MASK] | (u64)words[(at + 2) & TABLE_MASK] << 32;
		if (!(need & ~head->set)) {
			*rule = words[at & TABLE_MASK];
			return 0;
		}
		at += CANDIDATE_WORDS;
	}
	return REASON_NO_RULE;
}

/* A head begins at sequence number `start`, in the machine's first state. */
static __always_inline void head_begin(struct head *head, u32 state, u32 start)
{
	head->seen = 0;
	head->set = 0;
	head->length = 0;
	head->state = state;
	head->candidates = 0;
	head->start = start;
	head->lines = 0;
	head->flags = 0;
	head->phase = PHASE_HEAD;
}

/*
 * What the walk leaves behind. In memory and volatile: what is known of a
 * register in one round and not in another would have everything behind the
 * loop verified once for each byte.
 */
struct walk_note {
	/* In: */
	u64 slow;     /* not zero: stop at the end of every head */
	u32 sequence; /* number of the piece's first byte */
	/* Out: */
	u32 taken;  /* bytes consumed, the one that stopped it included */
	u64 stop;   /* not zero: the action that stopped it */
	u64 seen;   /* head->seen before that action */
	u64 at;     /* its record */
	u64 passed; /* heads that were allowed on the way */
	u64 bytes;  /* where the walk ends; an action that stops it moves it here */
};

/*
 * What keeps an ended head from being allowed on the spot, without a branch:
 * a body, Connection: close, no Host, constraints of the first candidate.
 */
static __always_inline u64 walk_obstacles(const struct head *head, const u32 *words, u64 base)
{
	u64 at = base + head->candidates;
	u64 need = words[(at + 2) & TABLE_MASK] | (u64)words[(at + 3) & TABLE_MASK] << 32;

	return head->length | (head->flags & (HEAD_CLOSE | HEAD_CHUNKED)) |
	       (~head->seen & (1ULL << SEEN_HOST)) | (need & ~head->set);
}

/* All ones when `value` is zero, else zero. */
static __always_inline u64 if_zero(u64 value)
{
	u64 negative = -value;

	opaque(negative); /* or the compiler makes a branch of it */
	return ((value | negative) >> 63) - 1;
}

/*
 * Behind an action, `taken` bytes into the piece: `stop` is not zero when it
 * wants to stop the walk. A head that is plainly allowed does not; the next one
 * begins, the action leads to the machine's first state. Without a branch: the
 * verifier would keep each one for each byte of a piece.
 */
static __always_inline void walk_end(struct head *head, const u32 *words, u64 base,
				     volatile struct walk_note *note, u64 stop, u64 taken)
{
	u64 ends = ~if_zero(stop),
	    go = if_zero((stop ^ OP_HEAD_END) | note->slow | walk_obstacles(head, words, base));

	opaque(go);
	note->stop = stop & ~go;
	note->passed -= go;
	ends &= ~go;
	opaque(ends);
	note->bytes = (note->bytes & ~ends) | (taken & ends);
	head->seen &= ~go;
	head->set &= ~go;
	head->length &= ~go;
	head->candidates &= ~go;
	head->lines &= ~go;
	head->flags &= ~go;
	head->start = (head->start & ~go) | ((note->sequence + taken) & go);
}

/*
 * Walk over at most `bytes` bytes of `piece` (of PIECE bytes). Returns WALK_ON,
 * WALK_HEAD_END or a reason; note->taken is how many bytes were consumed. Heads
 * that are plainly allowed are passed on the way, so that pipelined requests
 * do not cost a run each.
 */
static __always_inline u32 walk_bytes(struct head *head, const u32 *words, u64 base, u64 rows,
				      u64 classes, const u8 *piece, u32 bytes,
				      volatile struct walk_note *note)
{
	const u8 *table_bytes = (const u8 *)words;
	u64 state = head->state, i;

	note->stop = 0;
	note->passed = 0;
	note->bytes = bytes;
#pragma clang loop unroll(disable)
	for (i = 0; i < PIECE; i++) {
		u64 word, byte;

		opaque(i);
		if (i >= note->bytes)
			break;
		byte = piece[i];
		word = words[(rows + state + table_bytes[(classes + byte) & TABLE_BYTE_MASK]) &
			     TABLE_MASK];
		/* Unlikely, so that the verifier, too, takes the other way first. */
		if (__builtin_expect(word & TRANSITION_ACTION, 0)) {
			u64 at = base + (word & ~TRANSITION_ACTION), stop;
			const struct action *action = action_at(words, at);

			note->at = at;
			note->seen = head->seen;
			stop = walk_action(head, action, byte);
			/* The same range as on the other way: one state to verify. */
			word = action->next;
			walk_end(head, words, base, note, stop, i + 1);
		}
		/* To the verifier, one and the same on both ways. */
		state = bounded(word, ~TRANSITION_ACTION);
	}
	note->taken = i;
	if (note->stop) {
		const struct action *action = action_at(words, note->at);

		head->state = action->next;
		return walk_why(head, action, note->seen);
	}
	head->state = state;
	return WALK_ON;
}

#endif /* BPFAST_LIB_WALK_H */
