# SPDX-License-Identifier: Apache-2.0
"""Flows that nobody will end: the pod's own socket table says which live.

Idle alone is no reason, so a flow goes only when the pod has had no such socket
in two sweeps, or when its own times are up (``bpf/stages/sweep.c``). Deleting
is done by a program, under the flow's claim.
"""

import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Self

from bpfast import abi
from bpfast.abi import Count, Direction, MapNumber
from bpfast.errors import Failure
from bpfast.kernel import syscall
from bpfast.kernel.maps import Maps
from bpfast.kernel.netns import entered
from bpfast.kernel.program import Programs
from bpfast.kernel.site import Site

_FLOW_KEY = struct.Struct("=I2s2s16s16s")
_SOCKETS = (Path("/proc/thread-self/net/tcp"), Path("/proc/thread-self/net/tcp6"))
"""Servers that listen on [::] have their IPv4 connections in the second."""
_LISTEN = "0A"

_IPV4_BYTES = 4
_CONNECTIONS = (MapNumber.FLOWS, MapNumber.EMBRYOS)
_TRIES = 100
"""A claim is held for one packet; so many attempts are milliseconds."""

Socket = tuple[int, int, bytes, bytes]
"""Peer port, port, peer, local; addresses as in ``struct address``."""


@dataclass(frozen=True, slots=True)
class FlowKey:
    """``struct flow_key``; ports in host order."""

    endpoint: int
    peer_port: int
    port: int
    peer: bytes
    local: bytes

    @classmethod
    def unpack(cls, raw: bytes) -> Self:
        """Return the key in ``raw``."""
        endpoint, peer_port, port, peer, local = _FLOW_KEY.unpack(raw)
        return cls(endpoint, int.from_bytes(peer_port, "big"), int.from_bytes(port, "big"), peer, local)


class Sweeper:
    """Looks at all flows now and then, and deletes those that it is told to."""

    def __init__(self, maps: Maps, programs: Programs) -> None:
        """Load the sweep program."""
        self._maps = maps
        self._program = programs.load("xdp/bpfast_sweep")
        self._missing: frozenset[bytes] = frozenset()
        self._lost = maps.per_cpu_sum(MapNumber.COUNTS, Count.EVENTS_LOST)

    def lost_events(self) -> int:
        """Return how many events were lost since the last call."""
        now = self._maps.per_cpu_sum(MapNumber.COUNTS, Count.EVENTS_LOST)
        before, self._lost = self._lost, now
        return now - before

    def sweep(self, sites: Mapping[int, Site]) -> int:
        """Delete what is over; return how many flows. ``sites``: where each endpoint number is."""
        flows = list(syscall.map_keys(self._maps[MapNumber.FLOWS], abi.SIZES["flow_key"]))
        sockets = {number: _sockets(site) for number, site in sites.items()}
        missing = frozenset(key for key in flows if _is_missing(FlowKey.unpack(key), sockets))
        deleted = sum(self._delete(key, force=key in missing & self._missing) for key in flows)
        self._missing = missing
        return deleted

    def forget(self, wanted: Callable[[FlowKey], bool], *, maps: Sequence[MapNumber] = _CONNECTIONS) -> int:
        """Delete flows and embryos whatever their state; return how many."""
        deleted = 0
        for number in maps:
            for key in list(syscall.map_keys(self._maps[number], abi.SIZES["flow_key"])):
                if not wanted(FlowKey.unpack(key)):
                    continue
                if number is MapNumber.EMBRYOS:
                    deleted += syscall.map_delete(self._maps[number], key)
                else:
                    deleted += any(self._delete(key, force=True) for _try in range(_TRIES))
        return deleted

    def _delete(self, key: bytes, *, force: bool) -> bool:
        """Run the sweep program; False when the flow lives on, or a packet is inside of it."""
        request = key + struct.pack("=II", int(force), 0)
        syscall.map_update(self._maps[MapNumber.SWEEP], struct.pack("=I", 0), request)
        syscall.test_run(self._program, bytes(64))
        answer = syscall.map_lookup(self._maps[MapNumber.SWEEP], struct.pack("=I", 0), len(request))
        return answer is not None and answer[-4:] != bytes(4)


def _is_missing(key: FlowKey, sockets: Mapping[int, frozenset[Socket] | None]) -> bool:
    known = sockets.get(key.endpoint)
    return known is not None and (key.peer_port, key.port, key.peer, key.local) not in known


def _sockets(site: Site) -> frozenset[Socket] | None:
    """Return the TCP sockets of an endpoint, client's side first, or None when they cannot be read."""
    try:
        with entered(site.place.netns):
            texts = [file.read_text() for file in _SOCKETS if file.exists()]
    except (Failure, OSError):
        return None
    found = (socket for text in texts for socket in _parse(text))
    if site.direction is Direction.EGRESS:
        return frozenset((port, peer_port, local, peer) for peer_port, port, peer, local in found)
    return frozenset(found)


def _parse(text: str) -> Iterator[Socket]:
    """Yield (peer port, port, peer, local) of each socket in the format of /proc/net/tcp."""
    for line in text.splitlines()[1:]:
        _number, local, peer, state, *_rest = line.split()
        if state == _LISTEN:
            continue
        yield _port(peer), _port(local), _address(peer), _address(local)


def _port(text: str) -> int:
    return int(text.split(":")[1], 16)


def _address(text: str) -> bytes:
    """Return ``struct address``; the files have words of 32 bits in the machine's order."""
    digits = text.split(":", maxsplit=1)[0]
    words = [int(digits[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(digits), 8)]
    raw = b"".join(words)
    return abi.pack_address(IPv4Address(raw)) if len(raw) == _IPV4_BYTES else raw
