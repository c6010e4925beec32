# SPDX-License-Identifier: Apache-2.0
"""Policies without their models: who, where, and what becomes of it.

Each entry of ``ingress``, ``egress`` and the sections that deny becomes *grants*,
one a ``toPorts`` entry. What Cilium's proxy or agent would have to do for an entry
and nobody here can (decrypt, authenticate, rewrite) is HELD: where such an entry
fits, nothing passes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from bpfast.policy import cnp
from bpfast.policy.peers import Facts, parse_network
from bpfast.policy.ports import PortSpec, icmp_specs, port_specs
from bpfast.policy.rules import HeaderMatch, HttpRule
from bpfast.policy.select import (
    EVERYBODY,
    InNetwork,
    PeerSelector,
    Reach,
    Selector,
    Unknown,
    cidr_selector,
    endpoint_selector,
    entity_selectors,
    names_the_host,
    subject_selector,
)

if TYPE_CHECKING:
    from bpfast.policy.reader import Policy
    from bpfast.policy.refused import Refused


class Effect(Enum):
    """What becomes of a connection that a grant fits."""

    DENY = "denied"
    ALLOW = "every byte may pass"
    HTTP = "requests by rules"
    HELD = "something must be done to it that cannot be done here"
    OTHER_L7 = "another protocol's rules"


@dataclass(frozen=True, slots=True)
class Grant:
    """One ``toPorts`` entry, or an entry without any.

    ``ports`` None is every port of every protocol. ``by_name``: the peers are
    the node itself by name.
    """

    peers: tuple[PeerSelector, ...]
    ports: tuple[PortSpec, ...] | None
    effect: Effect
    rules: tuple[HttpRule, ...] = ()
    by_name: bool = False

    def fits(self, facts: Facts) -> bool:
        """Return whether a peer is meant: what denies fits whoever could be meant."""
        if self.effect is Effect.DENY:
            return any(selector.may_match(facts) for selector in self.peers)
        return any(selector.matches(facts) for selector in self.peers)


@dataclass(frozen=True, slots=True)
class Section:
    """What a rule says about one direction; ``closes``: it turns default deny on.

    ``present``: the rule has entries for this direction at all. ``unread``: it
    was refused, and may have rules that bind the node itself by name.
    """

    present: bool
    closes: bool
    grants: tuple[Grant, ...]
    unread: bool = False


@dataclass(frozen=True, slots=True)
class FlatRule:
    """A rule: whom it is about, and what it says about connections in and out."""

    subject: Selector
    ingress: Section
    egress: Section


_Entry = cnp.IngressRule | cnp.IngressDenyRule | cnp.EgressRule | cnp.EgressDenyRule
_DENY_ALL: Final = Grant((EVERYBODY,), None, Effect.DENY)


def flatten(policy: "Policy") -> Iterator[FlatRule]:
    """Yield the rules of a policy that are about endpoints (not those about nodes)."""
    for path, rule in policy.rules:
        if rule.endpoint_selector is not None:
            yield _flat_rule(rule, rule.endpoint_selector, policy.namespace, f"{policy.full_name} {path}")


def flatten_refused(refused: "Refused") -> FlatRule:
    """Return what a policy that could not be read does: it opens nothing, and closes whom it may be about."""
    selector = refused.selector or cnp.EndpointSelector()
    return FlatRule(
        subject_selector(selector, refused.namespace).selector,
        _refused_section(present=refused.ingress, denies=refused.denies_ingress),
        _refused_section(present=refused.egress, denies=refused.denies_egress),
    )


def _refused_section(*, present: bool, denies: bool) -> Section:
    return Section(present, present, (_DENY_ALL,) if denies else (), unread=present)


def _flat_rule(rule: cnp.Rule, selector: cnp.EndpointSelector, namespace: str | None, name: str) -> FlatRule:
    subject = subject_selector(selector, namespace)
    context = Context(namespace, subject.for_init)
    # The kernel's half opens at layer 4 what the original has rules for.
    allows = not subject.generated
    ingress = (*rule.ingress, *rule.ingress_deny)
    egress = (*rule.egress, *rule.egress_deny)
    return FlatRule(
        subject.selector,
        Section(
            bool(ingress),
            bool(ingress) and rule.enable_default_deny.ingress is not False,
            (
                *(context.grants(rule.ingress, f"{name}.ingress") if allows else ()),
                *context.denials(rule.ingress_deny),
            ),
        ),
        Section(
            bool(egress),
            bool(egress) and rule.enable_default_deny.egress is not False,
            (
                *(context.grants(rule.egress, f"{name}.egress") if allows else ()),
                *context.denials(rule.egress_deny),
            ),
        ),
    )


@dataclass(frozen=True, slots=True)
class Context:
    """What the selectors of a rule are completed with."""

    namespace: str | None
    for_init: bool

    def grants(self, entries: Iterable[cnp.IngressRule | cnp.EgressRule], name: str) -> Iterator[Grant]:
        """Yield what the entries of ``ingress`` or ``egress`` open."""
        for number, entry in enumerate(entries):
            peers = self.peers(entry)
            if peers == ():
                continue
            by_name = peers is not None and names_the_host(peers)
            anybody = (EVERYBODY,) if peers is None else peers
            if not entry.to_ports:
                yield from _whole(entry, peers, by_name=by_name)
            for place, port_rule in enumerate(entry.to_ports):
                effect, rules = _effect(port_rule, f"{name}[{number}].toPorts[{place}]")
                if _authenticates(entry):
                    effect, rules = Effect.HELD, ()
                yield Grant(anybody, port_specs(port_rule.ports), effect, rules, by_name)

    def denials(self, entries: Iterable[cnp.IngressDenyRule | cnp.EgressDenyRule]) -> Iterator[Grant]:
        """Yield what the entries of ``ingressDeny`` or ``egressDeny`` close."""
        for entry in entries:
            peers = self.peers(entry)
            if peers == ():
                continue
            anybody = (EVERYBODY,) if peers is None else peers
            if entry.icmps:
                yield Grant(anybody, icmp_specs(entry.icmps), Effect.DENY)
            elif not entry.to_ports and peers is not None:
                yield Grant(anybody, None, Effect.DENY)
            for port_rule in entry.to_ports:
                yield Grant(anybody, port_specs(port_rule.ports), Effect.DENY)

    def peers(self, entry: _Entry) -> tuple[PeerSelector, ...] | None:
        """Return the peers of an entry: None is everybody, an empty list of any kind nobody.

        To Cilium, an empty list of groups, services or names is as if absent.
        For a denial it is so here, too; what it would open stays closed.
        """
        denies = isinstance(entry, cnp.IngressDenyRule | cnp.EgressDenyRule)
        if isinstance(entry, cnp.IngressRule | cnp.IngressDenyRule):
            endpoints, cidrs, sets = entry.from_endpoints, entry.from_cidr, entry.from_cidr_set
            entities, nodes = entry.from_entities, entry.from_nodes
            unknown = _unknown_sources(entry)
        else:
            endpoints, cidrs, sets = entry.to_endpoints, entry.to_cidr, entry.to_cidr_set
            entities, nodes = entry.to_entities, entry.to_nodes
            unknown = _unknown_destinations(entry)
        given: list[tuple[object, ...]] = [
            each for each in (endpoints, cidrs, sets, entities, nodes) if each is not None
        ]
        given += [each for each, _ in unknown if each is not None and (each or not denies)]
        if not given:
            return None
        if not all(given):
            return ()
        found: list[PeerSelector] = []
        found += (endpoint_selector(each, self.namespace, for_init=self.for_init) for each in endpoints or ())
        found += (InNetwork(parse_network(each)) for each in cidrs or ())
        found += (cidr_selector(each) for each in sets or ())
        for entity in entities or ():
            found += entity_selectors(entity)
        found += (Unknown(reach) for each, reach in ((nodes, Reach.NODES), *unknown) if each)
        return tuple(found)


_Unknown = tuple[tuple[object, ...] | None, Reach]
"""A list whose members only a cluster knows, and whom they can be."""


def _unknown_sources(entry: cnp.IngressRule | cnp.IngressDenyRule) -> tuple[_Unknown, ...]:
    return ((entry.from_groups, Reach.WORLD),)


def _unknown_destinations(entry: cnp.EgressRule | cnp.EgressDenyRule) -> tuple[_Unknown, ...]:
    names = entry.to_fqdns if isinstance(entry, cnp.EgressRule) else None
    return (
        (entry.to_groups, Reach.WORLD),
        (entry.to_services, Reach.ANYBODY),
        (names, Reach.ANYBODY),
    )


def _whole(
    entry: cnp.IngressRule | cnp.EgressRule, peers: tuple[PeerSelector, ...] | None, *, by_name: bool
) -> Iterator[Grant]:
    """Yield what an entry without ``toPorts`` opens; without peers as well that is nothing."""
    effect = Effect.HELD if _authenticates(entry) else Effect.ALLOW
    if entry.icmps:
        yield Grant(peers or (EVERYBODY,), icmp_specs(entry.icmps), effect, by_name=by_name)
    elif peers is not None:
        yield Grant(peers, None, effect, by_name=by_name)


def _authenticates(entry: cnp.IngressRule | cnp.EgressRule) -> bool:
    return entry.authentication is not None and entry.authentication.mode != "disabled"


def _effect(port_rule: cnp.PortRule, name: str) -> tuple[Effect, tuple[HttpRule, ...]]:
    """Return what becomes of the connections of one ``toPorts`` entry."""
    if (
        port_rule.terminating_tls is not None
        or port_rule.originating_tls is not None
        or port_rule.server_names
        or port_rule.listener is not None
    ):
        return Effect.HELD, ()
    rules = port_rule.rules
    if rules is None:
        return Effect.ALLOW, ()
    if rules.dns or rules.kafka or rules.l7 or rules.l7proto:
        return Effect.OTHER_L7, ()
    if not rules.http:
        return Effect.ALLOW, ()
    if any(_rewrites(match) for rule in rules.http for match in rule.header_matches):
        return Effect.HELD, ()
    return Effect.HTTP, tuple(
        http_rule(rule, f"{name}.rules.http[{number}]")
        for number, rule in enumerate(rules.http)
        if not any(match.mismatch for match in rule.header_matches)
    )


def _rewrites(match: cnp.HeaderMatch) -> bool:
    """Return whether a match changes requests, or compares with a secret."""
    return match.secret is not None or match.mismatch in ("ADD", "DELETE", "REPLACE")


def http_rule(rule: cnp.HttpRule, name: str) -> HttpRule:
    """Return one entry of ``rules.http`` as the tables take it."""
    headers = [HeaderMatch(*cnp.split_header(text)) for text in rule.headers]
    headers += (HeaderMatch(match.name, match.value or None) for match in rule.header_matches)
    return HttpRule(name, rule.method or None, rule.path or None, rule.host or None, tuple(headers))
