# SPDX-License-Identifier: Apache-2.0
"""Another version of bpfast: a copy of the package and the C text with a change in it."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from e2e.bpfast import BPFast
from e2e.namespace import PATIENCE, run

CHECKOUT = Path(__file__).resolve().parents[1]
MIRROR = "addon/bpfast/abi.py"
HEADER = "bpf/lib/abi.h"

COMPILE_SECONDS = 110
_COMPILE = """\
from bpfast import settings
from bpfast.kernel.compiler import compiled

compiled(settings.bpf_directory(), settings.cache_directory())
"""

Patches = Mapping[str, Sequence[tuple[str, str]]]

SAME_LAYOUT: Patches = {HEADER: [("enum flow_stage {", "/* Another text. */\nenum flow_stage {")]}
"""Nothing but the text of the programs differs: all maps are taken over."""

OTHER_TABLES: Patches = {
    HEADER: [("#define TABLE_WORDS 4194304", "#define TABLE_WORDS 2097152")],
    MIRROR: [("TABLE_WORDS = 4194304", "TABLE_WORDS = 2097152")],
}
"""What user space tells the chain has another layout; flows have not."""

OTHER_FLOWS: Patches = {
    HEADER: [("#define MAX_FLOWS 65536", "#define MAX_FLOWS 32768")],
    MIRROR: [("MAX_FLOWS = 65536", "MAX_FLOWS = 32768")],
}
"""Flows have another layout; policies have not."""


def make_version(directory: Path, patches: Patches) -> Path:
    """Copy what is needed to run into ``directory``, change it, compile it, and return the directory."""
    for name in ("addon", "bpf"):
        shutil.copytree(CHECKOUT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, changes in patches.items():
        path = directory / name
        text = path.read_text()
        for before, after in changes:
            if text.count(before) != 1:
                raise RuntimeError(f"{before!r} stands {text.count(before)} times in {name!r}, expected once")
            text = text.replace(before, after)
        path.write_text(text)
    run([*_python(directory), "-c", _COMPILE], timeout=COMPILE_SECONDS * PATIENCE)
    return directory


def _python(directory: Path) -> list[str]:
    return ["env", f"PYTHONPATH={directory / 'addon'}", sys.executable]


def of_version(started: BPFast, directory: Path) -> BPFast:
    """Let a run be one of another version."""
    started.arguments[:1] = [*_python(directory), "-m", "bpfast"]
    return started


def version_directories(pins: Path) -> list[str]:
    """Return the names of the directories in a pin directory."""
    return sorted(path.name for path in pins.iterdir())
