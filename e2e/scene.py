# SPDX-License-Identifier: Apache-2.0
"""A topology with a server in a pod, on which one ``bpfast run`` follows the other.

Making pods takes longer than most tests, so a module's tests share them. What
they share is traffic's place only: each run has its own policy and its pins.
"""

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bpfast import abi
from bpfast.abi import MapNumber
from bpfast.kernel import syscall
from bpfast.kernel.maps import Maps, layout
from e2e.bpfast import BPFast, Endpoint, endpoint, write_endpoints
from e2e.namespace import Namespace, within
from e2e.topology import GATEWAY, HOST6, Pod, Topology

QUIET_SECONDS = 5
# A socket in TIME-WAIT waits for nobody.
RESTING = "TIME-WAIT"


@dataclass(slots=True)
class Scene:
    """Pods, a directory for files and one for pins."""

    topology: Topology
    directory: Path
    pins: Path
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def client(self) -> Pod:
        """The pod that asks."""
        return self.topology["client"]

    @property
    def server(self) -> Pod:
        """The pod that answers."""
        return self.topology["server"]

    @property
    def host(self) -> Pod:
        """The host, with its own address, as if it were a pod."""
        host = self.topology.host
        return Pod("host", host, host, GATEWAY if self.topology.family == 4 else HOST6, HOST6)

    @property
    def endpoints(self) -> Path:
        """The endpoints file; by default every pod is in it, as ``default/NAME``."""
        return self.directory / "endpoints.yaml"

    def entry(self, name: str) -> Endpoint:
        """Return a pod's entry of the endpoints file."""
        return endpoint(self.topology[name], **self.labels.get(name, {}))

    def write(self, text: str) -> Path:
        """Write a policy to a file of its own."""
        path = self.directory / f"policy-{next(self._numbers)}.yaml"
        path.write_text(text)
        return path

    def run(
        self, *policies: str | Path, options: Sequence[str] = (), endpoints: Sequence[Endpoint] | None = None
    ) -> BPFast:
        """Return ``bpfast run`` with these policies, texts or files; it begins with its ``with`` block."""
        entries = [self.entry(name) for name in self.topology.pods] if endpoints is None else endpoints
        write_endpoints(self.endpoints, entries)
        paths = [self.write(each) if isinstance(each, str) else each for each in policies]
        host = self.topology.host
        return BPFast(host, self.pins, endpoints=self.endpoints, policies=paths, options=options)

    @contextlib.contextmanager
    def maps(self) -> Iterator[Maps]:
        """Give the maps of the run that enforces now."""
        maps = Maps.from_pins(self.pins / layout())
        try:
            yield maps
        finally:
            maps.close()

    def flows(self) -> int:
        """Return how many connections are followed."""
        with self.maps() as maps:
            return len(list(syscall.map_keys(maps[MapNumber.FLOWS], abi.SIZES["flow_key"])))

    def reasons(self) -> dict[str, int]:
        """Return how many packets each reason has taken so far."""
        with self.maps() as maps:
            return maps.reasons()

    def counts(self) -> dict[str, int]:
        """Return what is counted beside the reasons."""
        with self.maps() as maps:
            return maps.counts()


def trusted(scene: Scene) -> list[Endpoint]:
    """Return the entries of all pods, each said to be unable to craft packets."""
    return [replace(scene.entry(name), trusted_egress=True) for name in scene.topology.pods]


def open_connections(*namespaces: Namespace, seconds: float = QUIET_SECONDS) -> list[str]:
    """Wait until nobody has an open or half-open connection; return those that still are there."""

    def found() -> list[str]:
        rows = [row for namespace in namespaces for row in namespace.connections()]
        return [row for row in rows if not row.startswith(RESTING)]

    within(seconds, lambda: not found())
    return found()
