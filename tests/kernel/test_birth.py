# SPDX-License-Identifier: Apache-2.0
"""Birth of flows: only a SYN-ACK that the watcher saw, acknowledged exactly, makes one.

Each test fails when its defence is taken out: data on a SYN, SYN-cookie birth
by a bare ACK, the race of a repeated SYN-ACK, and old handshakes played again.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bpfast.abi import RESETS_A_SECOND
from bpfast.kernel.trial import XDP_DROP, XDP_TX
from e2e.segments import NUMBERS, Flags
from tests.kernel.packets import (
    ACK,
    FIN,
    PSH,
    RST,
    SYN,
    URG,
    Box,
    Connection,
    Outcome,
    both_families,
    checksums_right,
    get,
    response,
)

pytestmark = both_families

DENIED = get("/secret")


@contextmanager
def one_cpu() -> Iterator[None]:
    """Stay on one CPU: rates are counted on each."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def is_reset_to(connection: Connection, outcome: Outcome, number: int) -> bool:
    """Whether this is a reset back to the client with this sequence number and right checksums."""
    segment = outcome.segment
    ports = (segment.source_port, segment.destination_port)
    return (
        outcome.resets_client
        and ports == (connection.port, connection.peer_port)
        and segment.sequence == number % NUMBERS
        and not segment.payload
        and checksums_right(outcome.frame)
    )


@pytest.mark.parametrize("flags", (SYN, SYN | Flags.ECE | Flags.CWR))
def test_a_syn_passes_and_makes_nothing(box: Box, flags: Flags) -> None:
    """A SYN without data passes, with or without ECN, and makes neither embryo nor flow."""
    connection = box.connection()
    assert connection.syn(flags=flags).passed
    assert connection.flow is None
    assert not connection.send(get()).passed
    assert {} == box.counts.get("flows_born", {})


def test_data_on_a_syn_is_dropped(box: Box) -> None:
    """TCP fast open is denied: a SYN with data is dropped with its own reason."""
    connection = box.connection()
    assert XDP_DROP == connection.syn(payload=get()).action
    assert {"syn_data": 1} == box.reasons


def test_a_handshake_makes_a_flow(box: Box) -> None:
    """SYN, SYN-ACK and the right ACK make one flow that expects the client's first byte."""
    connection = box.connected()
    flow = connection.flow
    assert flow is not None
    assert connection.first == flow["expected"]
    assert {"flows_born": 1} == box.counts
    assert {} == box.reasons


def test_the_first_packet_may_be_data(box: Box) -> None:
    """When the client's ACK is lost its first data makes the flow and is inspected."""
    connection = box.connection()
    connection.syn()
    connection.syn_ack()
    assert connection.send(get()).passed
    assert {"flows_born": 1, "requests_allowed": 1} == box.counts


def test_a_denied_first_packet_is_answered(box: Box) -> None:
    """Data that makes the flow can be denied at once, with the 403."""
    connection = box.connection()
    connection.syn()
    connection.syn_ack()
    outcome = connection.send(DENIED)
    assert XDP_TX == outcome.action
    assert b"HTTP/1.1 403" == outcome.segment.payload[:12]


@pytest.mark.parametrize(("client", "server"), ((0, 1), (0, -1), (-1, 0), (0, 1 << 31), (-1000, 0)))
@pytest.mark.parametrize("data", (b"", get()))
def test_wrong_numbers_make_no_flow(box: Box, client: int, server: int, data: bytes) -> None:
    """A segment with other numbers than the SYN-ACK's makes no flow and is reset with its own."""
    connection = box.connection()
    connection.syn()
    connection.syn_ack()
    bend = {"sequence": connection.client + client, "acknowledgement": connection.server + server}
    outcome = connection.raw(data, **bend)
    assert is_reset_to(connection, outcome, connection.server + server)
    assert connection.flow is None
    assert {"client_resets": 1} == box.counts
    assert connection.send(get()).passed


