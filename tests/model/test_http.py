# SPDX-License-Identifier: Apache-2.0
"""The model of HTTP: the shared cases, what a connection becomes, and that cutting means nothing."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpfast.abi import Reason
from bpfast.model.http import judge
from bpfast.model.judgement import Judgement, Request
from bpfast.policy.rules import HeaderMatch, HttpRule, RuleSet
from tests.match_cases import Expected, MatchCase, cases
from tests.model.streams import cut, request, stream

CASES = list(cases())
OPEN = RuleSet((HttpRule("open"),))
SOME = RuleSet(
    (
        HttpRule("a", path="/a"),
        HttpRule("get", method="GET", host="a(:80)?", headers=(HeaderMatch("X-A", "1"),)),
        HttpRule("b", path="/(b|public).*", headers=(HeaderMatch("x-b", None),)),
    )
)
GOOD = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"


def told(judgement: Judgement) -> list[Expected]:
    """Return a judgement in the words of the cases."""
    found = [Expected(one.verdict, one.rule, Reason[one.reason.upper()]) for one in judgement.requests]
    unfinished = [Expected("incomplete", None, Reason.NONE)] if judgement.verdict == "incomplete" else []
    return found + unfinished


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: MatchCase) -> None:
    """Every head of a shared case gets its verdict, rule and reason."""
    expected = [Expected(one.verdict, one.rule, one.reason) for one in case.results]

    assert expected == told(judge(case.rules, [case.stream]))


@pytest.mark.parametrize("case", [case for case in CASES if len(case.stream) <= 400], ids=str)
def test_case_byte_by_byte(case: MatchCase) -> None:
    """A stream that comes byte by byte is the same stream."""
    pieces = [case.stream[at : at + 1] for at in range(len(case.stream))]

    assert judge(case.rules, [case.stream]) == judge(case.rules, pieces)


@settings(max_examples=300, deadline=None)
@given(st.integers(), st.integers())
def test_cutting_means_nothing(seed: int, knife: int) -> None:
    """However a stream is cut, it becomes the same."""
    whole = stream(seed)

    assert judge(SOME, [whole]) == judge(SOME, cut(whole, knife))


@settings(max_examples=300, deadline=None)
@given(st.integers())
def test_more_bytes_take_nothing_back(seed: int) -> None:
    """What was said about the beginning of a stream holds for the whole: a denial, requests that passed."""
    whole = stream(seed)
    said = judge(SOME, [whole])
    for length in range(0, len(whole), 7):
        before = judge(SOME, [whole[:length]])
        known = len(before.requests)

        assert [one.reason for one in before.requests] == [one.reason for one in said.requests[:known]]
        assert before.verdict != "deny" or said.verdict == "deny"


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 3))
def test_alone_and_behind_others(dice: Random, others: int) -> None:
    """A request that is denied alone is denied behind any number of others, for the same reason."""
    asked = request(dice)
    alone = judge(SOME, [asked])
    piped = judge(SOME, [GOOD * others + asked])

    assert alone.verdict == piped.verdict
    assert [one.reason for one in alone.requests] == [one.reason for one in piped.requests[others:]]


def test_nothing_said() -> None:
    """A connection on which nothing is said is allowed, with no request."""
    assert Judgement("allow", ()) == judge(OPEN, [])
    assert Judgement("allow", ()) == judge(OPEN, [b"", b""])


def test_what_is_told_of_a_request() -> None:
    """Method and target are told as sent, the query included, and the rule by its name."""
    expected = Request("allow", "GET", "/a?b=%20", "open", "rule")

    assert (expected,) == judge(OPEN, [b"GET /a?b=%20 HTTP/1.1\r\nHost: a\r\n\r\n"]).requests


@pytest.mark.parametrize(
    ("sent", "method", "path"),
    (
        (b"get /\xe9 HTTP/1.1\r\n", "get", "/\xe9"),
        (b"\r\nGET / HTTP/1.1\r\n", None, None),
        (b" / x", None, "/"),
        (b"\x16\x03\x01", "\x16\x03\x01", None),
        (b"GET  / HTTP/1.1\r\n", "GET", None),
    ),
)
def test_what_is_told_of_a_bad_request(sent: bytes, method: str | None, path: str | None) -> None:
    """Even of what is no request, what stands before the first blanks of its line is told."""
    (found,) = judge(OPEN, [sent]).requests

    assert ("deny", method, path, None) == (found.verdict, found.method, found.path, found.rule)


def test_nothing_behind_a_denial() -> None:
    """The first denial is the end: nothing is told of what comes behind it."""
    found = judge(SOME, [GOOD, b"GET /no HTTP/1.1\r\nHost: a\r\n\r\n", GOOD])

    assert ["rule", "no_rule"] == [one.reason for one in found.requests]


@pytest.mark.parametrize("second", (b"", b"Connection: te\r\n"))
@pytest.mark.parametrize("more", (b"x", GOOD, b"\r\n"))
def test_after_close(more: bytes, second: bytes) -> None:
    """Behind a request with Connection: close and its body nothing passes."""
    closing = (
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n" + second + b"\r\nabc"
    )
    found = judge(OPEN, [closing, more])

    assert "allow" == judge(OPEN, [closing]).verdict
    assert "incomplete" == judge(OPEN, [closing[:-1]]).verdict
    assert "deny" == found.verdict
    assert Request("deny", None, None, None, "after_close") == found.requests[-1]


@pytest.mark.parametrize(
    ("head", "reason"),
    (
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\nUpgrade: x\r\n", "bad_header_value"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: \0", "upgrade"),
        (b"GET // HTTP/1.0\r\n", "bad_path"),
        (b"GET /%\0", "bad_target"),
        (b"GET /.;\0", "bad_path"),
        (b"GET / HTTP/1.1\r\nHost: a@\0", "bad_host"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: \0", "bad_header_value"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 1000", "bad_expect"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999", "bad_content_length"),
    ),
)
def test_the_first_bad_byte_decides(head: bytes, reason: str) -> None:
    """Where several things are wrong, the one that comes first in the stream is the reason."""
    assert [reason] == [one.reason for one in judge(OPEN, [head]).requests]


@pytest.mark.parametrize(
    "head",
    (
        b"G",
        b"PRI",
        b"CONNECT",
        b"GET /a/..",
        b"GET /%2",
        b"GET / HTTP/1.1\r",
        b"GET / HTTP/1.1\r\nUpgrade",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b",
        b"GET / HTTP/1.1\r\nHost: ",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked",
        b"GET / HTTP/1.1\r\nExpect: 100-cont",
    ),
)
def test_what_may_become_good(head: bytes) -> None:
    """A head that ends before the byte, or the line, that would decide is unfinished."""
    assert Judgement("incomplete", ()) == judge(OPEN, [head])
