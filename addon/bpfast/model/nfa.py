# SPDX-License-Identifier: Apache-2.0
r"""Thompson's construction and simulation over bytes: a set of states, one step a byte, never back.

Time grows with the text times the pattern, whatever either of them is. A step
that was taken before is remembered, which changes nothing but the time.

Texts are bytes. A code point of the pattern is its UTF-8; a byte above 7f that is
no part of any is matched by ``\C`` alone. (RE2 takes some overlong forms for
``.``. No request can have one where a pattern looks: targets and hosts are ASCII.)
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from bpfast.model.pattern import AnyByte, Choice, OneRune, Place, Repeat, Sequence, Tree
from bpfast.model.runes import Runes

ByteRange = tuple[int, int]

_START: Final = 0
_FINAL: Final = 1
_MOST_REMEMBERED: Final = 20_000
_WORD: Final = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")
_LINE_END: Final = 0x0A
_CONTINUATION_BITS: Final = (6, 12, 18)
_LAST_OF_LENGTH: Final = (0x7F, 0x7FF, 0xFFFF)


@dataclass(slots=True)
class _State:
    """``steps``: bytes that lead on, and where to. ``jumps``: where to without one, and at which places."""

    steps: list[tuple[int, int, int]] = field(default_factory=list)
    jumps: list[tuple[Place | None, int]] = field(default_factory=list)


class Nfa:
    """A pattern's machine."""

    def __init__(self, tree: Tree) -> None:
        """Build the states of ``tree``; state 0 begins, state 1 ends."""
        self._states = [_State(), _State()]
        self._build(tree)
        self._remembered: dict[tuple[frozenset[int], int, int], frozenset[int]] = {}

    def matches(self, text: bytes) -> bool:
        """Return whether all of ``text`` is matched."""
        # -1 stands for the byte before the first and for the one behind the last.
        before, here = -1, frozenset((_START,))
        for byte in text:
            here = self._moved(here, before, byte)
            if not here:
                return False
            before = byte
        return _FINAL in self._reached(here, before, -1)

    def _moved(self, here: frozenset[int], before: int, byte: int) -> frozenset[int]:
        """Return the states behind ``byte``, for the states before it."""
        key = (here, before, byte)
        found = self._remembered.get(key)
        if found is None:
            reached = self._reached(here, before, byte)
            steps = (step for state in reached for step in self._states[state].steps)
            found = frozenset(target for first, last, target in steps if first <= byte <= last)
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = found
        return found

    def _reached(self, here: frozenset[int], before: int, after: int) -> set[int]:
        """Return ``here`` and all that can be reached without a byte, between these two bytes."""
        reached, waiting = set(here), list(here)
        while waiting:
            for place, target in self._states[waiting.pop()].jumps:
                if target not in reached and (place is None or _holds(place, before, after)):
                    reached.add(target)
                    waiting.append(target)
        return reached

    def _build(self, tree: Tree) -> None:
        """Lay each part between two states; no part leads back to its first or on from its last."""
        waiting: list[tuple[Tree, int, int]] = [(tree, _START, _FINAL)]
        while waiting:
            part, begin, end = waiting.pop()
            match part:
                case OneRune(members):
                    self._rune(members, begin, end)
                case AnyByte():
                    self._states[begin].steps.append((0, 255, end))
                case Place():
                    self._states[begin].jumps.append((part, end))
                case Choice(parts):
                    waiting += ((each, begin, end) for each in parts)
                case Sequence(parts):
                    waiting += self._in_line(parts, begin, end)
                case Repeat():
                    waiting += self._repeated(part, begin, end)

    def _new(self) -> int:
        self._states.append(_State())
        return len(self._states) - 1

    def _rune(self, members: Runes, begin: int, end: int) -> None:
        for first, last in members:
            for ranges in utf8(first, last):
                at = begin
                for low, high in ranges[:-1]:
                    self._states[at].steps.append((low, high, self._new()))
                    at = len(self._states) - 1
                self._states[at].steps.append((*ranges[-1], end))

    def _in_line(self, parts: tuple[Tree, ...], begin: int, end: int) -> Iterator[tuple[Tree, int, int]]:
        at = begin
        for part in parts:
            behind = self._new()
            yield part, at, behind
            at = behind
        self._states[at].jumps.append((None, end))

    def _repeated(self, repeat: Repeat, begin: int, end: int) -> Iterator[tuple[Tree, int, int]]:
        """Lay out the copies that must be there, then those that may, each with a way out before it."""
        yield from self._in_line((repeat.body,) * repeat.least, begin, at := self._new())
        if repeat.most is None:
            loop = self._new()
            self._states[at].jumps.append((None, loop))
            self._states[loop].jumps.append((None, end))
            again = self._new()
            self._states[again].jumps.append((None, loop))
            yield repeat.body, loop, again
            return
        for _ in range(repeat.most - repeat.least):
            self._states[at].jumps.append((None, end))
            behind = self._new()
            yield repeat.body, at, behind
            at = behind
        self._states[at].jumps.append((None, end))


def _holds(place: Place, before: int, after: int) -> bool:
    """Return whether the place between two bytes, -1 where there is none, is one of this kind."""
    match place:
        case Place.TEXT_BEGIN:
            return before < 0
        case Place.TEXT_END:
            return after < 0
        case Place.LINE_BEGIN:
            return before < 0 or before == _LINE_END
        case Place.LINE_END:
            return after < 0 or after == _LINE_END
        case Place.WORD_EDGE:
            return (before in _WORD) != (after in _WORD)
        case Place.NO_WORD_EDGE:
            return (before in _WORD) == (after in _WORD)


def utf8(first: int, last: int) -> Iterator[tuple[ByteRange, ...]]:
    """Yield the UTF-8 of a range of code points as rows of byte ranges.

    In each row the bytes are independent of one another: ``[é-ÿ]`` is the row
    ``(c3, c3), (a9, bf)``.
    """
    waiting = [(first, last)]
    while waiting:
        low, high = waiting.pop()
        border = _border(low, high)
        if border is None:
            yield tuple(zip(_encoded(low), _encoded(high), strict=True))
        else:
            waiting += ((low, border), (border + 1, high))


def _border(low: int, high: int) -> int | None:
    """Return where a range must be cut, the last code point of the lower part; None if nowhere."""
    for longest in _LAST_OF_LENGTH:
        if low <= longest < high:
            return longest
    if high <= _LAST_OF_LENGTH[0]:
        return None
    for bits in _CONTINUATION_BITS:
        below = (1 << bits) - 1
        if low >> bits != high >> bits:
            if low & below:
                return low | below
            if high & below != below:
                return (high & ~below) - 1
    return None


def _encoded(rune: int) -> bytes:
    return chr(rune).encode("utf-8", "surrogatepass")
