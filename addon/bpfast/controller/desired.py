# SPDX-License-Identifier: Apache-2.0
"""The meaning of the policies -> what the kernel's maps should hold.

Pure but for its inputs: files are read by ``read``, addresses are passed in. A
rule that no table can take is left out (its requests are denied) and named.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bpfast import abi
from bpfast.abi import PortVerdict
from bpfast.errors import Bug
from bpfast.kernel.prefixes import PORTS, TCP, PeerTable, PortPrefix, prefixes
from bpfast.kernel.state import PortEntry, State
from bpfast.policy.lower import lower
from bpfast.policy.meaning import (
    HOST,
    Allow,
    Deny,
    Direction,
    EndpointPolicy,
    Inspect,
    Lowered,
    Peer,
    PeerKind,
)
from bpfast.policy.peers import ENTITIES, Address, Network
from bpfast.policy.reader import Policy
from bpfast.policy.refused import Refused
from bpfast.policy.rules import RuleSet
from bpfast.standalone.endpoints import Endpoint
from bpfast.tables.build import Built, Refusal, build
from bpfast.tables.image import TableImage

# Cilium's numbers (pkg/identity/numericidentity.go), but for the world's.
_RESERVED: Mapping[Peer, int] = {
    Peer.entity(name): number
    for name, number in {
        "world": abi.IDENTITY_WORLD,
        "host": 1,
        "unmanaged": 3,
        "health": 4,
        "init": 5,
        "remote-node": 6,
        "kube-apiserver": 7,
        "ingress": 8,
    }.items()
}
_FIRST_IDENTITY = 256

Builder = Callable[[RuleSet], Built]
Entries = Mapping[PortPrefix, PortEntry]
"""What the peers of one endpoint may do, by the kernel's keys."""


@dataclass(frozen=True, slots=True)
class World:
    """Who has which address; whoever is not here is known by the networks that policies name."""

    endpoints: tuple[Endpoint, ...]
    host: tuple[Address, ...] = ()

    def owner(self, address: Address) -> Peer | None:
        """Return the endpoint that has an address, else the host if it has it, else None."""
        for endpoint in self.endpoints:
            if address in endpoint.addresses:
                return Peer.endpoint(endpoint.full_name)
        return HOST if address in self.host else None


@dataclass(frozen=True, slots=True)
class Desired:
    """What should be enforced: the meaning, the tables of it, who has which address."""

    world: World
    policies: tuple[Policy, ...]
    lowered: Lowered
    images: Mapping[RuleSet, TableImage]
    refused: tuple[Refusal, ...]
    peers: PeerTable

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """All endpoints, those that are only peers too."""
        return self.world.endpoints

    @property
    def rules(self) -> int:
        """The number of HTTP rules in all tables."""
        return sum(len(image.rules) for image in self.images.values())

    def policy(self, name: str, direction: Direction) -> EndpointPolicy:
        """Return what is enforced for the endpoint ``ns/name``."""
        return self.lowered.of(direction)[name]

    def peer_at(self, address: Address) -> Peer:
        """Return who has an address, as the kernel's map of peers says."""
        return self.world.owner(address) or self.lowered.peer_outside(address)


def identity_of(peer: Peer) -> int:
    """Return the number of a peer.

    An endpoint's and a network's are made from the name, so that they are the
    same in the next process: peers and port policies are not switched in the
    same moment.
    """
    if peer.kind is PeerKind.ENTITY:
        if peer not in _RESERVED:
            msg = f"peer {str(peer)!r} has no identity"
            raise Bug(msg)
        return _RESERVED[peer]
    digest = hashlib.sha256(peer.name.encode()).digest()
    return max(int.from_bytes(digest[:4], "big"), _FIRST_IDENTITY)