@pytest.mark.parametrize("later", (1, 1000))
def test_a_later_segment_waits_for_the_first(box: Box, later: int) -> None:
    """A segment of the new connection that is not its first byte is dropped, not reset: it comes again."""
    connection = box.connection()
    connection.syn()
    connection.syn_ack()
    assert XDP_DROP == connection.raw(get(), sequence=connection.client + later).action
    assert {"future_segment": 1} == box.reasons
    assert connection.flow is None
    assert connection.send(get()).passed


@pytest.mark.parametrize("flags", (ACK, ACK | PSH, ACK | FIN))
@pytest.mark.parametrize("data", (b"", get()))
def test_nothing_passes_without_an_embryo(box: Box, flags: Flags, data: bytes) -> None:
    """With SYN cookies a bare ACK opens a socket without a SYN-ACK: it never passes, and is reset."""
    connection = box.connection()
    outcome = connection.raw(data, flags=flags)
    assert is_reset_to(connection, outcome, connection.server)
    assert {"no_flow": 1} == box.reasons
    assert {"client_resets": 1} == box.counts


ODD = (
    Flags(0), FIN, PSH, PSH | FIN, SYN | FIN, SYN | RST, SYN | ACK, SYN | ACK | FIN, SYN | PSH,
    SYN | URG, SYN | ACK | PSH | FIN, FIN | PSH | URG, RST | FIN, Flags(0xFF),
)  # fmt: skip


@pytest.mark.parametrize("flags", ODD, ids=lambda flags: f"{int(flags):02x}")
@pytest.mark.parametrize("born", (False, True))
def test_odd_flags_never_pass_with_a_request(box: Box, flags: Flags, born: bool) -> None:
    """No odd combination of flags takes a request to the server, with a flow or without one."""
    connection = box.connected() if born else box.connection()
    outcome = connection.raw(DENIED, flags=flags)
    assert b"" == outcome.payload
    if born:
        assert connection.send(get()).passed


@pytest.mark.parametrize("flags", (SYN | ACK, SYN | FIN, SYN | RST, Flags(0), FIN, PSH), ids=int)
def test_odd_flags_without_data_do_not_pass_without_a_flow(box: Box, flags: Flags) -> None:
    """Without a flow only a plain SYN and a bare RST pass."""
    assert not box.connection().raw(flags=flags).passed


def test_bare_resets_pass(box: Box) -> None:
    """A bare RST passes without a flow: the server checks it."""
    assert box.connection().raw(flags=RST).passed
    assert box.connection().raw(flags=RST | ACK).passed


def test_a_reset_with_payload_does_not_pass(box: Box) -> None:
    """A RST that carries bytes is not bare: its bytes do not reach the server."""
    assert b"" == box.connection().raw(DENIED, flags=RST).payload


def test_resets_without_a_flow_are_rate_limited(box: Box) -> None:
    """Of 3,000 packets without a flow about 1,000 are answered in a second; the rest is counted."""
    with one_cpu():
        box.forget_rates()
        frame = box.connection().client_frame()
        actions = [box.trial.receive(frame)[0] for _ in range(3000)]
    sent = actions.count(XDP_TX)
    assert RESETS_A_SECOND <= sent <= 2 * RESETS_A_SECOND
    assert 3000 - sent == actions.count(XDP_DROP)
    assert {"client_resets": sent, "resets_withheld": 3000 - sent} == box.counts
    assert {"no_flow": 3000} == box.reasons


@pytest.mark.parametrize(("request_head", "passes"), ((get(), True), (DENIED, False)))
def test_a_repeated_syn_ack_changes_nothing(box: Box, request_head: bytes, passes: bool) -> None:
    """A SYN-ACK that comes again in the middle of a head leaves the head half read as it was."""
    connection = box.connected()
    assert connection.send(request_head[:9]).passed
    connection.syn_ack()
    assert passes == connection.send(request_head[9:]).passed
    connection.syn_ack()
    assert 1 == box.counts["flows_born"]


