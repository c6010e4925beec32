# SPDX-License-Identifier: Apache-2.0
"""Documents that are made to exhaust something are read, or refused, within a limit of memory."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.bombs import BOMBS

ROOT = Path(__file__).resolve().parents[2]
TAKEN = {"10,000 rules", "10 MB of rules", "10 MB of text", "names"}
MOST_FAULTS = 2010


def read(name: str) -> dict[str, Any]:
    """Read a bomb in a process of its own, with a limit of memory."""
    command = [sys.executable, "-m", "tests.fuzz.bombs", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert "" == done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_does_not_go_off(name: str) -> None:
    """Each ends as a policy, or in a bounded number of faults, within a gigabyte."""
    outcome = read(name)

    assert (name in TAKEN) == (outcome["policies"] == 1)
    assert outcome["faults"] <= MOST_FAULTS
    assert (outcome["faults"] == 0) == (name in TAKEN)
