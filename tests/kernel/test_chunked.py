# SPDX-License-Identifier: Apache-2.0
"""Chunked bodies: the server sees exactly the framing that was followed.

Framing is inspected in order and proved when it comes again; data of known size
passes out of order and unproved.
"""

import random
import secrets

import pytest

from bpfast.abi import LOG_INLINE, EventMode, Phase
from bpfast.kernel.trial import XDP_DROP, XDP_TX
from tests.kernel.packets import (
    ACK,
    FIN,
    LARGEST,
    PSH,
    Box,
    Connection,
    checksums_right,
    get,
    post,
    response,
)

HEAD = get("/upload", "Transfer-Encoding: chunked", method="POST")
DENIED = get("/secret")
LAST = b"0\r\n\r\n"
WRAP = {"client": (1 << 32) - 101, "server": (1 << 32) - 3}


def chunk(data: bytes) -> bytes:
    """Return a chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


BODY = chunk(b"abc") + chunk(DENIED) + chunk(LAST) + LAST


def phase(connection: Connection) -> Phase:
    """Return where the request stands."""
    flow = connection.flow
    assert flow is not None
    return Phase(flow["phase"])


def slot_of(connection: Connection) -> int:
    """Return the slot of the pool that the log of framing holds, 0 for none."""
    flow = connection.flow
    assert flow is not None
    return int(flow["log_slot"])


@pytest.mark.parametrize("start", ({}, WRAP), ids=("plain", "wrap"))
@pytest.mark.parametrize("size", (1, 2, 3, 7, 64, 1448))
def test_a_chunked_body_passes_however_it_is_cut(box: Box, start: dict[str, int], size: int) -> None:
    """A request with chunks passes in pieces of any size, and the next one is a request again."""
    connection = box.connected(**start)
    assert HEAD + BODY == b"".join(outcome.payload for outcome in connection.pieces(HEAD + BODY, size))
    assert Phase.IDLE == phase(connection)
    assert {} == box.reasons
    connection.serve(response())
    connection.send()
    connection.exchange()
    assert XDP_TX == connection.send(DENIED).action


def test_every_cut_in_two_passes(box: Box) -> None:
    """Wherever head and chunks are cut in two, both parts pass."""
    stream = HEAD + BODY
    for cut in range(1, len(stream)):
        connection = box.connected()
        assert stream[:cut] == connection.send(stream[:cut]).payload
        assert stream[cut:] == connection.send(stream[cut:]).payload
        assert Phase.IDLE == phase(connection)
        box.forget_rates()
    assert {} == box.reasons


FAULTS = {
    "bad_chunk": (
        *(
            b"\r\n",
            b"0x5\r\nabcde\r\n",
            b"+5\r\nabcde\r\n",
            b"-5\r\n",
            b" 5\r\nabcde\r\n",
            b"5 \r\nabcde\r\n",
        ),
        *(b"5;a=b\r\nabcde\r\n", b"5\nabcde\r\n", b"5\r\nabcdef\r\n", b"5\r\nabcd\r\n0\r\n\r\n"),
        *(b"5\r\nabcde\n0\r\n\r\n", b"0000000000000005\r\nabcde\r\n", b"0\r\n\nGET"),
    ),
    "chunk_trailer": (b"0\r\nX: y\r\n\r\n", b"0\r\n" + DENIED),
}


@pytest.mark.parametrize("reason", FAULTS)
def test_malformed_framing_is_denied(box: Box, reason: str) -> None:
    """A fault in the framing of a connection's first request gets a 403, and its segment never passes."""
    for body in FAULTS[reason]:
        box.forget_rates()
        for parts in ([HEAD + body], [HEAD, body], [HEAD, chunk(b"abc"), body]):
            connection = box.connected()
            outcomes = [connection.send(part) for part in parts]
            assert [True] * (len(parts) - 1) == [outcome.passed for outcome in outcomes[:-1]]
            assert XDP_TX == outcomes[-1].action
            assert b"HTTP/1.1 403" == outcomes[-1].segment.payload[:12]
            *_, event = box.events()
            assert (reason, 0) == (event.reason.name.lower(), event.offset)
            assert event.head.startswith(b"POST /upload")
    assert {reason} == set(box.reasons)


