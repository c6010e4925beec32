# SPDX-License-Identifier: Apache-2.0
"""Holes that were found once, each with a test that finds it again.

They have in common that every single packet looks right: what was wrong is what
the chain made of two of them, or of numbers near the end of their range.
"""

import struct

import pytest

from bpfast.abi import FlowStage
from bpfast.kernel.trial import XDP_DROP, XDP_TX
from e2e.segments import NUMBERS
from tests.kernel.packets import (
    ACK,
    FIN,
    PSH,
    RST,
    SYN,
    Box,
    Connection,
    both_families,
    checksums_right,
    from_pod,
    get,
    post,
    pseudo_sum,
    response,
    to_pod,
)
from tests.kernel.test_entry import datagram, ipv6

DENIED = get("/secret")
TIMESTAMPS = b"\1\1\x08\x0a" + bytes(range(8))
NOP = b"\1"
FAR = 400_000_000
UDP, HOP_BY_HOP, FRAGMENT6, ICMP6 = 17, 0, 44, 58
MORE_FRAGMENTS = 0x2000


def killed_in_a_body(box: Box) -> Connection:
    """Return a connection with a body half sent that the client has reset."""
    old = box.connected()
    assert old.send(post(1000)).passed
    assert old.send(b"x" * 100).passed
    old.serve()
    assert old.raw(flags=RST).passed
    return old


def reopened(old: Connection, *, server: int) -> Connection:
    """Return a connection on the same ports, its SYN-ACK seen, whose first byte is in the old body."""
    new = old.box.connection(peer_port=old.peer_port, client=old.client - 6, server=server)
    assert new.syn().passed
    new.syn_ack()
    return new


def test_a_reset_flow_does_not_judge_the_connection_that_follows(box: Box) -> None:
    """What the killed connection would have taken for its body is dropped once its ports are in use again."""
    old = killed_in_a_body(box)
    new = reopened(old, server=old.server - 3)
    outcome = new.raw(b"x" + DENIED, sequence=new.first - 1)
    assert XDP_DROP == outcome.action
    assert {"bad_numbers": 1} == box.reasons
    assert new.send().passed
    new.exchange()
    assert XDP_TX == new.send(DENIED).action
    assert 2 == box.counts["flows_born"]


@pytest.mark.parametrize("flags", (ACK, ACK | FIN))
def test_a_reset_flow_learns_no_numbers_of_the_connection_that_follows(box: Box, flags: int) -> None:
    """The watcher writes what the new connection's server sends into no flow of the old connection."""
    old = killed_in_a_body(box)
    new = reopened(old, server=old.server + 1000)
    before = old.flow
    new.serve(response(), acknowledgement=new.first + 200, flags=flags)
    assert before is not None
    assert before == old.flow


@pytest.mark.parametrize("length", (1 << 31, 3_000_000_000, 1 << 32, (1 << 32) + 50, 1 << 53))
def test_an_early_answer_is_seen_when_much_of_the_body_is_left(box: Box, length: int) -> None:
    """A final status ends the payload however many bytes of the body remain."""
    connection = box.connected()
    assert connection.send(post(length)).passed
    assert connection.send(b"x" * 10).passed
    connection.serve(response(status="413 Too Large"))
    connection.send()
    assert b"" == connection.raw(get()).payload
    assert {"early_answer": 1} == box.reasons


def expecting(box: Box) -> Connection:
    """Return a connection whose client waits for 100 before it sends its body."""
    connection = box.connected()
    head = get("/upload", "Content-Length: 1000", "Expect: 100-continue", method="POST")
    assert connection.send(head).passed
    return connection


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def test_a_final_status_in_the_segment_of_an_interim_one_is_final(box: Box) -> None:
    """100 and 413 in one segment end the payload: what follows may be read as a request."""
    connection = expecting(box)
    connection.serve(CONTINUE + response(status="413 No"))
    connection.send()
    assert b"" == connection.raw(DENIED).payload
    assert {"early_answer": 1} == box.reasons


