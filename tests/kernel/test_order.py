# SPDX-License-Identifier: Apache-2.0
"""Next bytes and bytes again: the server sees exactly what was inspected.

Each test fails when its defence is taken out: in-order inspection, the copy of
unacknowledged head bytes, the bare ACK for old payload, inspection of the new
part of a straddling segment.
"""

import pytest

from bpfast.abi import Phase
from bpfast.kernel.trial import XDP_DROP, XDP_TX
from tests.kernel.packets import (
    ACK,
    LARGEST,
    PSH,
    Box,
    Connection,
    both_families,
    checksums_right,
    get,
    padded_get,
    post,
    response,
)

pytestmark = both_families

ALLOWED = get("/public/x", "X-Token: 42")
DENIED = get("/secret", "X-Token: 42")
WRAP = {"client": (1 << 32) - 11, "server": (1 << 32) - 3}


def assert_denied(connection: Connection, actions: list[int]) -> None:
    """The last packet was answered with the 403 and none before it."""
    assert XDP_TX == actions[-1]
    assert XDP_TX not in actions[:-1]
    assert {"requests_denied": 1, "answers": 1} == {
        name: connection.box.counts.get(name) for name in ("requests_denied", "answers")
    }


@pytest.mark.parametrize("start", ({}, WRAP), ids=("plain", "wrap"))
def test_an_allowed_head_in_single_bytes_passes(box: Box, start: dict[str, int]) -> None:
    """A head cut into segments of one byte passes byte by byte, over the end of the numbers too."""
    connection = box.connected(**start)
    assert all(outcome.passed for outcome in connection.pieces(ALLOWED))
    assert 1 == box.counts["requests_allowed"]
    assert {} == box.reasons
    connection.serve(response())
    connection.send()
    assert all(outcome.passed for outcome in connection.pieces(ALLOWED))
    assert 2 == box.counts["requests_allowed"]


@pytest.mark.parametrize("start", ({}, WRAP), ids=("plain", "wrap"))
def test_a_denied_head_in_single_bytes_never_gets_whole(box: Box, start: dict[str, int]) -> None:
    """A denied head in single bytes is answered at its first line's end; no later byte passes."""
    connection = box.connected(**start)
    line = DENIED[: DENIED.index(b"\n") + 1]
    outcomes = list(connection.pieces(line))
    assert all(outcome.passed for outcome in outcomes[:-1])
    assert_denied(connection, [outcome.action for outcome in outcomes])
    assert b"" == b"".join(outcome.payload for outcome in connection.pieces(DENIED[len(line) :]))


@pytest.mark.parametrize("start", ({}, WRAP), ids=("plain", "wrap"))
def test_every_cut_gives_the_same_verdict(box: Box, start: dict[str, int]) -> None:
    """Wherever a head is cut in two, an allowed one passes and a denied one does not."""
    for cut in range(1, len(ALLOWED)):
        allowed = box.connected(**start)
        assert allowed.send(ALLOWED[:cut]).passed
        assert allowed.send(ALLOWED[cut:]).passed
    for cut in range(1, len(DENIED)):
        denied = box.connected(**start)
        passed = denied.send(DENIED[:cut]).payload + denied.send(DENIED[cut:]).payload
        assert b"\n" not in passed
    assert len(ALLOWED) - 1 == box.counts["requests_allowed"]
    assert len(DENIED) - 1 == box.counts["requests_denied"] == box.counts["answers"]


def test_a_header_that_decides_may_be_cut_anywhere(box: Box) -> None:
    """A rule that asks for a header value decides the same wherever that header is cut."""
    for value, passes in (("42", True), ("43", False), ("4", False), ("422", False)):
        head = get("/admin", f"X-Token: {value}", "X: y")
        for cut in range(1, len(head)):
            connection = box.connected()
            connection.send(head[:cut])
            assert passes == connection.send(head[cut:]).passed


