# SPDX-License-Identifier: Apache-2.0
r"""A regex in RE2's syntax, as text, to a tree.

The syntax is that of RE2's own page (google/re2, ``doc/syntax.txt``), with the
options that Envoy compiles with: Perl classes, ``\b``, UTF-8. Groups hold nothing
here, since only whole matches are asked for; lazy is the same as greedy.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from bpfast.model import runes
from bpfast.model.runes import Runes

MOST_REPEATS: Final = 1000
_MOST_NESTED: Final = 1000


class RegexError(ValueError):
    """The text is no regex to RE2; the message says where and why."""


class Place(Enum):
    """What an assertion asks of the place between two bytes."""

    TEXT_BEGIN = "\\A"
    TEXT_END = "\\z"
    LINE_BEGIN = "(?m)^"
    LINE_END = "(?m)$"
    WORD_EDGE = "\\b"
    NO_WORD_EDGE = "\\B"


@dataclass(frozen=True, slots=True)
class OneRune:
    """One code point out of a set, in UTF-8."""

    runes: Runes


@dataclass(frozen=True, slots=True)
class AnyByte:
    r"""``\C``: one byte, whatever it is."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """All ``parts``, one behind the other; none is the empty text."""

    parts: "tuple[Tree, ...]"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of ``parts``."""

    parts: "tuple[Tree, ...]"


@dataclass(frozen=True, slots=True)
class Repeat:
    """``body`` from ``least`` to ``most`` times; None: without end."""

    body: "Tree"
    least: int
    most: int | None


Tree = OneRune | AnyByte | Place | Sequence | Choice | Repeat

# RE2 takes what is no count for plain text: leading zeros, ten digits and more.
_NUMBER: Final = "0|[1-9][0-9]{0,8}"
_COUNT: Final = re.compile(rf"\{{({_NUMBER})(?:(,)({_NUMBER}|))?\}}")
_FLAGS: Final = re.compile(r"\(\?([imsU]*)(-[imsU]+)?([:)])")
_NAMED: Final = re.compile(r"\(\?P?<([^>]*)>")
_GROUP_NAME: Final = re.compile(r"\w+")
_OCTAL: Final = re.compile(r"0[0-7]{0,2}|[1-7][0-7]{1,2}")
_HEX: Final = re.compile(r"x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]+)\})")
_CATEGORY: Final = re.compile(r"\\([pP])(?:([^{])|\{(\^?)([^}]*)\})")
_POSIX: Final = re.compile(r"\[:(\^?)(.*?):\]", re.DOTALL)
_CONTROLS: Final = {"a": 0x07, "f": 0x0C, "n": 0x0A, "r": 0x0D, "t": 0x09, "v": 0x0B}
_OPERATORS: Final = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_ASCII: Final = 0x80


@dataclass(slots=True)
class _Group:
    """An open group: what is finished of it, and the flags to go back to."""

    flags: frozenset[str]
    choices: list[Tree]
    parts: list[Tree]
    # For each part, the most copies that repeats inside of it make of anything.
    weights: list[int]
    heaviest: int = 1


def parse(pattern: str) -> Tree:
    """Return the tree of ``pattern``; raise RegexError where RE2 refuses it."""
    return _Parser(pattern).run()