def test_an_interim_status_alone_is_not_final(box: Box) -> None:
    """100 by itself lets the body go on."""
    connection = expecting(box)
    connection.serve(CONTINUE)
    connection.send()
    assert connection.send(b"x" * 1000).passed
    assert {} == box.reasons


@pytest.mark.parametrize(
    ("offset", "reason"),
    ((FAR, "bad_numbers"), (1 << 17, "bad_numbers"), (-(1 << 17), "old_segment"), (-FAR, "old_segment")),
)
def test_far_payload_does_not_drain_what_the_server_has_closed(box: Box, offset: int, reason: str) -> None:
    """After the server's FIN a blind byte far from the client's numbers never passes and changes nothing."""
    connection = box.connected()
    connection.exchange()
    connection.serve(flags=FIN | ACK)
    assert connection.send().passed
    outcome = connection.raw(b"x", sequence=(connection.client + offset) % NUMBERS)
    assert XDP_TX != outcome.action
    assert b"" == outcome.payload
    assert {reason: 1} == box.reasons
    flow = connection.flow
    assert flow is not None
    assert FlowStage.OPEN == flow["stage"]
    assert connection.send(flags=FIN | ACK).passed


def test_an_unfinished_body_waits_for_the_answer_before_it(box: Box) -> None:
    """A POST in part behind an unanswered GET waits, and passes as it is when the server has spoken."""
    connection = box.connected()
    assert connection.send(get()).passed
    part = post(100) + b"x" * 10
    assert XDP_DROP == connection.raw(part).action
    assert {"awaits_answer": 1} == box.reasons
    connection.serve(response())
    assert part == connection.send(part).payload
    assert 2 == box.counts["requests_allowed"]
    assert connection.send(b"x" * 90).passed


def test_an_unfinished_body_in_the_segment_of_another_request_waits(box: Box) -> None:
    """Of a GET and a POST in part in one segment the GET passes alone; the POST when it is answered."""
    connection = box.connected()
    part = post(100) + b"x" * 10
    assert get() == connection.raw(get() + part).payload
    assert {"awaits_answer": 1} == box.reasons
    assert 1 == box.counts["requests_allowed"]
    connection.client += len(get())
    assert XDP_DROP == connection.raw(part).action
    connection.serve(response())
    assert part == connection.send(part).payload
    connection.send(b"x" * 90)
    connection.serve(response())
    connection.send()
    assert XDP_TX == connection.send(DENIED).action


@both_families
@pytest.mark.parametrize("options", (b"", TIMESTAMPS), ids=("plain", "timestamps"))
@pytest.mark.parametrize("path", ("/public", "/public/"))
def test_a_cut_segment_has_right_checksums(box: Box, path: str, options: bytes) -> None:
    """What is left of a segment has right lengths and checksums, and neither FIN nor PSH."""
    first = get(path)
    connection = box.connected(options=options)
    outcome = connection.raw(first + post(100), flags=ACK | PSH | FIN)
    assert first == outcome.payload
    assert ACK == outcome.segment.flags
    assert options == outcome.segment.options
    assert box.tcp_at + 20 + len(options) + len(first) == len(outcome.frame)
    assert checksums_right(outcome.frame)
    flow = connection.flow
    assert flow is not None
    assert 0 == flow["client_fin"]


@both_families
@pytest.mark.parametrize("options", (b"", TIMESTAMPS), ids=("plain", "timestamps"))
def test_a_cut_segment_that_the_device_is_to_sum_keeps_a_partial_checksum(box: Box, options: bytes) -> None:
    """Where only the pseudo header was summed, it is so afterwards, with the new length."""
    stream = get() + post(100)
    connection = box.connected(options=options)
    header = 20 + len(options)
    outcome = connection.raw(stream, checksum=pseudo_sum(box.client, box.server, header + len(stream)))
    assert get() == outcome.payload
    assert pseudo_sum(box.client, box.server, header + len(get())) == tcp_check(box, outcome.frame)


def tcp_check(box: Box, frame: bytes) -> int:
    """Return the field with the TCP checksum of an untagged frame without options or extensions."""
    return int.from_bytes(frame[box.tcp_at + 16 : box.tcp_at + 18], "big")


