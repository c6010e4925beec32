# SPDX-License-Identifier: Apache-2.0
"""What the package shows to the outside."""

import importlib
import pkgutil
from importlib.metadata import entry_points, version

import pytest

import bpfast

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(bpfast.__path__, "bpfast.")
    if not module.name.endswith("__main__")
)


def test_the_version_is_all_that_the_package_exports() -> None:
    """``bpfast`` exports its version, and the installed metadata says the same."""
    assert ["__version__"] == bpfast.__all__
    assert version("bpfast") == bpfast.__version__


def test_the_command_is_installed() -> None:
    """``bpfast`` on the command line is ``bpfast.cli.main``."""
    (script,) = entry_points(group="console_scripts", name="bpfast")

    assert "bpfast.cli:main" == script.value


@pytest.mark.parametrize("name", MODULES)
def test_exported_names_exist(name: str) -> None:
    """Every module can be imported alone, and what its ``__all__`` lists is there (ruff sorts it)."""
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", [])

    assert all(hasattr(module, each) for each in exported)
