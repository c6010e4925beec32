# SPDX-License-Identifier: Apache-2.0
"""A stream made smaller for as long as kernel and model differ about it."""

from collections.abc import Iterator
from typing import Final

from tests.model.agreement import Difference, Engines, Segments

ROUNDS: Final = 100
_PIECES: Final = 64


def shrunk(engines: Engines, difference: Difference) -> Difference:
    """Return the difference with bytes and cuts taken away; it may be another one in the end."""
    best = difference
    for _ in range(ROUNDS):
        candidates = [(number, each) for number, each in enumerate(_smaller(best.segments))]
        found = next(iter(engines.differences(best.setting, candidates)), None) if candidates else None
        if found is None:
            break
        best = Difference(difference.name, best.setting, found.segments, found.model, found.kernel)
    return best


def _smaller(segments: Segments) -> Iterator[Segments]:
    """Give the segments without a part, the largest parts first, and with two of them joined."""
    for number in range(len(segments) - 1):
        joined = segments[number] + segments[number + 1]
        yield (*segments[:number], joined, *segments[number + 2 :])
    whole = sum(map(len, segments))
    size = whole // 2
    while size and size * _PIECES >= whole:
        for begin in range(0, whole, size):
            yield _without(segments, begin, begin + size)
        size //= 2


def _without(segments: Segments, begin: int, end: int) -> Segments:
    """Return the segments without the bytes from ``begin`` to ``end``; none is empty."""
    rest, at = [], 0
    for segment in segments:
        rest.append(segment[: max(begin - at, 0)] + segment[max(end - at, 0) :])
        at += len(segment)
    return tuple(each for each in rest if each)