@both_families
@pytest.mark.parametrize("padding", (0, 16), ids=("short", "long"))
def test_sixty_requests_in_one_frame_all_get_through(box: Box, padding: int) -> None:
    """A frame of sixty requests passes whole or in parts, byte for byte, and each is counted once."""
    connection = box.connected()
    stream = b"".join(get(f"/public/{number:02}" + "p" * padding) for number in range(60))
    received = b""
    for _ in range(10):
        outcome = connection.raw(stream[len(received) :][:2900])
        received += outcome.payload
        assert checksums_right(outcome.frame)
        connection.client += len(outcome.payload)
        connection.serve(b"x")
    assert stream == received
    assert 60 == box.counts["requests_allowed"]
    assert 60 == len(box.events()) + box.counts.get("events_lost", 0)
    assert box.reasons.keys() <= {"too_many_requests"}


@pytest.mark.parametrize("data", (b"", get(), DENIED))
def test_a_total_length_of_zero_is_refused_in_a_small_frame(box: Box, data: bytes) -> None:
    """Only a frame that is too long for the field may leave IPv4's total length zero."""
    connection = box.connected()
    frame = bytearray(connection.client_frame(data))
    frame[16:18] = bytes(2)
    assert XDP_DROP == box.receive(bytes(frame)).action
    assert {"bad_packet": 1} == box.reasons
    assert connection.send(get()).passed


@both_families
@pytest.mark.parametrize("offset", (0, 4, 11))
def test_a_fin_on_acknowledged_bytes_inside_a_head_resets_the_server(box: Box, offset: int) -> None:
    """A FIN with bytes that the server has ends the head that they began: the server is reset instead."""
    connection = box.connected()
    part = get()[:12]
    connection.send(part)
    connection.serve()
    outcome = connection.at(offset, part[offset:], flags=FIN | ACK)
    assert outcome.resets_server
    assert connection.client == outcome.segment.sequence
    assert {"fin_in_head": 1} == box.reasons


MSS, SACK, SCALE = b"\x02\x04\x05\xb4", b"\x04\x02", b"\x03\x03\x07"
CAPABLE = b"\x1e\x04\x01\x81"
JOIN = b"\x1e\x0c\x10\x02" + bytes(range(0xE0, 0xE8))
SYN_OPTIONS = {
    "behind others": (MSS + SACK + TIMESTAMPS[2:] + NOP + SCALE, CAPABLE, b""),
    "first": (b"", JOIN, MSS),
    "at an odd place": (SCALE, JOIN, SACK + NOP + NOP + NOP),
    "between others": (MSS + NOP, CAPABLE, SACK + NOP),
    "all of them": (b"", JOIN + CAPABLE + JOIN + JOIN, b""),
}


@both_families
@pytest.mark.parametrize("partial", (False, True), ids=("full", "partial"))
@pytest.mark.parametrize("name", SYN_OPTIONS)
def test_multipath_options_of_a_syn_become_nops(box: Box, name: str, partial: bool) -> None:
    """A SYN goes on without Multipath TCP, with its other options and a right checksum."""
    before, multipath, behind = SYN_OPTIONS[name]
    connection = box.connection(options=before + multipath + behind)
    sum_only = pseudo_sum(box.client, box.server, 20 + len(connection.options))
    outcome = connection.syn(checksum=sum_only if partial else None)
    assert outcome.passed
    assert before + NOP * len(multipath) + behind == outcome.segment.options
    assert SYN == outcome.segment.flags
    if partial:
        assert sum_only == tcp_check(box, outcome.frame)
    else:
        assert checksums_right(outcome.frame)


@both_families
def test_a_syn_without_multipath_options_goes_on_as_it_came(box: Box) -> None:
    """A byte 30 that is a value and no kind is left alone."""
    connection = box.connection(options=b"\x02\x04\x1e\x04" + b"\x08\x0a" + b"\x1e\x04" * 4 + b"\1\1")
    outcome = connection.syn()
    assert connection.client_frame(sequence=connection.first - 1, acknowledgement=0, flags=SYN) == (
        outcome.frame
    )


