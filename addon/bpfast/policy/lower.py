# SPDX-License-Identifier: Apache-2.0
"""Policies and endpoints to what may pass between each endpoint and its peers.

Cilium's rules (v1.18, pkg/policy): policies are united; what denies wins; an entry
without ``rules`` allows every byte and so cancels HTTP rules for the same peer and
port; the node itself is let in, unless it is denied or rules name it. First all
policies are flattened to grants; then peers that the same grants fit share one result.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from bpfast.policy.grants import Effect, FlatRule, Grant, Section, flatten, flatten_refused
from bpfast.policy.meaning import (
    HOST,
    OPEN,
    Allow,
    Deny,
    Direction,
    EndpointPolicy,
    Inspect,
    Lowered,
    Peer,
    PeerPolicy,
    PortVerdict,
    Segment,
)
from bpfast.policy.peers import Facts, Network, all_facts, distinct_networks
from bpfast.policy.ports import PortNames, Span, names_of, names_of_all
from bpfast.policy.reader import Policy
from bpfast.policy.refused import Refused
from bpfast.policy.rules import HttpRule, RuleSet
from bpfast.policy.select import InNetwork
from bpfast.policy.subject import Subject


def lower(  # noqa: PLR0913 - what it asks for has names
    policies: Sequence[Policy],
    subjects: Sequence[Subject],
    *,
    default_deny: bool = False,
    refused: Sequence[Refused] = (),
    only: Collection[str] | None = None,
    untrusted: Collection[str] = (),
) -> Lowered:
    """Return what ``policies`` mean for every one of ``subjects``, which are also the peers.

    ``default_deny`` closes the endpoints that no policy selects, too. ``refused``
    are policies that could not be read: they open nothing and close the endpoints
    that they may be about. ``only`` names the endpoints (``ns/name``) to look at,
    ``untrusted`` those that can craft packets: HTTP rules cannot be held against
    what they send, so they open nothing.
    HTTP rules stand in the order of ``policies``.
    """
    rules = [flat for policy in policies for flat in flatten(policy)]
    rules += (flatten_refused(each) for each in refused)
    networks = distinct_networks(_networks(rules))
    peers = all_facts(subjects, networks)
    all_names = names_of_all(subjects)
    ingress, egress = {}, {}
    for subject in subjects:
        if only is not None and subject.full_name not in only:
            continue
        own = peers[Peer.endpoint(subject.full_name)]
        selecting = [rule for rule in rules if rule.subject.matches(own)]
        sections = [rule.ingress for rule in selecting]
        ingress[subject.full_name] = _endpoint(
            sections, _View(Direction.INGRESS, names_of(subject), peers), default_deny=default_deny
        )
        sections = [rule.egress for rule in selecting]
        if subject.full_name in untrusted:
            sections = [_held_back(section) for section in sections]
        egress[subject.full_name] = _endpoint(
            sections, _View(Direction.EGRESS, all_names, peers), default_deny=default_deny
        )
    return Lowered(ingress, egress, networks)


def _held_back(section: Section) -> Section:
    """Return a section whose HTTP rules open nothing."""
    grants = (
        replace(grant, effect=Effect.HELD, rules=()) if grant.effect is Effect.HTTP else grant
        for grant in section.grants
    )
    return replace(section, grants=tuple(grants))


def _networks(rules: Iterable[FlatRule]) -> Iterable[Network]:
    """Yield every network that a rule names, exceptions too."""
    for rule in rules:
        for grant in (*rule.ingress.grants, *rule.egress.grants):
            for selector in grant.peers:
                if isinstance(selector, InNetwork):
                    yield selector.network
                    yield from selector.excepted


@dataclass(frozen=True, slots=True)
class _View:
    """One endpoint's surroundings in one direction: what port names mean, and who is there."""

    direction: Direction
    names: PortNames
    peers: Mapping[Peer, Facts]


