# SPDX-License-Identifier: Apache-2.0
"""How connections end: FINs, resets, early answers, and payload that comes too late.

Each test fails when its defence is taken out: FIN inside a head, payload after
the server's FIN or ``Connection: close``, bytes that the server acknowledges
and nobody passed, blind resets.
"""

import pytest

from bpfast.abi import FlowStage
from bpfast.kernel.trial import XDP_DROP, XDP_TX
from tests.kernel.packets import (
    ACK,
    FIN,
    PSH,
    RST,
    URG,
    Box,
    Connection,
    both_families,
    checksums_right,
    get,
    post,
    response,
)

pytestmark = both_families

DENIED = get("/secret")


def closed(box: Box) -> Connection:
    """Return a connection that both sides have closed in order."""
    connection = box.connected()
    connection.exchange()
    assert connection.send(flags=FIN | ACK).passed
    connection.serve(flags=FIN | ACK)
    assert connection.send().passed
    return connection


@pytest.mark.parametrize("acknowledged", (False, True))
@pytest.mark.parametrize("cut", (1, 10, len(get()) - 1))
def test_a_fin_inside_a_head_becomes_the_servers_reset(box: Box, cut: int, acknowledged: bool) -> None:
    """A FIN inside a head never passes: the server is reset with its own number instead."""
    connection = box.connected()
    assert connection.send(get()[:cut]).passed
    if acknowledged:
        connection.serve()
    outcome = connection.send(flags=FIN | ACK)
    assert outcome.resets_server
    assert connection.first + cut == outcome.segment.sequence
    assert FIN not in outcome.segment.flags
    assert checksums_right(outcome.frame)
    assert {"fin_in_head": 1} == box.reasons
    assert b"" == connection.send(get()[cut:]).payload


def test_a_fin_with_a_part_of_a_head_becomes_the_servers_reset(box: Box) -> None:
    """A FIN on the very segment that leaves a head unfinished takes that segment with it."""
    connection = box.connected()
    outcome = connection.send(get()[:12], flags=FIN | ACK)
    assert outcome.resets_server
    assert connection.first == outcome.segment.sequence
    assert {"fin_in_head": 1} == box.reasons


@pytest.mark.parametrize("offset", (0, 4))
def test_a_fin_on_old_payload_does_not_end_a_head(box: Box, offset: int) -> None:
    """A FIN that rides on acknowledged bytes of an unfinished head does not reach the server."""
    connection = box.connected()
    part = get()[:12]
    connection.send(part)
    connection.serve()
    outcome = connection.at(offset, part[offset:], flags=FIN | ACK)
    assert not (outcome.passed and FIN in outcome.segment.flags)


def test_a_fin_on_unacknowledged_payload_does_not_end_a_head(box: Box) -> None:
    """A FIN that rides on a retransmission of an unfinished head does not reach the server."""
    connection = box.connected()
    part = get()[:12]
    connection.send(part)
    outcome = connection.at(0, part, flags=FIN | ACK)
    assert not (outcome.passed and FIN in outcome.segment.flags)


def test_a_fin_on_a_retransmission_is_a_fin(box: Box) -> None:
    """When the last data comes again together with the FIN, the FIN counts: its ACK is no unseen byte."""
    for acknowledged in (False, True):
        connection = box.connected()
        connection.send(get())
        if acknowledged:
            connection.serve()
        outcome = connection.at(0, get(), flags=FIN | ACK)
        assert FIN in outcome.segment.flags
        connection.client += 1
        connection.serve(response())
        assert connection.send().passed
        connection.serve(flags=FIN | ACK)
        assert connection.send().passed
        assert connection.flow is None
    assert "unseen_bytes" not in box.reasons


@pytest.mark.parametrize("back", (1, 5, -1, -1000))
def test_a_fin_with_wrong_numbers_resets_nobody(box: Box, back: int) -> None:
    """A blind FIN beside the expected number inside a head is no reason to reset the connection."""
    connection = box.connected()
    connection.send(get()[:12])
    outcome = connection.raw(flags=FIN | ACK, sequence=connection.client - back)
    assert not outcome.resets_server
    assert connection.send(get()[12:]).passed
    assert "server_resets" not in box.counts


