# SPDX-License-Identifier: Apache-2.0
"""A scenario made smaller for as long as it shows the same difference."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from e2e.scenarios.compare import Difference, compared, differences
from e2e.scenarios.intended import intended
from e2e.scenarios.scenario import Scenario, full_name

ROUNDS = 40
# Without these an object is another thing, or nothing.
KEPT = frozenset(
    {"apiVersion", "kind", "metadata", "endpointSelector", "cidr", "port", "key", "operator", "name"}
)


def minimised(difference: Difference, engine: str) -> Difference:
    """Return the difference with policies, parts of them, endpoints and requests taken away."""
    best = difference
    if best.request is not None:
        best = _first(best, [best.case.scenario.asking([best.case.scenario.requests[best.request]])], engine)
    for _ in range(ROUNDS):
        smaller = _first(best, _candidates(best.case.scenario), engine)
        if smaller is best:
            break
        best = smaller
    return best


def _first(difference: Difference, scenarios: list[Scenario], engine: str) -> Difference:
    """Return the first of them that differs in the same way, or what we have."""
    named = [replace(each, id=f"{number}") for number, each in enumerate(scenarios)]
    for case in compared(named, engine):
        for found in differences(case):
            if (found.kind, intended(found)) == (difference.kind, intended(difference)):
                scenario = replace(case.scenario, id=difference.case.scenario.id)
                return replace(found, case=replace(case, scenario=scenario))
    return difference


def _candidates(scenario: Scenario) -> list[Scenario]:
    """Return every scenario that lacks one part, the biggest parts first."""
    found = []
    for number, policy in enumerate(scenario.policies):
        others = scenario.policies[:number], scenario.policies[number + 1 :]
        found.append(replace(scenario, policies=others[0] + others[1]))
        if not isinstance(policy, str):
            smaller = sorted(_without_a_part(policy), key=lambda each: len(repr(each)))
            found += [replace(scenario, policies=(*others[0], each, *others[1])) for each in smaller]
    for number, endpoint in enumerate(scenario.endpoints):
        if full_name(endpoint) not in (scenario.endpoint, scenario.peer):
            rest = scenario.endpoints[:number] + scenario.endpoints[number + 1 :]
            found.append(replace(scenario, endpoints=rest))
    return found


def _without_a_part(value: Any) -> Iterator[Any]:
    """Give the value without each of its parts, at every depth."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    for key in keys:
        if key not in KEPT:
            rest = copy.copy(value)
            del rest[key]
            yield rest
        if isinstance(value[key], dict | list):
            for smaller in _without_a_part(value[key]):
                rest = copy.copy(value)
                rest[key] = smaller
                yield rest
