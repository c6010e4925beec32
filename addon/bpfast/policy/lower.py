# SPDX-License-Identifier: Apache-2.0
"""Policies and endpoints to what each endpoint's peers may do.

Cilium's rules, for incoming connections: policies are united; an entry without
``rules`` allows every byte and so cancels HTTP rules for the same peer and port;
the node itself is always allowed. First all policies are flattened to *grants*
(who, where, which requests); then peers that the same grants fit share one result.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bpfast.policy import cnp
from bpfast.policy.meaning import (
    HOST,
    OPEN,
    WORLD,
    Allow,
    Deny,
    EndpointPolicy,
    Inspect,
    Lowered,
    Peer,
    PeerPolicy,
    PortVerdict,
)
from bpfast.policy.names import split_source
from bpfast.policy.reader import Policy
from bpfast.policy.rules import HeaderMatch, HttpRule, RuleSet
from bpfast.policy.subject import NAMESPACE_LABELS, POD_NAMESPACE, Subject

Labels = dict[str, str]


def lower(policies: Sequence[Policy], subjects: Sequence[Subject], *, default_deny: bool = False) -> Lowered:
    """Return what ``policies`` mean for every one of ``subjects``, which are also the peers.

    ``default_deny`` closes the endpoints that no policy selects, too. Rules
    stand in the order of ``policies``.
    """
    rules = [_flatten(policy, path, rule) for policy in policies for path, rule in policy.rules]
    labels = {subject.full_name: subject.identity_labels() for subject in subjects}
    peers: dict[Peer, Labels | None] = {Peer.endpoint(name): of_peer for name, of_peer in labels.items()}
    peers[WORLD] = None
    return Lowered(
        {name: _endpoint(rules, own, peers, default_deny=default_deny) for name, own in labels.items()}
    )


@dataclass(frozen=True, slots=True)
class Selector:
    """Labels that must all be there with these values."""

    labels: tuple[tuple[str, str], ...]

    def matches(self, labels: Labels | None) -> bool:
        """Return whether an endpoint has them all; None, an unknown address, has none and never matches."""
        return labels is not None and all(labels.get(key) == value for key, value in self.labels)


@dataclass(frozen=True, slots=True)
class Grant:
    """One ``toPorts`` entry, or an ``ingress`` entry without any.

    ``peers`` None is everybody, ``ports`` None every port, ``rules`` None
    every byte.
    """

    peers: tuple[Selector, ...] | None
    ports: frozenset[int] | None
    rules: tuple[HttpRule, ...] | None

    def fits(self, labels: Labels | None) -> bool:
        """Return whether a peer with these labels is meant."""
        return self.peers is None or any(selector.matches(labels) for selector in self.peers)


@dataclass(frozen=True, slots=True)
class FlatRule:
    """A rule: whom it selects, and what it opens for incoming connections."""

    subject: Selector
    grants: tuple[Grant, ...]


def _flatten(policy: Policy, path: str, rule: cnp.Rule) -> FlatRule:
    """Return a rule without its models."""
    name = f"{policy.full_name} {path}"
    grants = [
        grant
        for number, entry in enumerate(rule.ingress)
        for grant in _grants(entry, policy.namespace, f"{name}.ingress[{number}]")
    ]
    return FlatRule(_subject_selector(rule.endpoint_selector, policy.namespace), tuple(grants))


def _grants(entry: cnp.IngressRule, namespace: str, name: str) -> Iterator[Grant]:
    """Yield what one ``ingress`` entry opens; without peers and ports that is nothing."""
    peers = None
    if entry.from_endpoints is not None:
        peers = tuple(_peer_selector(selector, namespace) for selector in entry.from_endpoints)
    if not entry.to_ports and peers is not None:
        yield Grant(peers, ports=None, rules=None)
    for number, port_rule in enumerate(entry.to_ports):
        rules = None
        if port_rule.rules is not None and port_rule.rules.http:
            where = f"{name}.toPorts[{number}].rules.http"
            rules = tuple(_http_rule(rule, f"{where}[{i}]") for i, rule in enumerate(port_rule.rules.http))
        yield Grant(peers, frozenset(port.port for port in port_rule.ports), rules)


def _subject_selector(selector: cnp.EndpointSelector, namespace: str) -> Selector:
    """Return whom a rule is about: always in the policy's own namespace."""
    return Selector((*_wanted(selector), (POD_NAMESPACE, namespace)))


def _peer_selector(selector: cnp.EndpointSelector, namespace: str) -> Selector:
    """Return whom a peer selector means: the policy's namespace, unless it speaks of namespaces itself."""
    wanted = _wanted(selector)
    if any(key == POD_NAMESPACE or key.startswith(NAMESPACE_LABELS) for key, _ in wanted):
        return Selector(wanted)
    return Selector((*wanted, (POD_NAMESPACE, namespace)))


def _wanted(selector: cnp.EndpointSelector) -> tuple[tuple[str, str], ...]:
    return tuple((split_source(key)[1], value) for key, value in selector.match_labels.items())


def _http_rule(rule: cnp.HttpRule, name: str) -> HttpRule:
    headers = tuple(HeaderMatch(*cnp.split_header(text)) for text in rule.headers)
    return HttpRule(name, rule.method or None, rule.path or None, rule.host or None, headers)


def _endpoint(
    rules: Iterable[FlatRule], labels: Labels, peers: Mapping[Peer, Labels | None], *, default_deny: bool
) -> EndpointPolicy:
    """Return what the peers of the endpoint with ``labels`` may do."""
    selecting = [rule for rule in rules if rule.subject.matches(labels)]
    if not selecting and not default_deny:
        return EndpointPolicy(enforced=False, peers=dict.fromkeys((HOST, *peers), OPEN))
    grants = [grant for rule in selecting for grant in rule.grants]
    results: dict[tuple[int, ...], PeerPolicy] = {}
    policies = {HOST: OPEN}
    for peer, peer_labels in peers.items():
        fitting = tuple(number for number, grant in enumerate(grants) if grant.fits(peer_labels))
        if fitting not in results:
            results[fitting] = _unite([grants[number] for number in fitting])
        policies[peer] = results[fitting]
    return EndpointPolicy(enforced=True, peers=policies)


def _unite(grants: Sequence[Grant]) -> PeerPolicy:
    """Return what a peer may do that all ``grants`` fit."""
    if any(grant.ports is None for grant in grants):
        return OPEN
    ports = sorted({port for grant in grants for port in grant.ports or ()})
    by_port = {port: _at_port([grant for grant in grants if port in (grant.ports or ())]) for port in ports}
    return PeerPolicy(Deny(), by_port)


def _at_port(grants: Sequence[Grant]) -> PortVerdict:
    """Return what grants for one peer and port mean together."""
    rules: list[HttpRule] = []
    for grant in grants:
        if grant.rules is None:
            return Allow()
        rules += grant.rules
    return Inspect(RuleSet(tuple(rules)))