def test_a_fin_with_a_whole_request_passes(box: Box) -> None:
    """A client may close its side with its last request; the answer still comes back."""
    connection = box.connected()
    outcome = connection.send(get(), flags=FIN | ACK | PSH)
    assert outcome.passed
    assert FIN in outcome.segment.flags
    assert get() == outcome.payload
    connection.serve(response())
    assert connection.send().passed
    connection.serve(flags=FIN | ACK)
    assert connection.send().passed
    assert connection.flow is None


def test_payload_after_the_clients_fin_is_dropped(box: Box) -> None:
    """Bytes behind the client's own FIN never pass, and the flow goes on to its end."""
    connection = box.connected()
    connection.exchange()
    connection.send(flags=FIN | ACK)
    assert XDP_DROP == connection.raw(get()).action
    assert b"" == connection.raw(get(), sequence=connection.client - 1).payload
    assert {"after_client_fin": 2} == box.reasons


def test_fins_of_both_sides_end_the_flow(box: Box) -> None:
    """When both FINs are acknowledged the flow is over and counted."""
    connection = closed(box)
    assert connection.flow is None
    assert 1 == box.counts["flows_ended"]
    assert {} == box.reasons


def test_the_servers_fin_may_come_first(box: Box) -> None:
    """The flow also ends when the server closes first, once its FIN and the client's are acknowledged."""
    connection = box.connected()
    connection.exchange()
    connection.serve(flags=FIN | ACK)
    assert connection.send().passed
    assert connection.flow is not None
    assert connection.send(flags=FIN | ACK).passed
    connection.serve()
    assert connection.send().passed or connection.flow is not None


def test_late_packets_of_an_ended_connection_pass_without_payload(box: Box) -> None:
    """After the end a repeated FIN or ACK reaches the server; payload does not."""
    connection = closed(box)
    assert connection.raw().passed
    assert connection.raw(sequence=connection.client - 1, flags=FIN | ACK).passed
    assert b"" == connection.raw(get()).payload
    assert b"" == connection.raw(get(), sequence=connection.client - 1).payload
    assert b"" == connection.raw(DENIED, flags=FIN | ACK | PSH).payload
    assert connection.flow is None


@pytest.mark.parametrize("flags", (RST, RST | ACK))
def test_the_servers_reset_deletes_the_flow(box: Box, flags: int) -> None:
    """A RST of the server with its next number ends the flow."""
    connection = box.connected()
    connection.exchange()
    connection.watch(flags=flags)
    assert connection.flow is None
    assert 1 == box.counts["flows_ended"]


@pytest.mark.parametrize("offset", (1 << 30, 1 << 31, 3 << 30))
def test_a_reset_with_far_numbers_deletes_nothing(box: Box, offset: int) -> None:
    """A RST with a number far from the server's leaves the flow alone."""
    connection = box.connected()
    connection.exchange()
    connection.watch(flags=RST, sequence=connection.server + offset)
    assert connection.flow is not None
    connection.exchange()


@pytest.mark.parametrize("flags", (RST, RST | ACK))
def test_a_clients_reset_with_another_number_changes_nothing(box: Box, flags: int) -> None:
    """A RST always goes to the server; one that the server cannot take leaves the flow alone."""
    connection = box.connected()
    assert connection.send(get()[:9]).passed
    assert connection.raw(flags=flags, sequence=connection.client + 77).passed
    assert connection.raw(flags=flags, sequence=connection.first - 1).passed
    assert connection.send(get()[9:]).passed


@pytest.mark.parametrize("apart", (1, 1000, 1 << 28))
def test_a_reset_in_front_of_a_body_changes_nothing(box: Box, apart: int) -> None:
    """However much of a body is to come: the server has nothing of it, so it takes no number in it."""
    connection = box.connected()
    assert connection.send(post(1 << 33)).passed
    assert connection.raw(flags=RST, sequence=connection.client + apart).passed
    assert connection.send(bytes(1000)).passed


