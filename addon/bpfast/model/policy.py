# SPDX-License-Identifier: Apache-2.0
"""What all policies together say about one endpoint, one peer and one TCP port.

The policies are read for this question alone, in the order in which they are
written. What cannot be done here (decrypt, change, ask somebody else) denies
whatever it fits, since it would have been a condition.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from bpfast.model.labels import Address, Labels, Who, pod_labels, selects, who_is
from bpfast.model.peers import Peers, names_host, peers_of, perhaps, surely
from bpfast.model.port import fits_port, listeners_of
from bpfast.policy.cnp import (
    EgressDenyRule,
    EgressRule,
    EndpointSelector,
    IngressDenyRule,
    IngressRule,
    PortDenyRule,
    PortRule,
    Rule,
)
from bpfast.policy.cnp import HttpRule as HttpEntry
from bpfast.policy.meaning import HOST, Allow, Deny, Direction, Inspect, Peer, PortVerdict
from bpfast.policy.names import split_source
from bpfast.policy.reader import Policy
from bpfast.policy.refused import Refused
from bpfast.policy.rules import HeaderMatch, HttpRule, RuleSet
from bpfast.policy.subject import POD_NAMESPACE, Subject

AllowEntry = IngressRule | EgressRule
DenyEntry = IngressDenyRule | EgressDenyRule

ENFORCING: Final = "bpfast.io/enforcing"
_OWN_NAMESPACE: Final = f"k8s:{POD_NAMESPACE}"
"""The label of pods that are enforced here: what asks about it was written by BPFast's own operator."""


@dataclass(frozen=True, slots=True)
class _Question:
    """Who asks for what: everything that one decision is about."""

    direction: Direction
    endpoint: Subject
    labels: Labels
    peer: Who
    port: int
    listeners: tuple[Subject, ...]

    @property
    def from_own_node(self) -> bool:
        """Whether the node itself connects to the endpoint."""
        return self.direction is Direction.INGRESS and self.peer.is_reserved(HOST.name)


@dataclass(slots=True)
class _Findings:
    """What the entries that fit say: what is found decides, not where."""

    denied: bool = False
    plain: bool = False
    closed: bool = False
    dns: bool = False
    http: bool = False
    unread: bool = False
    rules: list[HttpRule] = field(default_factory=list)


def decide(  # noqa: PLR0913, PLR0917 - one parameter a part of the question
    policies: Sequence[Policy],
    subjects: Sequence[Subject],
    direction: Direction,
    endpoint: str,
    peer: Peer | Address,
    port: int,
    *,
    default_deny: bool = False,
    refused: Sequence[Refused] = (),
) -> PortVerdict:
    """Return what may pass between ``endpoint`` (ns/name) and ``peer`` at a TCP port of the one who listens.

    An address is one that belongs to no endpoint and not to the node.
    ``default_deny`` closes endpoints that no policy selects; ``refused`` are rules
    that could not be read: they open nothing and close what they may be about.
    """
    by_name = {subject.full_name: subject for subject in subjects}
    subject = by_name[endpoint]
    listeners = tuple(listeners_of(direction, subject, subjects))
    question = _Question(direction, subject, pod_labels(subject), who_is(peer, by_name), port, listeners)
    found, enforced = _Findings(), default_deny
    for each in refused:
        closes, denies = _refused(each, question)
        enforced |= closes
        found.denied |= denies
        found.unread |= closes  # it may bind the node itself by name
    for policy in policies:
        for path, rule in policy.rules:
            if _is_about(policy, rule, question):
                enforced |= _default_denies(rule, direction)
                _read(policy, path, rule, question, found)
    return _verdict(question, found, enforced=enforced)


def _verdict(question: _Question, found: _Findings, *, enforced: bool) -> PortVerdict:
    if found.denied or found.closed or (found.dns and found.http):
        return Deny()
    if found.plain or not enforced:
        return Allow()
    if found.http:
        return Inspect(RuleSet(tuple(found.rules)))
    return Allow() if question.from_own_node and not found.unread else Deny()


# ---- rules and endpoints


def _is_about(policy: Policy, rule: Rule, question: _Question) -> bool:
    if rule.endpoint_selector is None:
        return False
    if policy.namespace is not None and policy.namespace != question.endpoint.namespace:
        return False
    return _selects(rule.endpoint_selector, policy.namespace, question)


def _selects(selector: EndpointSelector, namespace: str | None, question: _Question) -> bool:
    """Return whether a rule is about the endpoint, as far as its labels say.

    In a namespaced policy a label ``k8s:`` for a namespace is not asked about:
    Cilium puts the policy's own in its place (``ParseToCiliumRule``).
    """
    asked = _without_enforcing(selector)
    if namespace is not None and _OWN_NAMESPACE in asked.match_labels:
        labels = {key: value for key, value in asked.match_labels.items() if key != _OWN_NAMESPACE}
        asked = asked.model_copy(update={"match_labels": labels})
    return selects(asked, question.labels)


def _is_enforcing(key: str) -> bool:
    source, name = split_source(key)
    return source in ("any", "k8s") and name == ENFORCING


def _demands_enforcing(selector: EndpointSelector) -> bool:
    """Return whether a rule is a generated half: it selects only those that are enforced here."""
    return any(map(_is_enforcing, selector.match_labels)) or any(
        _is_enforcing(each.key) and each.operator in ("Exists", "In") for each in selector.match_expressions
    )