def test_a_repeated_syn_ack_does_not_reopen_old_numbers(box: Box) -> None:
    """After data, a repeated SYN-ACK does not let other bytes at the first number pass."""
    connection = box.connected()
    assert connection.send(get("/ab")).passed
    connection.syn_ack()
    assert b"" == connection.at(0, get("/cd")).payload
    assert b"" == connection.at(0, DENIED).payload
    assert 1 == box.counts["flows_born"]


def test_the_syn_ack_may_come_again_after_the_clients_data(box: Box) -> None:
    """The race that is common in life (ACK and data overtake the repeated SYN-ACK) breaks nothing."""
    connection = box.connected()
    assert connection.send(get()).passed
    connection.syn_ack()
    connection.serve(response())
    assert connection.send().passed
    connection.exchange()


def test_another_incarnation_replaces_only_when_promoted(box: Box) -> None:
    """After a SYN-ACK with other numbers nothing old passes, and the new one's own ACK replaces it."""
    old = box.connected()
    new = box.connection(peer_port=old.peer_port, client=700000, server=900000)
    assert old.send(get("/ab")[:3]).passed
    new.syn_ack()
    assert not new.raw(DENIED, acknowledgement=new.server + 1).passed
    assert not old.raw(get("/ab")[3:]).passed
    assert new.send().passed
    assert {"flows_born": 2, "requests_allowed": None} == {
        name: box.counts.get(name) for name in ("flows_born", "requests_allowed")
    }
    assert b"" == old.send(get()).payload
    assert new.send(get("/cd")).passed


def test_a_new_incarnation_forgets_a_half_read_head(box: Box) -> None:
    """The head that the old incarnation left half read is no beginning for the new one's first bytes."""
    old = box.connected()
    assert old.send(b"GET /publ").passed
    new = box.connection(peer_port=old.peer_port, client=700000, server=900000)
    new.syn_ack()
    assert not new.send(b"ic HTTP/1.1\r\nHost: a\r\n\r\n").passed


def test_a_syn_alone_replaces_nothing(box: Box) -> None:
    """A SYN on the ports of a live flow changes nothing: anybody can send one."""
    connection = box.connected()
    assert connection.send(b"GET /pub").passed
    connection.syn()
    connection.raw(flags=SYN, sequence=99, acknowledgement=0)
    assert connection.send(b"lic HTTP/1.1\r\nHost: a\r\n\r\n").passed
    assert 1 == box.counts["flows_born"]


@pytest.mark.parametrize("data", (b"", get(), DENIED))
def test_an_old_handshake_played_again_makes_nothing_pass(box: Box, data: bytes) -> None:
    """After the server's RST the client's old packets make no flow: the embryo is used up."""
    connection = box.connected()
    connection.exchange()
    connection.watch(flags=RST)
    assert connection.flow is None
    assert connection.syn().passed
    assert not connection.at(0, data, acknowledgement=connection.first_server).passed
    assert not connection.send(data).passed
    assert connection.flow is None


@pytest.mark.parametrize("data", (b"", get(), DENIED))
def test_an_old_handshake_played_again_after_fins_passes_no_payload(box: Box, data: bytes) -> None:
    """After a normal end the client's old packets bring no payload to the server and make no flow."""
    connection = box.connected()
    connection.exchange()
    assert connection.send(flags=FIN | ACK).passed
    connection.serve(flags=FIN | ACK)
    assert connection.send().passed
    assert b"" == connection.at(0, data, acknowledgement=connection.first_server).payload
    assert b"" == connection.send(data).payload
    assert connection.flow is None


def test_connections_are_told_apart(box: Box) -> None:
    """Two connections of one client do not share a head."""
    one, two = box.connected(), box.connected()
    assert one.send(b"GET /public").passed
    assert two.send(b"GET /sec").passed
    assert one.send(b" HTTP/1.1\r\nHost: a\r\n\r\n").passed
    assert not two.send(b"ret HTTP/1.1\r\nHost: a\r\n\r\n").passed