def test_a_reset_behind_what_has_passed_ends_the_flow(box: Box) -> None:
    """A part of a body came ahead of another: Linux takes the number behind it (RFC 9293 3.10.7.4, SACK)."""
    connection = box.connected()
    assert connection.send(post(1 << 20)).passed
    assert connection.raw(bytes(100), sequence=connection.client + 100).passed
    assert connection.raw(flags=RST, sequence=connection.client + 200).passed
    assert connection.raw().resets_client


@pytest.mark.parametrize("flags", (RST, RST | ACK))
def test_a_clients_reset_that_the_server_takes_ends_the_flow(box: Box, flags: int) -> None:
    """The server's socket is gone with it: nothing passes any more, a bare ACK neither (SYN cookies)."""
    connection = box.connected()
    assert connection.send(get()[:9]).passed
    assert connection.raw(flags=flags).passed
    assert connection.raw().resets_client
    assert not connection.raw().passed
    assert b"" == connection.send(get()[9:]).payload


def test_payload_after_the_servers_fin_is_acknowledged_and_thrown_away(box: Box) -> None:
    """When the server has closed its side, requests no longer reach it; the client gets ACKs from us."""
    connection = box.connected()
    connection.exchange()
    connection.serve(flags=FIN | ACK)
    connection.send()
    outcomes = [connection.raw(get()) for _ in range(3)]
    assert b"" == b"".join(outcome.payload for outcome in outcomes)
    acks = [outcome.segment for outcome in outcomes if outcome.action == XDP_TX]
    assert acks
    assert {connection.client + len(get())} == {segment.acknowledgement for segment in acks}
    assert {connection.server} == {segment.sequence for segment in acks}
    assert all(RST not in segment.flags for segment in acks)
    assert "after_server_fin" in box.reasons


@pytest.mark.parametrize("value", ("close", "Close", "keep-alive, close"))
def test_after_connection_close_no_payload_passes(box: Box, value: str) -> None:
    """After a request with ``Connection: close`` nothing more passes; the answer and the FINs still do."""
    connection = box.connected()
    assert connection.send(get("/public", f"Connection: {value}")).passed
    assert b"" == connection.raw(get()).payload
    assert b"" == connection.raw(DENIED).payload
    assert "after_close" in box.reasons
    connection.serve(response())
    assert connection.send().passed
    assert b"" == connection.raw(get()).payload
    connection.serve(flags=FIN | ACK)
    assert connection.send(flags=FIN | ACK).passed


def test_payload_behind_connection_close_in_one_frame_does_not_pass(box: Box) -> None:
    """A second request in the frame of the one that closes never passes with it."""
    outcome = box.connected().send(get("/public", "Connection: close") + get())
    assert get() not in outcome.payload[10:]
    assert "after_close" in box.reasons


def test_the_body_of_a_request_that_closes_passes(box: Box) -> None:
    """``Connection: close`` takes effect behind the body, not before it."""
    connection = box.connected()
    head = get("/upload", "Connection: close", "Content-Length: 20", method="POST")
    assert connection.send(head + b"x" * 5).passed
    assert connection.send(b"x" * 15).passed
    assert b"" == connection.send(b"x").payload


@pytest.mark.parametrize("ahead", (1, 100, 5000))
def test_bytes_that_the_server_has_and_we_did_not_pass_kill(box: Box, ahead: int) -> None:
    """A server that acknowledges more than was passed has another way in: both sides are reset."""
    connection = box.connected()
    connection.exchange()
    connection.watch(acknowledgement=connection.client + ahead)
    outcomes = [connection.raw(get()) for _ in range(3)]
    assert b"" == b"".join(outcome.payload for outcome in outcomes)
    assert any(outcome.resets_server for outcome in outcomes)
    assert any(outcome.resets_client for outcome in outcomes)
    assert box.reasons["unseen_bytes"] >= 1


def test_an_acknowledgement_beyond_a_body_kills(box: Box) -> None:
    """Within a body the server may be ahead of us (future segments), beyond its end it may not."""
    connection = box.connected()
    connection.send(post(100))
    connection.watch(acknowledgement=connection.client + 101)
    assert b"" == connection.raw(b"x").payload
    assert 1 == box.reasons["unseen_bytes"]


