# SPDX-License-Identifier: Apache-2.0
"""Pods, servers and ``bpfast run`` as fixtures; all of it needs root."""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.bpfast import BPFast, endpoint, pin_directory, write_endpoints
from e2e.scene import Scene
from e2e.servers import Nginx
from e2e.topology import FAMILY, Pod, Topology

Police = Callable[..., BPFast]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here as privileged; without root it is skipped, aloud."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.privileged)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture
def topology() -> Iterator[Topology]:
    """A host with the pods ``client`` and ``server``."""
    with Topology("client", "server") as made:
        yield made


@pytest.fixture
def client(topology: Topology) -> Pod:
    """The pod that asks."""
    return topology["client"]


@pytest.fixture
def server(topology: Topology) -> Pod:
    """The pod that answers."""
    return topology["server"]


@pytest.fixture
def nginx(server: Pod) -> Iterator[Nginx]:
    """A running nginx in the pod ``server``."""
    with Nginx(server) as running:
        yield running


@pytest.fixture
def pins() -> Iterator[Path]:
    """A directory for pins; what is pinned in the end is taken away."""
    with pin_directory() as directory:
        yield directory


@pytest.fixture
def police(topology: Topology, pins: Path, tmp_path: Path) -> Iterator[Police]:
    """``police(policy_text, *options)``: bpfast enforces a policy on all pods until the test ends.

    Every pod is labelled ``app: NAME`` in the namespace ``default``.
    """
    with contextlib.ExitStack() as stack:
        numbers = itertools.count(1)

        def start(policy: str, *options: str) -> BPFast:
            path = tmp_path / f"policy-{next(numbers)}.yaml"
            path.write_text(policy)
            entries = [endpoint(pod) for pod in topology.pods.values()]
            endpoints = write_endpoints(tmp_path / "endpoints.yaml", entries)
            run = BPFast(topology.host, pins, endpoints=endpoints, policies=[path], options=options)
            return stack.enter_context(run)

        yield start


@pytest.fixture(scope="module")
def module_pins() -> Iterator[Path]:
    """A directory for pins that lasts for all tests of a module."""
    with pin_directory() as directory:
        yield directory


@pytest.fixture(scope="module")
def family() -> int:
    """Which of its addresses a pod is called by."""
    return FAMILY


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, module_pins: Path, family: int) -> Iterator[Scene]:
    """The pods ``client``, ``server`` and ``other`` for all tests of a module."""
    with Topology("client", "server", "other", family=family) as topology:
        yield Scene(topology, tmp_path_factory.mktemp("scene"), module_pins)


@pytest.fixture(scope="module")
def web(scene: Scene) -> Iterator[Nginx]:
    """A running nginx in the pod ``server`` for all tests of a module."""
    with Nginx(scene.server) as running:
        yield running


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parents[1]