def _without_enforcing(selector: EndpointSelector) -> EndpointSelector:
    """Return the selector as its author wrote it."""
    labels = {key: value for key, value in selector.match_labels.items() if not _is_enforcing(key)}
    expressions = tuple(each for each in selector.match_expressions if not _is_enforcing(each.key))
    return selector.model_copy(update={"match_labels": labels, "match_expressions": expressions})


def _default_denies(rule: Rule, direction: Direction) -> bool:
    """Return whether a rule closes its endpoints to all that nobody opens."""
    if direction is Direction.INGRESS:
        written, has_section = rule.enable_default_deny.ingress, bool(rule.ingress or rule.ingress_deny)
    else:
        written, has_section = rule.enable_default_deny.egress, bool(rule.egress or rule.egress_deny)
    return has_section and written is not False


def _refused(rule: Refused, question: _Question) -> tuple[bool, bool]:
    """Return whether a rule that was refused may close the endpoint, and may deny everything."""
    if rule.namespace is not None and rule.namespace != question.endpoint.namespace:
        return False, False
    if rule.selector is not None and not _selects(rule.selector, rule.namespace, question):
        return False, False
    if question.direction is Direction.INGRESS:
        return rule.ingress, rule.denies_ingress
    return rule.egress, rule.denies_egress


# ---- entries


def _read(policy: Policy, path: str, rule: Rule, question: _Question, found: _Findings) -> None:
    """Add what the entries of one rule say."""
    ingress = question.direction is Direction.INGRESS
    denying: Sequence[DenyEntry] = rule.ingress_deny if ingress else rule.egress_deny
    allowing: Sequence[AllowEntry] = rule.ingress if ingress else rule.egress
    found.denied |= any(_denies(entry, question, policy.namespace) for entry in denying)
    if rule.endpoint_selector is not None and _demands_enforcing(rule.endpoint_selector):
        return
    for number, entry in enumerate(allowing):
        name = f"{policy.full_name} {path}.{question.direction.value}[{number}]"
        _read_allowing(entry, name, question, policy.namespace, found)


def _denies(entry: DenyEntry, question: _Question, namespace: str | None) -> bool:
    peers = peers_of(entry)
    if not perhaps(peers, question.peer, namespace):
        return False
    if entry.to_ports:
        return any(_fits(each, question) for each in entry.to_ports)
    return _is_for_all_ports(entry, peers)


def _is_for_all_ports(entry: AllowEntry | DenyEntry, peers: Peers) -> bool:
    """Return whether an entry without ``toPorts`` is for every port; with nothing at all it is for none."""
    return not entry.icmps and not peers.everybody


def _read_allowing(
    entry: AllowEntry, name: str, question: _Question, namespace: str | None, found: _Findings
) -> None:
    peers = peers_of(entry)
    if not surely(peers, question.peer, namespace):
        return
    exempt = question.from_own_node and not names_host(peers)
    must_authenticate = entry.authentication is not None and entry.authentication.mode != "disabled"
    if not entry.to_ports and _is_for_all_ports(entry, peers):
        found.closed |= must_authenticate and not exempt
        found.plain = True
    for index, port_rule in enumerate(entry.to_ports):
        if not _fits(port_rule, question):
            continue
        if exempt:
            found.plain = True
        elif must_authenticate or _is_closed(port_rule):
            found.closed = True
        else:
            _read_rules(port_rule, f"{name}.toPorts[{index}]", found)


def _fits(port_rule: PortRule | PortDenyRule, question: _Question) -> bool:
    return any(fits_port(port, question.port, question.listeners) for port in port_rule.ports)


def _is_closed(port_rule: PortRule) -> bool:
    """Return whether the connection would have to be decrypted, changed or checked by somebody else."""
    rules = port_rule.rules
    other_l7 = rules is not None and bool(rules.kafka or rules.l7proto or rules.l7)
    return (
        port_rule.terminating_tls is not None
        or port_rule.originating_tls is not None
        or bool(port_rule.server_names)
        or port_rule.listener is not None
        or other_l7
        or any(_changes(http) for http in (rules.http if rules else None) or ())
    )


def _changes(http: HttpEntry) -> bool:
    """Return whether a rule rewrites requests, or compares with a secret."""
    return any(each.secret is not None or each.mismatch not in ("", "LOG") for each in http.header_matches)


def _read_rules(port_rule: PortRule, name: str, found: _Findings) -> None:
    rules = port_rule.rules
    if rules is None or not (rules.http or rules.dns):
        found.plain = True
        return
    found.dns |= bool(rules.dns)
    found.http |= bool(rules.http)
    for number, http in enumerate(rules.http or ()):
        # LOG would let the request pass and write it down; nobody writes here.
        if not any(each.mismatch for each in http.header_matches):
            found.rules.append(_http_rule(http, f"{name}.rules.http[{number}]"))


def _http_rule(http: HttpEntry, name: str) -> HttpRule:
    """Return a rule as ``http.judge`` takes it; an empty text asks for nothing."""
    headers = (
        *(_header(text) for text in http.headers),
        *(HeaderMatch(each.name, each.value or None) for each in http.header_matches),
    )
    return HttpRule(name, http.method or None, http.path or None, http.host or None, headers)


def _header(text: str) -> HeaderMatch:
    """Split at the first space; without one, the whole text is the name of a header that must be there."""
    name, space, value = text.partition(" ")
    return HeaderMatch(name.rstrip(":"), value) if space else HeaderMatch(text, None)