def test_the_acknowledgement_of_a_fin_is_no_unseen_byte(box: Box) -> None:
    """A FIN has a number of its own."""
    connection = box.connected()
    connection.exchange()
    connection.send(flags=FIN | ACK)
    connection.serve(response())
    assert connection.send().passed
    assert {} == box.reasons


@pytest.mark.parametrize("status", ("200 OK", "413 Too Large", "301 Moved", "500 X"))
def test_a_final_status_inside_a_body_ends_the_payload(box: Box, status: str) -> None:
    """After an answer before the body's end the rest, perhaps read as a request, never passes."""
    connection = box.connected()
    connection.send(post(1000))
    connection.send(b"x" * 10)
    connection.serve(response(status=status))
    connection.send()
    outcomes = [connection.raw(get()), connection.raw(get())]
    assert b"" == b"".join(outcome.payload for outcome in outcomes)
    assert "early_answer" in box.reasons
    acks = [outcome.segment for outcome in outcomes if outcome.action == XDP_TX]
    assert {connection.client + len(get())} == {segment.acknowledgement for segment in acks}


@pytest.mark.parametrize("status", ("100 Continue", "102 Processing", "103 Early Hints"))
def test_an_interim_status_inside_a_body_changes_nothing(box: Box, status: str) -> None:
    """``100 Continue`` and other interim answers let the body go on, and the next request is inspected."""
    connection = box.connected()
    head = get("/upload", "Content-Length: 1000", "Expect: 100-continue", method="POST")
    connection.send(head)
    connection.serve(f"HTTP/1.1 {status}\r\n\r\n".encode())
    connection.send()
    assert connection.send(b"x" * 1000).passed
    connection.serve(response())
    connection.send()
    connection.exchange()
    assert XDP_TX == connection.send(DENIED).action


def test_a_final_status_behind_an_interim_one_ends_the_payload(box: Box) -> None:
    """A final answer counts in the packet of the interim one, too, or in the next."""
    connection = box.connected()
    connection.send(get("/upload", "Content-Length: 1000", "Expect: 100-continue", method="POST"))
    connection.serve(b"HTTP/1.1 100 Continue\r\n\r\n")
    connection.serve(response(status="417 No"))
    connection.send()
    assert b"" == connection.raw(get()).payload
    assert "early_answer" in box.reasons


def test_an_answer_after_the_body_is_not_early(box: Box) -> None:
    """The answer to a finished request is no early one, even while the next body has begun."""
    connection = box.connected()
    connection.exchange(post(10) + b"x" * 10)
    connection.send(post(10))
    assert connection.send(b"x" * 10).passed
    connection.serve(response())
    connection.exchange()
    assert "early_answer" not in box.reasons


@pytest.mark.parametrize("flags", (URG | ACK, URG | ACK | PSH))
def test_urgent_data_is_dropped(box: Box, flags: int) -> None:
    """An urgent byte leaves the stream at the server: such segments are dropped, the connection goes on."""
    connection = box.connected()
    assert XDP_DROP == connection.raw(get(), flags=flags, urgent=1).action
    assert {"odd_flags": 1} == box.reasons
    assert connection.send(get()).passed


def test_an_ended_flow_may_be_followed_by_another(box: Box) -> None:
    """A new connection on the same ports right after the end is inspected like any other."""
    old = closed(box)
    new = box.connection(peer_port=old.peer_port, client=3_000_000, server=4_000_000)
    new.handshake()
    new.exchange()
    assert XDP_TX == new.send(DENIED).action
    assert 2 == box.counts["flows_born"]


def test_a_killed_flow_stays_killed(box: Box) -> None:
    """After a reset of both sides nothing of the connection passes but resets."""
    connection = box.connected()
    connection.send(get())
    connection.send(DENIED)
    flow = connection.flow
    assert flow is None or FlowStage.KILLED == flow["stage"]
    for outcome in (connection.raw(), connection.raw(get()), connection.at(0, get()), connection.raw(get())):
        assert b"" == outcome.payload
        assert not outcome.passed or RST in outcome.segment.flags
