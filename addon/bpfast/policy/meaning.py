# SPDX-License-Identifier: Apache-2.0
"""What all policies together mean for one endpoint: a verdict for each peer and port.

Frozen values, comparable: a reload is a difference between two of these. What is
not listed is denied at an enforced endpoint, so a lookup can only open what lowering
has opened by name.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from bpfast.errors import Bug
from bpfast.policy.peers import HOST, WORLD, Address, Network, Peer, PeerKind
from bpfast.policy.ports import TCP
from bpfast.policy.rules import RuleSet

__all__ = [
    "HOST",
    "OPEN",
    "WORLD",
    "Allow",
    "Deny",
    "Direction",
    "EndpointPolicy",
    "Inspect",
    "Lowered",
    "Peer",
    "PeerKind",
    "PeerPolicy",
    "PortVerdict",
    "Segment",
]


class Direction(Enum):
    """Which way a connection is opened, as the endpoint sees it."""

    INGRESS = "ingress"
    EGRESS = "egress"


@dataclass(frozen=True, slots=True)
class Allow:
    """Every byte may pass, HTTP or not."""


@dataclass(frozen=True, slots=True)
class Deny:
    """No connection is opened."""


@dataclass(frozen=True, slots=True)
class Inspect:
    """The connection is HTTP, and each request must be allowed by one of the rules."""

    rules: RuleSet


PortVerdict = Allow | Deny | Inspect


@dataclass(frozen=True, slots=True)
class Segment:
    """A verdict for the ports from ``first`` to ``last`` of an IP protocol (ICMP: message types)."""

    protocol: int
    first: int
    last: int
    verdict: PortVerdict


@dataclass(frozen=True, slots=True)
class PeerPolicy:
    """What one peer may do: ``segments`` by protocol and port, ``other`` for all the rest.

    Segments do not overlap and stand in the order of (protocol, first).
    """

    other: PortVerdict
    segments: tuple[Segment, ...] = ()

    def verdict(self, port: int, protocol: int = TCP) -> PortVerdict:
        """Return what the peer may do at ``port``."""
        at = bisect_right(self.segments, (protocol, port), key=lambda one: (one.protocol, one.first))
        if at:
            segment = self.segments[at - 1]
            if segment.protocol == protocol and port <= segment.last:
                return segment.verdict
        return self.other


OPEN: Final = PeerPolicy(Allow())


@dataclass(frozen=True, slots=True)
class EndpointPolicy:
    """What all policies mean for connections of one endpoint in one direction.

    ``peers`` has every peer that lowering can tell apart.
    """

    enforced: bool
    peers: Mapping[Peer, PeerPolicy]

    def verdict(self, peer: Peer, port: int, protocol: int = TCP) -> PortVerdict:
        """Return what is allowed between the endpoint and ``peer`` at ``port`` of the one that listens."""
        return self.of(peer).verdict(port, protocol)

    def of(self, peer: Peer) -> PeerPolicy:
        """Return everything about one peer."""
        try:
            return self.peers[peer]
        except KeyError:
            raise Bug(f"peer {str(peer)!r} was not there when the policies were lowered") from None

    def rule_sets(self) -> Iterator[RuleSet]:
        """Yield every rule set in use, some of them more than once."""
        for policy in {id(policy): policy for policy in self.peers.values()}.values():
            verdicts = (*(segment.verdict for segment in policy.segments), policy.other)
            yield from (verdict.rules for verdict in verdicts if isinstance(verdict, Inspect))


@dataclass(frozen=True, slots=True)
class Lowered:
    """The meaning of all policies by direction and endpoint (``ns/name``).

    ``networks`` are those that any policy names, the longest prefixes first:
    each is a peer, and so is the world that is in none of them.
    """

    ingress: Mapping[str, EndpointPolicy]
    egress: Mapping[str, EndpointPolicy]
    networks: tuple[Network, ...]

    def of(self, direction: Direction) -> Mapping[str, EndpointPolicy]:
        """Return the endpoints' policies for one direction."""
        return self.ingress if direction is Direction.INGRESS else self.egress

    def peer_outside(self, address: Address) -> Peer:
        """Return the peer of an address that is neither an endpoint's nor the node's."""
        found = (network for network in self.networks if address in network)
        network = next(found, None)
        return WORLD if network is None else Peer.cidr(network)

    def rule_sets(self) -> tuple[RuleSet, ...]:
        """Return every rule set in use, once, in the order of first use."""
        policies = (*self.ingress.values(), *self.egress.values())
        return tuple(dict.fromkeys(rules for policy in policies for rules in policy.rule_sets()))
