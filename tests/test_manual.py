# SPDX-License-Identifier: Apache-2.0
"""The manual says what the code says."""

import re
from pathlib import Path

from bpfast.abi import REASONS, Reason
from bpfast.cli import cli

MANUAL = Path(__file__).parents[1] / "docs" / "manual.md"


def test_every_reason_is_explained_once() -> None:
    """The manual's last table has every reason that there is, and no other."""
    table = MANUAL.read_text().split("## Why: the reasons")[1]
    first_cells = re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
    explained = [name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)]
    known = sorted(reason.name.lower() for reason in REASONS if reason is not Reason.NONE)

    assert known == sorted(explained)


def test_every_verb_has_its_section() -> None:
    """And the section's synopsis names all of the verb's options."""
    found = re.findall(
        r"^## [^\n]*`bpfast (\w+)`\n(.*?)(?=^## )", MANUAL.read_text(), re.MULTILINE | re.DOTALL
    )
    sections = dict(found)

    assert set(cli.commands) == set(sections)
    for verb, command in cli.commands.items():
        options = {name for option in command.params for name in option.opts if name.startswith("--")}
        assert set() == {name for name in options if name not in sections[verb]}
