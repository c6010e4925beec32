# SPDX-License-Identifier: Apache-2.0
"""Ways around the chain: packets that skip generic XDP, and what the pod's own root may try.

The client here holds NET_ADMIN in its own namespace; ``bpf_redirect_peer`` is
what Cilium does on the host.
"""

import contextlib
from collections.abc import Iterator

from e2e.attacks.arena import Arena
from e2e.namespace import run
from e2e.redirect import redirect_peer
from e2e.topology import GATEWAY, Pod

_FORWARD = """\
table netdev detour {
    chain in {
        type filter hook ingress device v1 priority 0
        fwd to eth0
    }
}
"""
_BRIDGE = "br0"


def _by_nft(pod: Pod) -> None:
    pod.namespace.run("nft", "-f", "-", text=_FORWARD)


def _by_mirred(pod: Pod) -> None:
    pod.namespace.run("tc", "qdisc", "add", "dev", "v1", "clsact")
    all_packets = ["protocol", "ip", "u32", "match", "u32", "0", "0"]
    action = ["action", "mirred", "egress", "redirect", "dev", "eth0"]
    pod.namespace.run("tc", "filter", "add", "dev", "v1", "ingress", *all_packets, *action)


DETOURS = {"nft": _by_nft, "mirred": _by_mirred}


@contextlib.contextmanager
def detour(arena: Arena, means: str, *, next_hop: str | None = None) -> Iterator[None]:
    """Send the client's packets for the server through a veth pair and a redirect to ``eth0``."""
    pod, server = arena.client, arena.pod.address
    namespace = pod.namespace
    namespace.run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    try:
        for device in ("v0", "v1"):
            namespace.run("ip", "link", "set", device, "up")
        namespace.run("ip", "route", "add", server, "dev", "v0", "src", pod.address)
        namespace.run("ip", "neigh", "replace", server, "dev", "v0", "lladdr", next_hop or pod.host_mac)
        DETOURS[means](pod)
        yield
    finally:
        namespace.run("ip", "link", "delete", "v0")
        namespace.run("nft", "flush", "ruleset")


def redirected(arena: Arena, means: str, *, peer: bool) -> str:
    """Ask for a denied path by way of a detour; with ``peer`` the host redirects too."""
    name = arena.name()
    with contextlib.ExitStack() as stack:
        next_hop = stack.enter_context(redirect_peer(arena.client, arena.pod)) if peer else None
        stack.enter_context(detour(arena, means, next_hop=next_hop))
        arena.get(f"/secret/{name}", timeout=0.5)
    return name


# ---- the pod's own root ---------------------------------------------------------


def _ip(pod: Pod, *lines: str) -> None:
    pod.namespace.run("ip", "-batch", "-", text="\n".join(lines) + "\n")


def _address(pod: Pod, device: str) -> None:
    """Give the pod's address and routes to a device, and let the host forget the old hardware address."""
    _ip(
        pod,
        f"link set {device} up",
        f"addr replace {pod.address}/32 dev {device}",
        f"route replace {GATEWAY} dev {device} scope link",
        f"route replace default via {GATEWAY} dev {device}",
    )
    run(["ip", "-n", pod.host.name, "neigh", "flush", "dev", pod.host_interface])


def detach(pod: Pod) -> list[str]:
    """Try to take XDP off in every mode; return what the kernel says, mode by mode."""
    said = []
    for mode in ("xdp", "xdpgeneric", "xdpdrv"):
        done = pod.namespace.run("ip", "link", "set", "dev", "eth0", mode, "off", check=False)
        said.append(done.stderr.strip())
    return said


@contextlib.contextmanager
def classifier(pod: Pod) -> Iterator[None]:
    """Add a classifier qdisc that takes everything in, and take it away again."""
    pod.namespace.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
    accept = ["ingress", "protocol", "ip", "u32", "match", "u32", "0", "0", "flowid", "1:1"]
    pod.namespace.run("tc", "filter", "add", "dev", "eth0", *accept)
    try:
        yield
    finally:
        pod.namespace.run("tc", "qdisc", "delete", "dev", "eth0", "clsact")


@contextlib.contextmanager
def down_and_up(pod: Pod) -> Iterator[None]:
    """Take the interface down and up."""
    _ip(pod, "link set eth0 down")
    _address(pod, "eth0")
    yield


@contextlib.contextmanager
def renamed(pod: Pod) -> Iterator[None]:
    """Give the interface another name."""
    _ip(pod, "link set eth0 down", "link set eth0 name other0")
    _address(pod, "other0")
    try:
        yield
    finally:
        _ip(pod, "link set other0 down", "link set other0 name eth0")
        _address(pod, "eth0")


@contextlib.contextmanager
def bridged(pod: Pod) -> Iterator[None]:
    """Put the interface into a bridge that has the address."""
    _ip(pod, f"link add {_BRIDGE} type bridge", "addr flush dev eth0", f"link set eth0 master {_BRIDGE}")
    _ip(pod, f"link set {_BRIDGE} address {pod.mac}")
    _address(pod, _BRIDGE)
    try:
        yield
    finally:
        _ip(pod, f"link delete {_BRIDGE}")
        _address(pod, "eth0")


@contextlib.contextmanager
def beside(pod: Pod) -> Iterator[None]:
    """Put a macvlan with the address on the interface."""
    _ip(pod, "link add mv0 link eth0 type macvlan mode bridge", "addr flush dev eth0")
    _address(pod, "mv0")
    try:
        yield
    finally:
        _ip(pod, "link delete mv0")
        _address(pod, "eth0")


def move(pod: Pod, other: Pod) -> None:
    """Move the interface to another pod's namespace, with address and routes."""
    _ip(pod, f"link set eth0 netns {other.namespace.name}")
    _address(other, "eth0")


CHANGES = (classifier, down_and_up, renamed, bridged, beside)
