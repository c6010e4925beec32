# SPDX-License-Identifier: Apache-2.0
"""Bytes of the kernel's event ring -> answers that have begun.

They come through the same ring as verdicts and are told from them by their size.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from bpfast import abi
from bpfast.abi import Direction
from bpfast.errors import Bug

_RESPONSE = struct.Struct("=QQ16sIIHHHH")


@dataclass(frozen=True, slots=True)
class ResponseEvent:
    """One answer of a server.

    ``time`` is CLOCK_MONOTONIC in nanoseconds, ``nanoseconds`` passed since the
    chain let the request's head pass, ``offset`` is where that head begins in
    the client's stream (as in its verdict), ``status`` None where the status
    line came in pieces.
    """

    time: int
    nanoseconds: int
    peer: IPv4Address | IPv6Address
    peer_port: int
    endpoint: int
    port: int
    offset: int
    status: int | None
    direction: Direction


def is_response(raw: bytes) -> bool:
    """Say whether an element of the ring is an answer, else it is a verdict."""
    return len(raw) == abi.SIZES["response"]


def decode_response(raw: bytes) -> ResponseEvent:
    """Return the answer in one element of the ring."""
    if not is_response(raw):
        msg = f"a response of {len(raw)} bytes, expected {abi.SIZES['response']}"
        raise Bug(msg)
    time, nanoseconds, peer, endpoint, offset, peer_port, port, status, direction = _RESPONSE.unpack(raw)
    return ResponseEvent(
        time=time,
        nanoseconds=nanoseconds,
        peer=abi.unpack_address(peer),
        peer_port=peer_port,
        endpoint=endpoint,
        port=port,
        offset=offset,
        status=status or None,
        direction=Direction(direction),
    )