def _endpoint(sections: Sequence[Section], view: _View, *, default_deny: bool) -> EndpointPolicy:
    """Return what may pass between an endpoint and its peers."""
    if not default_deny and not any(section.present for section in sections):
        return EndpointPolicy(enforced=False, peers=dict.fromkeys(view.peers, OPEN))
    closed = default_deny or any(section.closes for section in sections)
    grants = [grant for section in sections for grant in section.grants]
    host_otherwise = Deny() if any(section.unread for section in sections) else Allow()
    results: dict[tuple[int, ...], PeerPolicy] = {}
    policies = {}
    for peer, facts in view.peers.items():
        fitting = tuple(number for number, grant in enumerate(grants) if grant.fits(facts))
        if peer == HOST and view.direction is Direction.INGRESS:
            local = [_for_the_host(grants[number]) for number in fitting]
            policies[peer] = _Union(local, view.names, host_otherwise, closed=closed).policy()
            continue
        if fitting not in results:
            otherwise = Deny() if closed else Allow()
            union = _Union([grants[number] for number in fitting], view.names, otherwise, closed=closed)
            results[fitting] = union.policy()
        policies[peer] = results[fitting]
    return EndpointPolicy(enforced=True, peers=policies)


def _for_the_host(grant: Grant) -> Grant:
    """Return what a grant means for the node itself: HTTP rules bind it only by name."""
    if grant.by_name or grant.effect is Effect.DENY:
        return grant
    return replace(grant, effect=Effect.ALLOW, rules=())


class _Union:
    """The grants that fit one peer, united.

    ``otherwise`` is for what no grant speaks of. Where default deny is off
    (``closed`` False), HTTP rules close nothing: the engine adds a rule to them
    that allows every request.
    """

    def __init__(
        self, grants: Sequence[Grant], names: PortNames, otherwise: PortVerdict, *, closed: bool
    ) -> None:
        self._grants = grants
        self._otherwise = otherwise
        self._closed = closed
        self._everywhere = [number for number, grant in enumerate(grants) if grant.ports is None]
        self._spans = [
            (number, span)
            for number, grant in enumerate(grants)
            for spec in grant.ports or ()
            if (span := spec.span(names)) is not None
        ]
        self._known: dict[tuple[int, ...], PortVerdict] = {}

    def policy(self) -> PeerPolicy:
        """Return the verdicts for all ports."""
        other = self._verdict(tuple(self._everywhere))
        segments: list[Segment] = []
        for protocol in sorted({span.protocol for _, span in self._spans}):
            spans = [(number, span) for number, span in self._spans if span.protocol == protocol]
            for first, last, numbers in _pieces(spans):
                verdict = self._verdict(tuple(sorted({*numbers, *self._everywhere})))
                before = segments[-1] if segments else None
                if before and (before.protocol, before.last + 1, before.verdict) == (
                    protocol,
                    first,
                    verdict,
                ):
                    segments[-1] = replace(before, last=last)
                else:
                    segments.append(Segment(protocol, first, last, verdict))
        return PeerPolicy(other, tuple(segment for segment in segments if segment.verdict != other))

    def _verdict(self, numbers: tuple[int, ...]) -> PortVerdict:
        if numbers not in self._known:
            self._known[numbers] = self._unite([self._grants[number] for number in numbers])
        return self._known[numbers]

    def _unite(self, grants: Sequence[Grant]) -> PortVerdict:
        effects = {grant.effect for grant in grants}
        if effects & {Effect.DENY, Effect.HELD} or {Effect.HTTP, Effect.OTHER_L7} <= effects:
            return Deny()
        if Effect.ALLOW in effects or not self._closed:
            return Allow()
        if Effect.HTTP not in effects:
            return self._otherwise
        rules: list[HttpRule] = [rule for grant in grants for rule in grant.rules]
        return Inspect(RuleSet(tuple(rules)))


def _pieces(spans: Sequence[tuple[int, Span]]) -> Iterable[tuple[int, int, frozenset[int]]]:
    """Yield (first, last, numbers): pieces that the same spans cover, in order; gaps are left out."""
    edges = sorted({span.first for _, span in spans} | {span.last + 1 for _, span in spans})
    starts: dict[int, list[int]] = {}
    ends: dict[int, list[int]] = {}
    for index, (_, span) in enumerate(spans):
        starts.setdefault(span.first, []).append(index)
        ends.setdefault(span.last + 1, []).append(index)
    active: set[int] = set()
    for first, end in pairwise(edges):
        active.difference_update(ends.get(first, ()))
        active.update(starts.get(first, ()))
        if active:
            yield first, end - 1, frozenset(spans[index][0] for index in active)
