# SPDX-License-Identifier: Apache-2.0
"""Packets that no honest client sends: fragments, options, tags, flags, pipelines.

Each function makes one attack under a name of its own and returns that name;
it has succeeded when the server's log has ``/secret/`` and the name.
"""

import random
import socket
from collections.abc import Callable, Iterable
from dataclasses import replace

from e2e.attacks.arena import ALLOWED, DATA, DENIED, WRONG, Arena, put, rest
from e2e.ipv6 import Packet6
from e2e.raw import RawClient
from e2e.segments import NUMBERS, Flags, Packet, Segment, decode, ethernet
from e2e.topology import mac_address

MORE_FRAGMENTS = 0x2000
RECORD_ROUTE = b"\x07\x07\x04\x00\x00\x00\x00\x00"
NO_OPERATION = b"\x01" * 4
MSS = b"\x02\x04\x05\xb4"
MP_CAPABLE = b"\x1e\x04\x01\x01"
VLAN_TAG = b"\x81\x00\x00\x00"
QUIET_SECONDS = 0.1
ETH_P_IP = 0x0800

Send = Callable[[RawClient, bytes], None]
Bend = Callable[[RawClient, Segment], Iterable[Packet | Packet6]]


def connected(arena: Arena, send: Send) -> str:
    """Make an honest handshake, then ``send(client, request)`` with a denied request."""
    name = arena.name()
    with arena.raw() as client:
        client.connect()
        send(client, DENIED + rest(name))
        client.read(QUIET_SECONDS)
    return name


