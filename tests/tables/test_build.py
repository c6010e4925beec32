# SPDX-License-Identifier: Apache-2.0
"""Rule sets to images: bad and big rules are refused alone, limits are exact."""

from dataclasses import replace

import pytest

from bpfast.abi import MAX_CANDIDATES, Reason
from bpfast.errors import LimitExceeded
from bpfast.policy.rules import HeaderMatch, HttpRule, RuleSet
from bpfast.tables.build import Built, Limits, Refusal, build
from bpfast.tables.constraints import MAX_CONSTRAINTS, MAX_NAMES
from bpfast.tables.image import read
from bpfast.tables.walk import walk


def paths(*patterns: str) -> RuleSet:
    """Return a rule set of paths; each rule is named for its path."""
    return RuleSet(tuple(HttpRule(pattern, path=pattern) for pattern in patterns))


def allowed(built: Built, target: str, headers: str = "") -> str | None:
    """Return the name of the rule that allows a GET of ``target``, None if none does."""
    (head,) = walk(built.image, f"GET {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode())
    assert head is not None
    assert head.reason in (Reason.RULE, Reason.NO_RULE)
    return None if head.rule is None else built.image.rules[head.rule]


def asking(count: int, *, names: bool) -> RuleSet:
    """Return rules of different paths that ask for different names, or values of one."""
    return RuleSet(
        tuple(
            HttpRule(
                f"r{number}",
                path=f"/{number}",
                headers=(HeaderMatch(f"x-{number}", None) if names else HeaderMatch("x", str(number)),),
            )
            for number in range(count)
        )
    )


@pytest.mark.parametrize(
    ("rule", "reason"),
    (
        (HttpRule("bad", path="/a("), "pattern '/a(', position 2: '(' without its ')'"),
        (HttpRule("bad", method="GET)"), "pattern 'GET)', position 3: ')' without its '('"),
        (
            HttpRule("bad", host=r"a\b"),
            r"pattern 'a\\b', position 1: word boundaries ('\b') are not supported",
        ),
        (
            HttpRule("bad", headers=(HeaderMatch("X-Foo:bar", None),)),
            "header name 'X-Foo:bar' is not a token of RFC 9110: no request can have it",
        ),
        (
            HttpRule("bad", headers=(HeaderMatch("", "x"),)),
            "header name '' is not a token of RFC 9110: no request can have it",
        ),
        (
            HttpRule("bad", headers=(HeaderMatch("\ud800", "x"),)),
            "header name '\\ud800' is not a token of RFC 9110: no request can have it",
        ),
        (HttpRule("bad", path="/.*a.{20}"), "more than 60000 states"),
        (HttpRule("bad", host=".*a.{20}"), "more than 60000 states"),
        (
            HttpRule("bad", path="/(" + "abcdefghij" * 50 + "){1000}"),
            "more than 400000 states of a nondeterministic automaton",
        ),
    ),
)
def test_a_bad_rule_is_refused_alone(rule: HttpRule, reason: str) -> None:
    """The rules before and behind it are in the image, the refusal has the reason."""
    built = build(RuleSet((HttpRule("before", path="/b"), rule, HttpRule("behind", path="/c"))))
    assert (Refusal("bad", reason),) == built.refused
    assert ("before", "behind") == built.image.rules
    assert ("before", "behind", None) == tuple(allowed(built, target) for target in ("/b", "/c", "/a"))


def test_refusals_are_in_file_order() -> None:
    """Refusals of all kinds stand in the order of the rules."""
    built = build(paths("/.*a.{20}", "/a", "(", "/b", ")"))
    assert ["/.*a.{20}", "(", ")"] == [refusal.rule for refusal in built.refused]


def test_no_rules_deny_everything() -> None:
    """The image of an empty set is sound and allows nothing."""
    assert None is allowed(build(RuleSet(())), "/")


def test_a_set_of_bad_rules_denies_everything() -> None:
    """Refusing every rule leaves the image of the empty set."""
    assert build(RuleSet(())).image.digest == build(paths("(", ")")).image.digest


def test_state_limit() -> None:
    """A table of exactly as many states as the limit is built, with one less a rule is refused."""
    rules = paths("/abc", "/abcdef", "/x")
    states = read(build(rules).image).states
    assert () == build(rules, limits=Limits(states=states)).refused
    tight = build(rules, limits=Limits(states=states - 1))
    assert (Refusal("/x", f"more than {states - 1} states of a table"),) == tight.refused
    assert ("/abc", "/abcdef") == tight.image.rules


def test_word_limit() -> None:
    """A table of exactly as many words as the limit is built, with one less a rule is refused."""
    rules = paths("/a", "/b")
    words = len(build(rules).image.words)
    assert () == build(rules, limits=Limits(words=words)).refused
    tight = build(rules, limits=Limits(words=words - 1))
    assert (Refusal("/b", f"more than {words - 1} words in a table"),) == tight.refused


def test_nothing_fits_into_nothing() -> None:
    """A limit that the grammar alone passes is an error, no table without grammar."""
    with pytest.raises(LimitExceeded, match="more than 100 states of a table"):
        build(paths("/a"), limits=Limits(states=100))


def test_many_rules_that_explode_together() -> None:
    """Rules that are small alone but not together: the first ones stay, the rest is refused by the limit."""
    rules = paths("/x", *(f"/.*{letter}{letter}.*" for letter in "abcdefghij"), "/y")
    built = build(rules, limits=Limits(states=2000))
    refused = [refusal.rule for refusal in built.refused]
    assert "/.*aa.*" in built.image.rules
    assert "/.*jj.*" in refused
    assert {"more than 2000 states", "more than 2000 states of a table"} >= {r.reason for r in built.refused}
    assert sorted(rule.name for rule in rules.rules) == sorted([*built.image.rules, *refused])
    assert [None if name in refused else name for name in ("/x", "/.*aa.*")] == [
        allowed(built, "/x"),
        allowed(built, "/caab"),
    ]


def test_candidate_limit() -> None:
    """A request line leaves as many rules open as the limit; the next one in file order is refused."""
    many = RuleSet(
        tuple(HttpRule(f"r{n}", headers=(HeaderMatch("x", str(n)),)) for n in range(MAX_CANDIDATES + 1))
    )
    assert () == build(RuleSet(many.rules[:-1])).refused
    reason = f"more than {MAX_CANDIDATES} rules open for one request line"
    assert (Refusal(f"r{MAX_CANDIDATES}", reason),) == build(many).refused
    assert f"r{MAX_CANDIDATES - 1}" == allowed(build(many), "/", f"x: {MAX_CANDIDATES - 1}\r\n")


def test_a_rule_that_can_never_be_first_takes_no_place() -> None:
    """Rules behind one that demands no more are not candidates, so they do not crowd."""
    narrow = [HttpRule(f"n{n}", headers=(HeaderMatch("x", None), HeaderMatch("y", str(n)))) for n in range(9)]
    wide = HttpRule("wide", headers=(HeaderMatch("x", None),))
    rules = RuleSet((wide, *narrow, HttpRule("last")))
    built = build(rules, limits=Limits(candidates=2))
    assert () == built.refused
    assert ("wide", "last") == (allowed(built, "/", "x: 1\r\ny: 3\r\n"), allowed(built, "/"))


def test_crowding_is_judged_for_each_request_line() -> None:
    """Two lists of different paths do not crowd each other; the refused rule is the one over the limit."""
    headers = [(HeaderMatch("x", str(n)),) for n in range(3)]
    rules = RuleSet(
        (
            HttpRule("a0", path="/a", headers=headers[0]),
            HttpRule("b0", path="/b", headers=headers[0]),
            HttpRule("both", path="/a|/b", headers=headers[1]),
            HttpRule("a2", path="/a", headers=headers[2]),
            HttpRule("c", path="/c", headers=headers[2]),
        )
    )
    built = build(rules, limits=Limits(candidates=2))
    assert ["a2"] == [refusal.rule for refusal in built.refused]
    assert ("both", "c") == (allowed(built, "/b", "x: 1\r\n"), allowed(built, "/c", "x: 2\r\n"))


def test_limit_of_header_names() -> None:
    """As many names as there are bits are taken, the next rule with a new one is refused."""
    assert () == build(asking(MAX_NAMES, names=True)).refused
    reason = f"more than {MAX_NAMES} header names asked for by a rule set"
    assert (Refusal(f"r{MAX_NAMES}", reason),) == build(asking(MAX_NAMES + 1, names=True)).refused


def test_limit_of_demands() -> None:
    """As many demands as there are bits are taken, the next new one is refused, the last bit works."""
    full = build(asking(MAX_CONSTRAINTS, names=False))
    assert () == full.refused
    last = MAX_CONSTRAINTS - 1
    assert f"r{last}" == allowed(full, f"/{last}", f"X: {last}\r\n")
    reason = f"more than {MAX_CONSTRAINTS} different demands on headers and hosts in a rule set"
    assert (Refusal("r64", reason),) == build(asking(MAX_CONSTRAINTS + 1, names=False)).refused


def test_hosts_and_headers_share_the_bits() -> None:
    """A host pattern is a demand too."""
    rules = asking(MAX_CONSTRAINTS, names=False).rules
    with_host = (*rules[:-1], replace(rules[-1], headers=(), host="a"))
    assert () == build(RuleSet(with_host)).refused
    assert ["h"] == [r.rule for r in build(RuleSet((*with_host, HttpRule("h", host="b")))).refused]


def test_equal_demands_share_a_bit_and_framing_names_cost_no_name() -> None:
    """Names are folded; Host, Content-Length, Expect and Transfer-Encoding have bits already."""
    own = tuple(
        HttpRule(name, path=f"/{name}", headers=(HeaderMatch(name, None),))
        for name in ("Host", "content-length", "EXPECT", "Transfer-Encoding")
    )
    again = tuple(
        HttpRule(f"s{n}", path=f"/s{n}", headers=(HeaderMatch(f"X-{n}", None),)) for n in range(MAX_NAMES)
    )
    assert () == build(RuleSet((*asking(MAX_NAMES, names=True).rules, *own, *again))).refused


def test_rules_keep_their_names_and_order() -> None:
    """Rule ids index the names of the rules that are in the image."""
    built = build(paths("/c", "(", "/a", "/b"))
    assert ("/c", "/a", "/b") == built.image.rules
    assert ["/c", "/a", "/b"] == [allowed(built, target) for target in ("/c", "/a", "/b")]


def test_a_thousand_urls() -> None:
    """A thousand URLs with unescaped dots fit into one table, and each finds its own rule."""
    rules = paths(*(f"/shop/item-{number}.html" for number in range(1000)))
    built = build(rules)
    assert () == built.refused
    assert "/shop/item-77.html" == allowed(built, "/shop/item-77xhtml")
    assert "/shop/item-999.html" == allowed(built, "/shop/item-999.html")
    assert None is allowed(built, "/shop/item-1000.html")
