# SPDX-License-Identifier: Apache-2.0
"""One policed arena for all honest programs, and one that follows the other for the mutants."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bpfast.settings import bpf_directory
from e2e.attacks.arena import Arena, ground, policed
from e2e.mutants import MUTANTS

Weaken = Callable[[str], Arena]


@pytest.fixture(scope="package")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """The programs as they are, enforcing."""
    with ground(tmp_path_factory.mktemp("arena")) as made, policed(made) as enforcing:
        yield enforcing


@pytest.fixture(scope="package")
def arena6(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """The programs as they are, enforcing; attacked over IPv6."""
    with ground(tmp_path_factory.mktemp("arena6"), family=6) as made, policed(made) as enforcing:
        yield enforcing


@pytest.fixture(scope="package")
def weak_ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """Pods and a server for one mutant after the other."""
    with ground(tmp_path_factory.mktemp("weak")) as made:
        yield made


@pytest.fixture
def weaken(weak_ground: Arena, tmp_path: Path) -> Iterator[Weaken]:
    """``weaken(name)``: an arena whose programs lack the defence of that name, until the test ends."""
    with contextlib.ExitStack() as stack:

        def start(name: str) -> Arena:
            bpf = MUTANTS[name].plant(bpf_directory(), tmp_path / "bpf")
            return stack.enter_context(policed(weak_ground, bpf=bpf))

        yield start
