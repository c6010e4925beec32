# SPDX-License-Identifier: Apache-2.0
"""What ``bpfast run`` reads, and whether it has changed: files, and addresses of pods and host.

Both are asked for again and again, never waited for. The loop wakes for events
anyway, and a look at two files takes 10 us. inotify would have to follow every
link on the way to a file, tells nothing of NFS, and loses events: whoever uses
it polls beside it. A netlink socket inside of a pod would keep the pod's
namespace alive.
"""

import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from bpfast.controller.desired import World
from bpfast.controller.read import Stamp, place_of, stamp
from bpfast.errors import Failure
from bpfast.kernel.netns import entered
from bpfast.kernel.rtnetlink import Address, read_addresses
from bpfast.kernel.site import Place

SETTLE_NS = 10_000_000
"""A file that was written less than this ago is read at a later look.

Its times have the kernel's tick, up to 10 ms: another write in the same tick
would leave no trace. It is also more likely to be whole.
"""

PATIENCE = 0.5
"""Seconds after which a file that never settles is read as it is."""

_SHARE = 100
"""A look takes one part in so many of the time: a folder of 10,000 files is looked at less often."""


class Files:
    """The files and folders of a run."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Look for the first time: what changes from now on is a change."""
        self._paths = paths
        self._next = 0.0
        self._unsettled: float | None = None
        found = stamp(paths)
        self._seen: Stamp = () if _is_fresh(found) else found

    def have_changed(self) -> bool:
        """Return whether they should be read: they differ from those of the last time that they did."""
        now = time.monotonic()
        if now < self._next:
            return False
        began = time.thread_time()  # not the clock: on a busy machine others run in between
        found = stamp(self._paths)
        self._next = now + _SHARE * (time.thread_time() - began)
        if found == self._seen:
            self._unsettled = None
            return False
        if self._unsettled is None:
            self._unsettled = now
        if _is_fresh(found) and now - self._unsettled < PATIENCE:
            return False
        self._unsettled = None
        self._seen = found
        return True


def _is_fresh(found: Stamp) -> bool:
    """Return whether a file was written just now; one of the future is none."""
    now = time.time_ns()
    return any(0 <= now - written < SETTLE_NS for _name, written, _size, _inode in found)


class Addresses:
    """The addresses of the host and of endpoints whose addresses the file does not give."""

    def __init__(self) -> None:
        """Nothing has been looked at yet."""
        self._tried: tuple[frozenset[Address], ...] = ()

    def differ(self, world: World) -> bool:
        """Return whether they are not what ``world`` says; once for each difference.

        A pod whose interface is out of sight has the addresses that it had.
        """
        asked = [endpoint for endpoint in world.endpoints if endpoint.netns and not endpoint.addresses_given]
        known = [frozenset(world.host), *(frozenset(endpoint.addresses) for endpoint in asked)]
        places = [None, *(place_of(endpoint) for endpoint in asked)]
        found = tuple(_now(place, before) for place, before in zip(places, known, strict=True))
        if found == tuple(known):
            self._tried = ()
            return False
        tried, self._tried = self._tried, found
        return found != tried


def _now(place: Place | None, before: Iterable[Address]) -> frozenset[Address]:
    """Return the addresses of a place (None: the host), or those of before where it cannot be seen."""
    try:
        if place is None:
            return frozenset(read_addresses(None))
        with entered(place.netns):
            return frozenset(read_addresses(socket.if_nametoindex(place.interface)))
    except (Failure, OSError):
        return frozenset(before)
