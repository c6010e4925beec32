# SPDX-License-Identifier: Apache-2.0
"""Our own answers: the 403 byte by byte, and how both sides come to an end after it.

The checksum routine that judges is ``e2e.segments``', not the kernel's. Each
test fails without its part: full and partial checksums, the timestamps, the
FIN, the reset of the server, and that the watcher believes nothing afterwards.
"""

import struct
from typing import Any

import pytest

from bpfast.abi import DenyMode, FlowStage
from bpfast.kernel.trial import XDP_DROP, XDP_PASS, XDP_TX
from e2e.segments import NUMBERS, Packet
from tests.kernel.packets import (
    ACK,
    CLIENT_MAC,
    FIN,
    PSH,
    RST,
    SERVER_MAC,
    Box,
    Connection,
    Outcome,
    both_families,
    checksums_right,
    get,
    post,
    pseudo_sum,
    response,
)

pytestmark = both_families

DENIED = get("/secret")
BODY = (
    b"HTTP/1.1 403 Forbidden\r\ncontent-length: 15\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n"
    b"Access denied\r\n"
)
NO_BODY = BODY[:-15]
STAMPS = struct.pack("!BBII", 8, 10, 0x11223344, 0x55667788)
SWAPPED = struct.pack("!BBII", 8, 10, 0x55667788, 0x11223344)


def denied(box: Box, **start: Any) -> Connection:
    """Return a connection whose first request has been denied and answered."""
    connection = box.connected(**start)
    outcome = connection.send(DENIED)
    assert XDP_TX == outcome.action
    connection.server = outcome.segment.end
    return connection


@pytest.mark.parametrize(
    "start", ({}, {"client": (1 << 32) - 20, "server": (1 << 32) - 50}), ids=("plain", "wrap")
)
def test_the_answer_byte_by_byte(box: Box, start: dict[str, int]) -> None:
    """The 403 goes back the way the request came, with right numbers, FIN, text, lengths and checksums."""
    connection = box.connected(**start)
    frame = connection.client_frame(DENIED)
    outcome = connection.send(DENIED)
    assert XDP_TX == outcome.action
    assert frame[6:12] + frame[:6] + frame[12:14] == outcome.frame[:14]
    assert bytes.fromhex(CLIENT_MAC.replace(":", "")) == outcome.frame[:6]
    packet, segment = outcome.packet, outcome.segment
    assert (box.server, box.client) == (packet.source, packet.destination)
    assert box.tcp_at + 20 + len(BODY) == len(outcome.frame)
    if isinstance(packet, Packet):
        assert (5, 40 + len(BODY), 0) == (packet.header_words, packet.total_length, packet.fragment & 0x3FFF)
    assert packet.ttl >= 64
    assert (80, connection.peer_port) == (segment.source_port, segment.destination_port)
    assert (connection.server, connection.client) == (segment.sequence, segment.acknowledgement)
    assert FIN | ACK | PSH == segment.flags
    assert BODY == segment.payload
    assert segment.window > 0
    assert checksums_right(outcome.frame)
    assert {"answers": 1, "requests_denied": 1, "flows_born": 1} == box.counts
    assert {"no_rule": 1} == box.reasons


@pytest.mark.parametrize("options", (b"", b"\1\1" + STAMPS))
def test_a_partial_checksum_is_answered_by_a_partial_one(box: Box, options: bytes) -> None:
    """Where the device is to finish the checksum, the answer holds the sum of its own pseudo-header."""
    connection = box.connected(options=options)
    partial = pseudo_sum(box.client, box.server, 20 + len(options) + len(DENIED))
    outcome = connection.send(DENIED, checksum=partial)
    assert XDP_TX == outcome.action
    size = len(outcome.frame) - box.tcp_at
    assert pseudo_sum(box.server, box.client, size) == outcome.segment.checksum
    finished = bytearray(outcome.frame)
    from e2e.segments import internet_checksum  # noqa: PLC0415 - what the device does

    check = internet_checksum(bytes(finished[box.tcp_at :]))
    finished[box.tcp_at + 16 : box.tcp_at + 18] = struct.pack("!H", check)
    assert checksums_right(bytes(finished))


