# SPDX-License-Identifier: Apache-2.0
"""Sets of characters in RE2 syntax: escapes, ``[...]``, ``[[:alpha:]]``, folding.

Only ASCII is kept: a code point above U+007F has no byte here, so a set of
such characters is empty and matches nothing. That is exactly what RE2 in UTF-8
mode finds in ASCII text. Two of them fold to ASCII letters, though, and RE2
knows it: with ``(?i)`` U+017F is an ``s`` and U+212A a ``k``.
"""

from dataclasses import dataclass
from typing import Final

from bpfast.automata.tree import ASCII, NO_BYTE, ByteMask, mask_of, mask_range
from bpfast.errors import Unsupported

_DIGITS = mask_range(0x30, 0x39)
_UPPER = mask_range(0x41, 0x5A)
_LOWER = mask_range(0x61, 0x7A)
_WORD = ByteMask(_DIGITS | _UPPER | _LOWER | mask_of(b"_"))
_GRAPH = mask_range(0x21, 0x7E)

PERL: Final = {"d": _DIGITS, "s": mask_of(b"\t\n\f\r "), "w": _WORD}
POSIX: Final = {
    "alnum": ByteMask(_DIGITS | _UPPER | _LOWER),
    "alpha": ByteMask(_UPPER | _LOWER),
    "ascii": ASCII,
    "blank": mask_of(b"\t "),
    "cntrl": ByteMask(mask_range(0, 0x1F) | mask_of(b"\x7f")),
    "digit": _DIGITS,
    "graph": _GRAPH,
    "lower": _LOWER,
    "print": ByteMask(_GRAPH | mask_of(b" ")),
    "punct": ByteMask(_GRAPH & ~(_DIGITS | _UPPER | _LOWER)),
    "space": mask_of(b"\t\n\v\f\r "),
    "upper": _UPPER,
    "word": _WORD,
    "xdigit": ByteMask(_DIGITS | mask_of(b"abcdefABCDEF")),
}
_CONTROL: Final = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_FOLD_OUTSIDE: Final = {0x017F: mask_of(b"sS"), 0x212A: mask_of(b"kK")}
_LAST_ASCII = 0x7F
_LAST_CODE_POINT = 0x10FFFF
_HEX_DIGITS = 2  # in \xHH
_OCTAL_DIGITS = 3  # at most, in \123
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_OCTAL: Final = frozenset("01234567")


class PatternError(Unsupported):
    """A pattern that is not RE2 syntax, or RE2 syntax that is not supported.

    ``position`` counts characters from 0; ``reason`` is a phrase without it.
    """

    def __init__(self, pattern: str, position: int, reason: str) -> None:
        """Say what, where and why."""
        self.position = position
        self.reason = reason
        super().__init__(f"pattern {pattern!r}, position {position}: {reason}")


def fold(mask: ByteMask) -> ByteMask:
    """Add the other case of every ASCII letter in the set."""
    upper, lower = mask & _UPPER, mask & _LOWER
    return ByteMask(mask | upper << 32 | lower >> 32)


def mask_of_range(low: int, high: int, *, folded: bool) -> ByteMask:
    """Return the ASCII part of a range of code points, with its case variants if ``folded``."""
    mask = mask_range(low, min(high, _LAST_ASCII)) if low <= _LAST_ASCII else NO_BYTE
    if folded:
        mask = fold(mask)
        for outside, letters in _FOLD_OUTSIDE.items():
            if low <= outside <= high:
                mask = ByteMask(mask | letters)
    return mask


@dataclass(slots=True)
class Scanner:
    """The pattern and how far it has been read."""

    text: str
    at: int = 0

    def peek(self, offset: int = 0) -> str:
        """Return the character at ``offset`` from here, "" past the end."""
        index = self.at + offset
        return self.text[index] if index < len(self.text) else ""

    def take(self) -> str:
        """Return the next character and go on; "" at the end."""
        char = self.peek()
        self.at += len(char)
        return char

    def skip(self, prefix: str) -> bool:
        """Go past ``prefix`` if it stands here; say whether it did."""
        found = self.text.startswith(prefix, self.at)
        if found:
            self.at += len(prefix)
        return found

    def error(self, position: int, reason: str) -> PatternError:
        """Return the error for ``reason`` at ``position``."""
        return PatternError(self.text, position, reason)


