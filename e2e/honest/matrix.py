# SPDX-License-Identifier: Apache-2.0
"""Where rules can be enforced: hooks, directions and families, and which of them a test meets.

``HOOKS`` and ``DIRECTIONS`` are the only list of what is implemented: what is
written there is run.
"""

import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from e2e.bpfast import Endpoint
from e2e.policies import CLIENT, SERVER, Object, allow, entry, policy

HOOKS: tuple[str, ...] = ("xdp", "tcx")
DIRECTIONS: tuple[str, ...] = ("ingress", "egress")
FAMILIES = (4, 6)
SOAK = os.environ.get("BPFAST_TEST_SOAK", "") not in {"", "0"}
"""Everything with everything (``make soak``) instead of a selection."""

FORBIDDEN = "/secret/"
"""Below it everything is denied to everybody."""
RULES = (
    allow("/files/.*", method="GET|HEAD|PUT"),
    allow("/sum", method="POST"),
    allow("/fast", method="GET"),
    allow("/early.*", method="PUT|POST"),
)


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A hook, and the direction of the connections that are policed there."""

    hook: str
    direction: str

    def __str__(self) -> str:
        """Return it as pytest shows it."""
        return f"{self.hook}-{self.direction}"

    @property
    def options(self) -> tuple[str, ...]:
        """The options of ``bpfast run``; requests that pass cost no event."""
        return ("--hook", self.hook, "--events", "denied")

    def endpoint(self, pod: Endpoint) -> Endpoint:
        """Return a pod's entry: rules of egress hold for a client that is trusted not to forge packets."""
        trusted = self.direction == "egress" and pod.labels == CLIENT
        return replace(pod, trusted_egress=True) if trusted else pod

    def policy(self, ports: Sequence[int]) -> str:
        """Return the policy: ``RULES`` between ``app: client`` and these ports of ``app: server``."""
        if self.direction == "ingress":
            return policy(*(entry(*RULES, port=port) for port in ports))
        whole = json.loads(policy(subject=CLIENT))
        del whole["spec"]["ingress"]
        whole["spec"]["egress"] = [_outgoing(entry(*RULES, port=port, peer=SERVER)) for port in ports]
        return json.dumps(whole, indent=1) + "\n"


PLACES = tuple(itertools.starmap(Place, itertools.product(HOOKS, DIRECTIONS)))


def across(turn: int) -> list[tuple[Place, int]]:
    """Return two places, with a family each, that have nothing in common; other turns, the other two.

    Both hooks, both directions and both families are met. ``SOAK`` is all places and families.
    """
    if SOAK:
        return list(itertools.product(PLACES, FAMILIES))
    return [
        (Place(HOOKS[(end + turn) % 2 % len(HOOKS)], DIRECTIONS[end % len(DIRECTIONS)]), FAMILIES[end])
        for end in (0, 1)
    ]


def _outgoing(written: Object) -> Object:
    """Return an entry of egress for one of ingress."""
    return {"toEndpoints": written["fromEndpoints"], "toPorts": written["toPorts"]}


@dataclass(frozen=True, slots=True)
class Meeting:
    """A client of one make and a server of one make, at a place, over a family."""

    client: str
    server: str
    place: Place
    family: int

    def __str__(self) -> str:
        """Return it as pytest shows it."""
        return f"{self.client}-{self.server}-{self.place}-IPv{self.family}"


def meetings(clients: Sequence[str], servers: Sequence[str], *, soak: bool = SOAK) -> list[Meeting]:
    """Return which client meets which server where.

    Each client meets every server, and each hook with each direction, each hook
    with each family and each direction with each family (an orthogonal array of
    four rows); clients start at different rows. ``SOAK`` is all with all.
    """
    if soak:
        whole = itertools.product(clients, servers, PLACES, FAMILIES)
        return [Meeting(client, server, place, family) for client, server, place, family in whole]
    return [
        _row(client, servers[(row + number) % len(servers)], row)
        for number, client in enumerate(clients)
        for row in range(max(len(servers), 4))
    ]


def _row(client: str, server: str, row: int) -> Meeting:
    hook, direction = row % 2, row // 2 % 2
    place = Place(HOOKS[hook % len(HOOKS)], DIRECTIONS[direction % len(DIRECTIONS)])
    return Meeting(client, server, place, FAMILIES[(hook + direction) % 2])
