/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Parsers for what comes before the payload: Ethernet, VLAN, IPv4, IPv6, TCP.
 *
 * One contract: parse_packet() fills `struct packet` and returns what kind of
 * packet it is. What it does not understand it refuses with a reason; the
 * caller decides whether that matters. Offsets count from the frame's start,
 * lengths come from the IP header (never from the frame, which may be padded),
 * numbers are in host order unless a name says `net`. Pure: compiles for the
 * host.
 */
#ifndef BPFAST_LIB_PACKET_H
#define BPFAST_LIB_PACKET_H

#include "compat.h"

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_QINQ 0x88a8
#define ETHERNET_BYTES 14
#define VLAN_BYTES 4
#define IPV4_BYTES 20
#define BIG_TCP_FROM 65535
#define IPV6_BYTES 40
#define OPTIONS6_BYTES 8 /* hop-by-hop options, the shortest */
#define OPTION6_PADDING 1
#define OPTION6_JUMBO 194
#define OPTION6_JUMBO_BYTES 4
#define FRAGMENT6_BYTES 8
#define TCP_BYTES 20

#define PROTO_OPTIONS6 0
#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_FRAGMENT6 44
#define PROTO_ICMP6 58
#define PROTO_SCTP 132

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_URG 0x20

enum packet_kind {
	PACKET_NOT_IP = 0, /* ARP and the like: none of ours */
	PACKET_TCP,
	PACKET_UDP,
	PACKET_ICMP, /* ICMP and ICMPv6; `icmp_type` is set */
	PACKET_OTHER_IP,
	PACKET_REFUSED,        /* `reason` says why */
	PACKET_LATER_FRAGMENT, /* not TCP, and of no use without the first */
	PACKET_SCTP,
};

struct packet {
	struct address source, destination;
	u32 l3; /* offset of the IP header */
	u32 l4;
	u32 payload; /* offset of the TCP payload */
	u32 length;  /* bytes of TCP payload */
	u32 seq, ack;
	u32 reason;
	u32 kind; /* enum packet_kind; set by the caller */
	u16 source_port_net, destination_port_net;
	u8 protocol;
	u8 flags;   /* of TCP, the low eight */
	u8 version; /* 4 or 6 */
	u8 icmp_type;
};

static __always_inline u32 load16(const u8 *at)
{
	return (u32)at[0] << 8 | at[1];
}

static __always_inline u32 load32(const u8 *at)
{
	return (u32)at[0] << 24 | (u32)at[1] << 16 | (u32)at[2] << 8 | at[3];
}

/* What a field of 16 bits says of a length, in network order: 0 where it is too long (BIG TCP). */
static __always_inline u16 length_field(u32 bytes)
{
	return swap16(bytes > BIG_TCP_FROM ? 0 : (u16)bytes);
}

/*
 * The hop-by-hop options of a segment that came with the jumbo length, in the order
 * of memory. They may not say what fits the header's own field (RFC 2675 3):
 * padding takes their place then.
 */
static __always_inline u64 jumbo_options(u32 bytes)
{
	u64 option = bytes > BIG_TCP_FROM ? OPTION6_JUMBO : OPTION6_PADDING;
	u64 value = bytes > BIG_TCP_FROM ? swap32(bytes) : 0;

	return PROTO_TCP | option << 16 | OPTION6_JUMBO_BYTES << 24 | value << 32;
}

static __always_inline int refuse(struct packet *packet, u32 reason)
{
	packet->reason = reason;
	return PACKET_REFUSED;
}

static __always_inline void map_ipv4(struct address *address, const u8 *at)
{
	u32 *words = (u32 *)address->bytes;

	words[0] = 0;
	words[1] = 0;
	words[2] = swap32(0x0000ffff);
	__builtin_memcpy(&words[3], at, 4);
}

static __always_inline int is_mapped(const struct address *address)
{
	const u32 *words = (const u32 *)address->bytes;

	return !words[0] && !words[1] && words[2] == swap32(0x0000ffff);
}

/*
 * The transport header at `l4`, `bytes` long with its payload.
 */