@pytest.mark.parametrize("partial", (False, True))
@pytest.mark.parametrize("step", ("bare ack", "server reset", "client ack"))
def test_every_packet_that_we_make_keeps_the_kind_of_checksum(box: Box, partial: bool, step: str) -> None:
    """All that we make has a right checksum, or a right partial one in reply to a partial one."""

    def finished(frame: bytes) -> bytes:
        from e2e.segments import internet_checksum  # noqa: PLC0415

        check = struct.pack("!H", internet_checksum(frame[box.tcp_at :]))
        return frame[: box.tcp_at + 16] + check + frame[box.tcp_at + 18 :]

    def kind(length: int) -> dict[str, Any]:
        return {"checksum": pseudo_sum(box.client, box.server, 20 + length)} if partial else {}

    if step == "bare ack":
        connection = box.connected()
        connection.send(get())
        connection.serve()
        outcome = connection.at(0, get(), **kind(len(get())))
    else:
        connection = denied(box)
        outcome = connection.raw(**kind(0))
        if step == "client ack":
            outcome = connection.raw(flags=FIN | ACK, **kind(0))
    frame = outcome.frame
    assert outcome.action in (XDP_PASS, XDP_TX)
    assert checksums_right(finished(frame) if partial else frame)


@pytest.mark.parametrize(
    "options",
    (
        b"\1\1" + STAMPS,
        STAMPS + b"\1\1",
        b"\1\1" + STAMPS + b"\1\1\5\x0a" + bytes(8),
        b"\5\x0a" + bytes(8) + STAMPS,
    ),
)
def test_timestamps_are_echoed(box: Box, options: bytes) -> None:
    """The answer has the timestamps option with value and echo swapped, wherever the client put it."""
    connection = box.connected(options=options)
    outcome = connection.send(DENIED)
    assert SWAPPED in outcome.segment.options
    assert BODY == outcome.segment.payload
    assert checksums_right(outcome.frame)


def test_no_timestamps_without_them(box: Box) -> None:
    """A connection without timestamps gets none; other options are not sent back."""
    outcome = box.connected(options=b"\1\1\1\1").send(DENIED)
    assert STAMPS[:2] not in outcome.segment.options
    assert b"" == outcome.segment.options.replace(b"\1", b"").replace(b"\0", b"")


def test_head_gets_no_body(box: Box) -> None:
    """A denied HEAD gets the head of the 403 only."""
    outcome = box.connected().send(get("/secret", method="HEAD"))
    assert NO_BODY == outcome.segment.payload
    assert FIN in outcome.segment.flags
    assert checksums_right(outcome.frame)


def test_a_get_after_a_head_gets_a_body(box: Box) -> None:
    """That a request before was HEAD does not matter."""
    connection = box.connected()
    connection.exchange(get(method="HEAD"))
    assert BODY == connection.send(DENIED).segment.payload


FAULTS = {
    "bad_method": b"get /public HTTP/1.1\r\nHost: a\r\n\r\n",
    "connect_method": b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "bad_path": get("/public/../secret"),
    "bad_version": b"GET /public HTTP/1.0\r\nHost: a\r\n\r\n",
    "http2_preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "bad_line_end": b"GET /public HTTP/1.1\nHost: a\r\n\r\n",
    "missing_host": b"GET /public HTTP/1.1\r\n\r\n",
    "bad_transfer_encoding": get("/upload", "Transfer-Encoding: gzip, chunked", method="POST"),
    "upgrade": get("/public", "Upgrade: h2c"),
    "no_rule": DENIED,
}


