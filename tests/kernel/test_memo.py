# SPDX-License-Identifier: Apache-2.0
"""Heads that came before: the same bytes in the same table are allowed without a walk, all else is walked."""

from struct import pack, unpack_from

import pytest

from bpfast.abi import MEMO_BYTES, MEMO_SLOTS, SIZES, EventMode, MapNumber, Phase
from bpfast.kernel import syscall
from bpfast.kernel.maps import possible_cpus
from bpfast.policy.rules import HttpRule, RuleSet
from tests.kernel.packets import ACK, FIN, PSH, Box, get, padded_get, post, response

MEMO = SIZES["memo"]
TOKEN = get("/admin", "X-Token: 42")
WHOLE = (get(), get() + get("/ab"), TOKEN, padded_get(MEMO_BYTES))
NAMES = ("one", "two", "constraint", "longest")


@pytest.fixture(autouse=True)
def quiet(box: Box) -> None:
    """No events of allowed requests: with them each head is walked. Nothing is remembered yet."""
    box.configure(event_mode=EventMode.DENIED)
    for slot in range(MEMO_SLOTS):
        syscall.map_update(box.trial.maps[MapNumber.MEMO], pack("=I", slot), bytes(MEMO * possible_cpus()))


def remembered(box: Box) -> list[bytes]:
    """Return what is remembered, over all CPUs."""
    found = []
    for slot in range(MEMO_SLOTS):
        key, size = pack("=I", slot), MEMO * possible_cpus()
        raw = syscall.map_lookup(box.trial.maps[MapNumber.MEMO], key, size) or b""
        for at in range(0, len(raw), MEMO):
            _serial, length, _heads, _reserved = unpack_from("=IIII", raw, at)
            if length:
                found.append(raw[at + 16 : at + 16 + length])
    return found


@pytest.mark.parametrize("heads", WHOLE, ids=NAMES)
def test_a_head_that_came_before_leaves_the_same_flow(box: Box, heads: bytes) -> None:
    """Walked or remembered, a segment leaves one and the same flow, and counts the same requests."""
    flows, counts = [], []
    for _ in range(2):
        before = box.counts.get("requests_allowed", 0)
        connection = box.connected()
        assert connection.send(heads).passed
        flow = connection.flow
        assert flow is not None
        flow["copy"] = flow["copy"][: len(heads)]
        del flow["key"]
        flows.append(flow)
        counts.append(box.counts["requests_allowed"] - before)

    assert [heads] == remembered(box)
    assert flows[0] == flows[1]
    assert counts[0] == counts[1] == heads.count(b"\r\n\r\n")


@pytest.mark.parametrize("at", range(len(get())))
def test_every_byte_is_compared(box: Box, at: int) -> None:
    """A head that differs in one byte from one that came before is judged by itself."""
    box.connected().exchange()
    other = bytearray(get())
    other[at] ^= 1
    walked = Box(box.trial).connected().send(bytes(other))
    box.configure(event_mode=EventMode.DENIED)
    box.connected().exchange()

    assert walked.action == box.connected().send(bytes(other)).action


def test_what_is_remembered_is_of_one_table(box: Box) -> None:
    """A head that one table has allowed is denied by another one that does not."""
    box.connected().exchange()
    box.rule_set = box.install(RuleSet((HttpRule("other", path="/other"),)))
    box.configure(event_mode=EventMode.DENIED)
    connection = box.connected()

    assert not connection.send(get()).passed
    assert {"no_rule": 1} == box.reasons


def test_a_remembered_head_is_proved_again(box: Box) -> None:
    """A retransmission of a remembered head passes when it is equal, and never with another byte."""
    box.connected().exchange()
    connection = box.connected()
    assert connection.send(get()).passed

    assert connection.at(0, get()).passed
    assert not connection.at(0, get("/pubiic")).passed
    assert {"changed_segment": 1} == box.reasons


def test_what_is_denied_is_not_remembered(box: Box) -> None:
    """A denied head is denied each time, and nothing is kept of it."""
    for _ in range(2):
        assert not box.connected().send(get("/secret")).passed

    assert [] == remembered(box)


def test_a_length_of_nothing_is_no_body(box: Box) -> None:
    """A request without a body is remembered even when it says so."""
    assert box.connected().send(post(0)).passed

    assert [post(0)] == remembered(box)


@pytest.mark.parametrize(
    "data",
    (
        post(3) + b"abc",
        get("/public", "Connection: close"),
        padded_get(MEMO_BYTES + 1),
        get()[:-1],
    ),
    ids=("body", "close", "longer", "unfinished"),
)
def test_only_whole_heads_are_remembered(box: Box, data: bytes) -> None:
    """Segments with bodies, with the connection's last request, too long or unfinished are walked again."""
    assert box.connected().send(data).passed

    assert [] == remembered(box)


def test_the_rest_of_a_head_is_not_remembered(box: Box) -> None:
    """A segment that begins inside of a head is not taken for one that begins between requests."""
    connection = box.connected()
    assert connection.send(get()[:4]).passed
    assert connection.send(get()[4:]).passed

    assert [] == remembered(box)


def test_what_stands_behind_old_bytes_is_not_remembered(box: Box) -> None:
    """A segment whose beginning is proved and whose end is new was never seen as a whole."""
    connection = box.connected()
    assert connection.send(get("/ab")).passed
    assert connection.at(0, get("/ab") + get()).passed

    assert [get("/ab")] == remembered(box)


def test_a_remembered_head_in_the_middle_of_another_is_walked(box: Box) -> None:
    """Bytes that are a head between requests are no head inside of one."""
    box.connected().exchange()
    connection = box.connected()
    assert connection.send(b"GET /public").passed
    connection.serve()
    assert not connection.send(get()).passed


def test_a_remembered_head_waits_for_what_is_not_acknowledged(box: Box) -> None:
    """Behind a head that the server may ask for again, the bytes are kept with that head's."""
    box.connected().exchange()
    connection = box.connected()
    assert connection.send(get("/ab")).passed
    assert connection.send(get()).passed

    assert connection.at(0, get("/ab") + get()).passed
    assert not connection.at(0, get("/cd") + get()).passed


def test_a_remembered_head_with_a_fin_ends_the_client_s_side(box: Box) -> None:
    """The FIN of a segment that came before without one is not lost."""
    box.connected().exchange()
    connection = box.connected()
    assert connection.send(get(), flags=ACK | PSH | FIN).passed
    flow = connection.flow

    assert flow is not None
    assert (1, Phase.IDLE) == (flow["client_fin"], flow["phase"])


def test_with_events_each_head_is_walked(box: Box) -> None:
    """With events of allowed requests a head that came before has its event, too."""
    box.connected().exchange()
    box.configure(event_mode=EventMode.ALL)
    box.events()
    for _ in range(2):
        connection = box.connected()
        assert connection.send(get()).passed
        connection.serve(response())

    assert [get(), get()] == [event.head for event in box.events()]