def test_a_future_segment_inside_a_head_is_dropped(box: Box) -> None:
    """A segment behind a gap inside a head is dropped; when it comes again in order it passes."""
    connection = box.connected()
    assert connection.send(ALLOWED[:10]).passed
    assert XDP_DROP == connection.at(20, ALLOWED[20:]).action
    assert {"future_segment": 1} == box.reasons
    assert connection.send(ALLOWED[10:20]).passed
    assert connection.send(ALLOWED[20:]).passed


def test_a_future_segment_between_requests_is_dropped(box: Box) -> None:
    """Between requests a gap is the beginning of a head that was not seen."""
    connection = box.connected()
    assert XDP_DROP == connection.at(5, ALLOWED[5:]).action
    connection.exchange()
    assert XDP_DROP == connection.raw(ALLOWED[1:], sequence=connection.client + 1).action
    assert {"future_segment": 2} == box.reasons


def test_a_future_segment_inside_a_body_passes(box: Box) -> None:
    """A segment behind a gap passes when it ends within the body; the server's ACK moves the numbers on."""
    connection = box.connected()
    head = post(100)
    assert connection.send(head).passed
    assert connection.at(len(head) + 50, b"b" * 50).passed
    assert connection.at(len(head), b"a" * 50).passed
    connection.client += 100
    connection.serve(response())
    connection.exchange()
    assert XDP_TX == connection.send(DENIED).action


def test_the_hole_of_a_body_may_be_filled_by_an_ack_alone(box: Box) -> None:
    """A head that follows a body with a filled hole waits for no more than the server's acknowledgement."""
    connection = box.connected()
    head = post(100)
    connection.send(head)
    assert connection.at(len(head) + 10, b"b" * 90).passed
    assert not connection.at(len(head) + 100, DENIED).passed
    assert connection.at(len(head), b"a" * 10).passed
    connection.client += 100
    connection.serve(response())
    assert connection.send().passed
    assert connection.send(get()).passed


def test_a_head_behind_a_body_that_the_server_completed_begins_anew(box: Box) -> None:
    """When the server's ACK ends a body, nothing of the head before is left: no Host, no token, no length."""
    connection = box.connected()
    head = get("/upload", "X-Token: 42", "Content-Length: 100", method="POST")
    connection.send(head)
    connection.at(len(head) + 10, b"b" * 90)
    connection.at(len(head), b"a" * 10)
    connection.client += 100
    connection.serve(response())
    outcome = connection.send(b"GET /admin HTTP/1.1\r\nX: y\r\n\r\n")
    assert b"" == outcome.payload
    assert 1 == box.reasons["missing_host"]
    assert [0, len(head) + 100] == [event.offset for event in box.events()]


def test_a_future_segment_beyond_a_body_is_dropped(box: Box) -> None:
    """A segment behind a gap that goes one byte beyond the body is dropped: that byte begins a head."""
    connection = box.connected()
    head = post(100)
    connection.send(head)
    assert XDP_DROP == connection.at(len(head) + 50, b"b" * 51).action
    assert XDP_DROP == connection.at(len(head) + 100, DENIED).action
    assert XDP_DROP == connection.at(len(head) + 101, b"b").action
    assert {"future_segment": 3} == box.reasons


def test_a_body_may_hold_what_looks_like_a_request(box: Box) -> None:
    """Bytes of a body are no request, wherever a segment begins."""
    connection = box.connected()
    body = DENIED * 3
    assert connection.send(post(len(body))).passed
    assert all(outcome.passed for outcome in connection.pieces(body, 11))
    assert {"requests_allowed": 1} == {"requests_allowed": box.counts["requests_allowed"]}
    assert 1 == len(box.events())


