# SPDX-License-Identifier: Apache-2.0
"""The kernel against the model on random streams: ``python -m tests.model.random_streams --streams 1000000``.

Streams are cut at random places and take turns with the rule sets, both
directions and both families. A difference is printed, made smaller, with the
command that shows it again; the command then ends with 1.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.model.agreement import Difference, Engines, Segments, Setting, segments_of, setting_of
from tests.model.shrink import shrunk

BLOCK: Final = 20_000
"""How many streams are in memory at a time."""
MOST_SHOWN: Final = 5


@dataclass(slots=True)
class Count:
    """What came of the streams so far."""

    streams: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)


def compare(engines: Engines, seed: int, numbers: range, count: Count) -> None:
    """Judge the streams of these numbers, and count; a policy is read once for all that meet it."""
    for setting, streams in _by_setting(seed, numbers):
        for (name, segments), (model, kernel) in zip(streams, engines.answers(setting, streams), strict=True):
            count.streams += 1
            count.verdicts[model["verdict"]] += 1
            count.reasons.update(request["reason"] for request in model["requests"])
            if model != kernel:
                count.differences.append(Difference(name, setting, segments, model, kernel))


def _by_setting(seed: int, numbers: range) -> Iterator[tuple[Setting, list[tuple[object, Segments]]]]:
    groups: defaultdict[Setting, list[tuple[object, Segments]]] = defaultdict(list)
    for number in numbers:
        groups[setting_of(number)].append((number, segments_of(seed, number)))
    yield from groups.items()


def described(engines: Engines, seed: int, difference: Difference) -> str:
    """Return a difference as text: where it is found, and the smallest stream that was found to differ."""
    small = shrunk(engines, difference)
    return "\n".join(
        (
            f"stream {difference.name} of seed {seed} ({difference.setting}); to see it again:",
            f"  python -m tests.model.random_streams --seed {seed} --first {difference.name} --streams 1",
            f"  segments {list(difference.segments)!r}",
            f"  smaller  {list(small.segments)!r}",
            f"  model    {json.dumps(small.model)}",
            f"  kernel   {json.dumps(small.kernel)}",
        )
    )


def say(line: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 if kernel and model agree."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=BLOCK, help="how many")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31), help="chance")
    parser.add_argument("--first", type=int, default=0, help="number of the first stream")
    options = parser.parse_args(arguments)
    say(json.dumps({"seed": options.seed, "first": options.first, "streams": options.streams}))
    count, started = Count(), time.monotonic()
    with Engines() as engines:
        end = options.first + options.streams
        for begin in range(options.first, end, BLOCK):
            compare(engines, options.seed, range(begin, min(begin + BLOCK, end)), count)
            say(_line(count, time.monotonic() - started))
            if count.differences:
                break
        for difference in count.differences[:MOST_SHOWN]:
            say(described(engines, options.seed, difference))
    return 1 if count.differences else 0


def _line(count: Count, seconds: float) -> str:
    """Return the count as one JSON object."""
    return json.dumps(
        {
            "streams": count.streams,
            "seconds": round(seconds, 1),
            "per_second": round(count.streams / max(seconds, 0.001)),
            **count.verdicts,
            "reasons": dict(count.reasons.most_common()),
            "differences": len(count.differences),
        }
    )


if __name__ == "__main__":
    sys.exit(main())