static __always_inline int parse_transport(const u8 *data, const u8 *end, struct packet *packet,
					   u32 l4, u32 bytes)
{
	const u8 *at = data + l4;
	u32 header;

	packet->l4 = l4;
	if (packet->protocol == (packet->version == 4 ? PROTO_ICMP : PROTO_ICMP6)) {
		if (at + 1 > end || !bytes)
			return refuse(packet, REASON_BAD_PACKET);
		packet->icmp_type = at[0];
		return PACKET_ICMP;
	}
	if (packet->protocol != PROTO_TCP && packet->protocol != PROTO_UDP &&
	    packet->protocol != PROTO_SCTP)
		return PACKET_OTHER_IP;
	if (at + 8 > end || bytes < 8)
		return refuse(packet, REASON_BAD_PACKET);
	__builtin_memcpy(&packet->source_port_net, at, 2);
	__builtin_memcpy(&packet->destination_port_net, at + 2, 2);
	if (packet->protocol == PROTO_UDP)
		return PACKET_UDP;
	if (packet->protocol == PROTO_SCTP)
		return PACKET_SCTP;
	if (at + TCP_BYTES > end)
		return refuse(packet, REASON_BAD_PACKET);
	packet->seq = load32(at + 4);
	packet->ack = load32(at + 8);
	packet->flags = at[13];
	header = (at[12] >> 4) * 4;
	if (header < TCP_BYTES || header > bytes)
		return refuse(packet, REASON_BAD_PACKET);
	packet->payload = l4 + header;
	packet->length = bytes - header;
	return PACKET_TCP;
}

static __always_inline int parse_ipv4(const u8 *data, const u8 *end, u32 frame,
				      struct packet *packet, u32 l3)
{
	const u8 *at = data + l3;
	u32 header, total, fragment;
	int kind;

	if (at + IPV4_BYTES > end)
		return refuse(packet, REASON_BAD_PACKET);
	packet->version = 4;
	packet->protocol = at[9];
	map_ipv4(&packet->source, at + 12);
	map_ipv4(&packet->destination, at + 16);
	header = (at[0] & 15) * 4;
	total = load16(at + 2);
	if (!total && frame - l3 > BIG_TCP_FROM)
		total = frame - l3;         /* BIG TCP: too long for the field */
	fragment = load16(at + 6) & 0x3fff; /* more-fragments and the offset */
	if (at[0] >> 4 != 4 || header < IPV4_BYTES || total < header || l3 + total > frame)
		return refuse(packet, REASON_BAD_PACKET);
	if (fragment) {
		if (packet->protocol == PROTO_TCP)
			return refuse(packet, REASON_FRAGMENT);
		if (fragment & 0x1fff)
			return PACKET_LATER_FRAGMENT;
	}
	kind = parse_transport(data, end, packet, l3 + header, total - header);
	if (header != IPV4_BYTES && kind == PACKET_TCP)
		return refuse(packet, REASON_IP_OPTIONS);
	return kind;
}

/*
 * Linux sends what is too long for the length field (BIG TCP) with the length 0 and
 * hop-by-hop options of only the real one (RFC 2675), or, newer ones, without these.
 */
static __always_inline int parse_jumbo(const u8 *data, const u8 *end, u32 frame,
				       struct packet *packet, u32 l3)
{
	const u8 *at = data + l3 + IPV6_BYTES;
	u32 most = frame - l3 - IPV6_BYTES, bytes;

	if (most <= BIG_TCP_FROM)
		return refuse(packet, REASON_BAD_PACKET);
	if (packet->protocol == PROTO_TCP)
		return parse_transport(data, end, packet, l3 + IPV6_BYTES, most);
	bytes = load32(at + 4);
	if (at[0] != PROTO_TCP || at[1] || at[2] != OPTION6_JUMBO || at[3] != OPTION6_JUMBO_BYTES)
		return refuse(packet, REASON_IPV6_EXTENSION);
	if (bytes <= BIG_TCP_FROM || bytes > most)
		return refuse(packet, REASON_BAD_PACKET);
	packet->protocol = PROTO_TCP;
	return parse_transport(data, end, packet, l3 + IPV6_BYTES + OPTIONS6_BYTES,
			       bytes - OPTIONS6_BYTES);
}