def fragments(client: RawClient, request: bytes) -> None:
    """Send one segment in two IPv4 fragments, in both orders."""
    whole = client.packet(client.segment(DATA, request))
    first = replace(whole, payload=whole.payload[:40], fragment=MORE_FRAGMENTS)
    second = replace(whole, payload=whole.payload[40:], fragment=40 // 8)
    for identification, parts in enumerate(((first, second), (second, first)), 7):
        for part in parts:
            client.send_packet(replace(part, identification=identification))


def tiny_fragments(client: RawClient, request: bytes) -> None:
    """Send fragments of eight bytes: the first has no more than the ports and the number."""
    whole = client.packet(client.segment(DATA, request))
    for start in range(0, len(whole.payload), 8):
        last = start + 8 >= len(whole.payload)
        fragment = start // 8 | (0 if last else MORE_FRAGMENTS)
        part = replace(whole, payload=whole.payload[start : start + 8], fragment=fragment, identification=9)
        client.send_packet(part)


def no_operations(client: RawClient, request: bytes) -> None:
    """Send the request behind IPv4 options that do nothing."""
    client.send_packet(replace(client.packet(client.segment(DATA, request)), options=NO_OPERATION))


def record_route(client: RawClient, request: bytes) -> None:
    """Send the request behind a record-route option."""
    client.send_packet(replace(client.packet(client.segment(DATA, request)), options=RECORD_ROUTE))


def urgent(client: RawClient, request: bytes) -> None:
    """Send a byte that the server takes out of the stream: ``GET /publicX`` with X urgent and so on."""
    client.send_segment(replace(client.segment(DATA | Flags.URG, request), urgent=3))


def no_acknowledgement(client: RawClient, request: bytes) -> None:
    """Send data without the ACK flag, and with odd combinations of flags."""
    for flags in (Flags(0), Flags.PSH, Flags.FIN, Flags.FIN | Flags.PSH | Flags.URG, Flags.RST | Flags.ACK):
        client.send_segment(client.segment(flags, request))


def evicted(client: RawClient, request: bytes) -> None:
    """Send resets with numbers that the server ignores in the middle of a head."""
    put(client, 0, request[:8])
    for apart in (-1000, -1, 500, 100_000, 1 << 31):
        for flags in (Flags.RST, Flags.RST | Flags.ACK):
            client.send_segment(client.segment(flags, sequence=client.sequence + 8 + apart))
    put(client, 8, ALLOWED + request[len(DENIED) :])
    put(client, 8, request[8:])


def probes(client: RawClient, request: bytes) -> None:
    """Send keep-alive probes of one old byte that is another one, between the bytes of the request."""
    for place in range(len(request)):
        put(client, place - 1, b"x")
        put(client, place, request[place : place + 1])
        client.receive(0.001)


def pipelined(client: RawClient, request: bytes) -> None:
    """Send the denied request behind an allowed one in the same segment."""
    client.send(ALLOWED + rest("page") + request)


def huge_pipeline(client: RawClient, request: bytes) -> None:
    """Send as many allowed requests as fit into a segment, the denied one last."""
    one = b"GET /public HTTP/1.1\r\nHost: x\r\n\r\n"
    client.send(one * ((1400 - len(request)) // len(one)) + request)


def after_close(client: RawClient, request: bytes) -> None:
    """Send more behind a request with ``Connection: close`` that the server does not have yet."""
    last = b"GET /public HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n"
    put(client, 0, last, checksum=WRONG)
    put(client, len(last), request)
    client.send(last)


def with_close(client: RawClient, request: bytes) -> None:
    """Send more behind a request with ``Connection: close``, in the same segment."""
    client.send(b"GET /public HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n" + request)


def hole(client: RawClient, request: bytes) -> None:
    """Send the end first and the beginning last."""
    for start in range(len(request) - 1, -1, -7):
        put(client, max(start - 6, 0), request[max(start - 6, 0) : start + 1])
    # The piece that came last is the first one that passes: what follows begins behind it.
    for start in range((len(request) - 1) % 7 + 1, len(request), 7):
        put(client, start, request[start : start + 7])


def syn_with_data(arena: Arena) -> str:
    """Put the request on the SYN, with and without a fast-open option, and again behind the handshake."""
    name = arena.name()
    request = DENIED + rest(name)
    with arena.raw() as client:
        for options in (MSS, MSS + b"\x22\x02\x01\x01"):
            client.send_segment(replace(client.segment(Flags.SYN, request), options=options))
        assert client.receive(QUIET_SECONDS) is None
        client.connect()
        client.send(request)
        client.read(QUIET_SECONDS)
    return name


def on_the_link(arena: Arena, bend: Bend, *, tags: int = 0) -> str:
    """Put what ``bend`` makes of the request on the link to the pod itself, no host between.

    ``tags``: how many VLAN tags with number 0 stand before each packet.
    """
    name = arena.name()
    host, device = arena.scene.topology.host, arena.pod.host_interface
    macs = ethernet(mac_address(host, device), arena.pod.mac, b"")[:12]
    link = host.open_socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with link, arena.raw() as client:
        link.bind((device, client.ethertype))
        client.connect()
        for packet in bend(client, client.segment(DATA, DENIED + rest(name))):
            link.send(macs + VLAN_TAG * tags + client.ethertype.to_bytes(2, "big") + packet.encode())
        client.read(QUIET_SECONDS)
    return name


def tagged(arena: Arena, tags: int) -> str:
    """Put VLAN tags before the packet."""
    return on_the_link(arena, lambda client, segment: (client.around(segment),), tags=tags)


def false_lengths(arena: Arena) -> str:
    """Say other lengths than there are: in the IPv4 header, its words, the TCP offset."""

    def bend(client: RawClient, segment: Segment) -> tuple[Packet, ...]:
        packet = client.packet(segment)
        return (
            replace(packet, total_length=2000),
            replace(packet, total_length=19),
            replace(packet, header_words=4),
            *(replace(packet, payload=payload) for payload in false_offsets(packet.payload)),
        )

    return on_the_link(arena, bend)


def false_offsets(payload: bytes) -> tuple[bytes, ...]:
    """Return a segment's bytes with too small and too large a TCP offset, and less of them than a header."""
    return payload[:12] + b"\x40" + payload[13:], payload[:12] + b"\xf0" + payload[13:22], payload[:19]


def multipath(arena: Arena) -> bytes:
    """Send a SYN with MP_CAPABLE; return the TCP options with which it comes to the pod."""
    tap = arena.pod.namespace.open_socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IP))
    with tap, arena.raw() as client:
        tap.bind(("eth0", ETH_P_IP))
        tap.settimeout(1)
        client.syn(options=MSS + MP_CAPABLE)
        while True:
            decoded = decode(tap.recv(2048)[14:])
            if decoded is not None and decoded[1].source_port == client.source_port:
                return decoded[1].options


def wrapped(arena: Arena, path: bytes, before: int) -> str:
    """Let the numbers pass 2^32 inside the request, ``before`` bytes after its beginning."""
    name = arena.name()
    with arena.raw() as client:
        client.initial = client.sequence = NUMBERS - 1 - before
        client.connect()
        client.crumble(path + rest(name))
        client.read(QUIET_SECONDS)
    return name


def shuffled(arena: Arena, seed: int) -> str:
    """Send pieces of ALLOWED and DENIED at random places, some with bad checksums, all with right flags."""
    name = arena.name()
    chance = random.Random(seed)
    texts = [start + rest(name) for start in (ALLOWED, DENIED)]
    with arena.raw() as client:
        client.connect()
        for _ in range(300):
            text = chance.choice(texts)
            start = chance.randrange(len(text))
            checksum = WRONG if chance.random() < 0.2 else None
            put(client, start, text[start : start + chance.randrange(1, 12)], checksum=checksum)
            if chance.random() < 0.02:
                put(client, 0, text[: chance.randrange(1, len(text))])
        client.read(QUIET_SECONDS)
    return name
