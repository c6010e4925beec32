# SPDX-License-Identifier: Apache-2.0
r"""RE2 text to a tree, for full matches of ASCII text.

Accepted means: exactly what RE2 in its default (Perl-like, UTF-8) mode means on
ASCII bytes. Taken: literals, ``.``, classes, escapes, ``\Q..\E``, groups of
every kind, the flags ``i s U``, alternation, all quantifiers, ``^ $ \A \z``.
Refused by name, since they look at bytes beside the match or need tables of
Unicode: ``\b \B``, ``(?m)``, ``\p \P``. Everything that RE2 refuses is refused.

A stack machine like RE2's own parser rather than recursive descent: RE2 lets a
quantifier bind to what stands before a flag group (``a(?i)*`` is ``a*``), which
falls out of "the last thing on the stack" and would be a special case else.
Cost: linear. Nesting is bounded, as in RE2, so that walking the tree is safe.
"""

from dataclasses import dataclass, field

from bpfast.automata.charclass import (
    PatternError,
    Scanner,
    mask_of_range,
    read_class,
    read_escape,
    read_perl,
)
from bpfast.automata.tree import (
    ASCII,
    Alternate,
    Begin,
    ByteMask,
    Concat,
    Empty,
    End,
    Node,
    OneByte,
    Repeat,
    mask_of,
)

__all__ = ["MAX_DEPTH", "MAX_REPEAT", "PatternError", "parse"]

MAX_REPEAT = 1000  # RE2's own: of one {n,m} and of nested ones multiplied
MAX_DEPTH = 100  # groups inside groups; RE2 stops at 1000, walking the tree in Python before that
_MAX_DIGITS = 9  # of a count; with more, or a leading zero, the brace is a literal, as in RE2
_ANCHORS: dict[str, Node] = {"A": Begin(), "z": End()}
_NO_NEWLINE = ByteMask(ASCII & ~mask_of(b"\n"))


@dataclass(frozen=True, slots=True)
class _Flags:
    fold: bool = False
    dot_all: bool = False


@dataclass(slots=True)
class _Level:
    """One open group: its branches so far and the one being read."""

    start: int
    outer: _Flags
    branches: list[Node] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)

    def close_branch(self) -> None:
        self.branches.append(_concat(self.items))
        self.items = []

    def node(self) -> Node:
        self.close_branch()
        return self.branches[0] if len(self.branches) == 1 else Alternate(tuple(self.branches))


def parse(text: str) -> Node:
    """Return the tree of a pattern; raise PatternError with position and reason."""
    return _Parser(Scanner(text)).run()


