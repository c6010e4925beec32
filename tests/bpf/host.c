/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The pure headers as functions that Python's ctypes can call; tests/bpf/host.py
 * mirrors the structs here. Nothing is decided in this file but what the HTTP
 * stage does around the walk: pieces, and the longest head.
 */
#include <setjmp.h>
#include <signal.h>
#include <string.h>

#include "lib/context.h"
#include "lib/sequence.h"
#include "lib/status.h"

/* ---- what must not happen is a result, not the end of the tests --------------- */

static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGTRAP };
#define FAULTS (sizeof(faults) / sizeof(*faults))
static struct sigaction handlers[FAULTS];
static sigjmp_buf before_fault;

static void fault(int number)
{
	siglongjmp(before_fault, number);
}

static void catch_faults(void)
{
	struct sigaction action = { .sa_handler = fault };
	u32 i;

	for (i = 0; i < FAULTS; i++)
		sigaction(faults[i], &action, &handlers[i]);
}

static void release_faults(void)
{
	u32 i;

	for (i = 0; i < FAULTS; i++)
		sigaction(faults[i], &handlers[i], 0);
}

/* Run `statement`; `number` is then 0 or the signal that ended it. */
#define CAUGHT(number, statement)                    \
	do {                                         \
		catch_faults();                      \
		number = sigsetjmp(before_fault, 1); \
		if (!number)                         \
			statement;                   \
		release_faults();                    \
	} while (0)

/* ---- packet.h: what a cut segment says of its length -------------------------- */

u32 host_length_field(u32 bytes)
{
	return swap16(length_field(bytes));
}

u32 host_jumbo_options(u32 bytes, u32 word)
{
	return swap32((u32)(jumbo_options(bytes) >> 32 * word));
}

static volatile u8 seen;

/* Read the byte behind `bytes` others: the tests of this net. */
int host_read_behind(const volatile u8 *data, u32 bytes)
{
	int number;

	CAUGHT(number, seen = data[bytes]);
	return number;
}

/* ---- packet.h --------------------------------------------------------------- */

struct parsed {
	u8 source[16], destination[16];
	u32 kind, reason, version, protocol;
	u32 l3, l4, payload, length;
	u32 seq, ack, flags, icmp_type;
	u32 source_port, destination_port; /* host order */
};

/* What parse_packet() says; fields that it leaves alone are 0xee bytes. */
int host_parse(const u8 *frame, u32 bytes, struct parsed *parsed)
{
	static struct packet packet;
	int number;

	memset(&packet, 0xee, sizeof(packet));
	CAUGHT(number, parsed->kind = parse_packet(frame, frame + bytes, bytes, &packet));
	memcpy(parsed->source, packet.source.bytes, 16);
	memcpy(parsed->destination, packet.destination.bytes, 16);
	parsed->reason = packet.reason;
	parsed->version = packet.version;
	parsed->protocol = packet.protocol;
	parsed->l3 = packet.l3;
	parsed->l4 = packet.l4;
	parsed->payload = packet.payload;
	parsed->length = packet.length;
	parsed->seq = packet.seq;
	parsed->ack = packet.ack;
	parsed->flags = packet.flags;
	parsed->icmp_type = packet.icmp_type;
	parsed->source_port = swap16(packet.source_port_net);
	parsed->destination_port = swap16(packet.destination_port_net);
	return number;
}

/* ---- walk.h ----------------------------------------------------------------- */

static u32 words[TABLE_WORDS] __attribute__((aligned(4096)));
static struct {
	u32 base, rows, classes, start;
} rules;
static struct head head;
static u32 head_size;

struct walked {
	u32 ended;  /* 1: the head is decided */
	u32 reason; /* 0: allowed */
	u32 rule;
	u32 taken;
	u32 head_method, close, expect, chunked; /* 1 or 0 */
	u32 state, reserved;
	u64 length;
};

/* Put an image at word `base` of the tables; what was there before goes. 0: it fits. */
int host_place(const u32 *image, u32 size, u32 base)
{
	if (size > TABLE_WORDS || base > TABLE_WORDS - size)
		return -1;
	memset(words, 0xff, sizeof(words));
	memcpy(&words[base], image, size * sizeof(*words));
	rules.base = base;
	rules.rows = base + image[IMAGE_WORD_ROWS];
	rules.classes = (base + image[IMAGE_WORD_CLASSES]) * 4;
	rules.start = image[IMAGE_WORD_START];
	return 0;
}

