# SPDX-License-Identifier: Apache-2.0
"""The manual says what the code says."""

import re
from pathlib import Path

from bpfast.abi import REASONS, Reason

MANUAL = Path(__file__).parents[1] / "docs" / "manual.md"


def test_every_reason_is_explained_once() -> None:
    """The manual's last table has every reason that there is, and no other."""
    table = MANUAL.read_text().split("## Why: the reasons")[1]
    first_cells = re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
    explained = [name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)]
    known = sorted(reason.name.lower() for reason in REASONS if reason is not Reason.NONE)

    assert known == sorted(explained)
