# SPDX-License-Identifier: Apache-2.0
"""Requests whose answer has not begun, so that the answer can be told with its request.

The kernel says of both on which connection and where in it the request's head
began; that is what joins them. What is not answered soon is forgotten.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from bpfast.abi import Verdict
from bpfast.events.response import ResponseEvent
from bpfast.events.verdict import VerdictEvent

MOST = 16384
"""Requests that are kept: as many as are reported in four seconds on two processors."""

_Key = tuple[int, IPv4Address | IPv6Address, int, int, int]


@dataclass(frozen=True, slots=True)
class Request:
    """What an answer's event says of its request."""

    method: str | None
    path: str | None


class Asked:
    """A bounded memory of requests; the oldest goes first."""

    def __init__(self, most: int = MOST) -> None:
        """Remember nothing yet, and no more than ``most``."""
        self._most = most
        self._requests: dict[_Key, Request] = {}

    def keep(self, event: VerdictEvent) -> None:
        """Remember an allowed request."""
        if event.verdict is not Verdict.ALLOW:
            return
        self._requests.pop(_key(event), None)
        self._requests[_key(event)] = Request(event.method, event.path)
        if len(self._requests) > self._most:
            del self._requests[next(iter(self._requests))]

    def take(self, event: ResponseEvent) -> Request:
        """Return the request of an answer and forget it; an empty one where it is not known."""
        return self._requests.pop(_key(event), Request(None, None))


def _key(event: VerdictEvent | ResponseEvent) -> _Key:
    return event.endpoint, event.peer, event.peer_port, event.port, event.offset