def test_malformed_framing_of_a_later_request_is_answered_where_it_fits(box: Box) -> None:
    """Behind an answered request the 403 has its place, whether or not the head came before."""
    for parts in ([HEAD + b"x"], [HEAD, b"x"], [HEAD, chunk(b"abc"), b"x"]):
        connection = box.connected()
        connection.exchange()
        *_, outcome = [connection.send(part) for part in parts]
        assert XDP_TX == outcome.action
        assert connection.server == outcome.segment.sequence


def test_nothing_passes_behind_malformed_framing(box: Box) -> None:
    """After the denial no byte of the client reaches the server."""
    connection = box.connected()
    connection.send(HEAD)
    connection.send(b"5;x\r\nabcde\r\n" + get())
    assert b"" == connection.send(get()).payload
    assert b"" == connection.at(len(HEAD), chunk(b"abc")).payload


def test_future_segments_pass_inside_data_only(box: Box) -> None:
    """A segment behind a gap passes if it ends within the data; framing behind a gap is dropped."""
    connection = box.connected()
    at = len(HEAD) + len(b"64\r\n")
    assert HEAD + b"64\r\n" == connection.send(HEAD + b"64\r\n").payload
    assert b"b" * 50 == connection.at(at + 50, b"b" * 50).payload
    assert XDP_DROP == connection.at(at + 50, b"b" * 50 + b"\r").action
    assert XDP_DROP == connection.at(at + 100, b"\r\n").action
    assert XDP_DROP == connection.at(at + 102, LAST).action
    assert {"future_segment": 3} == box.reasons
    assert b"a" * 50 == connection.at(at, b"a" * 50).payload
    connection.client += 100
    connection.serve()
    assert b"\r\n" + LAST == connection.send(b"\r\n" + LAST).payload
    assert Phase.IDLE == phase(connection)


def test_future_segments_inside_framing_are_dropped(box: Box) -> None:
    """Inside a size line, behind data and before the last empty line nothing passes behind a gap."""
    for begun in (b"", b"6", b"64\r", b"1\r\na", b"1\r\na\r", b"1\r\na\r\n", b"0\r\n", b"0\r\n\r"):
        connection = box.connected()
        assert HEAD + begun == connection.send(HEAD + begun).payload
        if begun != b"1\r\na":
            assert connection.raw(b"", sequence=connection.client).passed
        assert XDP_DROP == connection.at(len(HEAD + begun) + 1, b"\n").action
    assert {"future_segment": 8} == box.reasons


def test_framing_is_proved_and_data_is_not(box: Box) -> None:
    """Unacknowledged framing passes again when equal and not when changed; data passes as it is."""
    stream = HEAD + BODY
    connection = box.connected()
    for start in range(0, len(stream), 40):
        assert stream[start : start + 40] == connection.send(stream[start : start + 40]).payload
    data = bytearray(b"h" * len(HEAD))
    for size in (3, len(DENIED), len(LAST)):
        data += b"f" * (3 if size < 16 else 4) + b"d" * size + b"f" * 2
    data += b"f" * len(LAST)
    # The CRLF behind data and the next line are framing alike.
    assert len(data) == len(stream)
    for at, kind in enumerate(data):
        assert stream[at:] == connection.at(at, stream[at:]).payload
        changed = bytes((stream[at] ^ 1,))
        assert (kind == ord("d")) == connection.at(at, changed + stream[at + 1 :]).passed
        assert (kind == ord("d")) == connection.at(at, changed).passed
    assert {"changed_segment"} == set(box.reasons)


