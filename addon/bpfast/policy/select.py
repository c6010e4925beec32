# SPDX-License-Identifier: Apache-2.0
"""Selectors of endpoints and peers, as Cilium completes and matches them.

What stands in a policy is not yet what is selected: a selector of peers in a
namespaced policy means that namespace, unless it speaks of namespaces itself
(pkg/k8s/apis/cilium.io/utils); an entity is one or several selectors
(pkg/policy/api/entity.go); a network with exceptions is a condition on prefixes
(pkg/policy/api/cidr.go).
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from bpfast.policy import cnp
from bpfast.policy.names import split_source
from bpfast.policy.peers import EVERY_IPV4, EVERY_IPV6, Facts, Network, contains, parse_network
from bpfast.policy.subject import CLUSTER, CLUSTER_NAME, NAMESPACE_LABELS, POD_NAMESPACE

ENFORCING: Final = "bpfast.io/enforcing"
"""The label of the pods whose rules are enforced here (design section 8)."""


class Operator(Enum):
    """What is asked of a label; EQUALS is an entry of ``matchLabels``."""

    EQUALS = "="
    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on the label ``source:key``."""

    source: str
    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def holds(self, facts: Facts) -> bool:
        """Return whether the label is as asked; without the label only NOT_IN and DOES_NOT_EXIST hold."""
        value = facts.value(self.source, self.key)
        if self.operator in (Operator.EQUALS, Operator.IN):
            return value is not None and value in self.values
        if self.operator is Operator.EXISTS:
            return value is not None
        if self.operator is Operator.NOT_IN:
            return value is None or value not in self.values
        return value is None


@dataclass(frozen=True, slots=True)
class Selector:
    """Conditions that must all hold; none selects everybody."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, facts: Facts) -> bool:
        """Return whether it selects a peer or an endpoint."""
        return all(requirement.holds(facts) for requirement in self.requirements)

    def may_match(self, facts: Facts) -> bool:
        """Return the same: labels are known."""
        return self.matches(facts)


@dataclass(frozen=True, slots=True)
class InNetwork:
    """The addresses of a network less those of the networks in ``excepted``.

    ``of_set``: it stands in a CIDRSet. There, on a cluster with one address
    family, Cilium takes the whole of either family for the whole world
    (CIDRRuleSlice.GetAsEndpointSelectors): a denial may mean both.
    """

    network: Network
    excepted: tuple[Network, ...] = ()
    of_set: bool = False

    def matches(self, facts: Facts) -> bool:
        """Return whether a peer is in it.

        The world at large is meant by 0.0.0.0/0: an address is never asked about
        as the world once a policy names a whole family.
        """
        if facts.network is None:
            return facts.is_world and self.network == EVERY_IPV4
        if not contains(self.network, facts.network):
            return False
        return not any(contains(excepted, facts.network) for excepted in self.excepted)

    def may_match(self, facts: Facts) -> bool:
        """Return whether a peer can be in it: the world at large can be of either family."""
        network = facts.network
        if network is None:
            return facts.is_world and self.network in (EVERY_IPV4, EVERY_IPV6)
        if self.of_set and self.network.prefixlen == 0:
            return not any(contains(excepted, network) for excepted in self.excepted)
        return self.matches(facts)


class Reach(Enum):
    """Whom a selector can mean whose members only a cluster knows."""

    WORLD = "addresses outside of the cluster"
    NODES = "nodes"
    ANYBODY = "anybody"


@dataclass(frozen=True, slots=True)
class Unknown:
    """Peers that nothing here knows: names, services, groups, nodes."""

    reach: Reach

    def matches(self, facts: Facts) -> bool:
        """Return False: nobody is known to be selected."""
        del facts
        return False

    def may_match(self, facts: Facts) -> bool:
        """Return whether a peer can be among those meant."""
        if self.reach is Reach.WORLD:
            return facts.is_world
        if self.reach is Reach.NODES:
            return facts.source == "reserved" and not facts.labels.keys().isdisjoint(_NODES)
        return True


PeerSelector = Selector | InNetwork | Unknown

EVERYBODY: Final = Selector()
_NODES: Final = ("host", "remote-node", "kube-apiserver")
_HOST_BY_NAME: Final = Selector((Requirement("reserved", "host", Operator.EQUALS, ("",)),))


def names_the_host(peers: tuple[PeerSelector, ...]) -> bool:
    """Return whether the node itself is asked for by name, and not as one of everybody.

    Cilium compares selectors as text (createL4IngressFilter): one that is about
    the host and something else is not the host's own.
    """
    return EVERYBODY not in peers and _HOST_BY_NAME in peers


def requirements_of(selector: cnp.EndpointSelector) -> tuple[Requirement, ...]:
    """Return the conditions of a selector as they are written."""
    labels = tuple(
        Requirement(*split_source(key), Operator.EQUALS, (value,))
        for key, value in selector.match_labels.items()
    )
    return labels + tuple(
        Requirement(*split_source(each.key), Operator(each.operator), each.values)
        for each in selector.match_expressions
    )


@dataclass(frozen=True, slots=True)
class SubjectSelector:
    """Whom a rule is about; ``generated``: it is the kernel's half of a policy that was split."""

    selector: Selector
    generated: bool
    for_init: bool


