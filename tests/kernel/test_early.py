# SPDX-License-Identifier: Apache-2.0
"""An answer before the body's end: the client gets all of it, and then our FIN.

Each test fails when its line of ``bpf/lib/drain.h`` is taken out.
"""

import time

import pytest

from bpfast.abi import FlowStage
from bpfast.kernel.trial import XDP_DROP, XDP_TX
from e2e.segments import NUMBERS
from tests.kernel.packets import (
    ACK,
    FIN,
    RST,
    Box,
    Connection,
    Outcome,
    both_families,
    checksums_right,
    get,
    post,
    response,
)

pytestmark = both_families

BODY = 100
LONG_AGO = 1
AHEAD = 65535
CHUNKED = get("/upload", "Transfer-Encoding: chunked", method="POST") + b"5\r\nabcde\r\n"
NEXT = get("/secret")


def early(box: Box, *, body: int = BODY, request: bytes | None = None, **start: int) -> Connection:
    """Return a connection whose server has answered after 10 bytes of the body, and the client knows."""
    connection = box.connected(**start)
    assert connection.send(post(body) + b"x" * 10 if request is None else request).passed
    connection.serve(response())
    assert connection.send().passed
    return connection


def quiet(connection: Connection) -> None:
    """Let nobody have said anything for long."""
    connection.poke(server_time=LONG_AGO)


def is_fin(outcome: Outcome) -> bool:
    """Whether the client gets a FIN without anything else."""
    segment = outcome.segment
    return (XDP_TX, FIN | ACK, b"") == (outcome.action, segment.flags, segment.payload)


def assert_closed(connection: Connection, data: bytes, flags: int = ACK) -> None:
    """The packet is answered by our FIN, and what the client says next is the server's reset."""
    outcome = connection.raw(data, flags=flags)
    end = (connection.client + len(data) + bool(flags & FIN)) % NUMBERS
    flow = connection.flow

    assert is_fin(outcome)
    assert checksums_right(outcome.frame)
    assert (connection.server, end) == (outcome.segment.sequence, outcome.segment.acknowledgement)
    assert flow is not None
    assert FlowStage.ANSWERED == flow["stage"]
    reset = connection.raw(sequence=end, acknowledgement=(connection.server + 1) % NUMBERS)
    assert reset.resets_server
    assert flow["expected"] == reset.segment.sequence


def test_the_next_request_is_held_back_and_then_closes(box: Box) -> None:
    """Behind the body's end nothing is acknowledged; when it has been quiet it gets our FIN."""
    connection = early(box)
    assert XDP_TX == connection.send(b"x" * (BODY - 10)).action
    assert XDP_DROP == connection.raw(NEXT).action
    quiet(connection)
    assert_closed(connection, NEXT)


def test_the_last_bytes_of_a_body_are_acknowledged(box: Box) -> None:
    """What ends with the body is no next request, quiet or not."""
    connection = early(box)
    connection.raw(b"x")
    quiet(connection)
    outcome = connection.raw(b"x" * (BODY - 10))
    assert (XDP_TX, ACK) == (outcome.action, outcome.segment.flags)


@pytest.mark.parametrize("extra", (1, 50))
def test_bytes_of_body_and_next_request_in_one_segment_are_held_back(box: Box, extra: int) -> None:
    """A segment that goes on behind the body's end is none of the body."""
    connection = early(box)
    assert XDP_DROP == connection.raw(b"x" * (BODY - 10 + extra)).action
    quiet(connection)
    assert_closed(connection, b"x" * (BODY - 10 + extra))


def test_a_fin_is_answered_by_a_fin(box: Box) -> None:
    """The client's FIN is not acknowledged before it has been quiet, and then gets ours."""
    connection = early(box)
    connection.send(b"x")
    assert XDP_DROP == connection.raw(flags=FIN | ACK).action
    quiet(connection)
    assert_closed(connection, b"", FIN | ACK)
    assert connection.flow is None


def test_a_fin_that_comes_again_gets_ours_again(box: Box) -> None:
    """The flow stays as long as the client has not acknowledged our FIN."""
    connection = early(box)
    connection.send(b"x")
    connection.raw(flags=FIN | ACK)
    quiet(connection)
    assert is_fin(connection.raw(flags=FIN | ACK))
    assert connection.raw(flags=FIN | ACK).resets_server
    assert is_fin(connection.raw(flags=FIN | ACK))


