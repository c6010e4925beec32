# SPDX-License-Identifier: Apache-2.0
"""IPv6 packets as bytes, right or wrong on purpose; the segments in them are ``e2e.segments``'.

RFC 8200. Extension headers are bytes in front of the payload: whoever wants
some says what the first of them is.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv6Address

from e2e import segments
from e2e.segments import PROTOCOL_TCP, Packet, Segment

ETHERTYPE_IPV6 = 0x86DD
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60
EXPERIMENT_OPTION = 0x1E  # RFC 4727: to be skipped by who does not know it
IPV6_HEADER = struct.Struct("!IHBB16s16s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet6:
    """One IPv6 packet; ``length`` (of all behind the header) None is the right one."""

    source: str
    destination: str
    payload: bytes
    extensions: bytes = b""
    following: int = PROTOCOL_TCP
    ttl: int = 64
    label: int = 0
    length: int | None = None
    version: int = 6

    def encode(self) -> bytes:
        """Return its bytes; ``following`` is what stands directly behind the header."""
        behind = self.extensions + self.payload
        head = IPV6_HEADER.pack(
            self.version << 28 | self.label,
            len(behind) if self.length is None else self.length,
            self.following,
            self.ttl,
            IPv6Address(self.source).packed,
            IPv6Address(self.destination).packed,
        )
        return head + behind


def option_header(following: int, *, words: int = 0) -> bytes:
    """Return hop-by-hop or destination options: padding, and a word each of one that Linux passes over."""
    return bytes((following, words, 1, 4)) + bytes(4) + (bytes((EXPERIMENT_OPTION, 6)) + bytes(6)) * words


def fragment_header(following: int, *, offset: int, more: bool, identification: int = 7) -> bytes:
    """Return a fragment header; ``offset`` in bytes, a multiple of eight."""
    return struct.pack("!BBHI", following, 0, offset | more, identification)


def decode6(packet: bytes) -> tuple[Packet6, Segment] | None:
    """Return what an IPv6 packet with TCP right behind the header says; None for anything else."""
    if len(packet) < IPV6_HEADER.size or packet[0] >> 4 != 6 or packet[6] != PROTOCOL_TCP:
        return None
    first, length, following, ttl, source, destination = IPV6_HEADER.unpack(packet[: IPV6_HEADER.size])
    payload = packet[IPV6_HEADER.size : IPV6_HEADER.size + length]
    outer = Packet6(
        source=str(IPv6Address(source)),
        destination=str(IPv6Address(destination)),
        payload=payload,
        following=following,
        ttl=ttl,
        label=first & 0xFFFFF,
        length=length,
    )
    segment = segments.decode_segment(payload)
    return None if segment is None else (outer, segment)


def decode(packet: bytes) -> tuple[Packet | Packet6, Segment] | None:
    """Return what a packet of either family with TCP says; None for anything else."""
    return decode6(packet) or segments.decode(packet)
