# SPDX-License-Identifier: Apache-2.0
"""Random rule sets and requests against a few lines of plain Python and RE2."""

import random
import secrets

from bpfast.abi import Reason
from bpfast.policy.rules import HeaderMatch, HttpRule, RuleSet
from bpfast.tables.build import build
from bpfast.tables.walk import walk
from tests.automata.machines import judge

METHODS = ("GET", "POST", "HEAD", "PUT")
METHOD_PATTERNS = (None, "GET", "GET|POST", "P.*", "", ".*")
PATH_PATTERNS = (
    None,
    "/a",
    "/a.b",
    "/.*",
    "/a/.*",
    "/[ab]+",
    "/(a|b)*",
    r"/a\.b",
    ".*b",
    "^/a$",
    "/a?b?",
    "(?i)/A",
)
HOST_PATTERNS = (None, None, "a", "a.*", "b", "(a|b)+", "^a$")
HEADER_NAMES = ("X", "x-a", "Y")
Headers = list[tuple[str, str]]


def random_rule(source: random.Random, number: int) -> HttpRule:
    """Return a rule with up to two demands on headers."""
    headers = tuple(
        HeaderMatch(source.choice(HEADER_NAMES), source.choice((None, "1", "2", "1 2")))
        for _ in range(source.choice((0, 0, 1, 2)))
    )
    return HttpRule(
        f"r{number}",
        source.choice(METHOD_PATTERNS),
        source.choice(PATH_PATTERNS),
        source.choice(HOST_PATTERNS),
        headers,
    )


def matches(pattern: str | None, text: str) -> bool:
    """Return what RE2 says; no pattern matches all."""
    regex = judge(pattern or "")
    return pattern is None or (regex is not None and regex.fullmatch(text) is not None)


def expected(rules: RuleSet, method: str, target: str, headers: Headers) -> str | Reason:
    """Return the name of the rule that allows a well-formed request, or the reason of its denial."""
    by_line = [rule for rule in rules.rules if matches(rule.method, method) and matches(rule.path, target)]
    if not by_line:
        return Reason.NO_RULE
    asked = {match.name.lower() for rule in rules.rules for match in rule.headers}
    names = [name.lower() for name, _ in headers]
    if any(names.count(name) > 1 for name in asked):
        return Reason.REPEATED_HEADER
    values = {name.lower(): value for name, value in headers}
    for rule in by_line:
        found = [values.get(match.name.lower()) for match in rule.headers]
        wanted = [match.value for match in rule.headers]
        if matches(rule.host, values["host"]) and all(
            value is not None and want in (None, value) for value, want in zip(found, wanted, strict=True)
        ):
            return rule.name
    return Reason.NO_RULE


def test_random_requests() -> None:
    """The table allows by the rule, or denies for the reason, that the model gives; the seed is printed."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201 - to run it again
    source = random.Random(seed)
    for _ in range(60):
        rules = RuleSet(tuple(random_rule(source, number) for number in range(source.randrange(7))))
        built = build(rules)
        assert () == built.refused
        for _ in range(60):
            method, host = source.choice(METHODS), source.choice("ab") * source.choice((1, 2))
            target = (
                "/" + "".join(source.choices("abA.", k=source.randrange(4))) + source.choice(("", "/b", "?b"))
            )
            if not {".", ".."}.isdisjoint(target.partition("?")[0].split("/")) or "//" in target:
                continue
            extra = [
                (name, source.choice(("1", "2", "1 2", ""))) for name in HEADER_NAMES if source.random() < 0.5
            ]
            repeated = [("x", "1")] if source.random() < 0.1 else []
            headers = [("Host", host), *extra, *repeated]
            source.shuffle(headers)
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
            (head,) = walk(built.image, f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode())
            assert head is not None
            actual = head.reason if head.rule is None else built.image.rules[head.rule]
            assert expected(rules, method, target, headers) == actual, (rules, method, target, headers)