def desired(  # noqa: PLR0913 - what it asks for has names
    world: World,
    policies: Sequence[Policy],
    *,
    only: Collection[str],
    directions: Collection[Direction] = tuple(Direction),
    untrusted: Collection[str] = (),
    default_deny: bool = False,
    refused: Sequence[Refused] = (),
    builder: Builder = build,
) -> Desired:
    """Lower the policies, build the tables of the endpoints ``only`` (``ns/name``), and number the peers.

    Tables are built for ``directions``. HTTP rules on the way out of ``untrusted``
    endpoints open nothing. ``refused`` are policies that could not be read;
    ``builder`` makes a table.
    """
    subjects = [endpoint.subject() for endpoint in world.endpoints]
    lowered = lower(
        policies, subjects, default_deny=default_deny, refused=refused, only=only, untrusted=untrusted
    )
    images: dict[RuleSet, TableImage] = {}
    left_out: dict[Refusal, None] = {}
    for rules in dict.fromkeys(
        rules
        for direction in directions
        for policy in lowered.of(direction).values()
        for rules in policy.rule_sets()
    ):
        built = builder(rules)
        images[rules] = built.image
        left_out.update(dict.fromkeys(built.refused))
    return Desired(
        world=world,
        policies=tuple(policies),
        lowered=lowered,
        images=images,
        refused=tuple(left_out),
        peers=_peer_table(world, lowered.networks),
    )


def _peer_table(world: World, networks: Iterable[Network]) -> PeerTable:
    """Return the identities of all that is known; an endpoint's address goes before the rest."""
    named = {Peer.cidr(network): network for network in networks}
    peers = [*named, *(Peer.endpoint(endpoint.full_name) for endpoint in world.endpoints)]
    check_identities([*ENTITIES, *peers])
    found: dict[Address | Network, int] = {network: identity_of(peer) for peer, network in named.items()}
    known: dict[Address | Network, int] = dict.fromkeys(world.host, identity_of(HOST))
    for endpoint in world.endpoints:
        number = identity_of(Peer.endpoint(endpoint.full_name))
        known.update(dict.fromkeys(endpoint.addresses, number))
    return PeerTable.of(found | known)


def check_identities(peers: Iterable[Peer]) -> None:
    """Raise Bug if two peers have one number: they would be treated as one."""
    numbers: dict[int, Peer] = {}
    for peer in peers:
        other = numbers.setdefault(identity_of(peer), peer)
        if other != peer:
            msg = f"{str(other)!r} and {str(peer)!r} have the same identity {identity_of(peer)}"
            raise Bug(msg)


def install(wanted: Desired, state: State) -> dict[RuleSet, int]:
    """Write every table that is new; return the index of each rule set."""
    return {rules: state.install(image) for rules, image in wanted.images.items()}


def port_entries(policy: EndpointPolicy, indices: Mapping[RuleSet, int]) -> dict[PortPrefix, PortEntry]:
    """Return the kernel's entries for one endpoint."""
    entries: dict[PortPrefix, PortEntry] = {}
    for peer, of_peer in policy.peers.items():
        identity = identity_of(peer)
        entries[PortPrefix(identity)] = _entry(of_peer.other, indices)
        for segment in of_peer.segments:
            entry = _entry(segment.verdict, indices)
            for prefix in prefixes(identity, segment.protocol, segment.first, segment.last):
                entries[prefix] = entry
    return entries


def _entry(verdict: Allow | Deny | Inspect, indices: Mapping[RuleSet, int]) -> PortEntry:
    if isinstance(verdict, Inspect):
        return PortEntry(PortVerdict.INSPECT, indices[verdict.rules])
    return PortEntry(PortVerdict.ALLOW if isinstance(verdict, Allow) else PortVerdict.DENY)


def inspected_ports(entries: Entries) -> frozenset[int]:
    """Return the TCP ports at which some peer is inspected."""
    found: set[int] = set()
    for prefix, entry in entries.items():
        if entry.verdict == PortVerdict.INSPECT and (not prefix.bits or prefix.protocol == TCP):
            found.update(prefix.ports if prefix.bits else range(PORTS))
    return frozenset(found)
