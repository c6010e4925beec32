# SPDX-License-Identifier: Apache-2.0
"""Frames, built header by header; every length can be told wrong.

Checksums are zero: the parser does not look at them.
"""

import struct
from ipaddress import IPv4Address, IPv6Address

CLIENT = IPv4Address("10.0.0.1")
SERVER = IPv4Address("10.0.0.2")
CLIENT6 = IPv6Address("fd00::1")
SERVER6 = IPv6Address("fd00::2")
CLIENT_PORT = 40000
SERVER_PORT = 80
SEQ = 0x01020304
ACK = 0xA0B0C0D0

ARP = 0x0806
IPV4 = 0x0800
IPV6 = 0x86DD
VLAN = 0x8100
QINQ = 0x88A8

HOP_BY_HOP = 0
ICMP = 1
TCP = 6
UDP = 17
ROUTING = 43
FRAGMENT6 = 44
ICMP6 = 58
DESTINATION = 60
GRE = 47
SCTP = 132

PSH_ACK = 0x18
MORE_FRAGMENTS = 0x2000
DONT_FRAGMENT = 0x4000


def ethernet(packet: bytes, kind: int = IPV4, *, tags: tuple[int, ...] = ()) -> bytes:
    """Return a frame; ``tags`` are the types of VLAN tags, outermost first."""
    types = b"".join(struct.pack("!HH", tag, 7) for tag in tags)
    return b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01" + types + struct.pack("!H", kind) + packet


def tcp(payload: bytes = b"", *, options: bytes = b"", offset: int | None = None) -> bytes:
    """Return a segment from client to server; ``offset`` is its data offset in words."""
    words = 5 + len(options) // 4 if offset is None else offset
    head = struct.pack("!HHIIBBHHH", CLIENT_PORT, SERVER_PORT, SEQ, ACK, words << 4, PSH_ACK, 512, 0, 0)
    return head + options + payload


def udp(payload: bytes = b"") -> bytes:
    """Return a datagram from client to server."""
    return struct.pack("!HHHH", CLIENT_PORT, SERVER_PORT, 8 + len(payload), 0) + payload


def icmp(kind: int) -> bytes:
    """Return an ICMP or ICMPv6 message with a body of zeros."""
    return struct.pack("!BBHI", kind, 0, 0, 0)


def ipv4(  # noqa: PLR0913 - one argument a field
    payload: bytes,
    protocol: int = TCP,
    *,
    options: bytes = b"",
    length: int | None = None,
    total: int | None = None,
    fragment: int = DONT_FRAGMENT,
    version: int = 4,
) -> bytes:
    """Return an IPv4 packet; ``length`` is that of its header in words, ``total`` of all in bytes."""
    words = 5 + len(options) // 4 if length is None else length
    whole = 20 + len(options) + len(payload) if total is None else total
    head = struct.pack("!BBHHHBBH", version << 4 | words, 0, whole, 1, fragment, 64, protocol, 0)
    return head + CLIENT.packed + SERVER.packed + options + payload


def ipv6(payload: bytes, following: int = TCP, *, length: int | None = None, version: int = 6) -> bytes:
    """Return an IPv6 packet; ``length`` is that of its payload in bytes."""
    whole = len(payload) if length is None else length
    head = struct.pack("!IHBB", version << 28, whole, following, 64)
    return head + CLIENT6.packed + SERVER6.packed + payload


def extension(following: int, payload: bytes) -> bytes:
    """Return an extension header of eight bytes with padding, and what follows it."""
    return struct.pack("!BBBB4s", following, 0, 1, 4, b"") + payload


def jumbo(  # noqa: PLR0913 - one argument a field
    payload: bytes,
    following: int = TCP,
    *,
    length: int | None = None,
    header: int = 0,
    option: int = 194,
    words: int = 0,
) -> bytes:
    """Return a frame of IPv6 with hop-by-hop options of the jumbo length; ``header`` is the other one."""
    whole = 8 + len(payload) if length is None else length
    options = struct.pack("!BBBBI", following, words, option, 4, whole)
    return ethernet(ipv6(options + payload, HOP_BY_HOP, length=header), IPV6)


def fragment6(following: int, payload: bytes, *, offset: int = 0, more: bool = True) -> bytes:
    """Return a fragment header (``offset`` in units of eight bytes), and what follows it."""
    return struct.pack("!BBHI", following, 0, offset << 3 | more, 1) + payload
