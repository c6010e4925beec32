# SPDX-License-Identifier: Apache-2.0
"""The meaning of the policies -> what the kernel's maps should hold.

Pure but for its inputs: files are read by ``read``, addresses are passed in. A
rule that no table can take is left out (its requests are denied) and named.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from bpfast import abi
from bpfast.abi import PortVerdict
from bpfast.errors import Bug
from bpfast.kernel.state import PortEntry, State
from bpfast.policy.lower import lower
from bpfast.policy.meaning import (
    HOST,
    WORLD,
    Allow,
    Deny,
    EndpointPolicy,
    Inspect,
    Lowered,
    Peer,
    PeerKind,
)
from bpfast.policy.reader import Policy
from bpfast.policy.rules import RuleSet
from bpfast.standalone.endpoints import Endpoint
from bpfast.tables.build import Refusal, build
from bpfast.tables.image import TableImage

Address = IPv4Address | IPv6Address
_HOST_IDENTITY = 1
_FIRST_IDENTITY = 256


@dataclass(frozen=True, slots=True)
class Desired:
    """Everything that should be enforced: the meaning, its tables, who has which address."""

    endpoints: tuple[Endpoint, ...]
    policies: tuple[Policy, ...]
    lowered: Lowered
    images: Mapping[RuleSet, TableImage]
    refused: tuple[Refusal, ...]
    identities: Mapping[Address, int]

    @property
    def rules(self) -> int:
        """The number of HTTP rules in all tables."""
        return sum(len(image.rules) for image in self.images.values())

    def peer_at(self, address: Address) -> Peer:
        """Return who has an address, as the kernel's map of peers says."""
        identity = self.identities.get(address)
        if identity is None:
            return WORLD
        names = (Peer.endpoint(endpoint.full_name) for endpoint in self.endpoints)
        return next((peer for peer in names if identity_of(peer) == identity), HOST)


def identity_of(peer: Peer) -> int:
    """Return the number of a peer.

    An endpoint's is made from its name, so that it is the same in the next
    process: peers and port policies are not switched in the same moment.
    """
    if peer == HOST:
        return _HOST_IDENTITY
    if peer == WORLD:
        return abi.IDENTITY_WORLD
    digest = hashlib.sha256(peer.name.encode()).digest()
    return max(int.from_bytes(digest[:4], "big"), _FIRST_IDENTITY)


def desired(
    endpoints: Sequence[Endpoint], policies: Sequence[Policy], host: Sequence[Address], *, default_deny: bool
) -> Desired:
    """Lower the policies, build every table, and number the peers."""
    lowered = lower(policies, [endpoint.subject() for endpoint in endpoints], default_deny=default_deny)
    images: dict[RuleSet, TableImage] = {}
    refused: dict[Refusal, None] = {}
    for rules in lowered.rule_sets():
        built = build(rules)
        images[rules] = built.image
        refused.update(dict.fromkeys(built.refused))
    return Desired(
        endpoints=tuple(endpoints),
        policies=tuple(policies),
        lowered=lowered,
        images=images,
        refused=tuple(refused),
        identities=_identities(endpoints, host),
    )


def _identities(endpoints: Sequence[Endpoint], host: Sequence[Address]) -> dict[Address, int]:
    found: dict[Address, int] = dict.fromkeys(host, _HOST_IDENTITY)
    numbers: dict[int, str] = {}
    for endpoint in endpoints:
        number = identity_of(Peer.endpoint(endpoint.full_name))
        if numbers.setdefault(number, endpoint.full_name) != endpoint.full_name:
            msg = f"endpoints {numbers[number]!r} and {endpoint.full_name!r} have the same identity {number}"
            raise Bug(msg)
        for address in endpoint.addresses:
            found[address] = number
    return found


def install(wanted: Desired, state: State) -> dict[RuleSet, int]:
    """Write every table that is new; return the index of each rule set."""
    return {rules: state.install(image) for rules, image in wanted.images.items()}


def port_entries(policy: EndpointPolicy, indices: Mapping[RuleSet, int]) -> dict[tuple[int, int], PortEntry]:
    """Return (identity, port) -> entry for one endpoint; port 0 is every other port."""
    entries: dict[tuple[int, int], PortEntry] = {}
    for peer, of_peer in policy.peers.items():
        if peer.kind is PeerKind.ENTITY and peer not in (HOST, WORLD):
            msg = f"peer {str(peer)!r} has no identity"
            raise Bug(msg)
        identity = identity_of(peer)
        entries[identity, 0] = _entry(of_peer.other_ports, indices)
        for port, verdict in of_peer.ports.items():
            entries[identity, port] = _entry(verdict, indices)
    return entries


def _entry(verdict: Allow | Deny | Inspect, indices: Mapping[RuleSet, int]) -> PortEntry:
    if isinstance(verdict, Inspect):
        return PortEntry(PortVerdict.INSPECT, indices[verdict.rules])
    return PortEntry(PortVerdict.ALLOW if isinstance(verdict, Allow) else PortVerdict.DENY)


def inspected_ports(entries: Mapping[tuple[int, int], PortEntry]) -> frozenset[int]:
    """Return the ports at which some peer is inspected."""
    return frozenset(
        port for (_identity, port), entry in entries.items() if entry.verdict == PortVerdict.INSPECT
    )