@pytest.mark.parametrize("reason", FAULTS)
def test_every_denial_is_the_same_403(box: Box, reason: str) -> None:
    """Whatever the reason, the client sees the same answer; the reason is counted and in the event."""
    connection = box.connected()
    outcome = connection.send(FAULTS[reason])
    assert BODY == outcome.segment.payload
    assert {reason: 1} == box.reasons
    (event,) = box.events()
    assert reason == event.reason.name.lower()


def test_big_denied_frames_are_answered(box: Box) -> None:
    """A denied frame far bigger than the answer is cut to its size."""
    outcome = box.connected().send(get("/secret", "X: " + "y" * 2900))
    assert BODY == outcome.segment.payload
    assert box.tcp_at + 20 + len(BODY) == len(outcome.frame)
    assert checksums_right(outcome.frame)


def test_small_denied_frames_are_answered(box: Box) -> None:
    """A denial found in a frame of one byte grows to the whole answer."""
    connection = box.connected()
    line = DENIED[: DENIED.index(b"\n") + 1]
    connection.send(line[:-1])
    outcome = connection.send(line[-1:])
    assert BODY == outcome.segment.payload
    assert (connection.server, connection.client) == (
        outcome.segment.sequence,
        outcome.segment.acknowledgement,
    )
    assert checksums_right(outcome.frame)


@pytest.mark.parametrize("cut", (0, 1, 8))
@pytest.mark.parametrize("acknowledged", (False, True))
def test_the_next_packet_becomes_the_servers_reset(box: Box, cut: int, acknowledged: bool) -> None:
    """After the 403 the client's next packet goes on as a reset with the number that the server expects."""
    connection = box.connected()
    if cut:
        assert connection.send(DENIED[:cut]).passed
        if acknowledged:
            connection.serve()
    answer = connection.send(DENIED[cut:])
    connection.server = answer.segment.end
    outcome = connection.send()
    assert outcome.resets_server
    assert connection.first + cut == outcome.segment.sequence
    assert checksums_right(outcome.frame)
    assert {"server_resets": 1} == {"server_resets": box.counts["server_resets"]}


def test_the_servers_reset_acknowledges_nothing_that_it_did_not_send(box: Box) -> None:
    """Connection tracking in the pod never saw our 403: a reset that acknowledges it would be invalid."""
    connection = box.connected()
    before = connection.server
    connection.server = connection.send(DENIED).segment.end
    outcome = connection.send()
    assert outcome.resets_server
    assert before == outcome.segment.acknowledgement or ACK not in outcome.segment.flags


def finish(connection: Connection) -> list[Outcome]:
    """Let the client end its side after the 403: ACK, FIN, FIN again."""
    outcomes = [connection.raw(), connection.raw(flags=FIN | ACK), connection.raw(flags=FIN | ACK)]
    connection.client += 1
    return outcomes


def test_the_clients_fin_is_acknowledged(box: Box) -> None:
    """After the 403 the client's FIN gets its ACK from us, so that it does not hang in LAST_ACK."""
    connection = denied(box)
    _, first, again = finish(connection)
    for outcome in (first, again):
        assert XDP_TX == outcome.action
        assert ACK == outcome.segment.flags
        assert connection.client == outcome.segment.acknowledgement
        assert connection.server == outcome.segment.sequence
        assert b"" == outcome.segment.payload
        assert checksums_right(outcome.frame)


def test_a_fin_as_the_first_packet_after_the_403_ends_both_sides(box: Box) -> None:
    """When the FIN comes at once, it and its repetition bring the server its reset and the client its ACK."""
    connection = denied(box)
    outcomes = [connection.raw(flags=FIN | ACK) for _ in range(3)]
    assert any(outcome.resets_server for outcome in outcomes)
    acks = [o.segment for o in outcomes if o.action == XDP_TX]
    assert {connection.client + 1} == {segment.acknowledgement for segment in acks}