def behind_options(kind: int, length: int = 0) -> bytes:
    """Return an ICMPv6 message behind hop-by-hop options (a router alert and padding)."""
    options = bytes((ICMP6, length)) + b"\x05\x02\0\0\x01\0"
    return ipv6(HOP_BY_HOP, options + bytes(8) * length + bytes((kind, 0)) + bytes(22))


@pytest.mark.parametrize(("kind", "passes"), ((131, True), (135, True), (143, True), (128, False)))
def test_icmp6_behind_hop_by_hop_options_is_judged_by_its_type(box: Box, kind: int, passes: bool) -> None:
    """Multicast listener reports pass with their router alert; an echo request does not hide behind one."""
    assert passes == box.receive(behind_options(kind)).passed
    assert ({} if passes else {"l4_denied": 1}) == box.reasons


@pytest.mark.parametrize("kind", (128, 143))
def test_icmp6_behind_longer_options_is_refused(box: Box, kind: int) -> None:
    """Options of more than eight bytes are not followed."""
    assert XDP_DROP == box.receive(behind_options(kind, 1)).action
    assert {"ipv6_extension": 1} == box.reasons


@pytest.mark.parametrize("kind", (1, 3, 134, 135, 143))
def test_icmp6_in_ipv4_is_nobodys(box: Box, kind: int) -> None:
    """Protocol 58 in IPv4 is not what IPv6 cannot do without: default deny holds for it."""
    outcome = box.receive(to_pod(bytes((kind, 0)) + bytes(22), protocol=ICMP6))
    assert XDP_DROP == outcome.action
    assert {"l4_denied": 1} == box.reasons


def test_fragments_of_datagrams_over_ipv4(box: Box) -> None:
    """First fragments are judged by their ports, like whole datagrams; later ones mean nothing alone."""
    reply, other = datagram(53, 43300, bytes(64)), datagram(53, 43301, bytes(64))
    box.trial.watch(from_pod(datagram(43300, 53), protocol=UDP))
    assert box.receive(to_pod(reply, protocol=UDP, fragment=MORE_FRAGMENTS)).passed
    assert XDP_DROP == box.receive(to_pod(other, protocol=UDP, fragment=MORE_FRAGMENTS)).action
    assert {"l4_denied": 1} == box.reasons
    assert box.receive(to_pod(other, protocol=UDP, fragment=MORE_FRAGMENTS | 9)).passed
    assert box.receive(to_pod(b"abc", protocol=UDP, fragment=18)).passed


def fragment6(offset: int, payload: bytes, protocol: int = UDP) -> bytes:
    """Return a frame with an IPv6 fragment that is not the last."""
    return ipv6(FRAGMENT6, struct.pack("!BBHI", protocol, 0, offset << 3 | 1, 7) + payload)


def test_fragments_of_datagrams_over_ipv6(box: Box) -> None:
    """Over IPv6, too, a first fragment of an unasked datagram is denied and later ones pass."""
    assert XDP_DROP == box.receive(fragment6(0, datagram(53, 43302, bytes(64)))).action
    assert {"l4_denied": 1} == box.reasons
    assert box.receive(fragment6(9, bytes(64))).passed
    assert box.receive(fragment6(0, bytes((135, 0)) + bytes(30), ICMP6)).passed
    assert XDP_DROP == box.receive(fragment6(0, bytes((128, 0)) + bytes(30), ICMP6)).action
    assert XDP_DROP == box.receive(fragment6(9, bytes(64), 6)).action


@pytest.mark.parametrize("padding", (2000, 2100))
def test_a_long_segment_is_cut_with_right_checksums(box: Box, padding: int) -> None:
    """More payload than one piece is summed, too: a jumbo frame is cut like any other."""
    connection = box.connected()
    first = get("/public", f"Cookie: {'c' * padding}")
    outcome = connection.raw(first + post(100) + b"x" * 10)

    assert first == outcome.payload
    assert checksums_right(outcome.frame)
