# SPDX-License-Identifier: Apache-2.0
"""A host and its pods, made of network namespaces.

::

    [pod client] eth0 10.88.0.11/32 === host-client [host] host-server === eth0 10.88.0.12/32 [pod server]

Plain routing as between pods of one node: each pod has a /32 (and a /128)
address and a default route over its veth pair, the host forwards, reverse path
filtering is strict. The host is a namespace too, so the machine's own network
is never touched. All names begin with ``bpfast-`` and the process id; what a
killed run left behind is swept by the next one.
"""

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Self

from e2e.namespace import NAMESPACES, Namespace, add_namespace, run

GATEWAY = "10.88.0.1"
GATEWAY6 = "fe80::1"
HOST6 = "fd88::1"
FAMILY = int(os.environ.get("BPFAST_TEST_FAMILY", "4"))
"""Which of its addresses a pod is called by where a test does not say: 4 or 6."""
FIRST_POD = 11
MAX_INTERFACE_NAME = 15

_TRACKING = """\
table inet bpfast {
    chain forward {
        type filter hook forward priority 0
        ct state invalid counter drop
    }
}
"""
_NAME = re.compile(r"bpfast-(\d+)-")
_counter = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod: ``eth0`` inside ``namespace``, ``host_interface`` at its other end.

    It has an address of each family; ``address`` is the one that tests call it by.
    """

    name: str
    namespace: Namespace
    host: Namespace
    address: str
    address6: str

    @property
    def host_interface(self) -> str:
        """The name of the veth on the host's side."""
        return f"host-{self.name}"

    def url(self, port: int = 80) -> str:
        """Return its address for clients, without a slash at its end."""
        return f"http://[{self.address}]:{port}" if ":" in self.address else f"http://{self.address}:{port}"

    @property
    def mac(self) -> str:
        """The hardware address of ``eth0``."""
        return mac_address(self.namespace, "eth0")

    @property
    def host_mac(self) -> str:
        """The hardware address of the veth on the host's side: the pod's next hop."""
        return mac_address(self.host, self.host_interface)

    def offload(self, **features: bool) -> None:
        """Switch offloads of both ends, as ``ethtool -K`` names them: ``tx=False, gso=False``."""
        words = [word for name, on in features.items() for word in (name, "on" if on else "off")]
        self.namespace.run("ethtool", "-K", "eth0", *words)
        self.host.run("ethtool", "-K", self.host_interface, *words)