@pytest.mark.parametrize("start", ({}, WRAP), ids=("plain", "wrap"))
def test_an_equal_retransmission_passes(box: Box, start: dict[str, int]) -> None:
    """Unacknowledged bytes pass again, whole or in part, when they are the same; proofs are counted."""
    connection = box.connected(**start)
    connection.send(ALLOWED)
    size = len(ALLOWED)
    parts = [(0, size), (0, 1), (size - 1, size), (3, 30), (0, size - 1), (1, size)]
    for begin, end in parts:
        outcome = connection.at(begin, ALLOWED[begin:end])
        assert ALLOWED[begin:end] == outcome.payload
    assert {} == box.reasons
    assert len(parts) == box.counts["proved"]
    assert 1 == box.counts["requests_allowed"]


def test_a_retransmission_inside_a_half_read_head_passes_and_moves_nothing(box: Box) -> None:
    """A head goes on where it was, whatever is sent again in between."""
    connection = box.connected()
    for cut in range(1, len(ALLOWED)):
        assert connection.send(ALLOWED[cut - 1 : cut]).passed
        assert connection.at(0, ALLOWED[:cut]).passed
    assert connection.send(ALLOWED[-1:]).passed
    assert 1 == box.counts["requests_allowed"]


def test_a_changed_retransmission_is_dropped(box: Box) -> None:
    """One other byte anywhere in an unacknowledged segment that comes again has it dropped."""
    connection = box.connected()
    connection.send(ALLOWED)
    for at in range(len(ALLOWED)):
        changed = ALLOWED[:at] + bytes((ALLOWED[at] ^ 1,)) + ALLOWED[at + 1 :]
        assert XDP_DROP == connection.at(0, changed).action
        assert XDP_DROP == connection.at(at, changed[at : at + 1]).action
    assert {"changed_segment": 2 * len(ALLOWED)} == box.reasons
    assert connection.at(0, ALLOWED).passed


@pytest.mark.parametrize("data", (ALLOWED, DENIED[: len(ALLOWED)], ALLOWED[:1], ALLOWED[5:]))
def test_acknowledged_payload_becomes_a_bare_ack(box: Box, data: bytes) -> None:
    """What the server has acknowledged goes on without payload, one number below: it repeats its ACK."""
    connection = box.connected()
    connection.send(ALLOWED)
    connection.serve()
    outcome = connection.at(0, data)
    assert outcome.passed
    assert b"" == outcome.segment.payload
    assert ACK == outcome.segment.flags & ~PSH
    assert connection.client - 1 == outcome.segment.sequence
    assert connection.server == outcome.segment.acknowledgement
    assert checksums_right(outcome.frame)
    assert 14 + 40 <= len(outcome.frame)
    assert {"old_segment": 1} == box.reasons


def test_acknowledged_payload_keeps_its_options(box: Box) -> None:
    """The bare ACK that stands for old payload keeps the timestamps: the server would drop it else."""
    options = b"\1\1\x08\x0a" + bytes(range(8))
    connection = box.connected(options=options)
    connection.send(ALLOWED)
    connection.serve()
    outcome = connection.at(0, ALLOWED)
    assert options == outcome.segment.options
    assert checksums_right(outcome.frame)


def test_keep_alive_probes_reach_the_server(box: Box) -> None:
    """A probe of old numbers, with one byte or none, reaches the server without payload."""
    connection = box.connected()
    connection.exchange()
    assert connection.raw(sequence=connection.client - 1).passed
    outcome = connection.raw(b"\0", sequence=connection.client - 1)
    assert outcome.passed
    assert b"" == outcome.payload


def test_a_straddling_segment_is_proved_inspected_and_passed_whole(box: Box) -> None:
    """A segment of old and new bytes passes whole when the old ones are equal and the new ones good."""
    for cut in range(1, len(ALLOWED)):
        connection = box.connected()
        connection.send(ALLOWED[:cut])
        assert ALLOWED == connection.at(0, ALLOWED).payload
    assert len(ALLOWED) - 1 == box.counts["proved"] == box.counts["requests_allowed"]