/*
 * Extension headers are not followed: Linux sends TCP behind none but the jumbo
 * length. All but this and ICMPv6 behind eight bytes of hop-by-hop options
 * (multicast listener messages) are refused, since TCP may hide behind them.
 */
static __always_inline int parse_ipv6(const u8 *data, const u8 *end, u32 frame,
				      struct packet *packet, u32 l3)
{
	const u8 *at = data + l3;
	u32 bytes;

	if (at + IPV6_BYTES + 8 > end)
		return refuse(packet, REASON_BAD_PACKET);
	packet->version = 6;
	packet->protocol = at[6];
	__builtin_memcpy(&packet->source, at + 8, 16);
	__builtin_memcpy(&packet->destination, at + 24, 16);
	bytes = load16(at + 4);
	if (at[0] >> 4 != 6 || l3 + IPV6_BYTES + bytes > frame)
		return refuse(packet, REASON_BAD_PACKET);
	/* Of no host; in the key of a flow it would be one of IPv4. */
	if (is_mapped(&packet->destination))
		return refuse(packet, REASON_BAD_PACKET);
	if (!bytes && (packet->protocol == PROTO_TCP || packet->protocol == PROTO_OPTIONS6))
		return parse_jumbo(data, end, frame, packet, l3);
	if (packet->protocol == PROTO_FRAGMENT6) {
		packet->protocol = at[IPV6_BYTES];
		if (bytes < FRAGMENT6_BYTES ||
		    (packet->protocol != PROTO_UDP && packet->protocol != PROTO_ICMP6))
			return refuse(packet, REASON_FRAGMENT);
		if (load16(at + IPV6_BYTES + 2) & 0xfff8)
			return PACKET_LATER_FRAGMENT;
		return parse_transport(data, end, packet, l3 + IPV6_BYTES + FRAGMENT6_BYTES,
				       bytes - FRAGMENT6_BYTES);
	}
	if (packet->protocol == PROTO_OPTIONS6 && bytes >= OPTIONS6_BYTES &&
	    at[IPV6_BYTES] == PROTO_ICMP6 && !at[IPV6_BYTES + 1]) {
		packet->protocol = PROTO_ICMP6;
		return parse_transport(data, end, packet, l3 + IPV6_BYTES + OPTIONS6_BYTES,
				       bytes - OPTIONS6_BYTES);
	}
	if (packet->protocol != PROTO_TCP && packet->protocol != PROTO_UDP &&
	    packet->protocol != PROTO_SCTP && packet->protocol != PROTO_ICMP6)
		return refuse(packet, REASON_IPV6_EXTENSION);
	return parse_transport(data, end, packet, l3 + IPV6_BYTES, bytes);
}

/*
 * The whole frame: headers from `data` up to `end`, `frame` bytes in all (the
 * payload need not be readable). At most two VLAN tags.
 */
static __always_inline int parse_packet(const u8 *data, const u8 *end, u32 frame,
					struct packet *packet)
{
	u32 l3 = ETHERNET_BYTES, type;

	packet->reason = 0;
	packet->protocol = 0;
	packet->flags = 0;
	packet->length = 0;
	packet->icmp_type = 0;
	packet->version = 0;
	packet->source_port_net = 0;
	packet->destination_port_net = 0;
	if (data + ETHERNET_BYTES + 2 * VLAN_BYTES > end)
		return refuse(packet, REASON_BAD_PACKET);
	type = load16(data + 12);
	if (type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ) {
		l3 += VLAN_BYTES;
		type = load16(data + 16);
		if (type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ) {
			l3 += VLAN_BYTES;
			type = load16(data + 20);
		}
	}
	packet->l3 = l3;
	if (type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ)
		return refuse(packet, REASON_VLAN_DEPTH);
	if (type == ETHERTYPE_IPV4)
		return parse_ipv4(data, end, frame, packet, l3);
	if (type == ETHERTYPE_IPV6)
		return parse_ipv6(data, end, frame, packet, l3);
	return PACKET_NOT_IP;
}

#endif /* BPFAST_LIB_PACKET_H */
