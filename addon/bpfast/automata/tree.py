# SPDX-License-Identifier: Apache-2.0
"""The tree of a pattern: what ``syntax`` makes and ``nfa`` compiles.

A set of bytes is an integer with one bit a byte (``ByteMask``), so that union,
difference and comparison are single operations and a set can be a dict key.
Groups leave no trace (nothing is captured), nor do lazy quantifiers (a full
match is the same), nor case folding (done while reading).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NewType

ByteMask = NewType("ByteMask", int)

NO_BYTE = ByteMask(0)
ALL_BYTES = ByteMask((1 << 256) - 1)
ASCII = ByteMask((1 << 128) - 1)


def mask_of(values: Iterable[int]) -> ByteMask:
    """Return the set of the byte values given; ``bytes`` is such an iterable."""
    mask = 0
    for value in values:
        mask |= 1 << value
    return ByteMask(mask)


def mask_range(low: int, high: int) -> ByteMask:
    """Return the bytes from ``low`` to ``high``, both included; none if ``high`` is lower."""
    return ByteMask((1 << (high + 1)) - (1 << low)) if low <= high else NO_BYTE


@lru_cache(maxsize=4096)
def bytes_in(mask: ByteMask) -> bytes:
    """Return the members of a set in ascending order."""
    found = bytearray()
    rest = int(mask)
    while rest:
        low = rest & -rest
        found.append(low.bit_length() - 1)
        rest ^= low
    return bytes(found)


@dataclass(frozen=True, slots=True)
class Empty:
    """Matches the empty string."""


@dataclass(frozen=True, slots=True)
class OneByte:
    """Matches one byte of the set; an empty set matches nothing at all."""

    mask: ByteMask


@dataclass(frozen=True, slots=True)
class Begin:
    """Matches the empty string before the first byte."""


@dataclass(frozen=True, slots=True)
class End:
    """Matches the empty string after the last byte."""


@dataclass(frozen=True, slots=True)
class Concat:
    """Matches the parts one after another."""

    parts: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Alternate:
    """Matches what any of the parts matches."""

    parts: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Repeat:
    """Matches ``node`` at least ``low`` times and at most ``high`` (None: without end)."""

    node: "Node"
    low: int
    high: int | None


Node = Empty | OneByte | Begin | End | Concat | Alternate | Repeat


def literal(text: bytes) -> Node:
    """Return the tree that matches exactly ``text``."""
    return Concat(tuple(OneByte(ByteMask(1 << byte)) for byte in text))
