# SPDX-License-Identifier: Apache-2.0
"""Policies -> the tables of their HTTP rules, and what those cost.

Without knowing who talks to whom, one table is made for all HTTP rules that may
meet on some connection, and those that meet these, and so on: no connection can
ever need more than such a table, and each rule is counted once. What stays on
Envoy is not in any of them.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from bpfast.policy.envoy import Entry, entries, staying
from bpfast.policy.overlap import Ready, Scope, meet, ready
from bpfast.policy.reader import Policy
from bpfast.policy.rules import HttpRule, RuleSet
from bpfast.tables.build import Refusal, build
from bpfast.tables.image import TableImage, read

GROUPS = 1
"""How many automata run one after another for one request: a table is never split so far."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """What the HTTP rules of policies become.

    ``rule_sets`` and ``images`` belong together, one by one. ``staying`` counts
    the HTTP rules that are in no table since they stay on Envoy.
    ``milliseconds`` have passed from the policies to the packed bytes.
    """

    rule_sets: tuple[RuleSet, ...]
    images: tuple[TableImage, ...]
    refused: tuple[Refusal, ...]
    staying: int
    milliseconds: float

    def totals(self) -> dict[str, object]:
        """Return what ``bpfast compile --json`` prints.

        ``rules``, ``states`` and ``bytes`` are those of all tables together,
        equal tables counted once as in the kernel; ``classes`` and ``groups``
        are of the table that has most.
        """
        layouts = {image.digest: read(image) for image in self.images}
        sizes = {image.digest: len(image.data) for image in self.images}
        return {
            "rules": sum(len(image.rules) for image in self.images),
            "groups": GROUPS if self.images else 0,
            "states": sum(layout.states for layout in layouts.values()),
            "classes": max((layout.stride for layout in layouts.values()), default=0),
            "bytes": sum(sizes.values()),
            "milliseconds": round(self.milliseconds, 3),
            "refused": [{"rule": refusal.rule, "reason": refusal.reason} for refusal in self.refused],
        }


def compile_policies(policies: Sequence[Policy]) -> Compiled:
    """Build every table that the policies can ask for, egress as if all pods were trusted."""
    began = time.perf_counter()
    found = entries(policies, trusted_egress=True)
    kept = staying(found)
    rule_sets = worst_case([entry for index, entry in enumerate(found) if index not in kept])
    built = [build(rules) for rules in rule_sets]
    spent = time.perf_counter() - began
    return Compiled(
        rule_sets,
        tuple(each.image for each in built),
        tuple(refusal for each in built for refusal in each.refused),
        sum(len(found[index].http) for index in kept),
        spent * 1000,
    )


def worst_case(found: Sequence[Entry]) -> tuple[RuleSet, ...]:
    """Return the HTTP rules of entries, united where they may meet, in file order."""
    by_scope: dict[Scope, list[HttpRule]] = {}
    order: dict[str, int] = {}
    for entry in found:
        if entry.http:
            by_scope.setdefault(entry.scope, []).extend(entry.http)
            order |= {rule.name: len(order) + at for at, rule in enumerate(entry.http)}
    united = _united(list(by_scope))
    return tuple(
        RuleSet(
            tuple(
                sorted(
                    (rule for scope in scopes for rule in by_scope[scope]), key=lambda rule: order[rule.name]
                )
            )
        )
        for scopes in united
    )


def _united(scopes: Sequence[Scope]) -> list[list[Scope]]:
    """Return the scopes in groups that share no connection with one another."""
    left = [ready(scope) for scope in scopes]
    groups = []
    while left:
        group = [left.pop(0)]
        for scope in group:  # grows while it is walked
            apart: list[Ready] = []
            for other in left:
                (group if meet(scope, other) else apart).append(other)
            left = apart
        groups.append([each.scope for each in group])
    return groups
