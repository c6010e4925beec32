# SPDX-License-Identifier: Apache-2.0
"""What the watcher tells of answers: status, time to first byte, which request; and when it is silent."""

import random
import re
import secrets
import time
from ipaddress import ip_address

import pytest

from bpfast.abi import Direction, EventMode
from e2e.segments import NUMBERS
from tests.kernel.packets import (
    ACK,
    FIN,
    PSH,
    RST,
    Box,
    Connection,
    both_families,
    get,
    post,
    response,
)

pytestmark = both_families

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
OK = response(b"ok")
EXPECTING = get("/upload", "Content-Length: 5", "Expect: 100-continue", method="POST")


def statuses(box: Box) -> list[int | None]:
    """Return the statuses that were reported since the last time."""
    return [event.status for event in box.responses()]


def responses_counted(box: Box) -> dict[str, int]:
    """Return the answers that were counted, by class."""
    return {name[10:]: n for name, n in box.counts.items() if name.startswith("responses_")}


def test_the_event_of_an_answer(box: Box) -> None:
    """An answer has an event with every field right; its time runs from the request to its first byte."""
    connection = box.connected()
    before = time.monotonic_ns()
    connection.send(get())
    between = time.monotonic_ns()
    connection.serve(OK)
    after = time.monotonic_ns()
    (verdict,), (event,) = box.all_events()

    assert before <= verdict.time <= between <= event.time <= after
    assert event.time - verdict.time == event.nanoseconds
    assert (ip_address(box.client), connection.peer_port) == (event.peer, event.peer_port)
    assert (box.trial.endpoint, 80, 200, 0) == (event.endpoint, event.port, event.status, event.offset)
    assert Direction.INGRESS is event.direction
    assert {"2xx": 1} == responses_counted(box)


def test_an_answer_of_an_egress_endpoint(box: Box) -> None:
    """Where the endpoint is the client, the peer of an answer is the server."""
    box.configure(direction=Direction.EGRESS)
    connection = box.connected()
    connection.send(get())
    connection.serve(OK)
    (verdict,), (event,) = box.all_events()

    assert Direction.EGRESS is event.direction
    assert ip_address(box.server) == event.peer == verdict.peer


@pytest.mark.parametrize(
    ("line", "status", "kind"),
    (
        (b"HTTP/1.1 200 OK\r\n", 200, "2xx"),
        (b"HTTP/1.0 200 OK\r\n", 200, "2xx"),
        (b"HTTP/1.1 204\r\n", 204, "2xx"),
        (b"HTTP/1.1 304 Not Modified\r\n", 304, "3xx"),
        (b"HTTP/1.1 404 Not Found\r\n", 404, "4xx"),
        (b"HTTP/1.1 503 \r\n", 503, "5xx"),
        (b"HTTP/1.1 600 Odd\r\n", 600, "other"),
        (b"HTTP/1.1 999 Odd\r\n", 999, "other"),
    ),
)
def test_statuses(box: Box, line: bytes, status: int, kind: str) -> None:
    """The status is the number in the status line, of HTTP/1.1 or 1.0; it is counted under its class."""
    connection = box.connected()
    connection.send(get())
    connection.serve(line + b"\r\n")

    assert [status] == statuses(box)
    assert {kind: 1} == responses_counted(box)


@pytest.mark.parametrize("cut", range(1, 13))
def test_a_status_line_in_pieces_has_no_status(box: Box, cut: int) -> None:
    """Where the first segment ends before the status does, the answer is reported without one, once."""
    connection = box.connected()
    connection.send(get())
    connection.serve(OK[:cut])
    connection.serve(OK[cut:])

    assert [None] == statuses(box)
    assert {"other": 1} == responses_counted(box)


@pytest.mark.parametrize("size", (13, 20, 40))
def test_later_segments_are_not_looked_at(box: Box, size: int) -> None:
    """An answer in many segments is one answer, also where a later one looks like a status line."""
    connection = box.connected()
    connection.send(get())
    whole = OK + b"HTTP/1.1 500 no\r\n\r\n" * 3
    connection.serve(whole[:size])
    for at in range(size, len(whole), 19):
        connection.serve(whole[at : at + 19])

    assert [200] == statuses(box)