def test_a_straddling_segment_with_a_bad_end_is_denied(box: Box) -> None:
    """A segment that begins in old bytes is denied when its new part is bad, and nothing of it passes."""
    head, bad = b"GET /pu", b"GET /punic HTTP/1.1\r\nHost: a\r\n\r\n"
    connection = box.connected()
    connection.send(head)
    outcome = connection.at(0, bad)
    assert XDP_TX == outcome.action
    assert b"HTTP/1.1 403" == outcome.segment.payload[:12]
    assert connection.first + len(bad) == outcome.segment.acknowledgement


def test_a_straddling_segment_with_other_old_bytes_is_dropped(box: Box) -> None:
    """Good new bytes do not excuse changed old ones."""
    connection = box.connected()
    connection.send(ALLOWED[:12])
    assert XDP_DROP == connection.at(0, b"x" + ALLOWED[1:]).action
    assert XDP_DROP == connection.at(11, b"x" + ALLOWED[12:]).action
    assert {"changed_segment": 2} == box.reasons
    assert connection.at(12, ALLOWED[12:]).passed


@pytest.mark.parametrize("new", (get("/ab"), DENIED))
def test_a_segment_over_acknowledged_and_new_bytes_goes_on_as_a_bare_ack(box: Box, new: bytes) -> None:
    """Bytes below the server's ACK never pass, nor what follows: that ACK says where to begin."""
    connection = box.connected()
    connection.exchange(ALLOWED)
    outcome = connection.at(len(ALLOWED) - 7, ALLOWED[-7:] + new)
    assert (True, b"") == (outcome.passed, outcome.payload)
    assert (connection.first + len(ALLOWED) - 1) == outcome.segment.sequence
    assert {"old_segment": 1} == box.reasons


AB, CD, AD = get("/ab"), get("/cd"), get("/ad")


@pytest.mark.parametrize("first", range(7))
@pytest.mark.parametrize("second", range(6, 9))
def test_overlaps_do_not_mix_requests(box: Box, first: int, second: int) -> None:
    """Of {/ab, /cd}, both allowed, no overlap puts bytes that make /ad (or /cb) together at the server."""
    connection = box.connected()
    server: dict[int, set[int]] = {}
    sent = [
        (0, AB[:first]),
        (0, AB[:second]),
        (first, CD[first:]),
        (second, CD[second:]),
        (0, CD),
        (6, AD[6:7]),
    ]
    for offset, data in [*sent, (6, AB[6:]), (5, CD[5:6]), (0, AD), (5, AB[5:])]:
        if data:
            for at, byte in enumerate(connection.at(offset, data).payload, offset):
                server.setdefault(at, set()).add(byte)
    assert [] == [at for at, seen in server.items() if len(seen) > 1]
    whole = bytes(next(iter(server[at])) for at in sorted(server))
    assert not whole.startswith(AD[:8])
    assert not whole.startswith(b"GET /cb ")


