/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Turn the packet in hand into another: an answer to its sender, or a segment
 * without payload that goes on to the server.
 *
 *   client's segment   eth | IP | TCP, options | payload
 *   answer             eth'| IP'| TCP', timestamps? | 403     (send_back())
 *   to the server      eth | IP'| TCP', timestamps? |         (pass())
 *
 * IP is IPv4 or IPv6, written anew: options and the jumbo length are gone.
 *
 * Checksums: between pods of one node a segment carries only the sum of its
 * pseudo header (the device would complete it), and no program can see the flag
 * that says so; the flag and the place stay with the packet whatever is made
 * of it. So the packet itself decides: whose checksum field is exactly the
 * pseudo header's sum gets only that sum again, all others a whole checksum.
 */
#ifndef BPFAST_LIB_COMPOSE_H
#define BPFAST_LIB_COMPOSE_H

#include "event.h"

#define TIMESTAMP_BYTES 12
#define MAX_OPTION_BYTES 40
#define OPTION_END 0
#define OPTION_NOP 1
#define OPTION_TIMESTAMPS 8
#define OPTION_TIMESTAMPS_BYTES 10
/* The largest: the client believes segments of the server that are as far behind (drain.h). */
#define ANSWER_WINDOW 65535
#define ANSWER_TTL 64
#define NO_TEXT ANSWER_COUNT

struct segment {
	u32 to_client; /* else it goes on to the server */
	u32 seq, ack;
	u32 flags;
	u32 text; /* enum answer_index, or NO_TEXT */
};

/*
 * What goes on the wire behind Ethernet; network order. The shorter header stands
 * at the end of its place, so that TCP is at the same place behind either.
 */
struct ipv4_wire {
	u8 version_length, service;
	u16 total, identification, fragment;
	u8 ttl, protocol;
	u16 check;
	u32 source, destination;
};

struct ipv6_wire {
	u32 version_class_label;
	u16 payload;
	u8 next, hops;
	struct address source, destination;
};

struct wire {
	union {
		struct ipv6_wire ipv6;
		struct {
			u8 none[IPV6_BYTES - IPV4_BYTES];
			struct ipv4_wire ipv4;
		};
	};
	u16 source_port, destination_port;
	u32 seq, ack;
	u8 data_offset, flags;
	u16 window, check, urgent;
	u8 nop[2], kind, size;
	u32 timestamp, echo;
};
_Static_assert(sizeof(struct wire) == IPV6_BYTES + TCP_BYTES + TIMESTAMP_BYTES, "no padding");

static __always_inline u16 fold(u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (u16)sum;
}

static __always_inline u32 ipv4_of(const struct address *address)
{
	return ((const u32 *)address->bytes)[3];
}

/*
 * RFC 9293 3.1, RFC 8200 8.1: the sum of the pseudo header, not inverted. One for
 * both families and ways: the order of the addresses does not matter to a sum, and
 * the ffff in front of an address of IPv4 is nothing to a one's complement sum
 * that is not zero. A length beyond 16 bits (BIG TCP) counts whole, as in Linux.
 */
static __always_inline u64 pseudo_sum(const struct flow_key *key, u32 tcp_bytes)
{
	const u32 *peer = (const u32 *)key->peer.bytes, *local = (const u32 *)key->local.bytes;

	return (u64)peer[0] + peer[1] + peer[2] + peer[3] + local[0] + local[1] + local[2] +
	       local[3] + swap16(PROTO_TCP) + swap32(tcp_bytes);
}

/* Find the timestamps option (RFC 7323 3.2); returns 1 and both values as they are. */
static __always_inline int find_timestamps(FRAME *ctx, struct context *c, u32 *value, u32 *echo)
{
	u32 bytes = c->packet.payload - c->packet.l4 - TCP_BYTES, i;

	if (bytes < OPTION_TIMESTAMPS_BYTES || bytes > MAX_OPTION_BYTES)
		return 0;
	bytes = bounded_size(bytes, 64);
	if (frame_load(ctx, c->packet.l4 + TCP_BYTES, c->piece, bytes))
		return 0;
	c->option = 0;
#pragma clang loop unroll(disable)
	for (i = 0; i < MAX_OPTION_BYTES; i++) {
		u32 at = *(volatile u32 *)&c->option;
		u8 kind, size;

		if (at + 1 >= bytes)
			return 0;
		kind = c->piece[at & 63];
		size = c->piece[(at + 1) & 63];
		if (kind == OPTION_END)
			return 0;
		if (kind == OPTION_TIMESTAMPS) {
			if (size != OPTION_TIMESTAMPS_BYTES || at + size > bytes)
				return 0;
			__builtin_memcpy(value, &c->piece[(at + 2) & 63], 4);
			__builtin_memcpy(echo, &c->piece[(at + 6) & 63], 4);
			return 1;
		}
		if (kind == OPTION_NOP)
			size = 1;
		else if (size < 2)
			return 0;
		c->option = at + size;
	}
	return 0;
}

static __always_inline int swap_ethernet(FRAME *ctx)
{
	u8 old[12], turned[12];

	if (frame_load(ctx, 0, old, sizeof(old)))
		return -1;
	__builtin_memcpy(turned, old + 6, 6);
	__builtin_memcpy(turned + 6, old, 6);
	return frame_store_link(ctx, 0, turned, sizeof(turned));
}

