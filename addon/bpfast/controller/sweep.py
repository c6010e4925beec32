# SPDX-License-Identifier: Apache-2.0
"""Flows that nobody will end: the pod's own socket table says which live.

Idle alone is no reason, so a flow goes only when the pod has had no such socket
in two sweeps, or when its own times are up (``bpf/stages/sweep.c``). Deleting
is done by a program, under the flow's claim.
"""

import struct
import sys
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address
from pathlib import Path

from bpfast import abi
from bpfast.abi import Count, MapNumber
from bpfast.errors import Failure
from bpfast.kernel import syscall
from bpfast.kernel.maps import Maps
from bpfast.kernel.netns import entered
from bpfast.kernel.program import Programs

_FLOW_KEY = struct.Struct("=I2s2s16s16s")
_SOCKETS = Path("/proc/thread-self/net/tcp")
_LISTEN = "0A"

Socket = tuple[int, bytes, bytes, bytes, bytes]


class Sweeper:
    """Looks at all flows now and then."""

    def __init__(self, maps: Maps, programs: Programs) -> None:
        """Load the sweep program."""
        self._maps = maps
        self._program = programs.load("bpfast_sweep")
        self._missing: set[bytes] = set()
        self._lost = maps.per_cpu_sum(MapNumber.COUNTS, Count.EVENTS_LOST)

    def lost_events(self) -> int:
        """Return how many events were lost since the last call."""
        now = self._maps.per_cpu_sum(MapNumber.COUNTS, Count.EVENTS_LOST)
        before, self._lost = self._lost, now
        return now - before

    def sweep(self, namespaces: Mapping[int, str]) -> int:
        """Delete what is over; return how many flows. ``namespaces``: endpoint -> file."""
        flows = list(syscall.map_keys(self._maps[MapNumber.FLOWS], abi.SIZES["flow_key"]))
        sockets = _all_sockets(namespaces)
        known = set(namespaces)
        missing = {key for key in flows if _socket_of(key) not in sockets and _socket_of(key)[0] in known}
        deleted = sum(self._delete(key, force=key in missing & self._missing) for key in flows)
        self._missing = missing
        return deleted

    def _delete(self, key: bytes, *, force: bool) -> bool:
        request = key + struct.pack("=II", int(force), 0)
        syscall.map_update(self._maps[MapNumber.SWEEP], struct.pack("=I", 0), request)
        syscall.test_run(self._program, bytes(64))
        answer = syscall.map_lookup(self._maps[MapNumber.SWEEP], struct.pack("=I", 0), len(request))
        return answer is not None and answer[-4:] != bytes(4)


def _socket_of(key: bytes) -> Socket:
    endpoint, peer_port, port, peer, local = _FLOW_KEY.unpack(key)
    return endpoint, peer_port, port, peer, local


def _all_sockets(namespaces: Mapping[int, str]) -> frozenset[Socket]:
    found: set[Socket] = set()
    for endpoint, path in namespaces.items():
        try:
            with entered(path):
                text = _SOCKETS.read_text()
        except (Failure, OSError):
            continue  # the namespace has gone, and its sockets with it
        found |= {(endpoint, *socket) for socket in _parse(text)}
    return frozenset(found)


def _parse(text: str) -> Iterator[tuple[bytes, bytes, bytes, bytes]]:
    """Yield (peer port, port, peer, local) of each socket in the format of /proc/net/tcp."""
    for line in text.splitlines()[1:]:
        _number, local, peer, state, *_rest = line.split()
        if state == _LISTEN:
            continue
        yield _port(peer), _port(local), _address(peer), _address(local)


def _port(text: str) -> bytes:
    return int(text.split(":")[1], 16).to_bytes(2, "big")


def _address(text: str) -> bytes:
    raw = int(text.split(":", maxsplit=1)[0], 16).to_bytes(4, sys.byteorder)
    return abi.pack_address(IPv4Address(raw))