@pytest.mark.parametrize("size", (1023, 1024, 1025, 5000, 16384, 16400, 40000))
def test_big_heads_are_proved(box: Box, size: int) -> None:
    """Heads of every size, unacknowledged, pass again when equal and are dropped when changed anywhere."""
    head = padded_get(size)
    connection = box.connected()
    for outcome in connection.pieces(head, LARGEST):
        assert outcome.passed
    for start in range(0, size, 1448):
        piece = head[start : start + 1448]
        assert piece == connection.at(start, piece).payload
        changed = piece[:-1] + bytes((piece[-1] ^ 1,))
        assert XDP_DROP == connection.at(start, changed).action
    pieces = -(-size // 1448)
    assert {"changed_segment": pieces} == box.reasons
    assert pieces == box.counts["proved"]


@pytest.mark.parametrize("size", (5000, 40000))
def test_big_heads_are_proved_when_acknowledged_in_part(box: Box, size: int) -> None:
    """Where the server has taken a part of a big head, the rest is still proved, byte by byte."""
    head = padded_get(size)
    connection = box.connected()
    list(connection.pieces(head[: size - 10], LARGEST))
    middle = size // 2
    connection.watch(acknowledgement=connection.first + middle)
    assert b"" == connection.at(middle - 100, head[middle - 100 : middle]).payload
    assert head[middle:][:1000] == connection.at(middle, head[middle:][:1000]).payload
    assert b"" == connection.at(middle - 500, head[middle - 500 :][:1000]).payload
    assert XDP_DROP == connection.at(middle, b"z" + head[middle + 1 :][:999]).action
    straddling = size - 100
    assert head[straddling:] == connection.at(straddling, head[straddling:]).payload
    assert 1 == box.counts["requests_allowed"]


def test_the_pool_of_copies_is_given_back(box: Box) -> None:
    """A thousand big heads, one connection after the other, do not run the pool of copies dry."""
    for _ in range(300):
        connection = box.connected()
        for outcome in connection.pieces(padded_get(2500), LARGEST):
            assert outcome.passed
        connection.watch(flags=4, sequence=connection.server)
        assert connection.flow is None
    for _ in range(300):
        connection = box.connected()
        assert all(outcome.passed for outcome in connection.pieces(padded_get(2500), LARGEST))
        connection.serve(response())
        assert connection.send().passed
        assert connection.send(get()).passed


def test_a_head_at_the_limit_passes(box: Box) -> None:
    """A head of exactly 61,440 bytes passes, as with Envoy."""
    connection = box.connected()
    for outcome in connection.pieces(padded_get(61440), LARGEST):
        assert outcome.passed
        connection.serve()
    assert 1 == box.counts["requests_allowed"]


def test_a_head_over_the_limit_is_denied(box: Box) -> None:
    """A head of 61,441 bytes is denied with head_too_large."""
    connection = box.connected()
    outcomes = []
    for outcome in connection.pieces(padded_get(61441), LARGEST):
        outcomes.append(outcome.action)
        connection.serve()
    assert_denied(connection, outcomes)
    assert {"head_too_large": 1} == box.reasons


@pytest.mark.parametrize(("lines", "passes"), ((99, True), (100, False)))
def test_header_lines_are_counted(box: Box, lines: int, passes: bool) -> None:
    """Host and 99 more header lines pass, Host and 100 more are denied."""
    connection = box.connected()
    assert passes == connection.send(get("/public", *(f"X{n}: y" for n in range(lines)))).passed
    assert ({} if passes else {"too_many_headers": 1}) == box.reasons


def test_keep_alive(box: Box) -> None:
    """Fifty requests of one connection are each inspected and answered; the fifty-first is denied."""
    connection = box.connected()
    for number in range(50):
        connection.exchange(get(f"/public/{number}"))
    assert XDP_TX == connection.send(DENIED).action
    assert {
        "requests_allowed": 50,
        "responses_2xx": 50,
        "requests_denied": 1,
        "flows_born": 1,
        "answers": 1,
    } == box.counts


@pytest.mark.parametrize("size", (0, 1, 2, 1000, 100_000, 1_000_000))
def test_bodies_end_where_content_length_says(box: Box, size: int) -> None:
    """Behind a body of any length the next request is inspected, and the next denied one found."""
    connection = box.connected()
    assert connection.send(post(size)).passed
    for outcome in connection.pieces(b"\r\n" * (size // 2) + b"x" * (size % 2), LARGEST):
        assert outcome.passed
    connection.serve(response())
    connection.send()
    connection.exchange()
    assert XDP_TX == connection.send(DENIED).action
    assert 2 == box.counts["requests_allowed"]


def test_a_body_may_start_in_the_heads_segment_and_end_in_the_next_heads(box: Box) -> None:
    """Head and body, body and next head may share segments; each head is inspected."""
    stream = post(10) + b"0123456789" + get("/ab") + post(3) + b"abc" + get("/cd")
    for size in (1, 7, 40, 59, 61, 200):
        connection = box.connected()
        passed, answered = b"", 0
        while passed != stream:
            piece = stream[len(passed) : len(passed) + size]
            payload = connection.send(piece).payload
            assert piece.startswith(payload)
            passed += payload
            connection.client -= len(piece) - len(payload)
            flow = connection.flow
            assert flow is not None
            # A body behind an unanswered request waits; the server answers what is complete.
            owed = flow["requests"] - answered if flow["phase"] != Phase.BODY else 0
            answered += owed
            connection.serve(response() * owed)
            connection.send()
    assert 6 * 4 == box.counts["requests_allowed"]


@pytest.mark.parametrize("number", (2, 5, 20))
@pytest.mark.parametrize("body", (b"", b"x", b"GET /secret"))
def test_pipelined_requests_pass_in_one_frame(box: Box, number: int, body: bytes) -> None:
    """Many allowed requests in one frame, with small bodies between them, pass as they are."""
    connection = box.connected()
    stream = (get("/ab") if not body else post(len(body)) + body) * number
    assert stream == connection.send(stream).payload
    assert number == box.counts["requests_allowed"]
    assert {} == box.reasons
    connection.serve(response() * number)
    connection.send()
    connection.exchange()


@pytest.mark.parametrize("size", (290, 301, 1000))
def test_a_long_pipelined_stream_passes_however_it_is_cut(box: Box, size: int) -> None:
    """Segments that always end inside a head pass for ever: copies of acknowledged bytes are let go."""
    connection = box.connected()
    stream = b"".join(get("/public/" + "p" * (number * 7 % 100)) for number in range(2000))
    for number, outcome in enumerate(connection.pieces(stream, size)):
        assert outcome.passed, (number * size, box.reasons)
        connection.serve(b"x")
        connection.send()
    assert 2000 == box.counts["requests_allowed"]


@pytest.mark.parametrize("number", (17, 20, 40))
def test_many_pipelined_requests_get_on(box: Box, number: int) -> None:
    """A frame of more requests than one run can take hangs nobody: sent again, all of it gets there."""
    connection = box.connected()
    stream = get("/ab") * number
    for _ in range(10):
        outcome = connection.raw(stream[connection.client - connection.first :])
        connection.client += len(outcome.payload)
        connection.serve(b"x")
    assert len(stream) == connection.client - connection.first
    assert number == box.counts["requests_allowed"]


@pytest.mark.parametrize("before", (1, 4, 14))
def test_a_denied_request_behind_an_allowed_one_in_one_frame_resets_both_sides(box: Box, before: int) -> None:
    """Nothing of a frame with an allowed and a denied request passes; both sides are reset."""
    connection = box.connected()
    first = connection.raw(get("/ab") * before + DENIED)
    second = connection.raw()
    third = connection.raw()
    outcomes = (first, second, third)
    assert b"" == b"".join(outcome.payload for outcome in outcomes)
    client = [outcome.segment for outcome in outcomes if outcome.resets_client]
    server = [outcome.segment for outcome in outcomes if outcome.resets_server]
    assert {connection.server} == {segment.sequence for segment in client}
    assert {connection.first} == {segment.sequence for segment in server}
    assert all(checksums_right(outcome.frame) for outcome in outcomes if outcome.action != XDP_DROP)
    assert 1 == box.reasons["unplaceable"]
    assert 0 == box.counts.get("answers", 0)


def test_a_denied_request_before_the_answer_of_an_allowed_one_resets(box: Box) -> None:
    """While the server has not answered the request before, a 403 would be taken for its answer: reset."""
    connection = box.connected()
    connection.send(get())
    outcome = connection.send(DENIED)
    assert outcome.resets_client or outcome.resets_server
    assert b"" == outcome.payload
    assert "unplaceable" in box.reasons


def test_a_denied_request_that_began_behind_an_unanswered_one_has_no_place(box: Box) -> None:
    """The 403 would be taken for the answer to the request before, in whose segment this one began."""
    connection = box.connected()
    connection.exchange()
    assert connection.send(get() + DENIED[:8]).passed
    outcome = connection.raw(DENIED[8:])
    assert outcome.resets_server
    assert 1 == box.reasons["unplaceable"]
    answered = box.connected()
    answered.exchange()
    assert answered.send(get() + DENIED[:8]).passed
    answered.serve(response())
    outcome = answered.send(DENIED[8:])
    assert (XDP_TX, answered.server) == (outcome.action, outcome.segment.sequence)


def test_a_body_that_began_behind_an_unanswered_request_waits(box: Box) -> None:
    """A head that began in the segment of a request before it is not complete before that is answered."""
    connection = box.connected()
    connection.exchange()
    assert connection.send(get() + post(100)[:8]).passed
    assert XDP_DROP == connection.raw(post(100)[8:] + b"x").action
    connection.serve(response())
    assert connection.send(post(100)[8:] + b"x").passed
    assert {"awaits_answer": 1} == box.reasons


def test_a_denied_request_before_the_client_has_acknowledged_the_answer_resets(box: Box) -> None:
    """While the client lacks a part of the answer before, the 403 has no place: its number would be a gap."""
    connection = box.connected()
    connection.send(get())
    before = connection.server
    connection.serve(response(b"x" * 100))
    outcome = connection.send(DENIED, acknowledgement=before + 20)
    assert outcome.resets_client or outcome.resets_server
    assert "unplaceable" in box.reasons


def test_a_denied_request_after_answer_and_acknowledgement_gets_its_403(box: Box) -> None:
    """Once the answer before is there and acknowledged, the 403 has its place, with the right numbers."""
    connection = box.connected()
    connection.exchange()
    outcome = connection.send(DENIED)
    assert XDP_TX == outcome.action
    assert connection.server == outcome.segment.sequence
    assert connection.client == outcome.segment.acknowledgement
    assert {"no_rule": 1} == box.reasons


def test_a_head_behind_an_unacknowledged_body_passes_once_that_is_acknowledged(box: Box) -> None:
    """A head for whose copy there is no room waits for the server's ACK, and passes when it comes again."""
    connection = box.connected()
    stream = post(10) + b"0123456789" + get("/ab")
    assert connection.send(stream[:-20]).passed
    connection.raw(stream[-20:])
    connection.serve()
    assert stream[-20:] == connection.raw(stream[-20:]).payload
    cut = box.connected()
    assert cut.send(post(10) + b"01234").passed
    assert cut.send(b"56789").passed
    cut.raw(get("/ab"))
    cut.serve()
    assert get("/ab") == cut.raw(get("/ab")).payload


def test_far_numbers_are_dropped_and_harm_nobody(box: Box) -> None:
    """Blind packets with numbers far off are dropped; the connection goes on."""
    connection = box.connected()
    for offset in (1 << 30, 1 << 31, (1 << 31) + 5, 3 << 30):
        assert b"" == connection.at(offset, DENIED).payload
        assert b"" == connection.raw(DENIED, acknowledgement=connection.server + offset).payload
    assert 0 == box.counts.get("answers", 0) + box.counts.get("client_resets", 0)
    connection.exchange()


def test_an_acknowledgement_of_what_the_server_never_sent_gets_no_answer(box: Box) -> None:
    """A denied request with an implausible acknowledgement is dropped: a 403 or reset needs both numbers."""
    connection = box.connected()
    for number in (1, 1000, -100000):
        outcome = connection.raw(DENIED, acknowledgement=connection.server + number)
        assert XDP_DROP == outcome.action
    assert {"bad_numbers": 3} == box.reasons
    assert XDP_TX == connection.send(DENIED).action
