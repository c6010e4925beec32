# SPDX-License-Identifier: Apache-2.0
"""Reading RE2 syntax: what is taken means what RE2 means, what is not is refused by name."""

import random

import pytest

from bpfast.automata.syntax import MAX_DEPTH, PatternError, parse
from tests.automata.machines import disagreements, judge

ONE_CHARACTER = [chr(code) for code in range(128)]

SINGLES = (
    *(r"\d", r"\D", r"\s", r"\S", r"\w", r"\W", ".", "(?s).", r"\C", "(?s-s:.)", "(?-s:.)", "(?s:(?-s).)"),
    *(f"[[:{name}:]]" for name in ("alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph")),
    *(f"[[:{name}:]]" for name in ("lower", "print", "punct", "space", "upper", "word", "xdigit")),
    *("[[:^alpha:]]", "[^[:^alpha:]]", "(?i)[[:lower:]]", "(?i)[[:^lower:]]", "(?i)[^[:upper:]]"),
    *("[a]", "[^a]", "[a-c]", "[^a-c]", "[]]", "[^]]", "[]a]", "[a-]", "[-a]", "[a-c-e]", "[--a]", "[+--]"),
    *(
        "[[]",
        "[[:]",
        "[[:a]",
        "[:a:]",
        "[a[:]",
        r"[\]]",
        r"[\d]",
        r"[\D]",
        r"[^\d]",
        r"[\d-z]",
        r"[\w-]",
        "[.]",
    ),
    *(
        r"[\x41-\x43]",
        r"[\n]",
        r"[^\n]",
        r"[^\x00-\x{10FFFF}]",
        "[a-é]",
        "[é]",
        "[^é]",
        "(?i)[^k]",
        "(?i)[K-L]",
    ),
    *("(?i)k", "(?i)K", "(?i)s", "(?i)\u212a", "(?i)\u017f", "(?i)[\u212a]", "(?i)[\u017e-\u0180]", "(?i)1"),
    *(r"\x41", r"\x{41}", r"\x{00041}", r"\101", r"\0", r"\07", r"\012", r"\11", r"\x7f", r"\x80", r"\777"),
    *(
        r"\a",
        r"\f",
        r"\n",
        r"\r",
        r"\t",
        r"\v",
        r"\\",
        r"\.",
        r"\_",
        r"\-",
        r"\ ",
        "\\\n",
        r"\/",
        r"\{",
        r"\"",
    ),
    *(
        "{",
        "}",
        "]",
        "a{x}",
        "a{",
        "a{,2}",
        "a{1",
        "a{1,x}",
        "{x}",
        "-",
        "/",
        "é",
        r"\Q.\E",
        r"\Q\\E",
        r"\Q.*",
    ),
    *(
        "((?i)a)a",
        "(?i:a)a",
        "((?s).).",
        "(?i:A)",
        "(?i)a(?-i)",
        "(?i)(?-i)a",
        "((?i)a)",
        "(?i:(?-i:a))",
        "(?i-i)a",
        "(?U)a+",
        "(?)a",
        "(?ii)a",
    ),
    *(
        "(?P<n>a)",
        "(?<n>a)",
        "(?P<n_1>a)(?P<m>)",
        "()a",
        "(?:)a",
        "a|",
        "|a",
        "a||b",
        "(|a)",
        "()",
        "",
        "a(?i)*",
    ),
    *(
        "a{0}",
        "a{1}",
        "a{01}",
        "a{0,1}",
        "a{0,}",
        "a{1,1}?",
        "a??",
        "a*?",
        "a+?",
        r"a\Q\E*",
        r"\Qab\E*",
        "(?-m)a",
    ),
    *("^*a", "a$*", r"\A*a", r"a\z+", "^^a$$", "(^a)|(b$)", "(?:^|b)a", "a(?:$|b)", "(a$)b", "a^"),
)

REFUSED = (
    ("*a", 0, "quantifier '*' has nothing to repeat"),
    ("a|*", 2, "quantifier '*' has nothing to repeat"),
    ("(+)", 1, "quantifier '+' has nothing to repeat"),
    ("(?i)*", 4, "quantifier '*' has nothing to repeat"),
    ("{2}", 0, "quantifier '{2}' has nothing to repeat"),
    (r"\Q\E*", 4, "quantifier '*' has nothing to repeat"),
    ("a**", 2, "quantifier '*' after a quantifier"),
    ("a{2}{3}", 4, "quantifier '{3}' after a quantifier"),
    ("a*??", 3, "quantifier '?' after a quantifier"),
    ("a{1001}", 1, "bad repeat '{1001}': at most 1000, least first"),
    ("a{2,1}", 1, "bad repeat '{2,1}': at most 1000, least first"),
    ("a{999999999}", 1, "bad repeat '{999999999}': at most 1000, least first"),
    ("(a{2}){501}", 6, "nested repeats multiply to more than 1000"),
    ("(a", 0, "'(' without its ')'"),
    ("a)", 1, "')' without its '('"),
    ("[a", 0, "'[' without its ']'"),
    ("[]", 0, "'[' without its ']'"),
    ("[^]", 0, "'[' without its ']'"),
    ("[b-a]", 1, "range 'b-a' ends before it begins"),
    (r"[a-\d]", 3, r"unknown escape '\d'"),
    ("[[:foo:]]", 1, "unknown class name 'foo'; known are alnum, alpha, ascii, blank, cntrl, digit,"),
    ("a\\", 1, r"a '\' at the end escapes nothing"),
    (r"\e", 0, r"unknown escape '\e'"),
    (r"\Z", 0, r"unknown escape '\Z'"),
    (r"\é", 0, r"unknown escape '\é'"),
    (r"\E", 0, r"unknown escape '\E'"),
    (r"(a)\1", 3, r"backreference '\1' is not regular and not in RE2 syntax"),
    (r"\8", 0, r"backreference '\8' is not regular and not in RE2 syntax"),
    (r"\x4", 0, r"'\x' needs two hexadecimal digits, or some in braces"),
    (r"\x{}", 0, r"'\x' needs two hexadecimal digits, or some in braces"),
    (r"\x{110000}", 0, "no code point U+110000; the last is U+10FFFF"),
    ("(?=a)", 0, "'(?=' does not open a group that is in RE2 syntax"),
    ("(?<=a)", 0, "'(?<' does not open a group that is in RE2 syntax"),
    ("(?P=n)", 0, "'(?P' does not open a group that is in RE2 syntax"),
    ("(?-)", 0, "'(?-)' does not open a group that is in RE2 syntax"),
    ("(?i-s-i)a", 0, "'(?i-s-' does not open a group that is in RE2 syntax"),
    ("(?x)a", 0, "'(?x' does not open a group that is in RE2 syntax"),
    ("(?i", 0, "'(?i' does not open a group that is in RE2 syntax"),
    ("(?P<>a)", 0, "a group's name is made of ASCII letters, digits and '_'"),
    ("(?P<n", 0, "a group's name is made of ASCII letters, digits and '_'"),
)