class _Parser:
    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._flags = _Flags()
        self._levels = [_Level(0, self._flags)]
        self._after_quantifier = False

    def run(self) -> Node:
        scanner = self._scanner
        while char := scanner.peek():
            after, self._after_quantifier = self._after_quantifier, False
            if char in "*+?" or (char == "{" and _braces(scanner.text, scanner.at)):
                self._quantifier(after=after)
            elif char == "|":
                scanner.take()
                self._levels[-1].close_branch()
            elif char == "(":
                self._open()
            elif char == ")":
                self._close()
            else:
                self._levels[-1].items.extend(self._atom(char))
        if len(self._levels) > 1:
            raise scanner.error(self._levels[-1].start, "'(' without its ')'")
        return self._levels[0].node()

    def _atom(self, char: str) -> list[Node]:
        scanner, flags = self._scanner, self._flags
        if char == "[":
            return [OneByte(read_class(scanner, folded=flags.fold))]
        if char == "\\":
            return self._escape()
        scanner.take()
        if char == ".":
            return [OneByte(ASCII if flags.dot_all else _NO_NEWLINE)]
        if char in "^$":
            return [Begin() if char == "^" else End()]
        return [self._char(ord(char))]

    def _char(self, code: int) -> Node:
        return OneByte(mask_of_range(code, code, folded=self._flags.fold))

    def _escape(self) -> list[Node]:
        scanner, kind = self._scanner, self._scanner.peek(1)
        if kind in _ANCHORS:
            scanner.at += 2
            return [_ANCHORS[kind]]
        if kind == "Q":
            return self._quoted()
        if kind == "C":
            scanner.at += 2
            return [OneByte(ASCII)]
        if kind and kind in "bB":
            raise scanner.error(scanner.at, rf"word boundaries ('\{kind}') are not supported")
        mask = read_perl(scanner)
        if mask is not None:
            return [OneByte(mask)]  # each of them is closed under folding
        return [self._char(read_escape(scanner))]

    def _quoted(self) -> list[Node]:
        scanner = self._scanner
        scanner.at += 2
        end = scanner.text.find(r"\E", scanner.at)
        stop = len(scanner.text) if end < 0 else end
        nodes = [self._char(ord(char)) for char in scanner.text[scanner.at : stop]]
        scanner.at = stop if end < 0 else stop + 2
        return nodes

    def _quantifier(self, *, after: bool) -> None:
        scanner, start = self._scanner, self._scanner.at
        if scanner.peek() == "{":
            low, high, scanner.at = _braces(scanner.text, start) or (0, 0, start)
        else:
            low, high = {"*": (0, None), "+": (1, None), "?": (0, 1)}[scanner.take()]
        scanner.skip("?")
        operator = scanner.text[start : scanner.at]
        if after:
            raise scanner.error(start, f"quantifier {operator!r} after a quantifier")
        items = self._levels[-1].items
        if not items:
            raise scanner.error(start, f"quantifier {operator!r} has nothing to repeat")
        if max(low, high or 0) > MAX_REPEAT or (high is not None and high < low):
            raise scanner.error(start, f"bad repeat {operator!r}: at most {MAX_REPEAT}, least first")
        items[-1] = Repeat(items[-1], low, high)
        if operator[0] == "{" and max(low, high or 0) > 1 and _allowance(items[-1], MAX_REPEAT) == 0:
            raise scanner.error(start, f"nested repeats multiply to more than {MAX_REPEAT}")
        self._after_quantifier = True

    def _open(self) -> None:
        scanner, start, outer = self._scanner, self._scanner.at, self._flags
        scanner.take()
        if scanner.skip("?P<") or (scanner.text.startswith("?<", start + 1) and self._named()):
            self._name(start)
        elif scanner.skip("?") and not self._flag_group(start):
            return
        if len(self._levels) > MAX_DEPTH:
            raise scanner.error(start, f"groups nested more than {MAX_DEPTH} deep")
        self._levels.append(_Level(start, outer))

    def _named(self) -> bool:
        if self._scanner.peek(2) in ("=", "!"):
            return False
        self._scanner.at += 2
        return True

    def _name(self, start: int) -> None:
        scanner = self._scanner
        end = scanner.text.find(">", scanner.at)
        name = scanner.text[scanner.at : end] if end >= 0 else ""
        if not (name.isascii() and name.replace("_", "a").isalnum()):
            raise scanner.error(start, "a group's name is made of ASCII letters, digits and '_'")
        scanner.at = end + 1

    def _flag_group(self, start: int) -> bool:
        """Read ``i-s:`` or ``i-s)``; say whether a group opens."""
        scanner, sign, seen = self._scanner, True, True
        folded, dot_all = self._flags.fold, self._flags.dot_all
        while (char := scanner.take()) not in (":", ")") or not seen:
            if char == "i":
                folded = sign
            elif char == "s":
                dot_all = sign
            elif char == "m" and sign:
                raise scanner.error(start, "the flag 'm' (lines) is not supported")
            elif char == "-" and sign:
                sign = False
            elif char == "" or char not in "mU":
                what = scanner.text[start : scanner.at]
                raise scanner.error(start, f"{what!r} does not open a group that is in RE2 syntax")
            seen = char != "-"
        self._flags = _Flags(folded, dot_all)
        return char == ":"

    def _close(self) -> None:
        scanner = self._scanner
        if len(self._levels) == 1:
            raise scanner.error(scanner.at, "')' without its '('")
        scanner.take()
        level = self._levels.pop()
        self._flags = level.outer
        self._levels[-1].items.append(level.node())


def _concat(items: list[Node]) -> Node:
    if len(items) == 1:
        return items[0]
    return Concat(tuple(items)) if items else Empty()


def _braces(text: str, at: int) -> tuple[int, int | None, int] | None:
    """Read ``{n}``, ``{n,}`` or ``{n,m}``; None if it is none of them, so a literal ``{``."""
    end = text.find("}", at)
    low, comma, high = text[at + 1 : end].partition(",") if end >= 0 else ("", "", "")
    if not _is_count(low) or not (high == "" or _is_count(high)):
        return None
    most = int(low) if not comma else int(high) if high else None
    return int(low), most, end + 1


def _is_count(text: str) -> bool:
    plain = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    return plain and (text == "0" or text[0] != "0")


def _allowance(node: Node, left: int) -> int:
    """Return what is left of ``left`` after dividing it by every nested repeat; RE2's own rule."""
    if isinstance(node, Repeat):
        times = node.low if node.high is None else node.high
        return _allowance(node.node, left // max(times, 1))
    if isinstance(node, Concat | Alternate):
        return min((_allowance(part, left) for part in node.parts), default=left)
    return left
