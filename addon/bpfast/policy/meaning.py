# SPDX-License-Identifier: Apache-2.0
"""What all policies together mean for one endpoint: a verdict for each peer and port.

Frozen values, comparable: a reload is a difference between two of these. What is
not listed is denied at an enforced endpoint, so a lookup can only open what lowering
has opened by name.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from bpfast.errors import Bug
from bpfast.policy.rules import RuleSet


class PeerKind(Enum):
    """What a peer is known by."""

    ENDPOINT = "endpoint"
    ENTITY = "entity"


@dataclass(frozen=True, slots=True)
class Peer:
    """The other side of a connection: an endpoint (``ns/name``) or an entity."""

    kind: PeerKind
    name: str

    @classmethod
    def endpoint(cls, full_name: str) -> "Peer":
        """Return the endpoint ``ns/name`` as a peer."""
        return cls(PeerKind.ENDPOINT, full_name)

    def __str__(self) -> str:
        """Return ``ns/name`` or ``entity:name``."""
        return self.name if self.kind is PeerKind.ENDPOINT else f"entity:{self.name}"


HOST: Final = Peer(PeerKind.ENTITY, "host")
"""The node itself: any of its own addresses."""

WORLD: Final = Peer(PeerKind.ENTITY, "world")
"""Every address that is neither an endpoint's nor the node's."""


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
class PeerPolicy:
    """What one peer may do: ``ports`` by number, ``other_ports`` for all the rest."""

    other_ports: PortVerdict
    ports: Mapping[int, PortVerdict] = field(default_factory=dict)

    def verdict(self, port: int) -> PortVerdict:
        """Return what the peer may do at ``port``."""
        return self.ports.get(port, self.other_ports)


OPEN: Final = PeerPolicy(Allow())


@dataclass(frozen=True, slots=True)
class EndpointPolicy:
    """What all policies mean for connections to one endpoint.

    ``peers`` has every endpoint that lowering was told of, and the entities.
    """

    enforced: bool
    peers: Mapping[Peer, PeerPolicy]

    def verdict(self, peer: Peer, port: int) -> PortVerdict:
        """Return what ``peer`` may do at ``port``."""
        return self._of(peer).verdict(port)

    def other_ports(self, peer: Peer) -> PortVerdict:
        """Return what ``peer`` may do at every port that is not in ``ports()``."""
        return self._of(peer).other_ports

    def ports(self) -> frozenset[int]:
        """Return the ports at which some peer is treated otherwise than at other ports."""
        return frozenset(port for policy in self.peers.values() for port in policy.ports)

    def rule_sets(self) -> Iterator[RuleSet]:
        """Yield every rule set in use, some of them more than once."""
        for policy in {id(policy): policy for policy in self.peers.values()}.values():
            verdicts = (*policy.ports.values(), policy.other_ports)
            yield from (verdict.rules for verdict in verdicts if isinstance(verdict, Inspect))

    def _of(self, peer: Peer) -> PeerPolicy:
        try:
            return self.peers[peer]
        except KeyError:
            raise Bug(f"peer {str(peer)!r} was not there when the policies were lowered") from None


@dataclass(frozen=True, slots=True)
class Lowered:
    """The meaning of all policies for incoming connections, by endpoint (``ns/name``)."""

    endpoints: Mapping[str, EndpointPolicy]

    def rule_sets(self) -> tuple[RuleSet, ...]:
        """Return every rule set in use, once, in the order of first use."""
        found = (rules for policy in self.endpoints.values() for rules in policy.rule_sets())
        return tuple(dict.fromkeys(found))
