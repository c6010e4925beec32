# SPDX-License-Identifier: Apache-2.0
"""Who may import whom: the contracts of setup.cfg hold, and they bite."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LINT = Path(sys.executable).with_name("lint-imports")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run lint-imports with ``folder/setup.cfg`` over ``folder/addon``."""
    return subprocess.run(
        [str(LINT), "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder / "addon"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path, repository: Path) -> Path:
    """A copy of the package that a test may break."""
    shutil.copytree(repository / "addon", tmp_path / "addon", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(repository / "setup.cfg", tmp_path)
    return tmp_path


def append(path: Path, line: str) -> None:
    """Add a line to a module."""
    path.write_text(f"{path.read_text() if path.exists() else ''}\n{line}\n")


def test_all_contracts_hold(copy: Path) -> None:
    """No import goes upwards, the core does no I/O and each foreign library has one home."""
    done = lint(copy)

    assert 0 == done.returncode, done.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    (
        ("tables/__init__.py", "import bpfast.controller", "Data flows one way"),
        ("automata/__init__.py", "import bpfast.policy", "Data flows one way"),
        ("new_room.py", "", "Data flows one way"),
        ("automata/__init__.py", "import os", "The compiler core does no I/O"),
        ("policy/__init__.py", "import logging", "The compiler core does no I/O"),
        ("automata/__init__.py", "import pydantic", "automata is a library"),
        ("doctor.py", "import bcc", "bcc is known to bpfast.kernel alone"),
        ("doctor.py", "import kubernetes", "kubernetes is known to bpfast.cluster alone"),
        ("doctor.py", "import pyroute2", "pyroute2 is known to bpfast.kernel alone"),
        ("doctor.py", "import click", "click is known to bpfast.cli alone"),
    ),
)
def test_a_breach_is_found(copy: Path, module: str, line: str, contract: str) -> None:
    """An upward import, a room without a layer, I/O in the core and a library elsewhere fail the check."""
    append(copy / "addon" / "bpfast" / module, line)

    done = lint(copy)

    assert 1 == done.returncode
    assert any(row.startswith(contract) and " BROKEN" in row for row in done.stdout.splitlines())
