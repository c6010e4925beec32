# SPDX-License-Identifier: Apache-2.0
"""Sets of code points, as RE2 names them: Perl and POSIX classes, categories, letters in either case.

A set is a sorted tuple of ranges (first, last), both inclusive, that neither
touch nor overlap. What a request can put before a pattern is ASCII; so the
categories know Latin-1 only, and in case folding a letter outside of it has no
other case than the ones that fold into Latin-1.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import Final

Runes = tuple[tuple[int, int], ...]

LAST: Final = 0x10FFFF
_LATIN1: Final = 256
EVERY: Final[Runes] = ((0, LAST),)
NEWLINE: Final = 0x0A


def union(ranges: Iterable[tuple[int, int]]) -> Runes:
    """Return the set of all that is in one of ``ranges``."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def complement(runes: Runes) -> Runes:
    """Return all code points that are not in ``runes``."""
    borders = [-1, *(border for each in runes for border in each), LAST + 1]
    gaps = zip(borders[::2], borders[1::2], strict=True)
    return tuple((before + 1, after - 1) for before, after in gaps if before + 1 <= after - 1)


def of(text: str) -> Runes:
    """Return the set of what ``text`` holds: characters, and ranges such as ``a-z``."""
    ranges, at = [], 0
    while at < len(text):
        is_range = text[at + 1 : at + 2] == "-" and at + 2 < len(text)
        last = at + 2 if is_range else at
        ranges.append((ord(text[at]), ord(text[last])))
        at = last + 1
    return union(ranges)


PERL: Final = {"d": of("0-9"), "s": of("\t\n\f\r "), "w": of("0-9A-Za-z_")}
"""``\\d``, ``\\s`` and ``\\w``; the capital letter is the complement."""

POSIX: Final = {
    "alnum": of("0-9A-Za-z"),
    "alpha": of("A-Za-z"),
    "ascii": of("\0-\x7f"),
    "blank": of("\t "),
    "cntrl": of("\0-\x1f\x7f"),
    "digit": of("0-9"),
    "graph": of("!-~"),
    "lower": of("a-z"),
    "print": of(" -~"),
    "punct": of("!-/:-@[-`{-~"),
    "space": of("\t-\r "),
    "upper": of("A-Z"),
    "word": of("0-9A-Za-z_"),
    "xdigit": of("0-9A-Fa-f"),
}
"""``[:name:]``."""

_CATEGORIES: Final = re.compile("C[cfos]?|L[lmotu]?|M[cen]?|N[dlo]?|P[cdefios]?|S[ckmo]?|Z[lps]?")
_LATIN: Final = of("A-Za-z\xaa\xba\xc0-\xd6\xd8-\xf6\xf8-\xff")
_SCRIPTS: Final = {
    "Any": EVERY,
    "Latin": _LATIN,
    "Common": tuple((first, min(last, _LATIN1 - 1)) for first, last in complement(_LATIN) if first < _LATIN1),
}


@cache
def category(name: str) -> Runes | None:
    """Return the code points of a category or script below 256, None if it is unknown here."""
    if name in _SCRIPTS:
        return _SCRIPTS[name]
    if not _CATEGORIES.fullmatch(name):
        return None
    return union((n, n) for n in range(_LATIN1) if unicodedata.category(chr(n)).startswith(name))


# Letters of Latin-1 whose other cases lie outside of it, or are not one letter to Python.
_ODD_CASES: Final = ("kK\u212a", "sS\u017f", "\xe5\xc5\u212b", "\xb5\u03bc\u039c", "\xdf\u1e9e", "\xff\u0178")


def _cases() -> dict[int, tuple[int, ...]]:
    groups = [{chr(n), chr(n).lower()} for n in range(_LATIN1) if chr(n).isupper()]
    groups = [group for group in groups if not group & set("".join(_ODD_CASES))] + [
        set(g) for g in _ODD_CASES
    ]
    return {ord(letter): tuple(sorted(map(ord, group))) for group in groups for letter in group}


_CASES: Final = _cases()


def folded(runes: Runes) -> Runes:
    """Return ``runes`` with every letter in each of its cases (flag ``i``)."""
    more = (
        (case, case)
        for letter, cases in _CASES.items()
        if any(first <= letter <= last for first, last in runes)
        for case in cases
    )
    return union((*runes, *more))
