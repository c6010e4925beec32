# SPDX-License-Identifier: Apache-2.0
"""The chain over XDP and over tcx is one chain: what one does with a frame the other does too.

And what is tcx's alone: segments that come many in one (GSO). How a VLAN tag
travels beside the frame cannot be seen here; namespaces show it.
"""

import os
import random
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from bpfast import abi
from bpfast.abi import DenyMode, Direction, MapNumber
from bpfast.kernel import syscall
from bpfast.kernel.trial import XDP_PASS, Trial
from e2e.segments import Flags
from tests.kernel.packets import ACK, FIN, PSH, RST, Box, Connection, both_families, get, post, tcx_only

DENIED = get("/secret")
CHUNKED = get("/upload", "Transfer-Encoding: chunked", method="POST")
DATA = (
    get(),
    DENIED,
    get() * 3,
    get() + DENIED,
    get()[:11],
    post(40) + b"b" * 40,
    post(3000),
    b"b" * 500,
    CHUNKED,
    CHUNKED + b"5\r\nabcde\r\n0\r\n\r\n" + get(),
    b"5\r\nabcde\r\n",
    get("/public", "X: " + "y" * 2500),
    b"\0garbage\r\n",
)
STAMPS = b"\1\1\x08\x0a" + struct.pack("!II", 7, 9)
STEPS = 60

GSO_SEGS, GSO_SIZE, CONTEXT_BYTES = 164, 176, 192
"""Offsets in ``struct __sk_buff``, and its size."""
SIZE = 500


@pytest.fixture(scope="module")
def trials(bytecode: dict[str, bytes]) -> Iterator[tuple[Trial, Trial]]:
    """The same endpoint twice: over XDP and over tcx.

    All on one CPU, whose scratch space shows behind what a flow has copied; and
    where a table stands does not depend on the time.
    """
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    with (
        Trial(bytecode, hook="xdp", quarantine=0) as xdp,
        Trial(bytecode, hook="tcx", quarantine=0) as tcx,
    ):
        yield xdp, tcx
    os.sched_setaffinity(0, cpus)


