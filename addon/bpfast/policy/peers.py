# SPDX-License-Identifier: Apache-2.0
"""The other side of a connection: what it is called, and what selectors can know of it.

Cilium gives every address one identity, and an identity is a set of labels. There
are three kinds here: an endpoint has its pod's labels (source ``k8s``), an entity
the label of its name (source ``reserved``), and a network that some policy names
is part of the world. An address belongs to its endpoint, else to the node, else to
the longest network that any policy names, else to the world at large.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

from bpfast.policy.subject import Subject

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

EVERY_IPV4: Final = IPv4Network("0.0.0.0/0")
EVERY_IPV6: Final = IPv6Network("::/0")


class PeerKind(Enum):
    """What a peer is known by."""

    ENDPOINT = "endpoint"
    ENTITY = "entity"
    CIDR = "cidr"


@dataclass(frozen=True, slots=True)
class Peer:
    """The other side of a connection: an endpoint (``ns/name``), an entity or a network."""

    kind: PeerKind
    name: str

    @classmethod
    def endpoint(cls, full_name: str) -> "Peer":
        """Return the endpoint ``ns/name`` as a peer."""
        return cls(PeerKind.ENDPOINT, full_name)

    @classmethod
    def entity(cls, name: str) -> "Peer":
        """Return an entity as a peer: one of ``ENTITIES``."""
        return cls(PeerKind.ENTITY, name)

    @classmethod
    def cidr(cls, network: Network | str) -> "Peer":
        """Return the addresses of a network (that belong to nobody else) as a peer."""
        return cls(PeerKind.CIDR, str(network))

    def __str__(self) -> str:
        """Return ``ns/name``, ``entity:name`` or ``cidr:network``."""
        return self.name if self.kind is PeerKind.ENDPOINT else f"{self.kind.value}:{self.name}"


HOST: Final = Peer.entity("host")
"""The node itself: any of its own addresses."""

WORLD: Final = Peer.entity("world")
"""Every address that is neither an endpoint's nor the node's nor in a network that a policy names."""

REMOTE_NODE: Final = Peer.entity("remote-node")
HEALTH: Final = Peer.entity("health")
INIT: Final = Peer.entity("init")
UNMANAGED: Final = Peer.entity("unmanaged")
INGRESS: Final = Peer.entity("ingress")
KUBE_APISERVER: Final = Peer.entity("kube-apiserver")

ENTITIES: Final = (HOST, WORLD, REMOTE_NODE, HEALTH, INIT, UNMANAGED, INGRESS, KUBE_APISERVER)
"""The entities that are one identity each (``all`` and ``cluster`` are several)."""

RESERVED: Final = frozenset(peer.name for peer in ENTITIES)
"""The names that a label with the source ``reserved`` can have."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What selectors can know of a peer: labels of one ``source``, and for a CIDR peer its network."""

    source: str
    labels: Mapping[str, str]
    network: Network | None = None

    def value(self, source: str, key: str) -> str | None:
        """Return the value of a label, None without it; the source ``any`` takes every one."""
        return self.labels.get(key) if source in ("any", self.source) else None

    @property
    def is_world(self) -> bool:
        """Return whether it is outside of the cluster."""
        return self.source == "reserved" and "world" in self.labels


def facts_of_subject(subject: Subject) -> Facts:
    """Return what is known of an endpoint."""
    return Facts("k8s", subject.identity_labels())


def all_facts(subjects: Iterable[Subject], networks: Iterable[Network]) -> dict[Peer, Facts]:
    """Return every peer that can be told apart, with what is known of it."""
    facts = {peer: Facts("reserved", {peer.name: ""}) for peer in ENTITIES}
    # A node with a kube-apiserver is a remote node as well (pkg/identity/numericidentity.go).
    facts[KUBE_APISERVER] = Facts("reserved", {KUBE_APISERVER.name: "", REMOTE_NODE.name: ""})
    for subject in subjects:
        facts[Peer.endpoint(subject.full_name)] = facts_of_subject(subject)
    for network in networks:
        facts[Peer.cidr(network)] = Facts("reserved", {WORLD.name: ""}, network)
    return facts


def parse_network(text: str) -> Network:
    """Return the network of an address or of ``address/length``; bits behind the length are dropped."""
    return ip_network(text, strict=False)


def distinct_networks(named: Iterable[Network]) -> tuple[Network, ...]:
    """Return the networks that must be told apart, the longest prefixes first.

    When either whole address family is named, both are there: an address of the
    other one must not be taken for one that nothing is known of.
    """
    found = set(named)
    if found & {EVERY_IPV4, EVERY_IPV6}:
        found |= {EVERY_IPV4, EVERY_IPV6}
    return tuple(
        sorted(
            found, key=lambda network: (-network.prefixlen, network.version, network.network_address.packed)
        )
    )


def contains(outer: Network, inner: Network) -> bool:
    """Return whether every address of ``inner`` is in ``outer``."""
    return (
        outer.version == inner.version
        and outer.prefixlen <= inner.prefixlen
        and inner.network_address in outer
    )
