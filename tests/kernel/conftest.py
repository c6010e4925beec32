# SPDX-License-Identifier: Apache-2.0
"""One set of loaded programs for the folder (loading takes half a second), one box a test."""

from collections.abc import Iterator

import pytest

from bpfast import settings
from bpfast.abi import Slot
from bpfast.kernel.compiler import compiled
from bpfast.kernel.trial import Trial
from tests.kernel.packets import Box


@pytest.fixture(scope="session")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """The programs, compiled and loaded."""
    with Trial(compiled(settings.bpf_directory(), tmp_path_factory.mktemp("compiled"))) as loaded:
        yield loaded


@pytest.fixture
def family() -> int:
    """IPv4, unless a test says otherwise (``packets.both_families``)."""
    return 4


@pytest.fixture
def box(trial: Trial, family: int) -> Iterator[Box]:
    """A policed endpoint: inspects port 80, denies everything else; nothing is left of it afterwards."""
    yield Box(trial, family)
    trial.empty(Slot.NEXT)
    for key in trial.flows():
        trial.sweep(key, force=True)
    trial.state.drop_policies(())
