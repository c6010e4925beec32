# SPDX-License-Identifier: Apache-2.0
"""Network namespaces: going in, and reading interfaces and addresses there."""

import contextlib
import ctypes
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from bpfast.errors import Failure, KernelFailure
from bpfast.kernel.rtnetlink import read_addresses, read_link

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
    with entered(path):
        link = read_link(name)
        if link is None:
            found = sorted(each for _index, each in socket.if_nameindex())
            msg = f"no interface {name!r} in network namespace {path!r}; there are {', '.join(found)}"
            raise Failure(msg)
        return Interface(link.index, link.peer_index, link.kind, read_addresses(link.index))


def own_addresses() -> tuple[IPv4Address | IPv6Address, ...]:
    """Return every address of this namespace: what policy calls the host."""
    return read_addresses(None)


def interface_name(index: int) -> str | None:
    """Return the name of an interface of this namespace by index, or None."""
    link = read_link(index)
    return link.name if link else None