@pytest.mark.parametrize("mode", (EventMode.NONE, EventMode.DENIED))
def test_answers_are_looked_at_only_with_all_events(box: Box, mode: EventMode) -> None:
    """Without the events of all requests no answer is reported or counted."""
    box.configure(event_mode=mode)
    connection = box.connected()
    for _ in range(3):
        connection.exchange()

    assert [] == statuses(box)
    assert {} == responses_counted(box)


def test_a_connection_that_began_without_events_stays_silent(box: Box) -> None:
    """Events that are switched on in mid-connection tell nothing of it: a request may be unanswered."""
    box.configure(event_mode=EventMode.NONE)
    connection = box.connected()
    connection.send(get())
    box.configure(event_mode=EventMode.ALL)
    connection.send(get("/ab"))
    connection.serve(OK)

    assert [] == statuses(box)


def test_keep_alive(box: Box) -> None:
    """Each request of a kept connection has its answer, told with the place of its head."""
    connection = box.connected()
    offsets = []
    for number in range(20):
        offsets.append((connection.client - connection.first) % NUMBERS)
        connection.exchange(get(f"/public/{number}"), response(status=f"{200 + number} OK"))
    events = box.responses()

    assert offsets == [event.offset for event in events]
    assert [200 + number for number in range(20)] == [event.status for event in events]


def test_numbers_wrap(box: Box) -> None:
    """Answers are found where the server's numbers begin anew."""
    connection = box.connected(server=NUMBERS - 50)
    for _ in range(5):
        connection.exchange()

    assert [200] * 5 == statuses(box)


def test_pipelined_requests_have_one_answer(box: Box) -> None:
    """Of requests in one segment the first answer is told, and of the connection nothing more."""
    connection = box.connected()
    connection.send(get("/ab") + get("/cd"))
    connection.serve(OK)
    connection.send()
    connection.serve(response(status="404 no"))
    connection.send()
    connection.exchange()
    (event,) = box.responses()

    assert (200, 0) == (event.status, event.offset)


def test_a_request_behind_an_unanswered_one_ends_the_sight(box: Box) -> None:
    """A request that comes before the answer to another: that answer is told, and nothing more."""
    connection = box.connected()
    connection.send(get("/ab"))
    connection.send(get("/cd"))
    connection.serve(response(status="201 first"))
    connection.serve(response(status="202 second"))
    connection.send()
    connection.exchange(answer=response(status="203 third"))

    assert [201] == statuses(box)


def test_a_request_into_a_running_answer_ends_the_sight(box: Box) -> None:
    """A client that has not acknowledged all of an answer has not had it: nothing more is told."""
    connection = box.connected()
    connection.send(get("/ab"))
    connection.serve(response(status="201 first"))
    connection.send(get("/cd"), acknowledgement=(connection.server - 5) % NUMBERS)
    connection.serve(response(status="202 second"))
    connection.send()
    connection.exchange(answer=response(status="203 third"))

    assert [201] == statuses(box)


@pytest.mark.parametrize(
    "rest", (b"the rest of a body", b"HTTP/1.1 20x OK\r\n", b"HTTP/1.1 2000 OK\r\n", b"\0")
)
def test_what_is_no_status_line_ends_the_sight(box: Box, rest: bytes) -> None:
    """Where another byte comes than an answer can begin with, nothing is told or counted, from then on."""
    connection = box.connected()
    connection.send(get("/ab"))
    connection.serve(rest)
    connection.send()
    connection.exchange()

    assert [] == statuses(box)
    assert {} == responses_counted(box)


def test_an_interim_response_is_not_the_answer(box: Box) -> None:
    """100 Continue is counted; the answer behind it is told, with the time since the head passed."""
    connection = box.connected()
    connection.send(EXPECTING)
    connection.serve(CONTINUE)
    connection.send(b"hello")
    connection.serve(response(status="201 Created"))
    (verdict,), (event,) = box.all_events()

    assert 201 == event.status
    assert event.time - verdict.time == event.nanoseconds
    assert {"1xx": 1, "2xx": 1} == responses_counted(box)


