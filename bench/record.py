# SPDX-License-Identifier: Apache-2.0
"""Figures that stay: JSON lines in ``bench/record/``, one file a benchmark.

Each line has all samples of one row, with the machine, the kernel, the commit
and the date, so that figures of two days can be told apart. Lines are only
added; a tree with changes that are not committed says so (``-dirty``).
"""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

DIRECTORY = Path(__file__).with_name("record")
Value = str | int | float | Mapping[str, list[int]]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _git(*words: str) -> str:
    command = ["git", "-C", str(DIRECTORY.parents[1]), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _commit() -> str:
    name = _git("rev-parse", "--short", "HEAD") or "unknown"
    return f"{name}-dirty" if _git("status", "--porcelain", "--", ".", ":!bench/record") else name


def circumstances() -> dict[str, str | int]:
    """Return what every line says: when, what and where."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cpus": os.cpu_count() or 0,
    }


def append(benchmark: str, rows: Sequence[Mapping[str, Value]]) -> Path:
    """Write the rows of one run behind what is there, and return the file."""
    DIRECTORY.mkdir(exist_ok=True)
    path = DIRECTORY / f"{benchmark}.jsonl"
    same = circumstances()
    with path.open("a") as file:
        file.writelines(f"{json.dumps(same | dict(row))}\n" for row in rows)
    return path