NOT_SUPPORTED = (
    (r"a\b", 1, r"word boundaries ('\b') are not supported"),
    (r"\Ba", 0, r"word boundaries ('\B') are not supported"),
    (r"\pN", 0, r"Unicode classes ('\p') are not supported"),
    (r"[a\PL]", 2, r"Unicode classes ('\P') are not supported"),
    ("(?m)^a$", 0, "the flag 'm' (lines) is not supported"),
    ("(?im:a)", 0, "the flag 'm' (lines) is not supported"),
    ("(?P<é>a)", 0, "a group's name is made of ASCII letters, digits and '_'"),
    ("(" * (MAX_DEPTH + 1) + ")" * (MAX_DEPTH + 1), MAX_DEPTH, "groups nested more than 100 deep"),
)


def error_of(pattern: str) -> PatternError:
    """Return the error that reading ``pattern`` raises."""
    with pytest.raises(PatternError) as caught:
        parse(pattern)
    return caught.value


@pytest.mark.parametrize("pattern", SINGLES)
def test_single_characters(pattern: str) -> None:
    """A construct matches the same single characters, and the same pairs with a, as in RE2."""
    texts = [
        "",
        *ONE_CHARACTER,
        *(char + "a" for char in ONE_CHARACTER),
        *("a" + char for char in ONE_CHARACTER),
        "ab",
        "Aa",
        "a{,2}",
        "aa",
        "a{x}",
    ]
    assert judge(pattern) is not None
    assert [] == disagreements([pattern], texts)


@pytest.mark.parametrize(("pattern", "position", "reason"), REFUSED)
def test_what_re2_refuses_is_refused(pattern: str, position: int, reason: str) -> None:
    """A pattern that RE2 refuses is refused, with the place and the reason."""
    error = error_of(pattern)
    assert judge(pattern) is None
    assert position == error.position
    assert reason in error.reason
    assert f"pattern {pattern!r}, position {position}: {error.reason}" == str(error)


@pytest.mark.parametrize(("pattern", "position", "reason"), NOT_SUPPORTED)
def test_what_is_not_supported_is_refused_by_name(pattern: str, position: int, reason: str) -> None:
    """A pattern that only RE2 takes is refused, with the place and the name of the construct."""
    error = error_of(pattern)
    assert judge(pattern) is not None
    assert (position, reason) == (error.position, error.reason)


def test_the_deepest_nesting_is_taken() -> None:
    """Groups nested exactly as deep as allowed are read and compiled."""
    pattern = "(|a" * MAX_DEPTH + ")*" * MAX_DEPTH
    assert [] == disagreements([pattern], ["", "a", "aaa", "b"])


@pytest.mark.parametrize(
    "pattern", ("a{1000}", "(a{20}){50}", "((a{2}){2}){250}", "(a{0}){1000}", "(a{2,}){500}")
)
def test_the_largest_repeats_are_taken(pattern: str) -> None:
    """Repeats that multiply to exactly the limit of RE2 are taken, as RE2 does."""
    parse(pattern)
    assert judge(pattern) is not None


@pytest.mark.parametrize("pattern", ("a{1001}", "(a{20}){51}", "((a{2}){2}){251}", "(a{2,}){501}"))
def test_larger_repeats_are_refused(pattern: str) -> None:
    """Repeats that multiply to more than the limit of RE2 are refused, as RE2 does."""
    assert error_of(pattern).reason
    assert judge(pattern) is None


def refusal_of(text: str) -> PatternError | None:
    """Return the error that reading ``text`` raises, None if it is read."""
    try:
        parse(text)
    except PatternError as error:
        return error
    return None


def test_random_text_never_falls() -> None:
    """Any text is either read or refused at a place inside the text, RE2 agreeing."""
    source = random.Random(7)
    for _ in range(20_000):
        text = "".join(
            source.choice(r"\()[]{}*+?|^$.:-,<>PQEimsUaxz09=! ") for _ in range(source.randrange(9))
        )
        error = refusal_of(text)
        if error is None:
            assert judge(text) is not None, text
        else:
            assert 0 <= error.position <= len(text)
            assert "not supported" in error.reason or judge(text) is None, (text, error)
