# SPDX-License-Identifier: Apache-2.0
"""Which TCP ports an entry of ``toPorts`` is for; names stand for what endpoints call their ports."""

from collections.abc import Iterable
from typing import Final

from bpfast.policy.cnp import Port
from bpfast.policy.meaning import Direction
from bpfast.policy.subject import Subject

_TCP: Final = "TCP"


def fits_port(port: Port, number: int, listeners: Iterable[Subject]) -> bool:
    """Return whether ``port`` is for TCP port ``number`` of one who listens.

    ``listeners`` are those whose names of ports count.
    """
    if port.protocol not in ("ANY", _TCP):
        return False
    if port.port == 0:
        return True
    first = port.port if isinstance(port.port, int) else _number_of(port.port, listeners)
    if first is None:
        return False
    return first <= number <= max(first, port.end_port or 0)


def listeners_of(direction: Direction, endpoint: Subject, subjects: Iterable[Subject]) -> Iterable[Subject]:
    """Return whose names count: the endpoint's own where it listens, else those of all endpoints."""
    return (endpoint,) if direction is Direction.INGRESS else tuple(subjects)


def _number_of(name: str, listeners: Iterable[Subject]) -> int | None:
    """Return the TCP port called ``name``, None where there is none or not one only."""
    found = {
        number
        for listener in listeners
        for number, protocol in listener.ports.get(name, ())
        if protocol == _TCP
    }
    return found.pop() if len(found) == 1 else None
