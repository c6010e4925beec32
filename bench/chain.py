# SPDX-License-Identifier: Apache-2.0
"""What the chain costs a packet of a known flow: ``python -m bench.chain [ROUNDS]``.

Nanoseconds a packet by BPF_PROG_TEST_RUN, above an empty XDP program on the
same packet. Each round measures, one behind the other: an empty program; what
restores the flow and an empty program behind it; the same with ENTRY, with
ENTRY and FLOW (an empty program in the slot behind them), and so on to the
whole chain. A stage's figure is the difference to the one before it in the same
round. Samples go to ``bench/record/chain.jsonl``.
"""

import itertools
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from statistics import median

from bench.first import Repeater
from bench.record import Value, append
from bench.rows import HOST, LETTERS, Row, rows
from bpfast import settings
from bpfast.abi import DenyMode, PortVerdict
from bpfast.kernel.compiler import compiled
from bpfast.kernel.frames import ACK, PSH, SYN, Frames
from bpfast.kernel.prefixes import PortPrefix
from bpfast.kernel.state import EndpointConfig, PortEntry
from bpfast.kernel.trial import XDP_PASS, Trial
from bpfast.tables.build import build

ROUNDS = 9
ROUNDS_OF_MANY = 3
"""Of each payload, where a row has several."""
BAR = 150
_PORT = 80
_CLIENT = IPv4Address("10.255.255.1")
_FIRST, _FIRST_OF_SERVER = 1000, 5000
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"

Samples = dict[str, list[int]]


class Unfit(Exception):
    """The tables do not take a row's rules."""


def _install(trial: Trial, row: Row, number: int) -> None:
    """Switch the endpoint to the row's rules and settings."""
    entry = PortEntry(PortVerdict.ALLOW)
    if row.rules is not None:
        made = build(row.rules)
        if made.refused:
            raise Unfit(f"{len(made.refused)} rules refused: {made.refused[0].reason}")
        entry = PortEntry(PortVerdict.INSPECT, trial.state.install(made.image))
    trial.state.write_policy(number, {PortPrefix.one(0, _PORT): entry})
    config = EndpointConfig(
        enforced=True,
        timing=row.timing,
        generation=number,
        policy=number,
        deny_mode=DenyMode.REPLY,
        event_mode=row.event_mode,
        mark=1,
        inspected=frozenset() if row.rules is None else frozenset({_PORT}),
    )
    trial.state.write_endpoint(trial.endpoint, config)


def _passed(trial: Trial, frame: bytes) -> None:
    action, _after = trial.receive(frame)
    if action != XDP_PASS:
        raise RuntimeError(f"a packet of the preparation did not pass: XDP action {action!r}")


def _connect(trial: Trial, frames: Frames, row: Row) -> tuple[int, int]:
    """Open a connection and send what comes before the row's packet; return the next numbers."""
    client, server = _FIRST + 1, _FIRST_OF_SERVER + 1
    _passed(trial, frames.from_client(_FIRST, 0, SYN))
    trial.watch(frames.from_server(_FIRST_OF_SERVER, client, SYN | ACK))
    _passed(trial, frames.from_client(client, server, ACK))
    # An upload is begun before its body, and not answered.
    for data, answer in ((row.earlier, _ANSWER), *((data, b"") for data in row.before)):
        _passed(trial, frames.from_client(client, server, PSH | ACK, data))
        client += len(data)
        trial.watch(frames.from_server(server, client, PSH | ACK, answer))
        server += len(answer)
        _passed(trial, frames.from_client(client, server, ACK))
    return client, server


@contextmanager
def connected(trial: Trial, row: Row, frames: Frames) -> Iterator[tuple[int, int]]:
    """Yield the next numbers of a connection to which the row's rules apply; no flow is left of it."""
    trial.forget_rates()
    _install(trial, row, max(trial.state.policy_numbers(), default=0) + 1)
    try:
        yield (_FIRST, _FIRST_OF_SERVER) if row.rules is None else _connect(trial, frames, row)
    finally:
        for key in trial.flows():
            trial.sweep(key, force=True)