def read_escape(scanner: Scanner) -> int:
    r"""Read one escaped character, from its ``\`` on; return the code point."""
    start = scanner.at
    scanner.take()
    char = scanner.take()
    if char in _CONTROL:
        return _CONTROL[char]
    if char == "x":
        return _read_hex(scanner, start)
    if char == "":
        raise scanner.error(start, r"a '\' at the end escapes nothing")
    if char == "0" or (char in _OCTAL and scanner.peek() in _OCTAL):
        return _read_octal(scanner, char)
    if char in "123456789":
        raise scanner.error(start, rf"backreference '\{char}' is not regular and not in RE2 syntax")
    if not char.isascii() or char.isalnum():
        raise scanner.error(start, rf"unknown escape '\{char}'")
    return ord(char)


def _read_hex(scanner: Scanner, start: int) -> int:
    digits = ""
    if scanner.skip("{"):
        while scanner.peek() in _HEX:
            digits += scanner.take()
        complete = bool(digits) and scanner.skip("}")
    else:
        while len(digits) < _HEX_DIGITS and scanner.peek() in _HEX:
            digits += scanner.take()
        complete = len(digits) == _HEX_DIGITS
    if not complete:
        raise scanner.error(start, r"'\x' needs two hexadecimal digits, or some in braces")
    if int(digits, 16) > _LAST_CODE_POINT:
        raise scanner.error(start, f"no code point U+{digits.upper()}; the last is U+10FFFF")
    return int(digits, 16)


def _read_octal(scanner: Scanner, first: str) -> int:
    digits = first
    while len(digits) < _OCTAL_DIGITS and scanner.peek() in _OCTAL:
        digits += scanner.take()
    return int(digits, 8)


def read_perl(scanner: Scanner) -> ByteMask | None:
    r"""Read ``\d \D \s \S \w \W`` if one stands here; refuse ``\p`` by name."""
    kind = scanner.peek(1)
    if scanner.peek() != "\\" or not kind:
        return None
    if kind in "pP":
        raise scanner.error(scanner.at, rf"Unicode classes ('\{kind}') are not supported")
    base = PERL.get(kind.lower())
    if base is None:
        return None
    scanner.at += 2
    return base if kind.islower() else ByteMask(ASCII & ~base)


def _read_posix(scanner: Scanner, *, folded: bool) -> ByteMask | None:
    start = scanner.at
    if not scanner.text.startswith("[:", start):
        return None
    end = scanner.text.find(":]", start + 2)
    if end < 0:
        return None
    name = scanner.text[start + 2 : end]
    base = POSIX.get(name.removeprefix("^"))
    if base is None:
        known = ", ".join(POSIX)
        raise scanner.error(start, f"unknown class name {name!r}; known are {known}")
    scanner.at = end + 2
    base = fold(base) if folded else base
    return ByteMask(ASCII & ~base) if name.startswith("^") else base


def _read_member(scanner: Scanner, start: int) -> int:
    if scanner.peek() == "":
        raise scanner.error(start, "'[' without its ']'")
    return read_escape(scanner) if scanner.peek() == "\\" else ord(scanner.take())


def _read_span(scanner: Scanner, start: int, *, folded: bool) -> ByteMask:
    position = scanner.at
    low = high = _read_member(scanner, start)
    if scanner.peek() == "-" and scanner.peek(1) not in ("", "]"):
        scanner.take()
        high = _read_member(scanner, start)
    if high < low:
        span = scanner.text[position : scanner.at]
        raise scanner.error(position, f"range {span!r} ends before it begins")
    return mask_of_range(low, high, folded=folded)


def read_class(scanner: Scanner, *, folded: bool) -> ByteMask:
    """Read ``[...]`` from its ``[`` on; return the set of its bytes."""
    start = scanner.at
    scanner.take()
    negated = scanner.skip("^")
    mask, first = NO_BYTE, True
    while first or scanner.peek() != "]":
        first = False
        part = _read_posix(scanner, folded=folded)
        if part is None:
            part = read_perl(scanner)
        if part is None:
            part = _read_span(scanner, start, folded=folded)
        mask = ByteMask(mask | part)
    scanner.take()
    return ByteMask(ASCII & ~mask) if negated else mask
