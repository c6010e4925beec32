# SPDX-License-Identifier: Apache-2.0
"""Bytes of the kernel's event ring -> frozen verdicts.

The kernel sends the first bytes of the head as they came; method, path and
host are read from them here, as far as they are there.
"""

import re
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from bpfast import abi
from bpfast.abi import Direction, Reason, Verdict
from bpfast.errors import Bug

_EVENT = struct.Struct("=QQ16sIIIIIHHBBHI512s")
_REQUEST_LINE = re.compile(rb"([^ \r\n]*)(?: ([^ \r\n]*))?")
_HOST = re.compile(rb"\r\n[Hh][Oo][Ss][Tt]:[ \t]*([^\r\n]*?)[ \t]*\r\n")


@dataclass(frozen=True, slots=True)
class VerdictEvent:
    """One verdict of the kernel.

    ``time`` is CLOCK_MONOTONIC in nanoseconds, ``nanoseconds`` the time spent
    in the chain (0 without timing), ``rule`` an index into the rules of rule
    set ``rule_set`` with this ``serial`` (None: no rule), ``offset`` where the
    head begins in the client's stream, in bytes. ``head`` is its beginning.
    """

    time: int
    nanoseconds: int
    peer: IPv4Address | IPv6Address
    peer_port: int
    endpoint: int
    port: int
    rule_set: int
    serial: int
    rule: int | None
    offset: int
    verdict: Verdict
    reason: Reason
    direction: Direction
    head: bytes

    @property
    def method(self) -> str | None:
        """The method as sent, or None when the event has no head."""
        found = _REQUEST_LINE.match(self.head)
        return _text(found[1]) if found else None

    @property
    def path(self) -> str | None:
        """The request target as sent, query included, or None."""
        found = _REQUEST_LINE.match(self.head)
        return _text(found[2]) if found else None

    @property
    def host(self) -> str | None:
        """The Host header's value, or None when it is not in the part that was sent."""
        found = _HOST.search(self.head)
        return _text(found[1]) if found else None


def _head(raw: bytes) -> bytes:
    """Cut what lies behind the head: the ring carries whatever came with it."""
    end = raw.find(b"\r\n\r\n")
    return raw if end < 0 else raw[: end + 4]


def _text(raw: bytes | None) -> str | None:
    return raw.decode("latin-1") if raw else None


def decode(raw: bytes) -> VerdictEvent:
    """Return the verdict in one element of the ring."""
    if len(raw) != abi.SIZES["event"]:
        msg = f"an event of {len(raw)} bytes, expected {abi.SIZES['event']}"
        raise Bug(msg)
    (
        time,
        nanoseconds,
        peer,
        endpoint,
        rule_set,
        serial,
        rule,
        offset,
        peer_port,
        port,
        verdict,
        reason,
        length,
        direction,
        head,
    ) = _EVENT.unpack(raw)
    return VerdictEvent(
        time=time,
        nanoseconds=nanoseconds,
        peer=abi.unpack_address(peer),
        peer_port=peer_port,
        endpoint=endpoint,
        port=port,
        rule_set=rule_set,
        serial=serial,
        rule=None if rule == abi.RULE_NONE else rule,
        offset=offset,
        verdict=Verdict(verdict),
        reason=Reason(reason),
        direction=Direction(direction),
        head=_head(head[: min(length, abi.EVENT_BYTES)]),
    )