def test_chunks_are_held_back_and_close(box: Box) -> None:
    """Whether a chunk or a request, it closes when it has been quiet."""
    connection = early(box, request=CHUNKED)
    assert XDP_DROP == connection.raw(b"0\r\n\r\n").action
    quiet(connection)
    assert_closed(connection, b"0\r\n\r\n")


def test_chunks_are_acknowledged_while_the_answer_is_on_its_way(box: Box) -> None:
    """A client that has not got all of the answer may be one that reads when it has sent all."""
    connection = early(box, request=CHUNKED)
    connection.serve(b"more of the answer")
    behind = connection.server - len(b"more of the answer")
    assert XDP_TX == connection.raw(b"5\r\nabcde\r\n", acknowledgement=behind).action


@pytest.mark.parametrize("quiet_ms", (50, 300, 2000))
def test_a_guess_has_to_be_quiet_for_longer(box: Box, quiet_ms: int) -> None:
    """100 ms for what can only be a request, 500 ms for what may be a part of the body."""
    known, chunked = early(box), early(box, request=CHUNKED)
    for connection in (known, chunked):
        connection.raw(b"x" * (BODY - 10))
        connection.client += BODY - 10
        connection.poke(server_time=time.monotonic_ns() - quiet_ms * 1_000_000)
    if quiet_ms != 300:
        assert (quiet_ms == 2000) == is_fin(known.raw(NEXT))
    assert (quiet_ms == 2000) == is_fin(chunked.raw(NEXT, sequence=chunked.client - BODY + 10))


def test_an_answer_that_goes_on_renews_the_quiet(box: Box) -> None:
    """Payload of the server, and the client's acknowledgement of it, begin the time anew."""
    connection = early(box)
    connection.send(b"x" * (BODY - 10))
    quiet(connection)
    connection.serve(b"more")
    assert XDP_DROP == connection.raw(NEXT, acknowledgement=connection.server - 4).action
    quiet(connection)
    acknowledged = connection.raw(NEXT)
    assert (b"", ACK) == (acknowledged.payload, acknowledged.segment.flags)
    assert acknowledged.passed
    assert XDP_DROP == connection.raw(NEXT).action
    quiet(connection)
    assert_closed(connection, NEXT)


def test_the_quiet_begins_with_the_first_packet_that_is_thrown_away(box: Box) -> None:
    """The client's acknowledgements before it were not looked at."""
    connection = early(box, request=CHUNKED)
    quiet(connection)
    assert XDP_DROP == connection.raw(NEXT).action


def test_what_the_server_sends_again_renews_the_quiet(box: Box) -> None:
    """It is not done as long as it misses an acknowledgement."""
    connection = early(box)
    connection.send(b"x" * (BODY - 10))
    quiet(connection)
    connection.watch(b"last", sequence=connection.server - 4)
    assert XDP_DROP == connection.raw(NEXT).action


def test_our_own_acknowledgements_do_not_renew_the_quiet(box: Box) -> None:
    """They pass the watcher, too, and are no part of an answer."""
    connection = early(box)
    connection.send(b"x" * (BODY - 10))
    quiet(connection)
    connection.watch()
    assert_closed(connection, NEXT)


@pytest.mark.parametrize("flags", (ACK, FIN | ACK))
def test_what_the_client_has_not_got_keeps_the_connection_open(box: Box, flags: int) -> None:
    """No FIN comes before the client has acknowledged all that the server has sent."""
    connection = early(box)
    connection.send(b"x" * (BODY - 10))
    connection.serve(b"more of the answer")
    quiet(connection)
    outcome = connection.raw(NEXT, flags=flags, acknowledgement=connection.server - 18)
    assert XDP_DROP == outcome.action


def test_a_client_without_room_is_not_closed(box: Box) -> None:
    """With a window of 0 the server may have more to say."""
    connection = early(box)
    connection.send(b"x")
    quiet(connection)
    assert XDP_DROP == connection.raw(flags=FIN | ACK, window=0).action
    assert_closed(connection, b"", FIN | ACK)


def test_chunks_of_a_client_without_room_are_acknowledged(box: Box) -> None:
    """It may be one that reads when it has sent all."""
    connection = early(box, request=CHUNKED)
    connection.raw(b"x")
    quiet(connection)
    assert XDP_TX == connection.raw(b"x", window=0).action


