# SPDX-License-Identifier: Apache-2.0
"""What is said to share no connection shares none: held against all that there could be."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpfast.policy.meaning import Direction
from bpfast.policy.overlap import Scope, overlap, peers_meet, spans_of
from bpfast.policy.peers import Facts, all_facts, distinct_networks
from bpfast.policy.ports import SCTP, TCP, UDP, PortSpec, Span
from bpfast.policy.select import (
    EVERYBODY,
    InNetwork,
    Operator,
    PeerSelector,
    Reach,
    Requirement,
    Selector,
    Unknown,
    entity_selectors,
)
from bpfast.policy.subject import NAMESPACE_LABELS, POD_NAMESPACE, Subject

KEYS = ("app", "tier")
VALUES = ("a", "b", "c")
SOURCES = ("any", "k8s", "container")
# One more value and one more source than any selector speaks of.
LABELS = [None, *product((*SOURCES[1:], "other"), (*VALUES, "d"))]


@dataclass(frozen=True)
class Identity:
    """Labels with the source of each; written from the text of Kubernetes, not from ours."""

    labels: dict[str, tuple[str, str] | None]

    def has(self, source: str, key: str) -> str | None:
        """Return the value of a label if its source is the one asked for."""
        label = self.labels.get(key)
        return label[1] if label and source in ("any", label[0]) else None

    def fulfils(self, asked: Requirement) -> bool:
        """Return whether one condition holds."""
        value = self.has(asked.source, asked.key)
        match asked.operator:
            case Operator.EQUALS | Operator.IN:
                return value is not None and value in asked.values
            case Operator.NOT_IN:
                return value is None or value not in asked.values
            case Operator.EXISTS:
                return value is not None
            case Operator.DOES_NOT_EXIST:
                return value is None


ALL_IDENTITIES = [
    Identity(dict(zip(KEYS, labels, strict=True))) for labels in product(LABELS, repeat=len(KEYS))
]


def requirements(keys: tuple[str, ...] = KEYS) -> st.SearchStrategy[Requirement]:
    """Return conditions on these keys."""
    values = st.lists(st.sampled_from(VALUES), min_size=1, max_size=3, unique=True).map(tuple)
    one = st.sampled_from(VALUES).map(lambda value: (value,))
    source, key = st.sampled_from(SOURCES), st.sampled_from(keys)
    return st.one_of(
        st.builds(Requirement, source, key, st.just(Operator.EQUALS), one),
        st.builds(Requirement, source, key, st.sampled_from((Operator.IN, Operator.NOT_IN)), values),
        st.builds(Requirement, source, key, st.sampled_from((Operator.EXISTS, Operator.DOES_NOT_EXIST))),
    )


SELECTORS = st.lists(requirements(), max_size=4).map(lambda asked: Selector(tuple(asked)))


@settings(max_examples=400, deadline=None)
@given(SELECTORS, SELECTORS)
def test_selectors_meet_exactly_when_some_set_of_labels_fulfils_both(one: Selector, other: Selector) -> None:
    """Neither is a contradiction overlooked nor one invented."""
    asked = (*one.requirements, *other.requirements)
    witness = any(all(map(identity.fulfils, asked)) for identity in ALL_IDENTITIES)

    assert witness == peers_meet(one, other)


@settings(max_examples=300, deadline=None)
@given(SELECTORS, st.sampled_from(ALL_IDENTITIES))
def test_selectors_mean_the_same_here_as_in_lowering(selector: Selector, identity: Identity) -> None:
    """The labels that the proof is made for are matched alike by ``Selector.matches``."""
    sources = {label[0] for label in identity.labels.values() if label}
    if len(sources) <= 1:
        labels = {key: label[1] for key, label in identity.labels.items() if label}
        facts = Facts(next(iter(sources), "k8s"), labels)
        assert selector.matches(facts) == all(map(identity.fulfils, selector.requirements))


SMALL = IPv4Network("10.1.2.0/28")
PARTS = [part for length in range(28, 33) for part in SMALL.subnets(new_prefix=length)]
NETWORKS = st.builds(
    InNetwork, st.sampled_from(PARTS), st.lists(st.sampled_from(PARTS), max_size=5).map(tuple)
)


def addresses(network: InNetwork) -> set[str]:
    """Return all addresses that are meant."""
    meant = set(map(str, network.network))
    return meant.difference(*({str(each) for each in excepted} for excepted in network.excepted))


@settings(max_examples=400, deadline=None)
@given(NETWORKS, NETWORKS)
def test_networks_meet_exactly_when_they_share_an_address(one: InNetwork, other: InNetwork) -> None:
    """Exceptions of both sides count, alone and together."""
    assert bool(addresses(one) & addresses(other)) == peers_meet(one, other)


def test_families_never_meet() -> None:
    """An IPv4 network and an IPv6 one have no address in common; a whole family is the world."""
    four, six = InNetwork(ip_network("10.0.0.0/8")), InNetwork(ip_network("fd00::/8"))

    assert not peers_meet(four, six)
    assert peers_meet(InNetwork(ip_network("0.0.0.0/0")), six)
    assert peers_meet(four, InNetwork(ip_network("::/0")))


SUBJECTS = (
    Subject("demo", "web", {"app": "a", "tier": "b"}),
    Subject("demo", "client", {"app": "b"}, {"team": "a"}),
    Subject("prod", "client", {"app": "b"}, {"team": "b"}, "till"),
)
NAMED_NETWORKS = tuple(
    map(ip_network, ("0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "::/0", "fd00::/8"))
)
PEERS = list(all_facts(SUBJECTS, distinct_networks(NAMED_NETWORKS)).values())
ENTITIES = ("all", "cluster", "host", "remote-node", "world", "health", "init", "ingress", "unmanaged")


def peer_selectors() -> st.SearchStrategy[PeerSelector]:
    """Return peers of all kinds, the selectors with and without a namespace."""
    spaces = st.sampled_from(("demo", "prod")).map(
        lambda name: Requirement("k8s", POD_NAMESPACE, Operator.EQUALS, (name,))
    )
    teams = st.sampled_from(VALUES[:2]).map(
        lambda name: Requirement("k8s", NAMESPACE_LABELS + "team", Operator.EQUALS, (name,))
    )
    reserved = st.builds(
        lambda name, operator: Requirement("reserved", name, operator),
        st.sampled_from((*ENTITIES[2:], "kube-apiserver")),
        st.sampled_from((Operator.EXISTS, Operator.DOES_NOT_EXIST)),
    )
    asked = st.lists(st.one_of(requirements(), spaces, teams, reserved), max_size=3)
    entities = st.sampled_from((*ENTITIES, "kube-apiserver")).map(entity_selectors)
    return st.one_of(
        asked.map(lambda each: Selector(tuple(each))),
        entities.flatmap(st.sampled_from),
        st.builds(
            InNetwork,
            st.sampled_from(NAMED_NETWORKS),
            st.lists(st.sampled_from(NAMED_NETWORKS[2:4]), max_size=1).map(tuple),
        ),
        st.sampled_from(Reach).map(Unknown),
    )


@settings(max_examples=1000, deadline=None)
@given(peer_selectors(), peer_selectors())
def test_no_peer_is_selected_by_two_that_never_meet(one: PeerSelector, other: PeerSelector) -> None:
    """Endpoints, entities and networks, known and possible: nobody is meant by both."""
    shared = [facts for facts in PEERS if one.may_match(facts) and other.may_match(facts)]

    assert peers_meet(one, other) or shared == []


def label(key: str, value: str, source: str = "k8s") -> Requirement:
    """Return the demand for one label."""
    return Requirement(source, key, Operator.EQUALS, (value,))


POD = Selector((label("app", "a"), label(POD_NAMESPACE, "demo")))


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    (
        (POD, Selector((label("app", "b"), label(POD_NAMESPACE, "demo"))), False),
        (POD, Selector((label("tier", "b"), label(POD_NAMESPACE, "demo"))), True),
        (POD, Selector((label("app", "a"), label(POD_NAMESPACE, "prod"))), False),
        (POD, EVERYBODY, True),
        (POD, *entity_selectors("world"), False),
        (POD, *entity_selectors("host"), False),
        (POD, *entity_selectors("kube-apiserver"), True),
        (POD, InNetwork(ip_network("10.0.0.0/8")), False),
        (Selector((label("app", "a"),)), InNetwork(ip_network("10.0.0.0/8")), True),
        (POD, Unknown(Reach.WORLD), False),
        (POD, Unknown(Reach.NODES), False),
        (POD, Unknown(Reach.ANYBODY), True),
        (*entity_selectors("world"), Unknown(Reach.NODES), False),
        (*entity_selectors("kube-apiserver"), InNetwork(ip_network("10.0.0.0/8")), True),
        (*entity_selectors("kube-apiserver"), Unknown(Reach.NODES), True),
    ),
)
def test_what_is_proved(one: PeerSelector, other: PeerSelector, meet: bool) -> None:
    """Examples of what can be told apart by labels, by namespace, and by what an identity is."""
    assert meet == peers_meet(one, other) == peers_meet(other, one)


def scope(
    *ports: PortSpec,
    direction: Direction = Direction.INGRESS,
    subject: Selector | None = POD,
    peers: tuple[PeerSelector, ...] = (POD,),
) -> Scope:
    """Return a scope; without ``ports`` it has every port."""
    return Scope(direction, subject, peers, spans_of(ports) if ports else None)


HTTP, WEB, HTTPS = PortSpec(TCP, 80), PortSpec(TCP, "web"), PortSpec(TCP, 443)


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    (
        (scope(HTTP), scope(HTTP), True),
        (scope(HTTP), scope(HTTPS), False),
        (scope(HTTP), scope(PortSpec(UDP, 80)), False),
        (scope(HTTP), scope(WEB), True),
        (scope(PortSpec(UDP, "web")), scope(WEB), False),
        (scope(HTTP, HTTPS), scope(PortSpec(TCP, 400, 500)), True),
        (scope(HTTP), scope(PortSpec(TCP, 81, 90)), False),
        (scope(PortSpec(TCP, 90, 80)), scope(PortSpec(TCP, 85)), False),
        (scope(PortSpec(TCP, 0)), scope(HTTP), True),
        (scope(), scope(HTTP), True),
        (scope(), scope(), True),
        (scope(HTTP), Scope(Direction.INGRESS, POD, (POD,), ()), False),
        (scope(), Scope(Direction.INGRESS, POD, (POD,), ()), False),
        (scope(HTTP), scope(HTTP, direction=Direction.EGRESS), False),
        (scope(HTTP), scope(HTTP, peers=()), False),
        (scope(HTTP), scope(HTTP, subject=None), False),
        (scope(HTTP, subject=None), scope(HTTP, subject=None), True),
        (scope(HTTP), scope(HTTP, subject=Selector((label("app", "b"),))), False),
        (scope(HTTP), scope(HTTP, subject=EVERYBODY), True),
    ),
)
def test_scopes(one: Scope, other: Scope, meet: bool) -> None:
    """Direction, subject, peers and ports must all meet; a name may be any port of its protocol."""
    assert meet == overlap(one, other) == overlap(other, one)


PORTS = st.builds(
    PortSpec,
    st.sampled_from((TCP, UDP, SCTP)),
    st.one_of(st.sampled_from((0, 1, 79, 80, 81, 65535)), st.sampled_from(("web", "dns"))),
    st.one_of(st.none(), st.sampled_from((1, 80, 90, 65535))),
)
NUMBERS = (0, 1, 2, 79, 80, 81, 85, 90, 91, 4000, 65535)


@settings(max_examples=500, deadline=None)
@given(PORTS, PORTS, st.sampled_from(NUMBERS), st.sampled_from(NUMBERS))
def test_no_port_is_in_two_that_never_meet(one: PortSpec, other: PortSpec, web: int, dns: int) -> None:
    """Whatever number a name stands for."""
    names = {(name, protocol): n for name, n in (("web", web), ("dns", dns)) for protocol in (6, 17, 132)}
    spans = [one.span(names), other.span(names)]

    def covered(span: Span | None, protocol: int, number: int) -> bool:
        return span is not None and span.protocol == protocol and span.first <= number <= span.last

    shared = any(
        all(covered(span, protocol, number) for span in spans)
        for protocol in (6, 17, 132)
        for number in (*NUMBERS, web, dns)
    )
    assert overlap(scope(one), scope(other)) or not shared


def test_many_exceptions_are_no_burden() -> None:
    """A network all of whose addresses are excepted one by one is empty, and is found to be."""
    whole = IPv6Network("fd00::/116")
    holes = tuple(IPv6Network(address) for address in whole)

    assert not peers_meet(InNetwork(whole, holes), InNetwork(whole))
    assert peers_meet(InNetwork(whole, holes[1:]), InNetwork(whole))