/* The IP header; not what the client's had beside addresses. Returns its length. */
static __always_inline u32 fill_ip(struct wire *wire, const struct context *c, u32 to_client,
				   u32 tcp_bytes)
{
	const struct address *source = to_client ? &c->key.local : &c->key.peer;
	const struct address *destination = to_client ? &c->key.peer : &c->key.local;

	if (c->packet.version == 6) {
		wire->ipv6.version_class_label = swap32(6U << 28);
		wire->ipv6.payload = swap16((u16)tcp_bytes);
		wire->ipv6.next = PROTO_TCP;
		wire->ipv6.hops = ANSWER_TTL;
		wire->ipv6.source = *source;
		wire->ipv6.destination = *destination;
		return IPV6_BYTES;
	}
	wire->ipv4.version_length = 0x45;
	wire->ipv4.total = swap16((u16)(IPV4_BYTES + tcp_bytes));
	wire->ipv4.fragment = swap16(0x4000);
	wire->ipv4.ttl = ANSWER_TTL;
	wire->ipv4.protocol = PROTO_TCP;
	wire->ipv4.source = ipv4_of(source);
	wire->ipv4.destination = ipv4_of(destination);
	wire->ipv4.check = ~fold((u32)bpf_csum_diff(0, 0, (void *)&wire->ipv4, IPV4_BYTES, 0));
	return IPV4_BYTES;
}

static __always_inline void fill_tcp(struct wire *wire, const struct context *c,
				     const struct segment *segment, u32 window)
{
	wire->source_port = segment->to_client ? c->key.port : c->key.peer_port;
	wire->destination_port = segment->to_client ? c->key.peer_port : c->key.port;
	wire->seq = swap32(segment->seq);
	wire->ack = swap32(segment->ack);
	wire->flags = segment->flags;
	wire->window = segment->to_client ? swap16(ANSWER_WINDOW) : window;
	wire->nop[0] = OPTION_NOP;
	wire->nop[1] = OPTION_NOP;
	wire->kind = OPTION_TIMESTAMPS;
	wire->size = OPTION_TIMESTAMPS_BYTES;
}

/* Only the pseudo header's sum `sum`, or the whole. `tail` is the sum of the text. */
static __always_inline void fill_checksum(struct wire *wire, u32 header_bytes, int partial, u64 sum,
					  u64 tail)
{
	if (partial) {
		wire->check = fold(sum);
		return;
	}
	sum += (u32)bpf_csum_diff(0, 0, (void *)&wire->source_port, TCP_BYTES, 0);
	if (header_bytes > TCP_BYTES)
		sum += (u32)bpf_csum_diff(0, 0, (void *)wire->nop, TIMESTAMP_BYTES, 0);
	wire->check = ~fold(sum + tail);
}

/* Does the packet in hand carry only the sum of its pseudo header? */
static __always_inline int is_partial(const struct context *c, u16 check)
{
	u32 tcp_bytes = c->packet.payload - c->packet.l4 + c->packet.length;

	return check == fold(pseudo_sum(&c->key, tcp_bytes));
}

/* Write the headers and the answer's text; 0, or not. */
static __always_inline int write_segment(FRAME *ctx, const struct context *c, struct wire *wire,
					 u32 header, struct answer *answer, u32 text_bytes)
{
	u32 at = c->packet.l3;

	if (c->packet.version == 6) {
		if (frame_store(ctx, at, &wire->ipv6, IPV6_BYTES))
			return -1;
		at += IPV6_BYTES;
	} else {
		if (frame_store(ctx, at, &wire->ipv4, IPV4_BYTES))
			return -1;
		at += IPV4_BYTES;
	}
	if (frame_store(ctx, at, &wire->source_port, TCP_BYTES))
		return -1;
	if (header > TCP_BYTES && frame_store(ctx, at + TCP_BYTES, wire->nop, TIMESTAMP_BYTES))
		return -1;
	return answer ? frame_store(ctx, at + header, answer->text, text_bytes) : 0;
}

/* How compose() ends beside 0. */
enum composed {
	COMPOSED = 0,
	NO_ROOM = 1,   /* it could not be grown, and has not changed */
	HALF_MADE = 2, /* it could not be written, and must not go anywhere */
};

/* Make the packet in hand into `segment`. */
static __always_inline u32 compose(FRAME *ctx, struct context *c, const struct segment *segment)
{
	u32 header = TCP_BYTES, text_bytes = 0, value = 0, echo = 0, index = segment->text, end;
	struct answer *answer = 0;
	u16 fields[2]; /* window and checksum */
	struct wire wire;
	u64 tail = 0;

	if (frame_load(ctx, c->packet.l4 + 14, fields, sizeof(fields)))
		return NO_ROOM;
	if (find_timestamps(ctx, c, &value, &echo))
		header += TIMESTAMP_BYTES;
	if (index < ANSWER_COUNT) {
		answer = bpf_map_lookup_elem(MAP(MAP_ANSWERS), &index);
		if (!answer)
			return NO_ROOM;
		text_bytes = answer->length;
		text_bytes = bounded_size(text_bytes, ANSWER_BYTES);
		tail = (u32)bpf_csum_diff(0, 0, (void *)answer->text, ANSWER_BYTES, 0);
	}
	__builtin_memset(&wire, 0, sizeof(wire));
	fill_tcp(&wire, c, segment, fields[0]);
	wire.data_offset = (header / 4) << 4;
	wire.timestamp = segment->to_client ? echo : value;
	wire.echo = segment->to_client ? value : echo;
	fill_checksum(&wire, header, is_partial(c, fields[1]),
		      pseudo_sum(&c->key, header + text_bytes), tail);
	end = c->packet.l3 + fill_ip(&wire, c, segment->to_client, header + text_bytes);
	if (frame_remake(ctx, end + header + text_bytes, c->packet.l4 - end))
		return NO_ROOM;
	if (segment->to_client && swap_ethernet(ctx))
		return HALF_MADE;
	if (write_segment(ctx, c, &wire, header, answer, text_bytes))
		return HALF_MADE;
	return COMPOSED;
}

#endif /* BPFAST_LIB_COMPOSE_H */
