# SPDX-License-Identifier: Apache-2.0
"""Tables that are built once: the same words and names as if each were built anew."""

import pytest

from bpfast.controller.verdict import tables
from bpfast.controller.verdict.tables import Tables
from bpfast.policy.rules import HttpRule, RuleSet
from bpfast.tables.build import Built, build

BIG = "/a(.*b.{40})"


def named(*names: str, paths: tuple[str, ...] = ("/a", BIG, "/b")) -> RuleSet:
    """Return three rules under these names."""
    return RuleSet(tuple(HttpRule(name, path=path) for name, path in zip(names, paths, strict=True)))


def test_names_are_those_of_the_rules_asked_for() -> None:
    """Rule sets that differ in names only share a table; each has its own names and refusals."""
    cached = Tables()
    for names in (("one", "two", "three"), ("x", "y", "z"), ("one", "two", "three")):
        fresh, found = build(named(*names)), cached.build(named(*names))
        assert fresh == found
        assert fresh.image.data == found.image.data
        assert fresh.refused == cached.refused(named(*names))


def test_a_table_is_built_once_while_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal rules are not built again, unless so many others came between."""
    built = []

    def counted(rules: RuleSet) -> Built:
        built.append(rules)
        return build(rules)

    monkeypatch.setattr(tables, "build", counted)
    cached = Tables(kept=2)
    for paths in (("/a",), ("/b",), ("/a",), ("/c",), ("/a",), ("/b",)):
        cached.build(named("n", paths=paths))
    assert ["/a", "/b", "/c", "/b"] == [rules.rules[0].path for rules in built]


def test_rules_that_surely_fit_are_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where there is no proof a table is made to see what is refused."""
    monkeypatch.setattr(tables, "build", None)
    assert () == Tables().refused(named("n", paths=("/a",)))