def test_a_request_that_comes_again_gets_its_403_again(box: Box) -> None:
    """A lost 403 is sent again for the same request, the same bytes with the same numbers."""
    connection = box.connected()
    first = connection.raw(DENIED)
    again = connection.raw(DENIED)
    if again.action == XDP_PASS:  # it was the carrier of the server's reset
        assert again.resets_server
        again = connection.raw(DENIED)
    assert XDP_TX == again.action
    assert first.frame == again.frame
    assert {"requests_denied": 1} == {"requests_denied": box.counts["requests_denied"]}


@pytest.mark.parametrize("data", (get(), DENIED, b"x", b"y" * 2000))
def test_payload_after_the_403_never_passes(box: Box, data: bytes) -> None:
    """What the client sends after the 403 is acknowledged and thrown away, never passed."""
    connection = denied(box)
    outcomes = [connection.raw(data) for _ in range(4)]
    assert b"" == b"".join(outcome.payload for outcome in outcomes)
    assert "after_answer" in box.reasons
    acks = [outcome.segment.acknowledgement for outcome in outcomes if outcome.action == XDP_TX]
    assert connection.client + len(data) in acks
    assert 1 == box.counts["requests_denied"]


@pytest.mark.parametrize("mode", (DenyMode.RESET, DenyMode.DROP))
def test_other_ways_to_deny(box: Box, mode: DenyMode) -> None:
    """``reset`` resets both sides; ``drop`` resets the server's and tells the client nothing any more."""
    box.configure(deny_mode=mode)
    connection = box.connected()
    first = connection.raw(DENIED)
    outcomes = [first, connection.raw(), connection.raw(), connection.raw(get())]
    assert b"" == b"".join(outcome.payload for outcome in outcomes)
    assert "answers" not in box.counts
    assert 1 == box.reasons["no_rule"]
    if mode is DenyMode.DROP:
        assert first.resets_server
        assert [XDP_DROP] * 3 == [outcome.action for outcome in outcomes[1:]]
        return
    assert {connection.server} == {o.segment.sequence for o in outcomes if o.resets_client}
    assert {connection.first} == {o.segment.sequence for o in outcomes if o.resets_server}


def test_the_server_is_not_believed_after_the_answer(box: Box) -> None:
    """ACKs, FINs and SYN-ACKs of the same incarnation move nothing: they may be our own answers."""
    connection = denied(box)
    before = connection.flow
    assert before is not None
    assert FlowStage.ANSWERED == before["stage"]
    connection.watch(sequence=connection.first_server, flags=ACK)
    connection.watch(BODY, sequence=connection.first_server, flags=FIN | ACK | PSH)
    connection.watch(sequence=connection.server, flags=FIN | ACK, acknowledgement=connection.client + 500)
    connection.syn_ack()
    after = connection.flow
    assert after is not None
    changed = {name for name in before if before[name] != after[name]}
    assert set() == changed
    assert b"" == connection.send(get()).payload


def test_our_own_answer_seen_by_the_watcher_does_no_harm(box: Box) -> None:
    """The 403 and ACKs that we send, fed to the watcher as they are, change nothing."""
    connection = box.connected()
    answer = connection.send(DENIED)
    before = connection.flow
    box.trial.watch(answer.frame)
    assert before == connection.flow
    connection.server = answer.segment.end
    for outcome in finish(connection):
        if outcome.action == XDP_TX:
            box.trial.watch(outcome.frame)
    assert b"" == connection.send(get()).payload


def test_only_the_servers_reset_deletes_an_answered_flow(box: Box) -> None:
    """After the answer the server's RST still ends the flow."""
    connection = denied(box)
    connection.watch(sequence=connection.first_server, flags=RST)
    assert connection.flow is None
    assert 1 == box.counts["flows_ended"]
    assert b"" == connection.send(get()).payload


