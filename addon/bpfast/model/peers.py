# SPDX-License-Identifier: Apache-2.0
"""Which peers an entry of a rule is for.

Not all of them can be known here: what a name resolves to, which nodes, groups of
a cloud or services there are. What allows is taken for those that are known
surely, what denies for all that it may mean.
"""

from dataclasses import dataclass
from ipaddress import ip_network

from bpfast.model.labels import Who, selects_peer
from bpfast.policy.cnp import CidrRule, EndpointSelector, FromPeers, ToPeers
from bpfast.policy.subject import CLUSTER, CLUSTER_NAME

_OF_CLUSTER = ("host", "remote-node", "init", "ingress", "health", "unmanaged", "kube-apiserver")
_NODES = ("host", "remote-node", "kube-apiserver")


@dataclass(frozen=True, slots=True)
class Peers:
    """The peers of an entry of either direction, as written; None where a field is absent.

    ``unlisted``: fields whose peers cannot be known and that hold nothing, which
    Cilium takes for absent.
    """

    endpoints: tuple[EndpointSelector, ...] | None
    networks: tuple[str, ...] | None
    network_sets: tuple[CidrRule, ...] | None
    entities: tuple[str, ...] | None
    nodes: bool
    groups: bool
    services: bool
    names: bool
    unlisted: bool
    nobody: bool

    @property
    def everybody(self) -> bool:
        """Whether the entry says nothing about peers."""
        written = (self.endpoints, self.networks, self.network_sets, self.entities)
        unknown = (self.nodes, self.groups, self.services, self.names)
        return not any(each is not None for each in written) and not any(unknown)


def peers_of(entry: FromPeers | ToPeers) -> Peers:
    """Return the peers of an entry of any section."""
    if isinstance(entry, FromPeers):
        endpoints, networks, sets = entry.from_endpoints, entry.from_cidr, entry.from_cidr_set
        entities, nodes, groups, services, names = (
            entry.from_entities,
            entry.from_nodes,
            entry.from_groups,
            None,
            None,
        )
    else:
        endpoints, networks, sets = entry.to_endpoints, entry.to_cidr, entry.to_cidr_set
        entities, nodes, groups, services = (
            entry.to_entities,
            entry.to_nodes,
            entry.to_groups,
            entry.to_services,
        )
        names = getattr(entry, "to_fqdns", None)
    unknown = (groups, services, names)
    return Peers(
        endpoints,
        networks,
        sets,
        entities,
        nodes=bool(nodes),
        groups=bool(groups),
        services=bool(services),
        names=bool(names),
        unlisted=any(each is not None and not each for each in unknown),
        nobody=any(each is not None and not each for each in (endpoints, networks, sets, entities, nodes)),
    )


def surely(peers: Peers, who: Who, namespace: str | None) -> bool:
    """Return whether the entry is for ``who``, as far as that can be known: for what allows."""
    if peers.nobody:
        return False
    if peers.everybody:
        return not peers.unlisted
    return _is_known(peers, who, namespace)


def perhaps(peers: Peers, who: Who, namespace: str | None) -> bool:
    """Return whether the entry may be for ``who``: for what denies."""
    if peers.nobody:
        return False
    if peers.everybody or peers.services or _is_known(peers, who, namespace):
        return True
    if peers.nodes and any(who.is_reserved(name) for name in _NODES):
        return True
    return who.is_reserved("world") and (
        peers.groups
        or any(_may_be_the_world(text, who) for text in peers.networks or ())
        or any(_may_be_in_set(each, who) for each in peers.network_sets or ())
    )


def names_host(peers: Peers) -> bool:
    """Return whether the entry is for the node by name, and not only as one of all.

    ``cluster`` is a list of names for Cilium, the node's among them; ``all``
    swallows the names beside it (``createL4Filter``).
    """
    entities = peers.entities or ()
    if "all" in entities:
        return False
    return "host" in entities or "cluster" in entities or any(map(_is_host, peers.endpoints or ()))


def _is_host(selector: EndpointSelector) -> bool:
    return selector.match_labels == {"reserved:host": ""} and not selector.match_expressions


def _is_known(peers: Peers, who: Who, namespace: str | None) -> bool:
    return (
        any(selects_peer(selector, namespace, who.labels) for selector in peers.endpoints or ())
        or any(who.is_within(ip_network(text, strict=False)) for text in peers.networks or ())
        or any(_is_in_set(each, who) for each in peers.network_sets or ())
        or any(_is_entity(name, who) for name in peers.entities or ())
    )


def _is_in_set(rule: CidrRule, who: Who) -> bool:
    if rule.cidr is None or not who.is_within(ip_network(rule.cidr, strict=False)):
        return False
    return not _is_excepted(rule, who)


def _is_excepted(rule: CidrRule, who: Who) -> bool:
    # The world as such is in no network that is excepted: those are identities of their own.
    excepted = (ip_network(text, strict=False) for text in rule.except_)
    return who.network is not None and any(who.is_within(network) for network in excepted)


def _may_be_the_world(text: str, who: Who) -> bool:
    """Return whether a network is all addresses of a family, and ``who`` may be of either."""
    return who.network is None and ip_network(text, strict=False).prefixlen == 0


def _may_be_in_set(rule: CidrRule, who: Who) -> bool:
    """Return whether somebody outside may be meant: by a group, or by all addresses of a family.

    In a set, a cluster with one family takes either family's for the whole world
    (``CIDRRuleSlice.GetAsEndpointSelectors``).
    """
    if rule.cidr is None:
        return True
    return ip_network(rule.cidr, strict=False).prefixlen == 0 and not _is_excepted(rule, who)


def _is_entity(name: str, who: Who) -> bool:
    if name == "all":
        return True
    if name == "cluster":
        of_cluster = who.labels.get(("k8s", CLUSTER)) == CLUSTER_NAME
        return of_cluster or any(who.is_reserved(each) for each in _OF_CLUSTER)
    return who.is_reserved(name)
