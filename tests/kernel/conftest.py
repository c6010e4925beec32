# SPDX-License-Identifier: Apache-2.0
"""One set of loaded programs a hook for the folder (loading takes two seconds), one box a test.

The same tests run over XDP and, where the kernel has tcx, over tcx, unless a
test says otherwise (``packets.xdp_only``). Which hooks there are is said on top
of a run's output, and ``test_hooks`` holds it against the kernel's version.
"""

from collections.abc import Iterator

import pytest

from bpfast import settings
from bpfast.kernel.compiler import compiled
from bpfast.kernel.trial import Trial
from tests.kernel.packets import HOOKS, Box


def pytest_report_header() -> str:
    """Say over which hooks the tests run: on Linux before 6.6 there are half as many."""
    return f"kernel tests over: {', '.join(HOOKS)}"


@pytest.fixture(scope="session")
def bytecode() -> dict[str, bytes]:
    """The programs, compiled."""
    return compiled(settings.bpf_directory(), settings.cache_directory())


@pytest.fixture(scope="session", params=HOOKS)
def hook(request: pytest.FixtureRequest) -> str:
    """The hook that the chain is for."""
    return str(request.param)


@pytest.fixture(scope="session")
def trial(bytecode: dict[str, bytes], hook: str) -> Iterator[Trial]:
    """The hook's programs, loaded."""
    with Trial(bytecode, hook=hook) as loaded:
        yield loaded


@pytest.fixture
def family() -> int:
    """IPv4, unless a test says otherwise (``packets.both_families``)."""
    return 4


@pytest.fixture
def box(trial: Trial, family: int) -> Iterator[Box]:
    """A policed endpoint: inspects port 80, denies everything else; nothing is left of it afterwards."""
    yield Box(trial, family)
    for key in trial.flows():
        trial.sweep(key, force=True)
    trial.state.drop_policies(())