def test_after_the_servers_reset_the_client_can_still_end_cleanly(box: Box) -> None:
    """A FIN that comes after the server's RST still gets an answer with the right number."""
    connection = denied(box)
    connection.raw()
    connection.watch(sequence=connection.first_server, flags=RST)
    outcome = connection.raw(flags=FIN | ACK)
    assert XDP_TX == outcome.action
    assert connection.server == outcome.segment.sequence
    assert b"" == connection.raw(get()).payload


def test_an_answered_connection_may_be_followed_by_another(box: Box) -> None:
    """A new SYN-ACK on the same ports makes a flow of its own that is inspected afresh."""
    old = denied(box)
    new = box.connection(peer_port=old.peer_port, client=800000, server=900000)
    new.handshake()
    new.exchange()
    assert XDP_TX == new.send(DENIED).action


def test_a_denied_request_with_a_body_is_answered_once(box: Box) -> None:
    """The body of a denied request, in its frame or behind it, never passes and gets no second answer."""
    connection = box.connected()
    outcome = connection.send(post(50, "/secret") + b"x" * 20)
    assert BODY == outcome.segment.payload
    assert connection.client == outcome.segment.acknowledgement
    assert b"" == connection.send(b"x" * 30).payload
    assert 1 == box.counts["answers"]


def test_a_fin_with_the_denied_request_is_acknowledged(box: Box) -> None:
    """When the client's FIN rides on the denied request, the answer acknowledges it too."""
    connection = box.connected()
    outcome = connection.send(DENIED, flags=FIN | ACK | PSH)
    assert XDP_TX == outcome.action
    assert BODY == outcome.segment.payload
    assert connection.client == outcome.segment.acknowledgement


def test_the_second_denial_uses_the_numbers_of_the_stream(box: Box) -> None:
    """After several answered requests the 403 continues the server's stream exactly."""
    connection = box.connected(client=(1 << 32) - 100, server=(1 << 32) - 100)
    for number in range(5):
        connection.exchange(get(f"/public/{number}"), response(b"z" * 700 * number))
    outcome = connection.send(DENIED)
    assert (connection.server, connection.client) == (
        outcome.segment.sequence,
        outcome.segment.acknowledgement,
    )
    assert checksums_right(outcome.frame)


def test_hardware_addresses_do_not_matter(box: Box) -> None:
    """The answer goes back to the hardware address that the request came from."""
    outcome = box.connected().send(DENIED)
    assert bytes.fromhex((CLIENT_MAC + SERVER_MAC).replace(":", "")) == outcome.frame[:12]


@pytest.mark.parametrize("off", (-1, -1000, 200_000, 1 << 31))
def test_a_blind_reset_after_the_403_is_dropped(box: Box, off: int) -> None:
    """A RST with a number that the client cannot have is not made into one that the server would take."""
    connection = denied(box)
    outcome = connection.raw(flags=RST, sequence=(connection.first + off) % NUMBERS)

    assert XDP_DROP == outcome.action
    assert 1 == box.reasons["bad_numbers"]
    assert connection.raw().resets_server


def test_the_clients_own_reset_after_the_403_ends_the_connection(box: Box) -> None:
    """The client's RST, behind what we have acknowledged, becomes the server's with the right number."""
    connection = denied(box)
    outcome = connection.raw(flags=RST)

    assert outcome.resets_server
    assert connection.flow is None


def test_what_xdp_has_made_is_trimmed_by_the_kernel(box: Box) -> None:
    """A frame that XDP made has a byte of padding, for which ip_rcv() puts the tail right; tcx needs none."""
    connection = box.connected()
    denied = connection.send(get("/secret"))
    assert XDP_TX == denied.action
    assert denied.padding == (b"\0" if box.trial.hook == "xdp" else b"")
    old = box.connected()
    assert old.send(get()).passed
    old.serve()
    again = old.at(0, get())
    assert (True, b"") == (again.passed, again.payload)
    assert again.padding == denied.padding