def test_a_retransmission_goes_on_with_new_bytes(box: Box) -> None:
    """A segment of old and new framing is proved, followed and passed whole, whatever the cut."""
    stream = HEAD + BODY
    for cut in range(1, len(stream)):
        connection = box.connected()
        connection.send(stream[:cut])
        assert stream == connection.at(0, stream).payload
        assert Phase.IDLE == phase(connection)
        box.forget_rates()
    assert {} == box.reasons


def test_a_dropped_attempt_leaves_no_trace_in_the_log(box: Box) -> None:
    """A segment that is dropped has changed nothing that later ones are compared with."""
    connection = box.connected()
    connection.send(HEAD + b"1")
    assert XDP_DROP == connection.at(0, b"X" + HEAD[1:] + b"12\r\nx").action
    assert b"0\r\n" + b"a" * 16 + b"\r\n" == connection.send(b"0\r\n" + b"a" * 16 + b"\r\n").payload
    assert XDP_DROP == connection.at(len(HEAD), b"12\r\n").action
    assert b"10\r\n" == connection.at(len(HEAD), b"10\r\n").payload


def test_acknowledged_framing_goes_on_as_a_bare_ack(box: Box) -> None:
    """What the server has of the framing never passes again."""
    connection = box.connected()
    connection.send(HEAD + chunk(b"abc"))
    connection.serve()
    outcome = connection.at(len(HEAD), b"4\r\nabcd\r\n")
    assert (True, b"") == (outcome.passed, outcome.payload)


