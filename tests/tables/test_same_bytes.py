# SPDX-License-Identifier: Apache-2.0
"""The same rules give the same bytes, in every process."""

import subprocess
import sys
from pathlib import Path

import pytest

from bpfast.policy.rules import HeaderMatch, HttpRule, RuleSet
from bpfast.tables.build import build

RULES = RuleSet(
    (
        HttpRule(
            "a", "GET|POST", r"/api/v[12]/.*\.json", "a|b", (HeaderMatch("X-A", "1"), HeaderMatch("B", None))
        ),
        HttpRule("b", "P.*", "/(x|y|z)+/.*a.b", None, (HeaderMatch("connection", "te"),)),
        HttpRule("c", None, "/c.html", "c.*", ()),
        HttpRule("d", "GET", None, None, (HeaderMatch("X-A", "2"),)),
    )
)
PROGRAM = "from tests.tables.test_same_bytes import RULES, build; print(build(RULES).image.digest)"


@pytest.mark.parametrize("seed", ("0", "1", "4711"))
def test_hash_seeds_change_nothing(repository: Path, seed: str) -> None:
    """A process with another seed of hashes makes the same image."""
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=repository,
        env={"PYTHONHASHSEED": seed, "PYTHONPATH": f"{repository / 'addon'}:{repository}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert build(RULES).image.digest == result.stdout.strip()


def test_building_twice_changes_nothing() -> None:
    """Nothing is remembered from one build to the next."""
    first = build(RULES)
    build(RuleSet(RULES.rules[::-1]))
    assert first == build(RULES)