def test_two_interim_responses(box: Box) -> None:
    """The sight moves on behind each interim response that ends with its segment."""
    connection = box.connected()
    connection.send(get())
    connection.serve(b"HTTP/1.1 102 Processing\r\n\r\n")
    connection.serve(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    connection.serve(OK)

    assert [200] == statuses(box)


@pytest.mark.parametrize("first", (CONTINUE + OK, CONTINUE[:-2], CONTINUE[:10], CONTINUE[:12]))
def test_what_cannot_be_known_behind_an_interim_response_is_not_told(box: Box, first: bytes) -> None:
    """An answer that shares the segment of an interim response, or an interim one in pieces, is not told."""
    connection = box.connected()
    connection.send(get())
    connection.serve(first)
    connection.serve(OK)
    assert [] == statuses(box)
    connection.send()
    connection.exchange(answer=response(status="404 no"))
    assert [404] == statuses(box)


@pytest.mark.parametrize("cut", (1, 8, 9))
def test_a_piece_that_may_be_interim_is_not_told(box: Box, cut: int) -> None:
    """A client that waits for 100 Continue: the first bytes of a status line may be of that."""
    connection = box.connected()
    connection.send(EXPECTING)
    connection.serve(CONTINUE[:cut])

    assert [] == statuses(box)


def test_an_early_answer_is_told(box: Box) -> None:
    """A final status before the end of the request's body is the answer."""
    connection = box.connected()
    connection.send(post(1000) + b"a" * 10)
    connection.serve(response(status="413 no"))

    assert [413] == statuses(box)


def test_our_own_answer_is_none_of_the_server(box: Box) -> None:
    """The 403 that is sent for the server is no answer of his."""
    connection = box.connected()
    connection.exchange()
    outcome = connection.send(get("/secret"))
    box.trial.watch(outcome.frame)

    assert [200] == statuses(box)
    assert {"2xx": 1} == responses_counted(box)


def test_a_retransmitted_answer_is_one(box: Box) -> None:
    """An answer that is sent again, longer or shorter, is told once."""
    connection = box.connected()
    connection.send(get())
    connection.watch(OK[:20])
    connection.watch(OK[:20])
    connection.watch(OK)
    connection.watch(OK[:15])

    assert [200] == statuses(box)


def test_a_segment_out_of_order_is_not_taken_for_the_answer(box: Box) -> None:
    """Bytes behind the one that is due tell nothing, whatever they look like."""
    connection = box.connected()
    connection.send(get())
    connection.watch(OK, sequence=(connection.server + 100) % NUMBERS)

    assert [] == statuses(box)


@pytest.mark.parametrize("flags", (RST | ACK, FIN | ACK, ACK))
def test_what_has_no_payload_is_no_answer(box: Box, flags: int) -> None:
    """Acknowledgements, a FIN and a RST are none."""
    connection = box.connected()
    connection.send(get())
    connection.watch(flags=flags)

    assert [] == statuses(box)


def test_answers_that_are_not_reported_are_lost_and_counted(box: Box) -> None:
    """More than the ring holds: what is not reported is lost; all answers are counted by class."""
    connection = box.connected()
    for _ in range(2000):
        connection.exchange()
    verdicts, responses = box.all_events()

    assert {"2xx": 2000} == responses_counted(box)
    assert 4000 - len(verdicts) - len(responses) == box.counts.get("events_lost", 0) > 0


ODD = (
    b"HTTP/1.1 ",
    b"HTTP/1.0 ",
    b"HTTP/1.",
    b"HTTP/2 ",
    b"200",
    b"100",
    b"404",
    b" ",
    b"\r\n",
    b"\0",
    b"9",
    b"x",
)
LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})[ \r\n]")


def beginning(chance: random.Random) -> bytes:
    """Return what a strange server may begin with."""
    pieces = [chance.choice(ODD) for _ in range(chance.randrange(1, 5))]
    if chance.random() < 0.5:
        pieces.insert(0, chance.choice(ODD[:2]))
    return b"".join(pieces)


def told(data: bytes) -> list[int | None]:
    """Return what should be told of a first segment: the same in Python."""
    found = LINE.match(data)
    if found is not None:
        return [] if found[1].startswith(b"1") else [int(found[1])]
    whole = (b"HTTP/1.1 200 ", b"HTTP/1.0 200 ")
    if len(data) < 13 and any(line[: min(len(data), 9)] == data[:9] for line in whole):
        return [None] if re.fullmatch(rb"|[2-9][0-9]{0,2}", data[9:]) else []
    return []


def test_strange_beginnings(box: Box) -> None:
    """Whatever a server begins with, what is told of it is what the reference in Python says."""
    seed = secrets.randbits(32)
    chance = random.Random(seed)
    for _ in range(300):
        data = beginning(chance)
        connection: Connection = box.connected()
        connection.send(get())
        connection.serve(data, flags=ACK | PSH)
        assert (seed, data, told(data)) == (seed, data, statuses(box))