@contextmanager
def _prepared(trial: Trial, row: Row) -> Iterator[tuple[list[bytes], bytes | None]]:
    """Yield the row's frames and the flow as it is before each of them."""
    frames = Frames(_CLIENT, IPv4Address(HOST), 40000, _PORT)
    with connected(trial, row, frames) as (client, server):
        flows = trial.flows()
        kept = trial.flow(flows[0]) if flows else None
        yield [frames.from_client(client, server, PSH | ACK, data) for data in row.payloads], kept


def _check(trial: Trial, repeater: Repeater, row: Row, frame: bytes) -> None:
    """Refuse to measure what is not what the row says."""
    reasons, requests = trial.maps.reasons(), trial.maps.counts()["requests_allowed"]
    repeater.chain(frame, 10)
    wrong = {name: n for name, n in trial.maps.reasons().items() if n != reasons.get(name, 0)}
    allowed = trial.maps.counts()["requests_allowed"] - requests
    if wrong or allowed != 10 * row.requests:
        raise RuntimeError(f"row {row.name!r}: {allowed} requests in 10 packets, counted {wrong}")


def _round(trial: Trial, repeater: Repeater, row: Row, frame: bytes) -> dict[str, int]:
    """Measure each part once: its name -> nanoseconds."""
    found = {
        "empty": repeater.nothing(frame, row.repeat),
        "restore": repeater.alone(frame, row.repeat),
    }
    names = ["ENTRY", *(slot.name for slot in row.way)]
    for name, stop in zip(names, (*row.way, None), strict=True):
        trial.forget_rates()
        trial.events()
        found[name] = repeater.chain(frame, row.repeat, stop)
    return found


def measure(trial: Trial, repeater: Repeater, row: Row, rounds: int) -> Samples:
    """Return the samples of a row: the name of each part -> nanoseconds, one a round."""
    samples: Samples = {}
    with _prepared(trial, row) as (frames, flow):
        for frame in frames:
            repeater.keep(flow, max(frame.find(LETTERS), 0))
            _check(trial, repeater, row, frame)
        for _each in range(rounds if len(frames) == 1 else ROUNDS_OF_MANY):
            for frame in frames:
                repeater.keep(flow, max(frame.find(LETTERS), 0))
                for name, value in _round(trial, repeater, row, frame).items():
                    samples.setdefault(name, []).append(value)
    return samples


def _above(samples: Samples, name: str, base: str) -> list[int]:
    return [value - other for value, other in zip(samples[name], samples[base], strict=True)]


def describe(row: Row, samples: Samples) -> str:
    """Return a row's line of the table."""
    parts = [name for name in samples if name != "empty"]
    whole = _above(samples, parts[-1], "restore")
    empty = median(samples["empty"])
    shares = ", ".join(
        f"{name} {median(_above(samples, name, before)):.0f}" for before, name in itertools.pairwise(parts)
    )
    sizes = sorted(len(data) for data in row.payloads)
    return (
        f"{row.name:44} {median(sizes):7.0f} {median(whole):6.0f} {f'{min(whole)} to {max(whole)}':>13}"
        f" {(empty + median(whole)) / empty:6.1f}  {shares}"
    )


def main() -> None:
    """Measure, print and record."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    code = compiled(settings.bpf_directory(), settings.cache_directory())
    print(f"Linux {platform.release()}, {platform.machine()}; ns above an empty program, medians of {rounds}")
    print(f"{'packet':44} {'payload':>7} {'whole':>6} {'least to most':>13} {'ratio':>6}  stages")
    records: list[dict[str, Value]] = []
    with Trial(code, quarantine=0) as trial:
        repeater = Repeater(trial)
        for row in rows():
            try:
                samples = measure(trial, repeater, row, rounds)
            except Unfit as unfit:
                print(f"{row.name:44} {unfit}")
                continue
            print(describe(row, samples), flush=True)
            records.append({"row": row.name, "repeat": row.repeat, "nanoseconds": samples})
        repeater.close()
    print(f"the bar for a whole GET of curl: {BAR} ns; samples in {append('chain', records).name}")


if __name__ == "__main__":
    main()
