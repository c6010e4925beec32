# SPDX-License-Identifier: Apache-2.0
"""What is said about HTTP rules that can never match, or not as their author thinks."""

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpfast.controller.remarks import host_can_match, path_can_match, remarks
from bpfast.policy.rules import HeaderMatch, HttpRule, RuleSet
from bpfast.tables.build import build
from bpfast.tables.image import open_rules


@pytest.mark.parametrize(
    "rule",
    (
        HttpRule("r"),
        HttpRule("r", method="GET|HEAD", path="/a(/.*)?"),
        HttpRule("r", method=".*", path=".*", host=".*"),
        HttpRule("r", host=r"a\.example(:[0-9]+)?"),
        HttpRule("r", headers=(HeaderMatch("X-Token", "42"), HeaderMatch("X-Id", None))),
        HttpRule("r", headers=(HeaderMatch("Connection", "close"),)),
        HttpRule("r", headers=(HeaderMatch("X-Token", "4 2"), HeaderMatch("x-token", "4 2"))),
    ),
)
def test_nothing_is_said_about_an_ordinary_rule(rule: HttpRule) -> None:
    """A rule that requests can fulfil needs no remark; one that takes any method is no rule for CONNECT."""
    assert remarks(rule) == ""


@pytest.mark.parametrize(
    ("rule", "part"),
    (
        (HttpRule("r", method="get"), "no method of HTTP fits 'get': methods are in upper case"),
        (HttpRule("r", method="BREW"), "no method of HTTP fits 'BREW'"),
        (HttpRule("r", method="CONNECT"), "CONNECT is denied whatever rules say: leave the rule out"),
        (HttpRule("r", path="index.html"), "no path fits 'index.html': targets begin with '/'"),
        (HttpRule("r", path="/a//b"), "no path fits '/a//b'"),
        (HttpRule("r", path=r"/a/\.\./b"), "no path fits"),
        (HttpRule("r", path="/%2e"), "no path fits"),
        (HttpRule("r", path="/a b"), "no path fits"),
        (HttpRule("r", path="/a#b"), "no path fits"),
        (HttpRule("r", host="a b"), "no Host fits 'a b'"),
        (HttpRule("r", headers=(HeaderMatch("X-Foo:1", None),)), "no header can be called 'X-Foo:1': write"),
        (HttpRule("r", headers=(HeaderMatch("X", "1 "),)), "without the blanks around them, which '1 ' has"),
        (HttpRule("r", headers=(HeaderMatch("X", "1"), HeaderMatch("x", "2"))), "x cannot be '1' and '2'"),
        (HttpRule("r", headers=(HeaderMatch("X", "a\x7f"),)), "no header can have the value"),
        (HttpRule("r", headers=(HeaderMatch("Upgrade", "websocket"),)), "requests with Upgrade are denied"),
    ),
)
def test_a_rule_that_can_never_match_is_told_so(rule: HttpRule, part: str) -> None:
    """The reason names the part that no request can have, and the way out where there is one."""
    assert remarks(rule).startswith("can never match: ")
    assert part in remarks(rule)


@pytest.mark.parametrize(
    ("rule", "part"),
    (
        (HttpRule("r", method="GET|CONNECT"), "CONNECT is denied whatever rules say: leave it out"),
        (HttpRule("r", headers=(HeaderMatch("Connection", "Upgrade"),)), "Upgrade (WebSocket) are denied"),
        (HttpRule("r", headers=(HeaderMatch("Sec-WebSocket-Key", None),)), "Upgrade (WebSocket) are denied"),
    ),
)
def test_what_is_denied_whatever_rules_say_is_told(rule: HttpRule, part: str) -> None:
    """The rule can match, but not for what it seems to be there for."""
    assert part in remarks(rule)
    assert "never match" not in remarks(rule)


PIECES = st.sampled_from(
    ("/", "a", "//", ".", "..", r"\.", "%", "2e", "%41", "[a/]", "( |/)", "b*", "(/a)?", "^", "$", ";", "#")
)


@settings(max_examples=60, deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=6).map("".join))
def test_a_path_can_match_exactly_when_its_rule_is_open_in_the_table(pattern: str) -> None:
    """What is said by the pattern alone is what the whole machine says."""
    image = build(RuleSet((HttpRule("r", path=pattern),))).image

    assert path_can_match(pattern) == bool(open_rules(image))


HOSTS = ["".join(word) for length in range(1, 4) for word in itertools.product("ab.: @", repeat=length)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(("a", "b", ".", ":", " ", "@", "?", "*", "|")), max_size=4).map("".join))
def test_a_host_that_matches_is_never_called_impossible(pattern: str) -> None:
    """Every short value that Host can have was tried."""
    try:
        compiled = re.compile(pattern)
    except re.error:
        return
    legal = [host for host in HOSTS if not {" ", "@"} & set(host)]

    assert host_can_match(pattern) or not any(compiled.fullmatch(host) for host in legal)
