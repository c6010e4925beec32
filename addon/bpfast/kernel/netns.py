# SPDX-License-Identifier: Apache-2.0
"""Network namespaces: going in, and reading interfaces and addresses there."""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from bpfast.errors import Failure, KernelFailure
from bpfast.kernel.addresses import read_addresses

_CLONE_NEWNET = 0x40000000
_OWN = "/proc/thread-self/ns/net"


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface: its index, its peer's index (veth; else 0), its kind and addresses."""

    index: int
    peer_index: int
    kind: str
    addresses: tuple[IPv4Address | IPv6Address, ...]


def _setns(fd: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(fd, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        msg = f"entering a network namespace: {os.strerror(number)}"
        raise KernelFailure(msg) from OSError(number, os.strerror(number))


@contextlib.contextmanager
def entered(path: str | None) -> Iterator[None]:
    """Run a block inside of the namespace at ``path`` (None: this one), this thread only."""
    if path is None:
        yield
        return
    own = os.open(_OWN, os.O_RDONLY)
    try:
        try:
            there = os.open(path, os.O_RDONLY)
        except OSError as error:
            msg = f"network namespace {path!r} cannot be opened: {error.strerror}"
            raise Failure(msg) from error
        try:
            _setns(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _setns(own)
    finally:
        os.close(own)


def read_interface(path: str | None, name: str) -> Interface:
    """Return the interface ``name`` of a namespace; Failure when it is not there."""
    with entered(path), IPRoute() as netlink:
        indices = netlink.link_lookup(ifname=name)
        if not indices:
            found = sorted(link.get("ifname") for link in netlink.get_links())
            msg = f"no interface {name!r} in network namespace {path!r}; there are {', '.join(found)}"
            raise Failure(msg)
        (link,) = netlink.get_links(indices[0])
        info = link.get("linkinfo")
        return Interface(
            index=indices[0],
            peer_index=link.get("link") or 0,
            kind=(info.get("kind") or "") if info else "",
            addresses=read_addresses(indices[0]),
        )


def own_addresses() -> tuple[IPv4Address | IPv6Address, ...]:
    """Return every address of this namespace: what policy calls the host."""
    return read_addresses(None)


def interface_name(index: int) -> str | None:
    """Return the name of an interface of this namespace by index, or None."""
    try:
        with IPRoute() as netlink:
            (link,) = netlink.get_links(index)
            name = link.get("ifname")
            return str(name) if name else None
    except NetlinkError:
        return None
