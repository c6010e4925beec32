# SPDX-License-Identifier: Apache-2.0
r"""Random patterns in RE2's syntax, right and wrong ones, and texts that they might match.

Beside ``\p`` no text has letters whose other case lies outside of Latin-1: the
model knows categories up to there only.
"""

from random import Random

from hypothesis import strategies as st

_RIGHT = (
    "a", "b", "k", "S", "/", "z", ".", r"\.", r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", "[a-c]", "[^a]",
    "[]a]", "[^]a]", "[a-]", "[-a]", "[[:alpha:]]", "[[:^digit:]x]", "[[:word:]-]", "[[:space:]]",
    r"\x41", r"\x{e9}", r"\x7f", r"\012", r"\0", r"\101", r"\n", r"\t", r"\C", r"\b", r"\B", "^", "$",
    r"\A", r"\z", r"\Qa.b\E", r"\Q*", r"\Q\E", "é", "\u017f", "(?i)", "(?s)", "(?m)", "(?U)", "(?-i)",
    "(?i-s)", "(?i:ab)", "(?-s:.)", "(?m:^a$)", "()", "(?:)", "|", "{", "{,3}", "a{01}", "}", "]", "-",
    ",", r"\/", r"\_", r"[a\-z]", r"[\d-z]", r"[a-\x7a]", r"[^\x00-\x{10FFFF}]", "(?P<n>a)", "(?i)[^k]",
    "(?i)[j-l]", r"(?i)\W", r"(?i)\w", "(?i)[[:upper:]]", "(?i)[[:^upper:]]", r"\a", r"\v", r"\pL",
    r"\PN", r"\p{Lu}", r"\p{^L}", r"\p{Latin}", r"[\pL\d]", r"[^\PL]", r"(?i)\pLu",
)  # fmt: skip
_WRONG = (
    r"[a-\d]", "[z-a]", r"\8", r"\1", r"\e", r"\Z", "\\", "[", "[:a", "[[:foo:]]", "[[:alpha:]", "(?P=n)",
    "(?=a)", "(?!a)", "(?<=a)", r"\x{110000}", r"\xg", r"\p", r"\p{", r"\pX", r"\p{Nobody}", "(", ")",
    "(?", "(?i", "(?P<n", "**", "(?P<>a)", "(?-)", "[a", "{2}{3}", r"\é",
)  # fmt: skip
_REPEATS = (
    "*",
    "+",
    "?",
    "*?",
    "+?",
    "??",
    "{2}",
    "{0,2}",
    "{1,}",
    "{0}",
    "{2}?",
    "{3,5}",
    "{2,1}",
    "{1001}",
    "{40}",
)
_LETTERS = "abckKSs/.x\n 1_é\u212a\u017fA]-{},*Z\x7f\t"


def _joined(parts: list[tuple[str, str]]) -> str:
    return "".join(atom + repeat for atom, repeat in parts)


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    opening = st.sampled_from(("(", "(?:", "(?i:", "(?s:", "(?m:"))
    group = st.builds(lambda begin, body: f"{begin}{body})", opening, inner)
    repeat = st.sampled_from(("",) * 30 + _REPEATS)
    return st.lists(st.tuples(st.sampled_from(_RIGHT) | group, repeat), max_size=5).map(_joined)


RIGHT = st.recursive(st.sampled_from(_RIGHT), _grown, max_leaves=6)
ANY = st.tuples(RIGHT, st.sampled_from(("",) * 8 + _WRONG), RIGHT).map("".join)
TEXTS = st.randoms(use_true_random=False).map(lambda dice: [_text(dice) for _ in range(25)])
"""Texts by the dozen, since a pattern costs more to make than to ask."""


def _text(dice: Random) -> str:
    return "".join(dice.choices(_LETTERS, k=dice.randrange(6)))


def within_latin(pattern: str, text: str) -> str:
    """Return the text without the letters that the model's categories do not know."""
    if "\\p" not in pattern.lower():
        return text
    return text.replace("\u212a", "é").replace("\u017f", "y")
