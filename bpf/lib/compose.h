/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Turn the packet in hand into another: an answer to its sender, or a segment
 * without payload that goes on to the server.
 *
 *   client's segment   eth | IPv4 | TCP, options | payload
 *   answer             eth'| IPv4'| TCP', timestamps? | 403     (XDP_TX)
 *   to the server      eth | IPv4 | TCP', timestamps? |         (XDP_PASS)
 *
 * Checksums: between pods of one node a segment carries only the sum of its
 * pseudo header (the device would complete it), and XDP cannot see the flag
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
#define ANSWER_WINDOW 1024
#define ANSWER_TTL 64
#define NO_TEXT ANSWER_COUNT

struct segment {
	u32 to_client; /* else it goes on to the server */
	u32 seq, ack;
	u32 flags;
	u32 text; /* enum answer_index, or NO_TEXT */
};

/* What goes on the wire behind Ethernet; network order. */
struct wire {
	u8 version_length, service;
	u16 total, identification, fragment;
	u8 ttl, protocol;
	u16 ip_check;
	u32 source, destination;
	u16 source_port, destination_port;
	u32 seq, ack;
	u8 data_offset, flags;
	u16 window, check, urgent;
	u8 nop[2], kind, size;
	u32 timestamp, echo;
};
_Static_assert(sizeof(struct wire) == IPV4_BYTES + TCP_BYTES + TIMESTAMP_BYTES, "no padding");

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

/* RFC 9293 3.1: the sum of the pseudo header, not inverted. */
static __always_inline u64 pseudo_sum(u32 source, u32 destination, u32 tcp_bytes)
{
	return (u64)source + destination + swap16(PROTO_TCP) + swap16((u16)tcp_bytes);
}

/* Find the timestamps option (RFC 7323 3.2); returns 1 and both values as they are. */
static __always_inline int find_timestamps(struct xdp_md *ctx, struct context *c, u32 *value,
					   u32 *echo)
{
	u32 bytes = c->packet.payload - c->packet.l4 - TCP_BYTES, i;

	if (bytes < OPTION_TIMESTAMPS_BYTES || bytes > MAX_OPTION_BYTES)
		return 0;
	bytes = bounded_size(bytes, 64);
	if (bpf_xdp_load_bytes(ctx, c->packet.l4 + TCP_BYTES, c->piece, bytes))
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

static __always_inline void swap_ethernet(struct xdp_md *ctx)
{
	u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	u8 source[6];

	if (data + ETHERNET_BYTES > end)
		return;
	__builtin_memcpy(source, data + 6, 6);
	__builtin_memcpy(data + 6, data, 6);
	__builtin_memcpy(data, source, 6);
}

static __always_inline void fill_wire(struct wire *wire, const struct context *c,
				      const struct segment *segment, u32 tcp_bytes, u32 window)
{
	u32 peer = ipv4_of(&c->key.peer), local = ipv4_of(&c->key.local);

	__builtin_memset(wire, 0, sizeof(*wire));
	wire->version_length = 0x45;
	wire->total = swap16((u16)(IPV4_BYTES + tcp_bytes));
	wire->fragment = swap16(0x4000);
	wire->ttl = ANSWER_TTL;
	wire->protocol = PROTO_TCP;
	wire->source = segment->to_client ? local : peer;
	wire->destination = segment->to_client ? peer : local;
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

/* Only the pseudo header's sum, or the whole. `tail` is the sum of the text. */
static __always_inline void fill_checksums(struct wire *wire, u32 header_bytes, u32 tcp_bytes,
					   int partial, u64 tail)
{
	u64 sum = pseudo_sum(wire->source, wire->destination, tcp_bytes);

	wire->ip_check = ~fold((u32)bpf_csum_diff(0, 0, (void *)wire, IPV4_BYTES, 0));
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

	return check == fold(pseudo_sum(ipv4_of(&c->key.peer), ipv4_of(&c->key.local), tcp_bytes));
}

/*
 * Make the packet in hand into `segment`. 0, or -1 when there is no room to
 * grow it; then nothing has changed.
 */
static __always_inline int compose(struct xdp_md *ctx, struct context *c,
				   const struct segment *segment)
{
	u32 frame = frame_bytes(ctx), header = TCP_BYTES, text_bytes = 0;
	u32 value = 0, echo = 0, l3 = c->packet.l3, index = segment->text;
	struct answer *answer = 0;
	u16 fields[2]; /* window and checksum */
	struct wire wire;
	u64 tail = 0;

	if (bpf_xdp_load_bytes(ctx, c->packet.l4 + 14, fields, sizeof(fields)))
		return -1;
	if (find_timestamps(ctx, c, &value, &echo))
		header += TIMESTAMP_BYTES;
	if (index < ANSWER_COUNT) {
		answer = bpf_map_lookup_elem(MAP(MAP_ANSWERS), &index);
		if (!answer)
			return -1;
		text_bytes = answer->length;
		text_bytes = bounded_size(text_bytes, ANSWER_BYTES);
		tail = (u32)bpf_csum_diff(0, 0, (void *)answer->text, ANSWER_BYTES, 0);
	}
	fill_wire(&wire, c, segment, header + text_bytes, fields[0]);
	wire.data_offset = (header / 4) << 4;
	wire.timestamp = segment->to_client ? echo : value;
	wire.echo = segment->to_client ? value : echo;
	fill_checksums(&wire, header, header + text_bytes, is_partial(c, fields[1]), tail);
	if (bpf_xdp_adjust_tail(ctx, (int)(l3 + IPV4_BYTES + header + text_bytes - frame)))
		return -1;
	if (segment->to_client)
		swap_ethernet(ctx);
	bpf_xdp_store_bytes(ctx, l3, &wire, IPV4_BYTES + TCP_BYTES);
	if (header > TCP_BYTES)
		bpf_xdp_store_bytes(ctx, l3 + IPV4_BYTES + TCP_BYTES, wire.nop, TIMESTAMP_BYTES);
	if (answer)
		bpf_xdp_store_bytes(ctx, l3 + IPV4_BYTES + header, answer->text, text_bytes);
	return 0;
}

#endif /* BPFAST_LIB_COMPOSE_H */
