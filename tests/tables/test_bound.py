# SPDX-License-Identifier: Apache-2.0
"""Rules that surely fit, told without building: what it says yes to is never refused."""

import random

import pytest

from bpfast.policy.rules import HeaderMatch, HttpRule, RuleSet
from bpfast.tables.bound import HEADERS, RULES, surely_fit
from bpfast.tables.build import build

PATHS = (None, "/", "/a.html", "/[a-z]+/b?", "/x.*y.*z", "/(a|b|cc)*d", "/v[12]/.*", "/a.{20}", "(/[^/]+){3}")
METHODS = (None, "GET", "GET|POST", ".*", "P.*T")


def rules(*paths: str | None, **more: object) -> RuleSet:
    """Return a rule for each path."""
    return RuleSet(tuple(HttpRule(str(number), path=path, **more) for number, path in enumerate(paths)))  # type: ignore[arg-type]


def test_what_is_said_to_fit_is_never_refused() -> None:
    """On random small rule sets a yes is always right, and it is the answer for most of them."""
    chance = random.Random(7)
    yes = 0
    for _ in range(60):
        some = RuleSet(
            tuple(
                HttpRule(
                    str(number),
                    method=chance.choice(METHODS),
                    path=chance.choice(PATHS),
                    host=chance.choice((None, "a", "[a-z.]+")),
                    headers=tuple(
                        HeaderMatch(f"x-{n}", chance.choice((None, "v"))) for n in range(chance.randrange(3))
                    ),
                )
                for number in range(chance.randrange(1, 6))
            )
        )
        if surely_fit(some):
            yes += 1
            assert () == build(some).refused
    assert yes > 40


@pytest.mark.parametrize("path", ("/a(.*b.{40})", "/a{3000}", "/" + "a" * 300, "/(a"))
def test_what_is_large_or_wrong_is_not_said_to_fit(path: str) -> None:
    """Patterns that blow up, are long or cannot be read get no yes."""
    assert not surely_fit(rules(path))


@pytest.mark.parametrize("match", (HeaderMatch("X-Foo:bar", None), HeaderMatch("", None)))
def test_headers_that_no_table_takes_are_not_said_to_fit(match: HeaderMatch) -> None:
    """What is refused for another reason than its size gets no yes either."""
    some = rules("/a", headers=(match,))
    assert build(some).refused
    assert not surely_fit(some)


def test_many_rules_and_many_headers_are_not_said_to_fit() -> None:
    """At the limit the answer is yes, one above it is no."""
    headers = tuple(HeaderMatch(f"x-{number}", None) for number in range(HEADERS))
    assert surely_fit(rules(*["/a"] * RULES))
    assert not surely_fit(rules(*["/a"] * (RULES + 1)))
    assert surely_fit(rules("/a", headers=headers))
    assert not surely_fit(rules("/a", headers=(*headers, HeaderMatch("more", None))))
