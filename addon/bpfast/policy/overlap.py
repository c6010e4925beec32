# SPDX-License-Identifier: Apache-2.0
"""Two scopes -> whether some connection may be within both, whatever pods there will be.

The answer "no" is a proof and must be right for every set of labels, addresses
and port names; "yes" only says that there is no proof. What is taken for granted,
all of it from Cilium's sources: an identity has one label of a name
(pkg/labels, ``Labels`` is a map by name); the world and the nodes have no label of
a Kubernetes namespace; what is inside the cluster is never the world, and but for
nodes never known by a network (pkg/ipcache/metadata.go, ``resolveLabels``).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntFlag, auto
from functools import lru_cache
from typing import Final

from bpfast.policy.meaning import Direction
from bpfast.policy.peers import Network, contains
from bpfast.policy.ports import MAX_PORT, PortSpec, Span
from bpfast.policy.select import EVERYBODY, InNetwork, Operator, PeerSelector, Reach, Requirement, Selector
from bpfast.policy.subject import NAMESPACE_LABELS, POD_NAMESPACE


@dataclass(frozen=True, slots=True)
class Scope:
    """The connections that an entry of a policy is about.

    ``subject`` is whom the rule selects, None for nodes. No ``peers`` is nobody;
    ``ports`` None is every port of every protocol, empty is none.
    """

    direction: Direction
    subject: Selector | None
    peers: tuple[PeerSelector, ...]
    ports: tuple[Span, ...] | None


def overlap(one: Scope, other: Scope) -> bool:
    """Return False if no connection can be within both scopes, else True."""
    return meet(ready(one), ready(other))


@dataclass(frozen=True, slots=True)
class Ready:
    """A scope made ready to be held against many others."""

    scope: Scope
    subject: "_Party"
    peers: "tuple[_Party, ...]"


def ready(scope: Scope) -> Ready:
    """Return a scope with what can be said beforehand about its selectors."""
    subject = _NODES if scope.subject is None else _party(scope.subject)
    return Ready(scope, subject, tuple(map(_party, scope.peers)))


def meet(one: Ready, other: Ready) -> bool:
    """Return ``overlap`` of two scopes."""
    mine, yours = one.scope, other.scope
    return (
        mine.direction is yours.direction
        and (mine.subject is None) is (yours.subject is None)
        and _ports_meet(mine.ports, yours.ports)
        and _parties_meet(one.subject, other.subject)
        and any(_parties_meet(peer, against) for peer in one.peers for against in other.peers)
    )


def spans_of(specs: Iterable[PortSpec]) -> tuple[Span, ...]:
    """Return all numbers that ports can stand for: a name can stand for each of its protocol."""
    return tuple(_widest(spec) for spec in specs)


def _widest(spec: PortSpec) -> Span:
    if isinstance(spec.port, str):
        return Span(spec.protocol, 0, MAX_PORT)
    return spec.span({}) or Span(spec.protocol, 0, MAX_PORT)


def _ports_meet(one: tuple[Span, ...] | None, other: tuple[Span, ...] | None) -> bool:
    if one is None or other is None:
        return one != () and other != ()
    return any(
        mine.protocol == yours.protocol and mine.first <= yours.last and yours.first <= mine.last
        for mine in one
        for yours in other
    )


class _Kind(IntFlag):
    """What an identity can be; each is exactly one of these."""

    POD = auto()
    WORLD = auto()
    HOST = auto()
    REMOTE_NODE = auto()
    OTHER = auto()  # health, init, ingress, unmanaged


_ANY_KIND: Final = _Kind.POD | _Kind.WORLD | _Kind.HOST | _Kind.REMOTE_NODE | _Kind.OTHER
# Nodes too: policy-cidr-match-mode may say so. All else in the cluster never (resolveLabels).
_BY_ADDRESS: Final = _Kind.WORLD | _Kind.HOST | _Kind.REMOTE_NODE
_NAMESPACED: Final = _Kind.POD | _Kind.OTHER
# The API server may be a node, outside, or a pod: no entry here.
_RESERVED: Final = {
    "world": _Kind.WORLD,
    "host": _Kind.HOST,
    "remote-node": _Kind.REMOTE_NODE,
    "health": _Kind.OTHER,
    "init": _Kind.OTHER,
    "ingress": _Kind.OTHER,
    "unmanaged": _Kind.OTHER,
}
_KEPT: Final = 4096
_LISTING: Final = (Operator.EQUALS, Operator.IN)
_POSITIVE: Final = (*_LISTING, Operator.EXISTS)


@dataclass(frozen=True, slots=True)
class _Party:
    """A selector, None for nodes; what it can select, and the values that it pins labels to, by name.

    ``kinds`` is a _Kind as a plain number, which is ten times as fast.
    ``nobody``: it contradicts itself, or excepts all of its addresses.
    """

    kinds: int
    pinned: Mapping[str, frozenset[str]]
    selector: PeerSelector | None
    nobody: bool = False


_NODES: Final = _Party(int(_ANY_KIND), {}, None)


@lru_cache(maxsize=_KEPT)
def _party(selector: PeerSelector) -> _Party:
    """Return a selector made ready; equal ones are the same object."""
    pinned: dict[str, frozenset[str]] = {}
    if isinstance(selector, Selector):
        for each in selector.requirements:
            if each.operator in _LISTING:
                values = frozenset(each.values)
                pinned[each.key] = pinned.get(each.key, values) & values
    nobody = False
    if isinstance(selector, Selector):
        nobody = not _labels_meet(selector, EVERYBODY)
    elif isinstance(selector, InNetwork):
        nobody = not _networks_meet(selector, selector)
    return _Party(int(_kinds(selector)), pinned, selector, nobody)


def peers_meet(one: PeerSelector, other: PeerSelector) -> bool:
    """Return False if no peer can be selected by both."""
    return _parties_meet(_party(one), _party(other))


def _parties_meet(one: _Party, other: _Party) -> bool:
    if not one.kinds & other.kinds or one.nobody or other.nobody:
        return False
    if one is other:
        return True
    # Nearly always this tells them apart; a label has one value, whatever its source.
    for key, values in one.pinned.items():
        if values.isdisjoint(other.pinned.get(key, values)):
            return False
    mine, yours = one.selector, other.selector
    if isinstance(mine, Selector) and isinstance(yours, Selector):
        return _labels_meet(mine, yours)
    if isinstance(mine, InNetwork) and isinstance(yours, InNetwork):
        return _networks_meet(mine, yours)
    return True


def _kinds(peer: PeerSelector) -> _Kind:
    """Return what a selected peer can be."""
    if isinstance(peer, InNetwork):
        return _BY_ADDRESS
    if not isinstance(peer, Selector):
        return {Reach.WORLD: _BY_ADDRESS, Reach.NODES: _Kind.HOST | _Kind.REMOTE_NODE}.get(
            peer.reach, _ANY_KIND
        )
    kinds = _ANY_KIND
    for each in peer.requirements:
        if each.operator in _POSITIVE:
            kinds &= _kinds_with(each)
    return kinds


def _kinds_with(requirement: Requirement) -> _Kind:
    """Return what an identity with this label can be."""
    if requirement.source == "reserved":
        return _RESERVED.get(requirement.key, _ANY_KIND)
    namespaced = requirement.key == POD_NAMESPACE or requirement.key.startswith(NAMESPACE_LABELS)
    # Not with the source "any": a node may have a label of this name, too.
    return _NAMESPACED if namespaced and requirement.source == "k8s" else _ANY_KIND


def _labels_meet(one: Selector, other: Selector) -> bool:
    """Return False if no set of labels fulfils both selectors."""
    by_name: dict[str, list[Requirement]] = {}
    for each in (*one.requirements, *other.requirements):
        by_name.setdefault(each.key, []).append(each)
    return all(_possible(asked) for asked in by_name.values())


def _possible(asked: list[Requirement]) -> bool:
    """Return whether one label, or its absence, can be as all conditions on its name ask."""
    positive = [each for each in asked if each.operator in _POSITIVE]
    if not positive:
        return True  # without the label
    sources = {each.source for each in positive} - {"any"}
    if len(sources) > 1:
        return False
    listed = [frozenset(each.values) for each in positive if each.operator is not Operator.EXISTS]
    left = frozenset.intersection(*listed) if listed else None
    for each in asked:
        if each in positive or each.source not in {"any", *sources}:
            continue
        if each.operator is Operator.DOES_NOT_EXIST:
            return False
        left = None if left is None else left - frozenset(each.values)
    return left is None or bool(left)


def _networks_meet(one: InNetwork, other: InNetwork) -> bool:
    """Return False if no address is in both."""
    if 0 in (one.network.prefixlen, other.network.prefixlen):
        return True  # the world as such, of either family
    if contains(one.network, other.network):
        common = other.network
    elif contains(other.network, one.network):
        common = one.network
    else:
        return False
    return not _covered(common, (*one.excepted, *other.excepted))


def _covered(network: Network, by: Iterable[Network]) -> bool:
    """Return whether every address of a network is in one of the others.

    It is not if some part of it is in none: halves are looked at only where
    something smaller than themselves is left out.
    """
    near = [part for part in by if part.overlaps(network)]
    if any(contains(part, network) for part in near):
        return True
    return bool(near) and all(_covered(half, near) for half in network.subnets())
