# SPDX-License-Identifier: Apache-2.0
"""Links and addresses of the network namespace that the calling thread is in.

RTM_GETLINK and RTM_GETADDR by hand: opening pyroute2's socket takes one to
three milliseconds, and a run asks this of every policed pod again and again.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from bpfast.errors import KernelFailure
from bpfast.kernel.syscall import error_number

Address = IPv4Address | IPv6Address

# <linux/netlink.h>, <linux/rtnetlink.h> and <linux/if_link.h>
_NEW_LINK, _GET_LINK = 16, 18
_NEW_ADDRESS, _GET_ADDRESS = 20, 22
_ERROR, _DONE = 2, 3
_REQUEST, _DUMP = 0x1, 0x300
_DUMP_INTERRUPTED = 0x10
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_IFLA_IFNAME, _IFLA_LINK, _IFLA_LINKINFO = 3, 5, 18
_IFLA_INFO_KIND = 1
_HEADER = struct.Struct("=IHHII")
_IFINFOMSG = struct.Struct("=BxHiII")
_IFADDRMSG = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_ROOM = 1 << 16
_TRIES = 5
_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Link:
    """An interface: its index, its peer's index (veth; else 0) and its kind ("veth"; "" is a plain one)."""

    index: int
    name: str
    peer_index: int
    kind: str


def read_link(which: str | int) -> Link | None:
    """Return the interface of that name or index, or None."""
    by_name = isinstance(which, str)
    body = _IFINFOMSG.pack(0, 0, 0 if by_name else which, 0, 0)
    if isinstance(which, str):
        body += _packed(_IFLA_IFNAME, os.fsencode(which) + b"\0")
    try:
        (answer,) = (body for kind, body in _asked(_GET_LINK, _REQUEST, body)[0] if kind == _NEW_LINK)
    except KernelFailure as error:
        if error_number(error) in (errno.ENODEV, errno.ERANGE, errno.EINVAL):
            return None
        raise
    _family, _kind, index, _flags, _change = _IFINFOMSG.unpack_from(answer)
    found = _attributes(answer[_IFINFOMSG.size :])
    about = _attributes(found.get(_IFLA_LINKINFO, b""))
    (peer,) = struct.unpack("=I", found.get(_IFLA_LINK, bytes(4)))
    return Link(index, _text(found[_IFLA_IFNAME]), peer, _text(about.get(_IFLA_INFO_KIND, b"")))


def read_addresses(index: int | None) -> tuple[Address, ...]:
    """Return the addresses of an interface, or of all for None; loopback and link-local ones left out.

    What changes during the walk through a long list makes the kernel say so,
    and us ask again.
    """
    for _ in range(_TRIES):
        messages, whole = _asked(_GET_ADDRESS, _REQUEST | _DUMP, bytes(_IFADDRMSG.size))
        if whole:
            break
    found = (_address(body) for kind, body in messages if kind == _NEW_ADDRESS)
    usable = (address for at, address in found if index in (None, at))
    return tuple(address for address in usable if not (address.is_loopback or address.is_link_local))


def _asked(kind: int, flags: int, body: bytes) -> tuple[list[tuple[int, bytes]], bool]:
    """Return (type, body) of each message of the answer, and whether nothing changed meanwhile."""
    try:
        return _exchanged(kind, flags, body)
    except OSError as error:
        what = "links" if kind == _GET_LINK else "addresses"
        msg = f"asking the kernel for {what}: {error}"
        raise KernelFailure(msg) from error


def _exchanged(kind: int, flags: int, body: bytes) -> tuple[list[tuple[int, bytes]], bool]:
    found: list[tuple[int, bytes]] = []
    whole = True
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.settimeout(_SECONDS)
        netlink.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body)
        while True:
            for answer, marks, text in _messages(netlink.recv(_ROOM)):
                whole = whole and not marks & _DUMP_INTERRUPTED
                if answer == _DONE:
                    return found, whole
                if answer == _ERROR:
                    number = -struct.unpack_from("=i", text)[0]
                    raise OSError(number, os.strerror(number))
                found.append((answer, text))
            if not flags & _DUMP:
                return found, whole


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (type, flags, body) of each message."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, flags, _sequence, _port = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        yield kind, flags, data[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def _packed(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def _attributes(data: bytes) -> dict[int, bytes]:
    """Return the attributes by type; the two bits above the type are flags."""
    found: dict[int, bytes] = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found


def _text(raw: bytes) -> str:
    return os.fsdecode(raw.rstrip(b"\0"))


def _address(body: bytes) -> tuple[int, Address]:
    """Return the index and the interface's own address: of a point-to-point one not the other end's."""
    *_rest, index = _IFADDRMSG.unpack_from(body)
    found = _attributes(body[_IFADDRMSG.size :])
    return index, ip_address(found.get(_IFA_LOCAL) or found[_IFA_ADDRESS])
