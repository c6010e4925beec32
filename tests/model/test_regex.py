# SPDX-License-Identifier: Apache-2.0
"""The model's own regexes against google-re2, and what matters to policies by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpfast.model.nfa import utf8
from bpfast.model.regex import RegexError, fullmatch
from tests.automata.machines import judge
from tests.model.patterns import ANY, RIGHT, TEXTS, within_latin


def accepts(pattern: str) -> bool:
    """Return whether the model takes a pattern."""
    try:
        fullmatch(pattern, b"")
    except RegexError:
        return False
    return True


def agree(pattern: str, text: str) -> None:
    """Assert that RE2 and the model say the same about a pattern, and about a text if both take it."""
    regex = judge(pattern)
    if regex is None:
        return
    asked = within_latin(pattern, text)
    assert bool(regex.fullmatch(asked)) == fullmatch(pattern, asked.encode()), (pattern, asked)


@settings(max_examples=120, deadline=None)
@given(RIGHT, TEXTS)
def test_the_same_as_re2(pattern: str, texts: list[str]) -> None:
    """A pattern matches what RE2 says that it matches."""
    for text in texts:
        agree(pattern, text)


@settings(max_examples=200, deadline=None)
@given(ANY)
def test_takes_what_re2_takes(pattern: str) -> None:
    """What is no regex to RE2 is none to the model, size apart: RE2 has a limit of memory."""
    regex = judge(pattern)

    assert regex is not None or not accepts(pattern) or "{" in pattern
    assert regex is None or accepts(pattern)


@pytest.mark.slow
@settings(max_examples=800, deadline=None)
@given(RIGHT, TEXTS)
def test_twenty_thousand_pairs(pattern: str, texts: list[str]) -> None:
    """The same as RE2 on 20,000 pairs."""
    for text in texts:
        agree(pattern, text)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    (
        ("", b"", True),
        ("", b"a", False),
        ("/a", b"/a", True),
        ("/a", b"/ab", False),
        ("/a", b"x/a", False),
        ("/a.html", b"/axhtml", True),
        ("^/a$", b"/a", True),
        ("/a$b", b"/ab", False),
        ("(?i)/a%2B", b"/A%2b", True),
        ("GET|PUT", b"PUT", True),
        ("(?i:a)b", b"Ab", True),
        ("(?i:a)b", b"AB", False),
        ("((?i)a)b", b"AB", False),
        ("a(?i)b(?-i)c", b"aBc", True),
        ("a(?i)b(?-i)c", b"aBC", False),
        ("/a|/b/c", b"/a/c", False),
        (".*", b"a\nb", False),
        ("(?s).*", b"a\nb", True),
        (".", b"\xc3\xa9", True),
        (".", b"\xe9", False),
        ("..", b"\xc3\xa9", False),
        (r"\C\C", b"\xc3\xa9", True),
        (r"\C", b"\xe9", True),
        ("é", b"\xc3\xa9", True),
        ("[^a]", b"\xe9", False),
        (r"\bab\b", b"ab", True),
        (r"a\bb", b"ab", False),
        (r"a\Bb", b"ab", True),
        ("(?m)a$\n^b", b"a\nb", True),
        ("a$\n^b", b"a\nb", False),
        ("a{2,3}", b"aaaa", False),
        ("a{1000}", b"a" * 1000, True),
        ("(?:a{0,10}){30}", b"a" * 300, True),
        ("(?:a{0,10}){30}", b"a" * 301, False),
    ),
)
def test_a_match(pattern: str, text: bytes, expected: bool) -> None:
    """A full match over bytes, as policies mean it."""
    assert expected == fullmatch(pattern, text)


@pytest.mark.parametrize(
    "pattern", ("(", "a**", r"\1", "(?=a)", "[z-a]", "a{1001}", "(a{40}){40}", "(" * 1001)
)
def test_no_regex(pattern: str) -> None:
    """What RE2 refuses is refused, whatever its depth."""
    with pytest.raises(RegexError):
        fullmatch(pattern, b"")


def test_time_does_not_explode() -> None:
    """Nested stars on a text that just fails are as cheap as any others."""
    assert not fullmatch("(a*)*(a|aa)*b", b"a" * 5000 + b"c")


def test_depth_costs_no_stack() -> None:
    """Nine hundred groups in one another, each with an operator, are no trouble."""
    assert fullmatch("(?:" * 900 + "a" + "|b)*" * 900, b"ab")


@given(st.tuples(st.integers(0, 0x10FFFF), st.integers(0, 0x10FFFF)), st.integers(0, 0x10FFFF))
def test_ranges_in_utf8(ends: tuple[int, int], rune: int) -> None:
    """The rows of a range take the UTF-8 of what is inside of it, and of nothing else."""
    first, last = min(ends), max(ends)
    for asked in (rune, first, last, max(first - 1, 0), min(last + 1, 0x10FFFF)):
        raw = chr(asked).encode("utf-8", "surrogatepass")
        rows = [row for row in utf8(first, last) if len(row) == len(raw)]
        taken = any(
            all(low <= byte <= high for byte, (low, high) in zip(raw, row, strict=True)) for row in rows
        )

        assert (first <= asked <= last) == taken