def test_what_the_client_acknowledges_goes_to_the_server(box: Box) -> None:
    """An acknowledgement beside payload reaches the server, with its numbers and without the payload."""
    connection = early(box, body=10_000)
    flow = connection.flow
    connection.raw(b"x")
    connection.serve(b"more")
    outcome = connection.raw(b"x" * 100)
    assert outcome.passed
    assert flow is not None
    assert (b"", ACK, connection.server, flow["expected"]) == (
        outcome.payload,
        outcome.segment.flags,
        outcome.segment.acknowledgement,
        outcome.segment.sequence,
    )


def test_no_more_is_acknowledged_than_the_client_can_believe(box: Box) -> None:
    """Linux drops segments of a server that is too far behind: so far we go before the answer is whole."""
    connection = early(box, body=1 << 40)
    first = connection.client
    assert XDP_TX == connection.raw(b"x").action
    near, far = (first + AHEAD - 10) % NUMBERS, (first + AHEAD) % NUMBERS
    assert XDP_TX == connection.raw(b"x" * 10, sequence=near).action
    assert XDP_DROP == connection.raw(b"x" * 10, sequence=far).action
    assert XDP_TX == connection.raw(b"x" * 10, sequence=far, window=0).action
    assert XDP_DROP == connection.raw(b"x" * 10, sequence=far + 10).action
    quiet(connection)
    assert XDP_TX == connection.raw(b"x" * 10, sequence=far + 10).action


def test_a_fin_that_was_lost_comes_again(box: Box) -> None:
    """The FIN is repeated for a client that says the same again, behind the server's reset."""
    connection = early(box)
    connection.send(b"x" * (BODY - 10))
    connection.raw(NEXT)
    quiet(connection)
    assert is_fin(connection.raw(NEXT))
    assert connection.raw(NEXT).resets_server
    assert is_fin(connection.raw(NEXT))


@pytest.mark.parametrize("bend", ({"acknowledgement": 1}, {"acknowledgement": -1}, {"sequence": 1 << 31}))
def test_blind_packets_close_nothing(box: Box, bend: dict[str, int]) -> None:
    """Payload and FIN with other numbers than the client's are dropped."""
    connection = early(box)
    connection.send(b"x" * (BODY - 10))
    quiet(connection)
    wrong = {"sequence": connection.client, "acknowledgement": connection.server}
    wrong = {name: (number + bend.get(name, 0)) % NUMBERS for name, number in wrong.items()}
    assert XDP_DROP == connection.raw(NEXT, **wrong).action
    assert XDP_DROP == connection.raw(b"", flags=FIN | ACK, **wrong).action
    assert_closed(connection, NEXT)


def test_a_request_behind_a_hole_is_not_answered(box: Box) -> None:
    """What is missing before it comes first."""
    connection = early(box)
    connection.raw(b"x")
    quiet(connection)
    assert XDP_DROP == connection.raw(NEXT, sequence=connection.client + BODY - 10).action
    connection.send(b"x" * (BODY - 10))
    assert_closed(connection, NEXT)


@pytest.mark.parametrize("left", (100, (1 << 32) + 100, (1 << 40)))
def test_lengths_are_not_cut_to_32_bits(box: Box, left: int) -> None:
    """Of a body that goes on for more than 4 GB, a segment is no next request."""
    connection = early(box, body=left + 10)
    connection.raw(b"x")
    quiet(connection)
    assert (left == 100) == is_fin(connection.raw(b"x" * 101))


def test_numbers_may_wrap(box: Box) -> None:
    """The body's end lies where the numbers begin anew."""
    connection = early(box, client=NUMBERS - len(post(BODY)) - 30, server=NUMBERS - 20)
    connection.send(b"x" * (BODY - 10))
    assert XDP_DROP == connection.raw(NEXT).action
    quiet(connection)
    assert_closed(connection, NEXT)


def test_the_clients_reset_still_ends_all(box: Box) -> None:
    """It becomes the server's."""
    connection = early(box)
    connection.send(b"x" * (BODY - 10))
    assert connection.raw(flags=RST).resets_server
    assert connection.flow is None


def test_the_sweeper_leaves_a_long_answer_alone(box: Box) -> None:
    """A drained flow goes 60 s after client and server have said their last, not after the first."""
    connection = early(box, body=1 << 40)
    connection.raw(b"x")
    minute = time.monotonic_ns() - 61_000_000_000
    connection.poke(stage_time=minute)
    assert not box.trial.sweep(connection.key)
    connection.raw(b"x")
    connection.poke(server_time=minute)
    assert not box.trial.sweep(connection.key)
    connection.poke(stage_time=minute)
    assert box.trial.sweep(connection.key)