@pytest.mark.parametrize("count", (7, 8, 9, 100, 300))
def test_many_chunks_need_no_acknowledgement(box: Box, count: int) -> None:
    """Hundreds of lines in flight pass, and each is proved when it comes again."""
    connection = box.connected()
    data = b"x" * 1400
    assert HEAD == connection.send(HEAD).payload
    for _ in range(count):
        assert chunk(data) == connection.send(chunk(data)).payload
    size = len(chunk(data))
    for at in range(0, count, 1 + count // 20):
        offset = len(HEAD) + at * size
        assert chunk(data) == connection.at(offset, chunk(data)).payload
        assert XDP_DROP == connection.at(offset, chunk(data + b"x")).action
    assert {"changed_segment"} == set(box.reasons)
    assert (count >= LOG_INLINE) == (slot_of(connection) > 0)
    assert LAST == connection.send(LAST).payload
    connection.serve(response())
    assert connection.send().passed
    assert 0 == slot_of(connection)


def test_hundreds_of_chunks_in_one_segment(box: Box) -> None:
    """490 chunks of one byte and a request behind them: what is not taken at once is cut and comes again."""
    connection = box.connected()
    stream = chunk(b"a") * 490
    assert HEAD == connection.send(HEAD).payload
    assert stream == connection.send(stream).payload
    assert stream == connection.at(len(HEAD), stream).payload
    connection.serve()
    assert stream == connection.send(stream).payload
    assert LAST == connection.send(LAST).payload
    assert {} == box.reasons


def test_a_request_behind_a_chunked_body_in_its_segment(box: Box) -> None:
    """The chunked body passes; what follows is cut off, and passes when the server has the body."""
    connection = box.connected()
    stream = HEAD + BODY
    outcome = connection.raw(stream + get("/ab"))
    assert stream == outcome.payload
    assert checksums_right(outcome.frame)
    connection.client += len(stream)
    connection.serve()
    assert get("/ab") == connection.send(get("/ab")).payload
    assert {"unproved_segment": 1} == box.reasons


def test_a_denied_request_behind_a_chunked_body_never_passes(box: Box) -> None:
    """A forbidden request right behind the last chunk, or instead of its end, does not reach the server."""
    for body in (BODY, chunk(b"abc") + b"0\r\n", chunk(b"abc")[:-2]):
        connection = box.connected()
        passed = connection.send(HEAD + body + DENIED).payload
        assert b"/secret" not in passed.removeprefix(HEAD + BODY)
        assert b"" == connection.at(len(HEAD + body), DENIED).payload


def test_a_chunked_body_behind_an_unanswered_request_waits(box: Box) -> None:
    """As a body of known length: cut before its head, dropped, and passed when the answer is there."""
    connection = box.connected()
    outcome = connection.raw(get() + HEAD + BODY)
    assert get() == outcome.payload
    connection.client += len(get())
    assert XDP_DROP == connection.raw(HEAD + BODY).action
    connection.serve(response())
    assert HEAD + BODY == connection.send(HEAD + BODY).payload
    assert {"awaits_answer": 2} == box.reasons


@pytest.mark.parametrize("begun", (b"", b"5", b"5\r\nab", b"5\r\nabcde", b"5\r\nabcde\r\n", b"0\r\n"))
def test_an_early_answer_ends_the_connection_for_the_client(box: Box, begun: bytes) -> None:
    """A final status before the last chunk: no more of the body passes, it is acknowledged to the client."""
    connection = box.connected()
    connection.send(HEAD + begun)
    connection.serve(response(status="413 Content Too Large"))
    outcome = connection.send(b"x" + get(), acknowledgement=connection.first_server)
    assert XDP_TX == outcome.action
    assert connection.client == outcome.segment.acknowledgement
    assert {"early_answer": 1} == box.reasons


def test_an_answer_is_early_though_the_server_has_all_of_a_chunk(box: Box) -> None:
    """Data that came out of order and is acknowledged is not the end of the body."""
    connection = box.connected()
    head = HEAD + b"64\r\n"
    connection.send(head)
    assert b"b" * 90 == connection.at(len(head) + 10, b"b" * 90).payload
    assert b"a" * 10 == connection.at(len(head), b"a" * 10).payload
    connection.client += 100
    connection.serve(response(status="413 Content Too Large"))
    assert XDP_DROP == connection.send(b"\r\n" + LAST + get()).action
    assert {"early_answer": 1} == box.reasons


@pytest.mark.parametrize("lines", ((), ("Expect: 100-continue",)))
@pytest.mark.parametrize("begun", (b"", b"5\r\nab", b"5\r\nabcde\r\n"))
def test_an_interim_answer_is_not_early(box: Box, begun: bytes, lines: tuple[str, ...]) -> None:
    """After a 100 Continue the chunks go on."""
    stream = chunk(b"abcde") + LAST
    connection = box.connected()
    connection.send(get("/upload", "Transfer-Encoding: chunked", *lines, method="POST") + begun)
    connection.serve(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert stream[len(begun) :] == connection.send(stream[len(begun) :]).payload
    connection.serve(response())
    connection.exchange()
    assert {} == box.reasons


def test_an_answer_behind_the_last_chunk_is_not_early(box: Box) -> None:
    """With the last CRLF the request is over."""
    connection = box.connected()
    connection.exchange(HEAD + BODY)
    connection.exchange(HEAD + BODY)
    assert {} == box.reasons


def test_nothing_follows_a_chunked_body_that_closes(box: Box) -> None:
    """After Connection: close the chunks pass, and nothing behind them."""
    connection = box.connected()
    closing = get("/upload", "Transfer-Encoding: chunked", "Connection: close", method="POST")
    assert closing == connection.send(closing).payload
    assert BODY == connection.send(BODY).payload
    assert b"" == connection.send(get()).payload
    assert {"after_close": 1} == box.reasons


@pytest.mark.parametrize("begun", (b"", b"5", b"5\r\nab", b"5\r\nabcde\r\n"))
def test_a_client_may_end_inside_of_a_body(box: Box, begun: bytes) -> None:
    """A FIN inside of a chunked body passes, as in one of known length; no payload follows."""
    connection = box.connected()
    connection.send(HEAD + begun)
    assert connection.send(flags=FIN | ACK).passed
    assert b"" == connection.raw(b"x").payload


def test_a_changed_policy_does_not_harm_a_chunked_body(box: Box) -> None:
    """Framing is the same under every rule set: a body goes on under the next one."""
    connection = box.connected()
    connection.send(HEAD + b"5\r")
    box.configure()
    assert b"\nabcde\r\n" + LAST == connection.send(b"\nabcde\r\n" + LAST).payload
    assert Phase.IDLE == phase(connection)


def stream_of(dice: random.Random) -> tuple[bytes, set[int]]:
    """Return a request with random chunks, and where in it data is."""
    stream, data = HEAD, set()
    for _ in range(dice.randrange(1, 30)):
        size = dice.choice((1, 2, 5, 40, 300))
        stream += b"%x\r\n" % size
        data |= set(range(len(stream), len(stream) + size))
        stream += dice.randbytes(size) + b"\r\n"
    return stream + LAST, data


def test_whatever_is_sent_the_server_sees_one_framing(box: Box) -> None:
    """Random segments, true and bent, old and new: no byte of head or framing reaches the server changed."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201 - to run it again
    dice = random.Random(seed)
    box.configure(event_mode=EventMode.NONE)
    for _ in range(60):
        stream, data = stream_of(dice)
        connection = box.connected()
        acked = sent = 0
        for _ in range(200):
            begin = max(0, dice.choice((sent, sent, sent - dice.randrange(200), sent + 20, acked)))
            piece = bytearray(stream[begin : begin + dice.choice((1, 3, 10, 100, 700))])
            good = dice.random() < 0.7
            for _ in range(0 if good or not piece else dice.choice((1, 2))):
                piece[dice.randrange(len(piece))] ^= dice.choice((1, 3, 16, 128))
            flow = connection.flow
            if not piece or flow is None:
                break
            before = sent
            if not good and begin + len(piece) > sent:
                # New bytes that are bent are another stream: only the old part is of interest.
                piece = piece[: max(0, sent - begin)]
            outcome = connection.at(begin, bytes(piece)) if piece else None
            if outcome is None or not outcome.passed:
                assert outcome is None or outcome.action == XDP_DROP
                continue
            for at, byte in enumerate(outcome.payload, begin):
                assert at in data or stream[at] == byte, (seed, at)
            if begin <= sent:
                sent = max(before, begin + len(outcome.payload))
            if dice.random() < 0.3:
                acked = max(acked, sent - dice.choice((0, 0, 5, 100)))
                connection.watch(acknowledgement=(connection.first + acked) & 0xFFFFFFFF)
        assert sent > len(HEAD)


def test_a_hundred_requests_in_one_segment(box: Box) -> None:
    """Without events for what is allowed, a hundred pipelined requests pass at once."""
    box.configure(event_mode=EventMode.DENIED)
    connection = box.connected()
    assert 100 * get("/ab") == connection.send(100 * get("/ab"), flags=ACK | PSH).payload
    assert 100 == box.counts["requests_allowed"]
    assert 100 * len(get("/ab")) <= LARGEST


def test_a_hundred_requests_and_a_bad_one(box: Box) -> None:
    """A denied request among a hundred pipelined ones: its segment does not pass."""
    box.configure(event_mode=EventMode.DENIED)
    connection = box.connected()
    assert b"" == connection.send(60 * get("/ab") + DENIED + 30 * get("/ab")).payload


def test_many_small_bodies_in_one_segment(box: Box) -> None:
    """40 pipelined requests with bodies in one segment pass in a few cuts, in order."""
    box.configure(event_mode=EventMode.DENIED)
    connection = box.connected()
    stream = 40 * (post(3) + b"abc")
    sent = packets = 0
    while sent < len(stream):
        outcome = connection.at(sent, stream[sent : sent + LARGEST])
        assert stream[sent:].startswith(outcome.payload)
        sent += len(outcome.payload)
        connection.client = connection.first + sent
        connection.serve(response())
        packets += 1
    assert packets <= 3
    assert 40 == box.counts["requests_allowed"]
