# SPDX-License-Identifier: Apache-2.0
"""The harness of the tests: what must fail, fails."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.skips import LIST_VARIABLE

CASES = """\
import warnings
import pytest

def test_passes():
    pass

def test_fails():
    assert 1 == 2

def test_skips():
    pytest.skip("aloud")

def test_warns():
    warnings.warn("anything", UserWarning, stacklevel=1)

@pytest.mark.xfail
def test_fails_no_more():
    pass

@pytest.mark.unknown_mark
def test_unknown_mark():
    pass

@pytest.mark.timeout(1)
def test_hangs():
    import time
    time.sleep(30)
"""


@pytest.fixture
def harness(tmp_path: Path, repository: Path) -> Path:
    """A folder with tests of every outcome and our configuration."""
    (tmp_path / "setup.cfg").write_text((repository / "setup.cfg").read_text())
    return tmp_path


def run(
    folder: Path, repository: Path, name: str, *, allowed: str = "", workers: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run one of CASES as ``make test`` would; only the unknown mark is written out where it is asked for."""
    text = CASES if name == "test_unknown_mark" else CASES.replace("@pytest.mark.unknown_mark\n", "")
    (folder / "test_cases.py").write_text(text)
    (folder / "allowed.txt").write_text(allowed)
    words = [sys.executable, "-m", "pytest", "-p", "tests.skips", "-q", "-p", "no:cacheprovider"]
    words += ["-n", str(workers)]
    return subprocess.run(
        [*words, f"test_cases.py::{name}"],
        cwd=folder,
        env={
            "PYTHONPATH": str(repository),
            LIST_VARIABLE: str(folder / "allowed.txt"),
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_passes_passes(harness: Path, repository: Path) -> None:
    """A test without a fault ends the run with 0."""
    done = run(harness, repository, "test_passes")

    assert 0 == done.returncode, done.stdout


@pytest.mark.parametrize("name", ("test_fails", "test_warns", "test_fails_no_more", "test_hangs"))
def test_what_fails_fails(harness: Path, repository: Path, name: str) -> None:
    """A wrong assertion, a warning, an xfail that passes and a hang each end the run with 1."""
    done = run(harness, repository, name)

    assert 1 == done.returncode, done.stdout


def test_unknown_marks_are_errors(harness: Path, repository: Path) -> None:
    """A mark that nobody has declared stops the collection."""
    done = run(harness, repository, "test_unknown_mark")

    assert 0 != done.returncode, done.stdout
    assert "unknown_mark" in done.stdout


@pytest.mark.parametrize("workers", (0, 2))
def test_a_skip_fails_the_run(harness: Path, repository: Path, workers: int) -> None:
    """A skip that is not on the list ends the run with 1 and is named, in whichever process it was."""
    done = run(harness, repository, "test_skips", workers=workers)

    assert 1 == done.returncode, done.stdout
    assert "NOT ALLOWED TO BE SKIPPED test_cases.py::test_skips" in done.stdout


def test_a_skip_on_the_list_is_allowed(harness: Path, repository: Path) -> None:
    """A skip that is on the list leaves the run green."""
    done = run(harness, repository, "test_skips", allowed="test_cases.py::test_skips # a reason\n")

    assert 0 == done.returncode, done.stdout


def test_the_list_cannot_grow_old(harness: Path, repository: Path) -> None:
    """A test on the list that runs ends the run with 1 and is named."""
    done = run(harness, repository, "test_passes", allowed="test_cases.py::test_passes # once\n")

    assert 1 == done.returncode, done.stdout
    assert "NOT SKIPPED ANY MORE" in done.stdout