def step(chance: random.Random, connection: Connection) -> tuple[Any, ...]:
    """Let client or server do something; return all that came of it."""
    kind = chance.randrange(10)
    if kind == 0:
        return (connection.serve(chance.choice((b"", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"))),)
    if kind == 1:
        return (connection.watch(flags=chance.choice((FIN | ACK, RST | ACK, ACK))),)
    data = chance.choice(DATA) if kind < 8 else b""
    back = chance.choice((0, 0, 0, 0, 1, 7, 100, -100))
    flags = chance.choice((ACK | PSH, ACK | PSH, ACK | PSH, ACK, ACK | FIN, RST))
    flags = flags if data or flags & (FIN | RST) else ACK
    outcome = connection.raw(data, sequence=(connection.client - back) % (1 << 32), flags=Flags(flags))
    if outcome.passed and not back:
        connection.client = outcome.segment.end
    return outcome.action, outcome.frame


def forget(trial: Trial) -> None:
    """Take away what is followed and what has ended: that is known for 10 s, and all use the same ports."""
    for key in trial.flows():
        trial.sweep(key, force=True)
    ended = trial.maps[MapNumber.ENDED]
    for key in list(syscall.map_keys(ended, abi.SIZES["flow_key"])):
        syscall.map_delete(ended, key)


def events_of(box: Box) -> list[Any]:
    """Return the verdicts and answers without their time."""
    verdicts, responses = box.all_events()
    found = [(event.verdict, event.reason, event.rule, event.offset, event.head) for event in verdicts]
    return [*found, *((event.status, event.offset) for event in responses)]


def told(flow: dict[str, Any]) -> dict[str, Any]:
    """Return what a flow says: no times, no bytes behind its copy (whose were there before)."""
    found = {key: value for key, value in flow.items() if not key.endswith("_time")}
    if found:
        found["copy"] = found["copy"][: (found["copy_end"] - found["copy_base"]) % (1 << 32)]
    return found


@both_families
@pytest.mark.parametrize("mode", DenyMode, ids=str)
@pytest.mark.parametrize("seed", range(8))
def test_both_hooks_do_the_same(trials: tuple[Trial, Trial], family: int, mode: DenyMode, seed: int) -> None:
    """Frames that come out, actions, flows, counters and verdicts are equal, byte by byte."""
    seen = []
    for trial in trials:
        chance = random.Random(f"{seed}-{mode}-{family}")
        box = Box(trial, family)
        box.configure(deny_mode=mode)
        found: list[Any] = []
        for number in range(6):
            connection = box.connected(peer_port=20000 + number, options=chance.choice((b"", STAMPS)))
            found += [step(chance, connection) for _ in range(STEPS)]
            found.append(told(connection.flow or {}))
        generations = {"generation", "rule_set", "serial"}
        found = [
            {k: v for k, v in each.items() if k not in generations} if isinstance(each, dict) else each
            for each in found
        ]
        seen.append((found, box.reasons, box.counts, events_of(box)))
        forget(trial)

    xdp, tcx = seen
    assert xdp[1:3] == tcx[1:3]
    assert xdp[0] == tcx[0]
    assert xdp[3] == tcx[3]


def gso_context() -> bytearray:
    """Return ``struct __sk_buff`` of a frame that is several segments."""
    context = bytearray(CONTEXT_BYTES)
    struct.pack_into("=I", context, GSO_SEGS, 3)
    struct.pack_into("=I", context, GSO_SIZE, SIZE)
    return context


def is_gso(context: bytearray) -> bool:
    """Whether it still is several segments."""
    return struct.unpack_from("=I", context, GSO_SEGS) != (0,)


@tcx_only
@both_families
@pytest.mark.parametrize("data", (get("/secret", "X: " + "y" * 2500), b"old"))
def test_what_is_made_of_a_gso_frame_is_one_segment(box: Box, data: bytes) -> None:
    """A 403, and a bare ACK in a segment's place, are no longer cut where the frame's segments were."""
    connection = box.connected()
    if data == b"old":
        connection.exchange()
        connection.client -= len(get())
        data = get()
    context = gso_context()
    action, after = box.trial.receive(connection.client_frame(data), context)

    assert {"no_rule": 1} == box.reasons or (XDP_PASS, {"old_segment": 1}) == (action, box.reasons)
    assert len(after) < 300
    assert not is_gso(context)


@tcx_only
def test_a_gso_frame_that_passes_is_left_alone(box: Box) -> None:
    """An allowed request in a frame of several segments passes as it came."""
    context = gso_context()
    frame = box.connected().client_frame(get("/public", "X: " + "y" * 2500))

    assert (XDP_PASS, frame) == box.trial.receive(frame, context)
    assert is_gso(context)


@tcx_only
@both_families
@pytest.mark.parametrize("direction", Direction, ids=str)
def test_a_frame_that_is_cut_is_no_longer_than_its_segments(box: Box, direction: Direction) -> None:
    """Where the host sends it on, a frame that is cut is one of its segments; the rest comes again."""
    box.configure(direction=direction)
    heads = get() * 90
    assert len(heads) > 2 * SIZE
    connection = box.connected()
    context = gso_context()
    action, after = box.trial.receive(connection.client_frame(heads), context)

    assert {"too_many_requests": 1} == box.reasons
    assert XDP_PASS == action
    assert not is_gso(context)
    payload = len(after) - box.tcp_at - 20
    inspected = (connection.flow or {})["expected"] - connection.first
    assert (SIZE if direction is Direction.EGRESS else inspected) == payload
    assert heads[:payload] == after[-payload:]
    assert inspected <= len(heads)
    again = connection.at(payload, heads[payload:inspected])
    assert again.passed