class Topology:
    """A host namespace and its pods, for the time of a ``with`` block.

    ``topology["server"]`` is the pod of that name, ``topology.host`` the host.
    The block ends in order on exceptions, SIGINT and SIGTERM alike.
    """

    def __init__(self, *pods: str, family: int = FAMILY) -> None:
        """Take the names of the pods and the family to call them by; the block makes them."""
        self._names = pods or ("client", "server")
        for name in self._names:
            if len(f"host-{name}") > MAX_INTERFACE_NAME:
                raise ValueError(f"pod {name!r}: at most {MAX_INTERFACE_NAME - 5} characters")
        self._prefix = f"bpfast-{os.getpid()}-{next(_counter)}"
        self._stack = contextlib.ExitStack()
        self._pods: dict[str, Pod] = {}
        self.family = family
        self.host = Namespace(f"{self._prefix}-host")

    def __enter__(self) -> Self:
        """Make everything; when that fails, take away what was made."""
        sweep()
        with contextlib.ExitStack() as stack:
            stack.enter_context(ends_in_order())
            self.host = self._namespace(stack, "host")
            self._set_up_host()
            for number, name in enumerate(self._names, FIRST_POD):
                self._pods[name] = self._add_pod(stack, name, number)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Take everything away."""
        with undisturbed():
            self._stack.close()

    def __getitem__(self, name: str) -> Pod:
        """Return the pod called ``name``."""
        pod = self._pods[name]
        return pod if self.family == 4 else replace(pod, address=pod.address6)

    @property
    def pods(self) -> Mapping[str, Pod]:
        """All pods by name."""
        return MappingProxyType({name: self[name] for name in self._pods})

    def track_connections(self) -> None:
        """Let the host track connections, and drop what belongs to none."""
        self.host.run("nft", "-f", "-", text=_TRACKING)

    def invalid_packets(self) -> int:
        """Return how many packets ``track_connections`` has dropped."""
        listing = json.loads(self.host.run("nft", "-j", "list", "table", "inet", "bpfast").stdout)
        rules = [entry["rule"] for entry in listing["nftables"] if "rule" in entry]
        counters = [part["counter"] for rule in rules for part in rule["expr"] if "counter" in part]
        return int(counters[0]["packets"])

    def _namespace(self, stack: contextlib.ExitStack, name: str) -> Namespace:
        namespace = Namespace(f"{self._prefix}-{name}")
        stack.callback(namespace.delete)
        return add_namespace(namespace.name)

    def _set_up_host(self) -> None:
        self.host.sysctl(
            net__ipv4__ip_forward=1,
            net__ipv4__conf__all__rp_filter=1,
            net__ipv4__conf__default__rp_filter=1,
            net__ipv6__conf__all__forwarding=1,
            net__ipv6__conf__default__accept_dad=0,
        )
        _batch(self.host, f"addr add {GATEWAY}/32 dev lo", f"-6 addr add {HOST6}/128 dev lo nodad")

    def _add_pod(self, stack: contextlib.ExitStack, name: str, number: int) -> Pod:
        namespace = self._namespace(stack, name)
        pod = Pod(name, namespace, self.host, f"10.88.0.{number}", f"fd88::{number}")
        namespace.sysctl(net__ipv6__conf__default__accept_dad=0)
        self._link(pod)
        return pod

    def link_anew(self, pod: Pod) -> None:
        """Replace a pod's veth pair by another one with the same names and addresses."""
        self.host.run("ip", "link", "delete", pod.host_interface)
        self._link(self._pods[pod.name])

    def _link(self, pod: Pod) -> None:
        veth = pod.host_interface
        _batch(
            self.host,
            f"link add {veth} type veth peer name eth0 netns {pod.namespace.name}",
            f"link set {veth} up",
            f"-6 addr add {GATEWAY6}/64 dev {veth} nodad",
            f"route add {pod.address}/32 dev {veth} scope link src {GATEWAY}",
            f"-6 route add {pod.address6}/128 dev {veth}",
        )
        _batch(
            pod.namespace,
            "link set eth0 up",
            f"addr add {pod.address}/32 dev eth0",
            f"-6 addr add {pod.address6}/128 dev eth0 nodad",
            f"route add {GATEWAY} dev eth0 scope link",
            f"route add default via {GATEWAY}",
            f"-6 route add default via {GATEWAY6} dev eth0",
        )


def mac_address(namespace: Namespace, interface: str) -> str:
    """Return the hardware address of an interface, as ``aa:bb:cc:dd:ee:ff``."""
    listing = json.loads(run(["ip", "-n", namespace.name, "-j", "link", "show", interface]).stdout)
    return str(listing[0]["address"])


def scratch_directory() -> tempfile.TemporaryDirectory[str]:
    """Return a temporary directory that ``sweep`` knows when its owner was killed."""
    return tempfile.TemporaryDirectory(prefix=f"bpfast-{os.getpid()}-")


def sweep() -> list[str]:
    """Delete namespaces and files of runs that are dead, and return the names of the namespaces."""
    swept = []
    for path in sorted(NAMESPACES.glob("bpfast-*-*")):
        if is_dead(path.name):
            Namespace(path.name).delete()
            swept.append(path.name)
    for path in Path(tempfile.gettempdir()).glob("bpfast-*-*"):
        if is_dead(path.name):
            shutil.rmtree(path)
    return swept


def is_dead(name: str) -> bool:
    """Say whether ``bpfast-PID-...`` was made by a process that is no more."""
    match = _NAME.match(name)
    return match is not None and not Path("/proc", match[1]).exists()


@contextlib.contextmanager
def ends_in_order() -> Iterator[None]:
    """Let SIGTERM end the block by an exception, as SIGINT does, so that it is cleaned up after."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back for the time of the block."""
    signals = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _batch(namespace: Namespace, *commands: str) -> None:
    """Run several ``ip`` commands inside; ``-6`` in front of one chooses its family."""
    for family, group in itertools.groupby(commands, key=lambda command: command.startswith("-6 ")):
        lines: Sequence[str] = [command.removeprefix("-6 ") for command in group]
        flags = ["-6"] if family else []
        run(["ip", "-n", namespace.name, *flags, "-batch", "-"], text="\n".join(lines) + "\n")