class _Parser:
    """Reads from left to right; open groups are on a stack, so that depth costs no recursion."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._flags: frozenset[str] = frozenset()
        self._groups = [_Group(self._flags, [], [], [])]

    def run(self) -> Tree:
        repeated = False
        while self._at < len(self._pattern):
            was_repeated, repeated = repeated, False
            character = self._pattern[self._at]
            counted = _COUNT.match(self._pattern, self._at) if character == "{" else None
            if character in _OPERATORS or counted:
                if was_repeated:
                    raise self._error("a repeat of a repeat")
                self._repeat(counted)
                repeated = True
            elif character == "\\":
                self._backslash()
            else:
                self._plain(character)
        if len(self._groups) > 1:
            raise self._error("a group without its end")
        return self._close()

    def _error(self, what: str) -> RegexError:
        return RegexError(f"{self._pattern!r} at {self._at}: {what}")

    # ---- groups

    def _plain(self, character: str) -> None:
        if character == "(":
            self._open()
            return
        if character == "[":
            self._push(OneRune(self._class()))
            return
        self._at += 1
        many = "m" in self._flags
        if character == ")":
            self._end_group()
        elif character == "|":
            self._end_choice()
        elif character == "^":
            self._push(Place.LINE_BEGIN if many else Place.TEXT_BEGIN)
        elif character == "$":
            self._push(Place.LINE_END if many else Place.TEXT_END)
        elif character == ".":
            newline = ((runes.NEWLINE, runes.NEWLINE),)
            self._push(OneRune(runes.EVERY if "s" in self._flags else runes.complement(newline)))
        else:
            self._literal(ord(character))

    def _open(self) -> None:
        outer = self._flags
        if not self._pattern.startswith("(?", self._at):
            self._at += 1
        elif named := _NAMED.match(self._pattern, self._at):
            if not _GROUP_NAME.fullmatch(named[1]):
                raise self._error(f"a bad group name {named[1]!r}")
            self._at = named.end()
        elif flags := _FLAGS.match(self._pattern, self._at):
            self._flags = (self._flags | set(flags[1])) - set((flags[2] or "")[1:])
            self._at = flags.end()
            if flags[3] == ")":
                return
        else:
            raise self._error("a group that RE2 does not know")
        self._groups.append(_Group(outer, [], [], []))
        if len(self._groups) > _MOST_NESTED:
            raise self._error(f"more than {_MOST_NESTED} groups in one another")

    def _end_choice(self) -> None:
        group = self._groups[-1]
        group.heaviest = max(group.heaviest, *group.weights, 1)
        group.choices.append(_in_order(group.parts))
        group.parts, group.weights = [], []

    def _end_group(self) -> None:
        if len(self._groups) == 1:
            raise self._error("the end of a group that was not begun")
        heaviest = max(self._groups[-1].heaviest, *self._groups[-1].weights, 1)
        tree = self._close()
        self._flags = self._groups.pop().flags
        self._push(tree, heaviest)

    def _close(self) -> Tree:
        group = self._groups[-1]
        choices = [*group.choices, _in_order(group.parts)]
        return choices[0] if len(choices) == 1 else Choice(tuple(choices))

    # ---- what stands in a sequence

    def _push(self, tree: Tree, weight: int = 1) -> None:
        self._groups[-1].parts.append(tree)
        self._groups[-1].weights.append(weight)

    def _literal(self, rune: int) -> None:
        one = ((rune, rune),)
        self._push(OneRune(runes.folded(one) if "i" in self._flags else one))

    def _repeat(self, counted: re.Match[str] | None) -> None:
        group = self._groups[-1]
        if not group.parts:
            raise self._error("a repeat of nothing")
        least, most = _bounds(counted) if counted else _OPERATORS[self._pattern[self._at]]
        weight = group.weights[-1]
        if counted:
            if least > MOST_REPEATS or (most is not None and not least <= most <= MOST_REPEATS):
                raise self._error(f"a bad count; the most is {MOST_REPEATS}")
            weight *= max(1, least if most is None else most)
            if weight > MOST_REPEATS and weight > group.weights[-1]:
                raise self._error(f"repeats in repeats make more than {MOST_REPEATS} copies")
        group.parts[-1] = Repeat(group.parts[-1], least, most)
        group.weights[-1] = weight
        self._at = counted.end() if counted else self._at + 1
        if self._pattern.startswith("?", self._at):
            self._at += 1

    # ---- backslashes

    def _backslash(self) -> None:
        letter = self._pattern[self._at + 1 : self._at + 2]
        places = {"b": Place.WORD_EDGE, "B": Place.NO_WORD_EDGE, "A": Place.TEXT_BEGIN, "z": Place.TEXT_END}
        if letter == "Q":
            self._quoted()
        elif letter in places:
            self._at += 2
            self._push(places[letter])
        elif letter == "C":
            self._at += 2
            self._push(AnyByte())
        elif (named := self._named_class()) is not None:
            self._push(OneRune(named))
        else:
            self._literal(self._escape())

    def _quoted(self) -> None:
        r"""Read ``\Q...\E``; without its end it goes on to the end of the pattern."""
        begin = self._at + 2
        end = self._pattern.find("\\E", begin)
        for character in self._pattern[begin : end if end >= 0 else None]:
            self._literal(ord(character))
        self._at = end + 2 if end >= 0 else len(self._pattern)

    def _named_class(self) -> Runes | None:
        r"""Read ``\d`` or ``\p{L}`` and their like; None where none stands."""
        letter = self._pattern[self._at + 1 : self._at + 2]
        if letter and letter in "pP":
            return self._category()
        if not letter or letter.lower() not in runes.PERL:
            return None
        self._at += 2
        return self._maybe_folded(runes.PERL[letter.lower()], negated=letter.isupper())

    def _category(self) -> Runes:
        found = _CATEGORY.match(self._pattern, self._at)
        if not found:
            raise self._error("a category without a name")
        members = runes.category(found[2] or found[4])
        if members is None:
            raise self._error(f"an unknown category {found[0]!r}")
        self._at = found.end()
        return self._maybe_folded(members, negated=(found[1] == "P") != (found[3] == "^"))

    def _maybe_folded(self, members: Runes, *, negated: bool) -> Runes:
        wide = runes.folded(members) if "i" in self._flags else members
        return runes.complement(wide) if negated else wide

    def _escape(self) -> int:
        """Read an escape that stands for one code point."""
        rest = self._at + 1
        letter = self._pattern[rest : rest + 1]
        if octal := _OCTAL.match(self._pattern, rest):
            self._at, rune = octal.end(), int(octal[0], 8)
        elif hexadecimal := _HEX.match(self._pattern, rest):
            self._at, rune = hexadecimal.end(), int(hexadecimal[1] or hexadecimal[2], 16)
        elif letter in _CONTROLS:
            self._at, rune = rest + 1, _CONTROLS[letter]
        elif letter and ord(letter) < _ASCII and not letter.isalnum():
            self._at, rune = rest + 1, ord(letter)
        else:
            raise self._error(f"a bad escape \\{letter}")
        if rune > runes.LAST:
            raise self._error(f"{rune:#x} is no code point")
        return rune

    # ---- brackets

    def _class(self) -> Runes:
        """Read ``[...]``; a ``]`` in the first place stands for itself."""
        negated = self._pattern.startswith("[^", self._at)
        self._at += 2 if negated else 1
        members: list[tuple[int, int]] = []
        first = self._at
        while not self._pattern.startswith("]", self._at) or self._at == first:
            if self._at >= len(self._pattern):
                raise self._error("a bracket without its end")
            members += self._class_part()
        self._at += 1
        return runes.complement(runes.union(members)) if negated else runes.union(members)

    def _class_part(self) -> Runes:
        if posix := _POSIX.match(self._pattern, self._at):
            if posix[2] not in runes.POSIX:
                raise self._error(f"an unknown class {posix[0]!r}")
            self._at = posix.end()
            return self._maybe_folded(runes.POSIX[posix[2]], negated=posix[1] == "^")
        if self._pattern.startswith("\\", self._at) and (named := self._named_class()) is not None:
            return named
        low = high = self._class_rune()
        more = self._pattern[self._at : self._at + 2]
        if more.startswith("-") and more not in ("-", "-]"):
            self._at += 1
            high = self._class_rune()
        if high < low:
            raise self._error("a range that ends before it begins")
        return self._maybe_folded(((low, high),), negated=False)

    def _class_rune(self) -> int:
        if self._pattern.startswith("\\", self._at):
            return self._escape()
        self._at += 1
        return ord(self._pattern[self._at - 1])


def _bounds(counted: re.Match[str]) -> tuple[int, int | None]:
    """Return the two numbers of ``{n}``, ``{n,}`` or ``{n,m}``."""
    least, comma, most = counted.groups()
    if not comma:
        return int(least), int(least)
    return int(least), int(most) if most else None


def _in_order(parts: list[Tree]) -> Tree:
    return parts[0] if len(parts) == 1 else Sequence(tuple(parts))
