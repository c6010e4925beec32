# SPDX-License-Identifier: Apache-2.0
"""Verdict events: their fields, which there are, and that a flood of them cannot hurt."""

import os
import time
from ipaddress import ip_address

import pytest

from bpfast.abi import EVENT_BYTES, EVENTS_A_SECOND, EventMode, Reason, Verdict
from tests.kernel.packets import Box, both_families, get, post, response

pytestmark = both_families

DENIED = get("/secret")


def test_the_event_of_an_allowed_request(box: Box) -> None:
    """An allowed request has an event with every field right."""
    connection = box.connected()
    before = time.monotonic_ns()
    connection.send(get("/public/x?y", "X: z"))
    after = time.monotonic_ns()
    (event,) = box.events()
    assert before <= event.time <= after
    assert (ip_address(box.client), connection.peer_port) == (event.peer, event.peer_port)
    assert (box.trial.endpoint, 80, box.rule_set) == (event.endpoint, event.port, event.rule_set)
    assert (Verdict.ALLOW, Reason.RULE, 0) == (event.verdict, event.reason, event.rule)
    assert ("GET", "/public/x?y", "a") == (event.method, event.path, event.host)
    assert get("/public/x?y", "X: z") == event.head
    assert (0, 0) == (event.offset, event.nanoseconds)


def test_the_event_of_a_denied_request(box: Box) -> None:
    """A denied request has an event with its reason and no rule; the offset says where its head began."""
    connection = box.connected()
    connection.exchange()
    connection.send(DENIED)
    first, second = box.events()
    assert Verdict.ALLOW == first.verdict
    assert (Verdict.DENY, Reason.NO_RULE, None) == (second.verdict, second.reason, second.rule)
    assert len(get()) == second.offset
    assert "/secret" == second.path


@pytest.mark.parametrize(("path", "rule"), (("/public", 0), ("/ab", 3), ("/cd", 4)))
def test_the_event_names_the_rule(box: Box, path: str, rule: int) -> None:
    """The rule of an event is its index in the rule set."""
    box.connected().send(get(path))
    assert [rule] == [event.rule for event in box.events()]


def test_offsets_count_bodies(box: Box) -> None:
    """The offset of a head counts every byte of the client before it, pipelined or not."""
    connection = box.connected(client=(1 << 32) - 30)
    stream = post(10) + b"0123456789" + get("/ab") + post(1) + b"x"
    connection.send(stream)
    connection.serve(response() * 3)
    connection.send()
    connection.send(get("/cd"))
    heads = [0, len(post(10)) + 10, len(post(10)) + 10 + len(get("/ab")), len(stream)]
    assert heads == [event.offset for event in box.events()]


def test_pipelined_requests_have_their_own_heads(box: Box) -> None:
    """Each of several requests in one frame has an event with its own head."""
    connection = box.connected()
    connection.send(get("/ab") + get("/cd") + get("/public"))
    assert ["/ab", "/cd", "/public"] == [event.path for event in box.events()]


@pytest.mark.parametrize("size", (100, 511, 512, 513, 3000, 20000))
def test_events_carry_the_beginning_of_the_head(box: Box, size: int) -> None:
    """An event has the head's first bytes, 512 at most, wherever the head was cut."""
    head = get("/public/" + "p" * (size - len(get("/public/"))))
    for cut in (1, 100, 600, 2999):
        connection = box.connected()
        for outcome in connection.pieces(head, min(cut, size) if size < 4000 else 2999):
            assert outcome.passed
        (event,) = box.events()
        assert head[:EVENT_BYTES] == event.head


def test_a_denied_head_in_pieces_is_in_the_event(box: Box) -> None:
    """The event of a head that was denied half-way has what was read of it."""
    connection = box.connected()
    line = DENIED[: DENIED.index(b"\n") + 1]
    list(connection.pieces(line, 3))
    (event,) = box.events()
    assert line == event.head
    assert ("GET", "/secret", None) == (event.method, event.path, event.host)


@pytest.mark.parametrize(
    ("mode", "expected"),
    (
        (EventMode.ALL, [Verdict.ALLOW, Verdict.DENY]),
        (EventMode.DENIED, [Verdict.DENY]),
        (EventMode.NONE, []),
    ),
)
def test_event_modes(box: Box, mode: EventMode, expected: list[Verdict]) -> None:
    """Events come for all verdicts, for denials or for none; counts do not depend on it."""
    box.configure(event_mode=mode)
    connection = box.connected()
    connection.exchange()
    connection.send(DENIED)
    assert expected == [event.verdict for event in box.events()]
    assert (1, 1) == (box.counts["requests_allowed"], box.counts["requests_denied"])
    assert "events_lost" not in box.counts


def test_timing_is_measured_when_asked_for(box: Box) -> None:
    """With timing an event says how long the chain took: more than nothing, less than a tenth of a second."""
    box.configure(timing=True)
    box.connected().send(get())
    (event,) = box.events()
    assert 0 < event.nanoseconds < 100_000_000


def test_a_repeated_denied_request_has_one_event(box: Box) -> None:
    """A 403 that is sent again is no second verdict."""
    connection = box.connected()
    for _ in range(4):
        connection.raw(DENIED)
    assert 1 == len(box.events())


def test_a_dropped_frame_has_no_allowed_events_twice(box: Box) -> None:
    """Requests in a frame that is not passed as a whole are not counted once more when it comes again."""
    connection = box.connected()
    frame = get("/ab") * 5
    for _ in range(3):
        connection.raw(frame)
    assert 5 == len(box.events()) == box.counts["requests_allowed"]


def flood(box: Box, frames: int, *, poll: bool) -> tuple[int, int]:
    """Send frames of ten requests each on one CPU; return (requests, events)."""
    connection = box.connected()
    stream = get("/ab") * 10
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    seen = 0
    try:
        box.forget_rates()
        for _ in range(frames):
            connection.send(stream)
            connection.serve(b"x")
            if poll:
                seen += len(box.trial.events())
    finally:
        os.sched_setaffinity(0, before)
    return frames * 10, seen + len(box.trial.events())


def test_events_over_the_rate_are_lost_and_counted(box: Box) -> None:
    """On one CPU no more than EVENTS_A_SECOND events leave in a second; the others are counted as lost."""
    requests, seen = flood(box, 1200, poll=True)
    assert requests == box.counts["requests_allowed"]
    assert EVENTS_A_SECOND <= seen < requests
    assert requests - seen == box.counts["events_lost"]


def test_a_full_ring_loses_events_and_counts_them(box: Box) -> None:
    """When nobody reads the ring, requests still pass; events that do not fit are counted as lost."""
    requests, seen = flood(box, 300, poll=False)
    assert requests == box.counts["requests_allowed"]
    assert 1000 < seen < requests
    assert requests - seen == box.counts["events_lost"]
