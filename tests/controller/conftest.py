# SPDX-License-Identifier: Apache-2.0
"""The programs, loaded once for the folder (that takes seconds); each test leaves the maps empty."""

from collections.abc import Iterator

import pytest
import structlog

from bpfast import abi, settings
from bpfast.abi import MapNumber
from bpfast.kernel import syscall
from bpfast.kernel.compiler import compiled
from bpfast.kernel.prefixes import PeerTable
from bpfast.kernel.trial import Trial
from tests.controller.scenes import embryos


@pytest.fixture(autouse=True)
def log() -> Iterator[None]:
    """What a test's command sets up for the log ends with the test: its stderr is closed then."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def loaded() -> Iterator[Trial]:
    """The programs, compiled and loaded."""
    with Trial(compiled(settings.bpf_directory(), settings.cache_directory())) as trial:
        yield trial


@pytest.fixture
def trial(loaded: Trial) -> Iterator[Trial]:
    """The programs with empty maps; nothing is attached."""
    yield loaded
    for key in loaded.flows():
        loaded.sweep(key, force=True)
    for key in embryos(loaded):
        syscall.map_delete(loaded.maps[MapNumber.EMBRYOS], key)
    loaded.state.drop_policies(())
    loaded.state.retire(())
    loaded.state.write_peers(PeerTable({}))
    for number in range(abi.MAX_ENDPOINTS):
        loaded.state.clear_endpoint(number)
