# SPDX-License-Identifier: Apache-2.0
"""What the watcher costs a packet of the server: ``python -m bench.watch [ROUNDS]``.

Nanoseconds a packet by BPF_PROG_TEST_RUN, the watcher as generic XDP, above
what restores the flow and an empty program behind it, measured in the same
round. Samples go to ``bench/record/watch.jsonl``.
"""

import os
import platform
import sys
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from statistics import median

from bench.chain import Samples, connected
from bench.first import Repeater
from bench.record import Value, append
from bench.rows import HOST, Row, get, rows
from bpfast import settings
from bpfast.abi import EventMode
from bpfast.kernel.compiler import compiled
from bpfast.kernel.frames import ACK, PSH, Frames
from bpfast.kernel.trial import Trial

ROUNDS = 15
REPEAT = 100_000
REPEAT_WITH_EVENTS = 1000
_HEAD = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/plain\r\nContent-Length: 1000000000\r\n\r\n"
_SEGMENT = 1448


@dataclass(frozen=True, slots=True)
class Sight:
    """A packet of the server: its payload, behind what the server had sent of the answer already."""

    name: str
    payload: bytes
    earlier: bytes = b""
    event_mode: EventMode = EventMode.NONE

    @property
    def repeat(self) -> int:
        """How often it is repeated in a run: no more events than are reported in a second."""
        return REPEAT_WITH_EVENTS if self.event_mode is EventMode.ALL else REPEAT


def sights() -> tuple[Sight, ...]:
    """Return every packet, in the order of the table."""
    first = _HEAD + bytes(_SEGMENT - len(_HEAD))
    small = _HEAD.replace(b"1000000000", b"1") + b"x"
    answer = Sight("first segment of an answer", first)
    return (
        Sight("ACK of a request", b""),
        Sight("segment in the middle of a download", bytes(_SEGMENT), earlier=first),
        answer,
        Sight("small answer", small),
        replace(answer, name=f"{answer.name}, events", event_mode=EventMode.ALL),
    )


def measure(trial: Trial, repeater: Repeater, row: Row, sight: Sight, *, rounds: int) -> Samples:
    """Return the samples of a packet: what restores the flow, and that with the watcher behind it."""
    watcher = trial.programs.load("xdp/bpfast_watch", trial.endpoint)
    samples: Samples = {"restore": [], "watch": []}
    frames = Frames(IPv4Address("10.255.255.1"), IPv4Address(HOST), 40000, 80)
    try:
        with connected(trial, replace(row, event_mode=sight.event_mode), frames) as (client, first):
            if sight.earlier:
                trial.watch(frames.from_server(first, client, ACK | PSH, sight.earlier))
            server = first + len(sight.earlier)
            (flow,) = trial.flows()
            repeater.keep(trial.flow(flow))
            frame = frames.from_server(server, client, ACK | PSH if sight.payload else ACK, sight.payload)
            for _round in range(rounds):
                trial.forget_rates()
                trial.events()
                samples["restore"].append(repeater.alone(frame, sight.repeat))
                samples["watch"].append(repeater.behind(watcher, frame, sight.repeat))
    finally:
        os.close(watcher)
    return samples


def describe(sight: Sight, samples: Samples) -> str:
    """Return a packet's line of the table."""
    above = [whole - alone for whole, alone in zip(samples["watch"], samples["restore"], strict=True)]
    spread = f"{min(above)} to {max(above)}"
    return f"{sight.name:44} {len(sight.payload):7} {median(above):6.0f} {spread:>13}"


def main() -> None:
    """Measure, print and record."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    code = compiled(settings.bpf_directory(), settings.cache_directory())
    print(f"Linux {platform.release()}, {platform.machine()}; ns above an empty program, medians of {rounds}")
    print(f"{'packet of the server':44} {'payload':>7} {'watch':>6} {'least to most':>13}")
    row = next(row for row in rows() if row.name == "GET of curl")
    records: list[dict[str, Value]] = []
    with Trial(code, quarantine=0) as trial:
        repeater = Repeater(trial)
        for sight in sights():
            samples = measure(trial, repeater, replace(row, before=(get(),)), sight, rounds=rounds)
            print(describe(sight, samples), flush=True)
            records.append({"row": sight.name, "repeat": sight.repeat, "nanoseconds": samples})
        repeater.close()
    print(f"samples in {append('watch', records).name}")


if __name__ == "__main__":
    main()
