# SPDX-License-Identifier: Apache-2.0
"""Where attacks take place: a client, Python's http.server, and ``bpfast run`` between them.

``GET /public...`` is allowed and nothing else. http.server is as forgiving as
servers get: it answers heads that were never finished. Every attack asks for a
path of its own, so that one log serves all.
"""

import contextlib
import itertools
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest import mock

from bpfast.settings import BPF_DIRECTORY_VARIABLE, CACHE_DIRECTORY_VARIABLE
from e2e.bpfast import BPFast, Endpoint, endpoint, pin_directory
from e2e.namespace import within
from e2e.policies import allow, entry, policy
from e2e.raw import RawClient
from e2e.scene import Scene
from e2e.segments import Flags
from e2e.servers import Logged, PythonServer
from e2e.topology import FAMILY, Pod, Topology, scratch_directory

DATA = Flags.ACK | Flags.PSH
ALLOWED = b"GET /public"
DENIED = b"GET /secret"
"""As long as ALLOWED: what follows either of them may follow the other."""
PAGE = "x" * 400 + "end of page\n"
"""What ``/public/page`` holds; every other path is 404, and the server closes."""
LARGE = 1 << 24
"""How many bytes ``/public/large`` has."""
POLICY = policy(entry(allow("/public.*"), allow("/ab/.*"), allow("/cd/.*")))
WRONG = 0x5555
"""A TCP checksum that is not right (but for one packet in 65,536)."""
SERVED_SECONDS = 1.0

_LOGGED = re.compile(r'"([^"\n]*)" (\d{3}) -')
_numbers = itertools.count(1)


@dataclass(slots=True)
class Arena:
    """A scene with a server, and the run that is enforcing."""

    scene: Scene
    server: PythonServer
    run: BPFast | None = field(default=None)

    @property
    def client(self) -> Pod:
        """The attacker's pod."""
        return self.scene.client

    @property
    def pod(self) -> Pod:
        """The pod that is attacked."""
        return self.scene.server

    def name(self) -> str:
        """Return the last part of a path that nobody has asked for yet."""
        return f"n{next(_numbers)}"

    def raw(self) -> RawClient:
        """Return a raw client that is not connected yet."""
        return RawClient(self.client, self.pod.address)

    def log(self, name: str) -> list[str]:
        """Return the request lines in the server's log that ask for this name, whatever their status."""
        self.settle()
        return [line.request for line in self.server.requests() if f"/{name} " in f"{line.request} "]

    def settle(self) -> None:
        """Wait until the server has logged all that it got: one more request is answered."""
        name = f"settle-{next(_numbers)}"
        assert self.get(f"/public/{name}").startswith(b"HTTP/1.1 404")
        assert within(SERVED_SECONDS, lambda: any(name in line.request for line in self.server.requests()))

    def get(self, path: str, *, address: str | None = None, timeout: float = 2) -> bytes:
        """Ask as an honest client, with the pod's own TCP; return the answer, b"" for none."""
        try:
            with self.client.namespace.connect(
                address or self.pod.address, 80, timeout=timeout
            ) as connection:
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: server\r\n\r\n".encode())
                return read_all(connection)
        except OSError:
            return b""

    def sockets(self, client: RawClient) -> list[str]:
        """Return the server's sockets for this client's port."""
        port = f":{client.source_port}"
        return [line for line in self.pod.namespace.connections() if line.endswith(port)]

    def forgets(self, client: RawClient, *, timeout: float = 3) -> bool:
        """Wait until the server has no socket for this client's port."""
        return within(timeout, lambda: not self.sockets(client))

    @contextlib.contextmanager
    def counting(self) -> Iterator[dict[str, int]]:
        """Give a dictionary that after the block has what was counted in it, reasons and counts."""
        counted: dict[str, int] = {}
        before = self._counters()
        yield counted
        counted |= {key: value - before.get(key, 0) for key, value in self._counters().items()}

    def _counters(self) -> dict[str, int]:
        return {**self.scene.counts(), **self.scene.reasons()}

    @contextlib.contextmanager
    def sysctl(self, **values: int) -> Iterator[None]:
        """Set sysctls of the server's pod for the time of the block."""
        names = [key.replace("__", ".") for key in values]
        before = self.pod.namespace.run("sysctl", "-n", *names).stdout.split()
        self.pod.namespace.sysctl(**values)
        try:
            yield
        finally:
            self.pod.namespace.sysctl(**{key: int(old) for key, old in zip(values, before, strict=True)})


def rest(name: str) -> bytes:
    """Return what makes ALLOWED or DENIED a whole request."""
    return f"/{name} HTTP/1.1\r\nHost: server\r\n\r\n".encode()


def read_all(connection: socket.socket) -> bytes:
    """Return what comes until the other side closes or falls silent."""
    data = b""
    with contextlib.suppress(OSError):
        while got := connection.recv(65536):
            data += got
            if b"\r\n\r\n" in data and b"ontent-length: 0" in data.lower():
                break
    return data


def put(client: RawClient, offset: int, payload: bytes, *, checksum: int | None = None) -> None:
    """Send payload at an offset from the connection's first byte; ``client`` keeps its numbers."""
    segment = client.segment(DATA, payload, sequence=client.initial + 1 + offset)
    client.send_segment(replace(segment, checksum=checksum))


class PatientServer(PythonServer):
    """http.server with room for many connections that wait to be accepted, not for five."""

    def prepare(self) -> list[str]:
        """Return the command line of http.server, its listening queue made longer."""
        python, *_module, protocol, version, bind, address, flag, directory, port = super().prepare()
        code = (
            "import runpy, socketserver; socketserver.TCPServer.request_queue_size = 1024; "
            "runpy.run_module('http.server', run_name='__main__', alter_sys=True)"
        )
        return [python, "-u", "-c", code, protocol, version, bind, address, flag, directory, port]

    def requests(self) -> list[Logged]:
        """Return what the server says it has answered, also where a traceback has got into the line."""
        text = self.log.read_text(errors="surrogateescape")
        return [Logged(int(status), request) for request, status in _LOGGED.findall(text)]


@contextlib.contextmanager
def ground(directory: Path, *, family: int = FAMILY) -> Iterator[Arena]:
    """Give a scene and a server without any policy; attacks are made over IPv4 or over IPv6."""
    with contextlib.ExitStack() as stack:
        topology = stack.enter_context(Topology("client", "server", family=family))
        pins = stack.enter_context(pin_directory())
        server = stack.enter_context(PatientServer(topology["server"]))
        public = server.directory / "public"
        public.mkdir()
        (public / "page").write_text(PAGE)
        with (public / "large").open("wb") as file:
            file.truncate(LARGE)
        yield Arena(Scene(topology, directory, pins), server)


@contextlib.contextmanager
def policed(arena: Arena, *, bpf: Path | None = None) -> Iterator[Arena]:
    """Enforce POLICY in the block, with the kernel programs of another directory if one is named."""
    peer = Endpoint(name="client", labels={"app": "client"}, addresses=[arena.client.address])
    with contextlib.ExitStack() as stack:
        if bpf is not None:
            cache = stack.enter_context(scratch_directory())
            variables = {BPF_DIRECTORY_VARIABLE: str(bpf), CACHE_DIRECTORY_VARIABLE: cache}
            stack.enter_context(mock.patch.dict(os.environ, variables))
        run = arena.scene.run(POLICY, endpoints=[peer, endpoint(arena.pod)])
        arena.run = stack.enter_context(run)
        yield arena
    arena.run = None