void host_begin(void)
{
	memset(&head, 0xee, sizeof(head));
	head_begin(&head, rules.start, 0);
	head_size = 0;
}

/* At most one piece of the current head: as head() of stages/http.c does. */
static u32 feed_piece(const u8 *data, u32 bytes, struct walked *walked)
{
	u32 limit = MAX_HEAD_BYTES - head_size, result;
	struct walk_note note;

	if (!limit)
		return REASON_HEAD_TOO_LARGE;
	if (bytes > limit)
		bytes = limit;
	if (bytes > PIECE)
		bytes = PIECE;
	memset(&note, 0xee, sizeof(note));
	note.slow = 1;
	result =
		walk_bytes(&head, words, rules.base, rules.rows, rules.classes, data, bytes, &note);
	walked->taken += note.taken;
	head_size += note.taken;
	return result;
}

static void feed(const u8 *data, u32 bytes, struct walked *walked)
{
	u32 result = WALK_ON;

	while (result == WALK_ON && walked->taken < bytes)
		result = feed_piece(data + walked->taken, bytes - walked->taken, walked);
	walked->ended = result != WALK_ON;
	if (result == WALK_HEAD_END)
		result = walk_decide(&head, words, rules.base, &walked->rule);
	walked->reason = result;
}

/* Walk on over `data`, up to the end of one head; 0 or the signal that ended it. */
int host_feed(const u8 *data, u32 bytes, struct walked *walked)
{
	int number;

	memset(walked, 0, sizeof(*walked));
	walked->rule = RULE_NONE;
	CAUGHT(number, feed(data, bytes, walked));
	walked->head_method = !!(head.flags & HEAD_IS_HEAD);
	walked->close = !!(head.flags & HEAD_CLOSE);
	walked->expect = !!(head.flags & HEAD_EXPECT);
	walked->chunked = !!(head.flags & HEAD_CHUNKED);
	walked->state = head.state;
	walked->length = head.length;
	return number;
}

/* ---- chunk.h ---------------------------------------------------------------- */

void host_begin_chunks(void)
{
	chunk_framing(&head, CHUNK_BEGIN);
}

/* As stages/chunk.c without its log: on over `data`, up to the end of the body. */
static void feed_chunks(const u8 *data, u32 bytes, struct walked *walked)
{
	u32 result = CHUNK_ON;

	while (walked->taken < bytes && (result == CHUNK_ON || result == CHUNK_DATA)) {
		if (head.phase == PHASE_BODY) {
			u32 left = bytes - walked->taken;
			u32 skipped = head.length < left ? head.length : left;

			walked->taken += skipped;
			head.length -= skipped;
			if (!head.length)
				after_data(&head);
			continue;
		}
		result = chunk_byte(&head, data[walked->taken++]);
		if (result == CHUNK_DATA)
			head.phase = PHASE_BODY;
	}
	walked->ended = result == CHUNK_OVER;
	if (result != CHUNK_DATA && result != CHUNK_OVER)
		walked->reason = result;
}

int host_feed_chunks(const u8 *data, u32 bytes, struct walked *walked)
{
	int number;

	memset(walked, 0, sizeof(*walked));
	CAUGHT(number, feed_chunks(data, bytes, walked));
	return number;
}

/* ---- status.h --------------------------------------------------------------- */

/* What the watcher makes of a first segment: it reads STATUS_BYTES of it at most. */
int host_status(const u8 *data, u32 bytes, u32 *status)
{
	u8 text[STATUS_ROOM] = {};
	int number;

	bytes = bytes < STATUS_BYTES ? bytes : STATUS_BYTES;
	memcpy(text, data, bytes);
	CAUGHT(number, *status = status_of(text, bytes));
	return number;
}

u32 host_status_class(u32 status)
{
	return status_class(status);
}

/* ---- sequence.h ------------------------------------------------------------- */

s32 host_distance(u32 later, u32 earlier)
{
	return distance(later, earlier);
}

int host_before(u32 a, u32 b)
{
	return before(a, b);
}

int host_after(u32 a, u32 b)
{
	return after(a, b);
}

u32 host_later_of(u32 a, u32 b)
{
	return later_of(a, b);
}

int host_near(u32 a, u32 b)
{
	return near(a, b);
}

/* ---- compat.h --------------------------------------------------------------- */

u32 host_bounded(u32 value)
{
	return bounded(value, PIECE - 1);
}

u32 host_bounded_size(u32 size)
{
	return bounded_size(size, PIECE);
}
