# SPDX-License-Identifier: Apache-2.0
"""Two pods and four servers that all tests here share, and what they must not leave behind."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from e2e.bpfast import BPFast
from e2e.checksums import KINDS
from e2e.clients.order import Order, ask, assert_seen
from e2e.honest.matrix import FORBIDDEN, Place
from e2e.honest.traffic import Files
from e2e.namespace import Namespace, within
from e2e.scene import Scene, open_connections
from e2e.servers import Server
from e2e.topology import Pod, Topology

FORGOTTEN_SECONDS = 20
"""What nobody ends is swept after two looks at the pod's sockets, five seconds apart."""

UNFINISHED = 400
"""nginx logs a head that has begun and was reset before its end."""

_COUNT = """\
table inet bpfast-syns {
    chain out {
        type filter hook output priority 0
        tcp flags & (syn | ack) == syn counter
    }
}
"""


@dataclass(frozen=True, slots=True)
class Ground:
    """A scene with the pods ``client`` and ``server``, and the servers by name."""

    scene: Scene
    servers: Mapping[str, Server]
    files: Files

    @property
    def client(self) -> Pod:
        """The pod that asks."""
        return self.scene.client

    @property
    def server(self) -> Pod:
        """The pod that all servers are in."""
        return self.scene.server

    @property
    def pods(self) -> tuple[Namespace, Namespace]:
        """The namespaces of both pods."""
        return self.client.namespace, self.server.namespace

    def address(self, family: int) -> str:
        """Return the servers' address of a family."""
        return self.server.address6 if family == 6 else self.server.address

    def base(self, server: str, family: int) -> str:
        """Return where a server is found, without a slash at its end."""
        return replace(self.server, address=self.address(family)).url(self.servers[server].port)

    def enforce(self, place: Place) -> BPFast:
        """Return ``bpfast run`` at a place."""
        policy = place.policy([server.port for server in self.servers.values()])
        entries = [place.endpoint(self.scene.entry(name)) for name in self.scene.topology.pods]
        return self.scene.run(policy, options=place.options, endpoints=entries)

    def denied_requests(self) -> list[str]:
        """Return the requests in the servers' logs that nobody may make and that came to their end."""
        logged = [entry for server in self.servers.values() for entry in server.requests()]
        return [
            entry.request for entry in logged if FORBIDDEN in entry.request and entry.status != UNFINISHED
        ]

    def assert_quiet(self) -> None:
        """No connection is open or half open, and no server has seen a denied request."""
        assert open_connections(*self.pods) == []
        assert self.denied_requests() == []

    def assert_forgotten(self) -> None:
        """Nothing is followed any more."""
        within(FORGOTTEN_SECONDS, lambda: self.scene.flows() == 0)
        assert self.scene.flows() == 0

    def assert_served(
        self, make: str, server: str, family: int, orders: Sequence[Order], *, keep: bool = True
    ) -> int:
        """A client sees what it should, and leaves nothing; return how many connections it opened."""
        with counting_connections(self.client.namespace) as opened:
            assert_seen(orders, ask(self.client, make, self.base(server, family), orders, keep=keep))
        self.assert_quiet()
        return opened[0]


@contextlib.contextmanager
def counting_connections(client: Namespace) -> Iterator[list[int]]:
    """Give a list that after the block holds how many connections a pod has asked for in it."""
    opened: list[int] = []
    client.run("nft", "-f", "-", text=_COUNT)
    try:
        yield opened
        said = client.run("nft", "list", "table", "inet", "bpfast-syns").stdout
        opened.append(int(said.split("counter packets ")[1].split()[0]))
    finally:
        client.run("nft", "delete", "table", "inet", "bpfast-syns")


@contextlib.contextmanager
def ground(directory: Path, pins: Path) -> Iterator[Ground]:
    """Make pods and servers for the time of the block."""
    with contextlib.ExitStack() as stack:
        topology = stack.enter_context(Topology("client", "server", family=4))
        pod = topology["server"]
        servers = [stack.enter_context(kind(pod, port=port)) for kind, port in KINDS]
        named = {server.name: server for server in servers}
        yield Ground(Scene(topology, directory, pins), named, Files.put(*servers))
