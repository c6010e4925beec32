# SPDX-License-Identifier: Apache-2.0
"""The addresses of the network namespace that the calling thread is in.

RTM_GETADDR by hand: opening pyroute2's socket alone takes a millisecond, and
this is asked for every policed pod again and again.
"""

import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address

# <linux/netlink.h> and <linux/rtnetlink.h>
_RTM_GETADDR = 22
_RTM_NEWADDR = 20
_NLMSG_DONE = 3
_NLMSG_ERROR = 2
_REQUEST_DUMP = 0x301
_DUMP_INTERRUPTED = 0x10
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_HEADER = struct.Struct("=IHHII")
_ADDRESS = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_ROOM = 1 << 16
_TRIES = 5
_SECONDS = 2


def read_addresses(index: int | None) -> tuple[Address, ...]:
    """Return the addresses of an interface, or of all for None; loopback and link-local ones left out.

    OSError where the kernel does not answer. What changes during the walk
    through a long list makes the kernel say so, and us ask again.
    """
    for _ in range(_TRIES):
        found, whole = _dump()
        if whole:
            break
    usable = (address for at, address in found if index in (None, at))
    return tuple(address for address in usable if not (address.is_loopback or address.is_link_local))


def _dump() -> tuple[list[tuple[int, Address]], bool]:
    """Return (interface index, address) of all, and whether nothing changed meanwhile."""
    found: list[tuple[int, Address]] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.settimeout(_SECONDS)
        size = _HEADER.size + _ADDRESS.size
        netlink.send(_HEADER.pack(size, _RTM_GETADDR, _REQUEST_DUMP, 1, 0) + bytes(_ADDRESS.size))
        whole = True
        while True:
            for kind, flags, body in _messages(netlink.recv(_ROOM)):
                whole = whole and not flags & _DUMP_INTERRUPTED
                if kind == _NLMSG_DONE:
                    return found, whole
                if kind == _NLMSG_ERROR:
                    number = -struct.unpack_from("=i", body)[0]
                    raise OSError(number, "reading addresses")
                if kind == _RTM_NEWADDR:
                    found.append(_address(body))


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (type, flags, body) of each message."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, flags, _sequence, _port = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        yield kind, flags, data[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def _address(body: bytes) -> tuple[int, Address]:
    """Return the index and the interface's own address: of a point-to-point one not the other end's."""
    *_rest, index = _ADDRESS.unpack_from(body)
    texts: dict[int, bytes] = {}
    at = _ADDRESS.size
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if length < _ATTRIBUTE.size:
            break
        texts[kind] = body[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return index, ip_address(texts.get(_IFA_LOCAL) or texts[_IFA_ADDRESS])
