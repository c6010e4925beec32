# SPDX-License-Identifier: Apache-2.0
"""TCP segments and IPv4 packets as bytes, right or wrong on purpose (``e2e.ipv6`` has the others).

Only what tests need to say in words: every field that a crafted packet may
bend is an argument with the honest value as its default.
"""

import struct
from dataclasses import dataclass
from enum import IntFlag
from ipaddress import IPv4Address, ip_address

ETHERTYPE_IPV4 = 0x0800
PROTOCOL_TCP = 6
TCP_HEADER = struct.Struct("!HHIIBBHHH")
IPV4_HEADER = struct.Struct("!BBHHHBBH4s4s")
NUMBERS = 1 << 32
DO_NOT_FRAGMENT = 0x4000


class Flags(IntFlag):
    """The flags of a TCP header."""

    FIN = 1
    SYN = 2
    RST = 4
    PSH = 8
    ACK = 16
    URG = 32
    ECE = 64
    CWR = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One TCP segment. ``options`` must be a multiple of four bytes; ``checksum`` None is the right one."""

    source_port: int
    destination_port: int
    sequence: int
    acknowledgement: int = 0
    flags: Flags
    payload: bytes = b""
    window: int = 64240
    urgent: int = 0
    options: bytes = b""
    checksum: int | None = None

    @property
    def length(self) -> int:
        """How far it moves the sequence number: its payload, and one each for SYN and FIN."""
        return len(self.payload) + bool(self.flags & Flags.SYN) + bool(self.flags & Flags.FIN)

    @property
    def end(self) -> int:
        """The sequence number after it."""
        return (self.sequence + self.length) % NUMBERS

    def encode(self, source: str, destination: str) -> bytes:
        """Return its bytes, with the checksum for these two addresses, both of one family."""
        if len(self.options) % 4:
            raise ValueError(f"TCP options of {len(self.options)} bytes: pad them to a multiple of four")
        offset = (TCP_HEADER.size + len(self.options)) // 4 << 4
        head = TCP_HEADER.pack(
            self.source_port,
            self.destination_port,
            self.sequence % NUMBERS,
            self.acknowledgement % NUMBERS,
            offset,
            self.flags,
            self.window,
            0,
            self.urgent,
        )
        body = head[TCP_HEADER.size :] + self.options + self.payload
        right = tcp_checksum(source, destination, head + body)
        return (
            head[:16]
            + struct.pack("!HH", right if self.checksum is None else self.checksum, self.urgent)
            + body
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One IPv4 packet. ``total_length``, ``header_words`` and ``checksum`` None are the right ones."""

    source: str
    destination: str
    payload: bytes
    options: bytes = b""
    identification: int = 1
    fragment: int = DO_NOT_FRAGMENT
    ttl: int = 64
    protocol: int = PROTOCOL_TCP
    total_length: int | None = None
    header_words: int | None = None
    checksum: int | None = None

    def encode(self) -> bytes:
        """Return its bytes."""
        if len(self.options) % 4:
            raise ValueError(f"IPv4 options of {len(self.options)} bytes: pad them to a multiple of four")
        words = 5 + len(self.options) // 4
        length = words * 4 + len(self.payload)
        head = IPV4_HEADER.pack(
            4 << 4 | (words if self.header_words is None else self.header_words),
            0,
            length if self.total_length is None else self.total_length,
            self.identification,
            self.fragment,
            self.ttl,
            self.protocol,
            0,
            IPv4Address(self.source).packed,
            IPv4Address(self.destination).packed,
        )
        right = internet_checksum(head + self.options)
        checksum = struct.pack("!H", right if self.checksum is None else self.checksum)
        return head[:10] + checksum + head[12:] + self.options + self.payload


def ethernet(source: str, destination: str, payload: bytes, *, ethertype: int = ETHERTYPE_IPV4) -> bytes:
    """Return an Ethernet frame between two hardware addresses written ``aa:bb:cc:dd:ee:ff``."""
    addresses = bytes.fromhex(destination.replace(":", "")) + bytes.fromhex(source.replace(":", ""))
    return addresses + struct.pack("!H", ethertype) + payload


def internet_checksum(data: bytes) -> int:
    """Return the checksum of RFC 1071; over data with a right checksum in it: 0."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def tcp_checksum(source: str, destination: str, segment: bytes) -> int:
    """Return the checksum of a TCP segment; for one that holds its right checksum: 0."""
    return internet_checksum(pseudo_header(source, destination, len(segment)) + segment)


def pseudo_header(source: str, destination: str, length: int) -> bytes:
    """Return what TCP's checksum covers beside the segment (RFC 8200 8.1; for IPv4 the sum is RFC 9293's)."""
    addresses = ip_address(source).packed + ip_address(destination).packed
    return addresses + struct.pack("!II", length, PROTOCOL_TCP)


def decode(packet: bytes) -> tuple[Packet, Segment] | None:
    """Return what an IPv4 packet with TCP says; None for anything else."""
    if len(packet) < IPV4_HEADER.size or packet[0] >> 4 != 4 or packet[9] != PROTOCOL_TCP:
        return None
    first, _, length, identification, fragment, ttl, protocol, check, source, destination = (
        IPV4_HEADER.unpack(packet[: IPV4_HEADER.size])
    )
    words = first & 15
    payload = packet[words * 4 : length]
    outer = Packet(
        source=str(IPv4Address(source)),
        destination=str(IPv4Address(destination)),
        payload=payload,
        options=packet[IPV4_HEADER.size : words * 4],
        identification=identification,
        fragment=fragment,
        ttl=ttl,
        protocol=protocol,
        total_length=length,
        header_words=words,
        checksum=check,
    )
    segment = decode_segment(payload)
    return None if segment is None else (outer, segment)


def decode_segment(data: bytes) -> Segment | None:
    """Return what the bytes of a segment say; None when they are too few."""
    if len(data) < TCP_HEADER.size:
        return None
    source, destination, sequence, acknowledgement, offset, flags, window, checksum, urgent = (
        TCP_HEADER.unpack(data[: TCP_HEADER.size])
    )
    start = (offset >> 4) * 4
    return Segment(
        source_port=source,
        destination_port=destination,
        sequence=sequence,
        acknowledgement=acknowledgement,
        flags=Flags(flags),
        payload=data[start:],
        window=window,
        urgent=urgent,
        options=data[TCP_HEADER.size : start],
        checksum=checksum,
    )