def subject_selector(selector: cnp.EndpointSelector, namespace: str | None) -> SubjectSelector:
    """Return whom a rule is about: in the policy's own namespace, or anywhere if it has none.

    What is asked of the label ``bpfast.io/enforcing`` is left out: it says who
    enforces a rule, not whom it is about.
    """
    written = requirements_of(selector)
    asked = [each for each in written if each.key == ENFORCING and each.source in ("any", "k8s")]
    kept = tuple(each for each in written if each not in asked)
    if namespace is not None:
        # The own namespace takes the place of another one that a label names (ParseToCiliumRule).
        kept = tuple(each for each in kept if (each.source, each.key, each.operator) != _NAMESPACE_BY_LABEL)
        kept = (*kept, Requirement("k8s", POD_NAMESPACE, Operator.EQUALS, (namespace,)))
    return SubjectSelector(
        Selector(kept),
        generated=any(each.operator in _DEMANDS for each in asked),
        for_init=any(each.source == "reserved" and each.key == "init" for each in written),
    )


_DEMANDS: Final = (Operator.EQUALS, Operator.IN, Operator.EXISTS)
_NAMESPACE_BY_LABEL: Final = ("k8s", POD_NAMESPACE, Operator.EQUALS)


def endpoint_selector(selector: cnp.EndpointSelector, namespace: str | None, *, for_init: bool) -> Selector:
    """Return whom an entry of ``fromEndpoints`` or ``toEndpoints`` means.

    ``for_init``: the rule is about endpoints that have no labels yet.
    """
    written = requirements_of(selector)
    if any(each.source == "reserved" for each in written):
        return Selector(written)
    kubernetes = [each.key for each in written if each.source in ("any", "k8s")]
    if POD_NAMESPACE in kubernetes:
        return Selector(written)
    if namespace is None:
        return Selector(
            written if for_init else (*written, Requirement("k8s", POD_NAMESPACE, Operator.EXISTS))
        )
    if any(key.startswith(NAMESPACE_LABELS) for key in kubernetes):
        return Selector(written)
    return Selector((*written, Requirement("k8s", POD_NAMESPACE, Operator.EQUALS, (namespace,))))


def entity_selectors(entity: str) -> tuple[PeerSelector, ...]:
    """Return the selectors that an entity stands for; ``none`` selects nobody."""
    if entity == "all":
        return (EVERYBODY,)
    if entity == "none":
        return ()
    if entity == "cluster":
        pods = Selector((Requirement("k8s", CLUSTER, Operator.EQUALS, (CLUSTER_NAME,)),))
        return (*(_reserved(name) for name in _IN_CLUSTER), pods)
    return (_reserved(entity),)


_IN_CLUSTER: Final = ("host", "remote-node", "init", "ingress", "health", "unmanaged", "kube-apiserver")


def _reserved(name: str) -> Selector:
    return Selector((Requirement("reserved", name, Operator.EQUALS, ("",)),))


def cidr_selector(rule: cnp.CidrRule) -> PeerSelector:
    """Return whom an entry of ``fromCIDRSet`` or ``toCIDRSet`` means."""
    if rule.cidr is None:
        return Unknown(Reach.WORLD)
    excepted = tuple(parse_network(text) for text in rule.except_)
    return InNetwork(parse_network(rule.cidr), excepted, of_set=True)
