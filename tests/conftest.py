# SPDX-License-Identifier: Apache-2.0
"""What all tests share: which need root, and where the repository is."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PRIVILEGED_FOLDERS = (ROOT / "tests" / "kernel", ROOT / "e2e")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs root and the kernel, by its folder; without root it is skipped, aloud."""
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in PRIVILEGED_FOLDERS):
            item.add_marker(pytest.mark.privileged)
        if item.get_closest_marker("privileged") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT
