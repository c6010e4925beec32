# SPDX-License-Identifier: Apache-2.0
"""Packets of IPv6 that no honest client sends: fragments, extension headers, lengths, tags.

Each function sends the denied request on a connection that is open; it has
succeeded when the server's log has it. What does not depend on the family is in
``crafted``, ``streams`` and ``handshakes``.
"""

import struct
from dataclasses import replace

from e2e.attacks.arena import DATA, DENIED, Arena
from e2e.attacks.crafted import false_offsets, on_the_link
from e2e.ipv6 import DESTINATION, FRAGMENT, HOP_BY_HOP, ROUTING, Packet6
from e2e.ipv6 import fragment_header as fragment_of
from e2e.ipv6 import option_header as options
from e2e.raw import RawClient
from e2e.segments import PROTOCOL_TCP, Segment

JUMBO = 194
AUTHENTICATION, MOBILITY, EXPERIMENT = 51, 135, 253


def fragments(client: RawClient, request: bytes) -> None:
    """Send one segment in two fragments, in both orders."""
    whole = client.packet6(client.segment(DATA, request))
    for identification, order in enumerate((((0, 40), (40, None)), ((40, None), (0, 40))), 7):
        for start, end in order:
            send_fragment(client, whole, start, end, identification)


def tiny_fragments(client: RawClient, request: bytes) -> None:
    """Send fragments of eight bytes: the first has no more than the ports and the number."""
    whole = client.packet6(client.segment(DATA, request))
    for start in range(0, len(whole.payload), 8):
        end = start + 8
        send_fragment(client, whole, start, end if end < len(whole.payload) else None, 9)


def overlapping_fragments(client: RawClient, request: bytes) -> None:
    """Send an allowed first fragment and a second one that lies over it with the denied path."""
    allowed = client.packet6(client.segment(DATA, request.replace(DENIED, b"GET /public")))
    denied = client.packet6(client.segment(DATA, request))
    send_fragment(client, allowed, 0, 32, 11)
    send_fragment(client, denied, 16, None, 11)


def atomic_fragment(client: RawClient, request: bytes) -> None:
    """Send the whole segment as the only fragment (RFC 6946)."""
    send_fragment(client, client.packet6(client.segment(DATA, request)), 0, None, 10)


def options_then_fragments(client: RawClient, request: bytes) -> None:
    """Send fragments of which the fragmentable part begins with destination options."""
    whole = client.packet6(client.segment(DATA, request))
    inside = replace(whole, payload=options(PROTOCOL_TCP) + whole.payload)
    for start, end in ((0, 16), (16, None)):
        send_fragment(client, inside, start, end, 12, following=DESTINATION)


def send_fragment(  # noqa: PLR0913, PLR0917 - where it is cut, and what it says
    client: RawClient,
    whole: Packet6,
    start: int,
    end: int | None,
    identification: int,
    following: int = PROTOCOL_TCP,
) -> None:
    """Send ``payload[start:end]`` as a fragment."""
    header = fragment_of(following, offset=start, more=end is not None, identification=identification)
    part = whole.payload[start:end]
    client.send_packet(replace(whole, following=FRAGMENT, extensions=header, payload=part))


def behind(client: RawClient, request: bytes, first: int, extensions: bytes) -> None:
    """Send the request behind extension headers."""
    whole = client.packet6(client.segment(DATA, request))
    client.send_packet(replace(whole, following=first, extensions=extensions))


def hop_by_hop(client: RawClient, request: bytes) -> None:
    """Send the request behind hop-by-hop options of padding, short and long."""
    behind(client, request, HOP_BY_HOP, options(PROTOCOL_TCP))
    behind(client, request, HOP_BY_HOP, options(PROTOCOL_TCP, words=3))


def destination_options(client: RawClient, request: bytes) -> None:
    """Send the request behind destination options, one and two of them."""
    behind(client, request, DESTINATION, options(PROTOCOL_TCP))
    behind(client, request, DESTINATION, options(DESTINATION) + options(PROTOCOL_TCP))
    behind(client, request, HOP_BY_HOP, options(DESTINATION) + options(PROTOCOL_TCP))


def routing_header(client: RawClient, request: bytes) -> None:
    """Send the request behind routing headers without segments left, which hosts pass over."""
    for kind in (0, 2, 4, 253):
        behind(client, request, ROUTING, struct.pack("!BBBBI", PROTOCOL_TCP, 0, kind, 0, 0))


def rare_headers(client: RawClient, request: bytes) -> None:
    """Send the request behind an authentication header, mobility and an experiment."""
    for kind in (AUTHENTICATION, MOBILITY, EXPERIMENT):
        behind(client, request, kind, bytes((PROTOCOL_TCP, 1)) + bytes(14))


def jumbo(client: RawClient, request: bytes) -> None:
    """Send the request behind a jumbo length that is a lie, with and without the header's own length."""
    whole = client.packet6(client.segment(DATA, request))
    for said in (len(whole.payload) + 8, 65536, 70_000):
        extensions = struct.pack("!BBBBI", PROTOCOL_TCP, 0, JUMBO, 4, said)
        for length in (0, None):
            client.send_packet(replace(whole, following=HOP_BY_HOP, extensions=extensions, length=length))


def false_lengths(arena: Arena) -> str:
    """Say other lengths than there are: in the IPv6 header and the TCP offset; and another version."""

    def bend(client: RawClient, segment: Segment) -> tuple[Packet6, ...]:
        packet = client.packet6(segment)
        return (
            replace(packet, length=2000),
            replace(packet, length=19),
            replace(packet, length=0),
            replace(packet, version=4),
            *(replace(packet, payload=payload) for payload in false_offsets(packet.payload)),
        )

    return on_the_link(arena, bend)
