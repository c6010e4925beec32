# SPDX-License-Identifier: Apache-2.0
"""Whom policies mean: selectors, entities, networks, clusterwide policies, the node itself."""

from ipaddress import ip_address

import pytest

from bpfast.policy.meaning import HOST, WORLD, Allow, Deny, Direction, EndpointPolicy, Peer
from bpfast.policy.peers import ENTITIES, KUBE_APISERVER
from bpfast.policy.subject import Subject
from tests.policy.policies import (
    CLIENT,
    GET,
    OTHER,
    STRANGER,
    WEB,
    Object,
    at_web,
    clusterwide,
    from_web,
    lowered,
    peer,
    policy,
    port,
    rule,
    word,
)

PODS = {"web": WEB, "client": CLIENT, "other": OTHER, "stranger": STRANGER}
NAMESPACE = "io.kubernetes.pod.namespace"


def allowed(web: EndpointPolicy, number: int = 80) -> set[str]:
    """Return the peers that may connect: pods by their short names, entities by name."""
    peers = {name: peer(pod) for name, pod in PODS.items()} | {each.name: each for each in ENTITIES}
    return {name for name, each in peers.items() if web.verdict(each, number) != Deny()} - {"host"}


def let_in(entry: Object) -> set[str]:
    """Return the peers that one ingress entry lets in."""
    return allowed(at_web(policy(rule(entry))))


def expression(key: str, operator: str, *values: str) -> Object:
    """Return an entry with one selector of one expression."""
    written: Object = {"key": key, "operator": operator}
    if values:
        written["values"] = list(values)
    return {"fromEndpoints": [{"matchExpressions": [written]}]}


class TestExpressions:
    """``matchExpressions``."""

    @pytest.mark.parametrize(
        ("operator", "values", "expected"),
        (
            ("In", ("client", "other"), {"client", "other"}),
            ("In", ("nobody",), set()),
            ("NotIn", ("client",), {"web", "other"}),
            ("Exists", (), {"web", "client", "other"}),
            ("DoesNotExist", (), set()),
        ),
    )
    def test_a_label_of_the_own_namespace(
        self, operator: str, values: tuple[str, ...], expected: set[str]
    ) -> None:
        """Expressions on a pod's labels select in the policy's own namespace."""
        assert expected == let_in(expression("app", operator, *values))

    def test_all_expressions_must_hold(self) -> None:
        """Labels and expressions of one selector are ANDed."""
        selector = {
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["front"]}],
        }

        assert set() == let_in({"fromEndpoints": [selector]})

    def test_a_namespace_by_expression_lifts_the_own_namespace(self) -> None:
        """A key about the namespace means that the selector speaks of namespaces itself."""
        assert {"stranger"} == let_in(expression(NAMESPACE, "In", "prod"))
        assert {"web", "client", "other", "stranger"} == let_in(expression(NAMESPACE, "Exists"))

    def test_a_negative_namespace_expression_lets_the_world_in(self) -> None:
        """``NotIn`` holds for peers without any namespace: Cilium lets the world in, and so do we."""
        entities = {each.name for each in ENTITIES} - {"host"}

        assert {"stranger"} | entities == let_in(expression(NAMESPACE, "NotIn", "demo"))

    def test_labels_of_the_namespace_by_expression(self) -> None:
        """Labels of the namespace lift the own namespace, with every operator."""
        key = "k8s:io.cilium.k8s.namespace.labels.team"

        assert {"stranger"} == let_in(expression(key, "Exists"))
        assert {"web", "client", "other"} <= let_in(expression(key, "DoesNotExist"))

    def test_a_reserved_label_lifts_the_own_namespace(self) -> None:
        """``reserved:`` selects identities that are in no namespace."""
        assert {"health"} == let_in({"fromEndpoints": [{"matchLabels": {"reserved:health": ""}}]})
        assert {"remote-node", "kube-apiserver"} == let_in(expression("reserved:remote-node", "Exists"))

    def test_subjects_by_expression(self) -> None:
        """An endpointSelector has expressions, too, and stays in its namespace."""
        selector = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["client"]}]}
        meaning = lowered(policy(rule({}, endpointSelector=selector)))

        assert {"demo/client"} == {name for name, each in meaning.ingress.items() if each.enforced}


class TestEntities:
    """``fromEntities`` and ``toEntities``."""

    @pytest.mark.parametrize(
        ("entity", "expected"),
        (
            ("world", {"world"}),
            ("remote-node", {"remote-node", "kube-apiserver"}),
            ("kube-apiserver", {"kube-apiserver"}),
            ("health", {"health"}),
            ("init", {"init"}),
            ("unmanaged", {"unmanaged"}),
            ("ingress", {"ingress"}),
            ("host", set()),
            ("none", set()),
        ),
    )
    def test_an_entity_is_one_identity(self, entity: str, expected: set[str]) -> None:
        """Each entity lets in what it says; a node with an API server is a remote node, too."""
        assert expected == let_in({"fromEntities": [entity]})

    def test_all_is_everybody(self) -> None:
        """``all`` lets every peer in."""
        assert set(PODS) | {each.name for each in ENTITIES} - {"host"} == let_in({"fromEntities": ["all"]})

    def test_cluster_is_everybody_but_the_world(self) -> None:
        """``cluster`` is the pods of every namespace, and the nodes, but nobody outside."""
        assert let_in({"fromEntities": ["all"]}) - {"world"} == let_in({"fromEntities": ["cluster"]})

    @pytest.mark.parametrize("field", ("fromEntities", "fromCIDR", "fromCIDRSet", "fromEndpoints"))
    def test_an_empty_list_is_nobody(self, field: str) -> None:
        """An empty list of any kind of peer selects nobody and turns default deny on."""
        assert set() == let_in({field: []})
        assert set() == let_in({field: [], "toPorts": [port(80)]})

    def test_egress_to_an_entity(self) -> None:
        """``toEntities`` is the same for connections out."""
        web = from_web(policy(rule(ingress=[], egress=[{"toEntities": ["world"]}])))

        assert Allow() == web.verdict(WORLD, 443)
        assert Deny() == web.verdict(KUBE_APISERVER, 443)


def at_address(text: str, *policies: Object, number: int = 80) -> str:
    """Return what an address outside of the cluster may do at WEB's port."""
    meaning = lowered(*policies)
    return word(meaning.ingress["demo/web"].verdict(meaning.peer_outside(ip_address(text)), number))


class TestNetworks:
    """``fromCIDR`` and ``fromCIDRSet``."""

    def test_addresses_inside_are_let_in(self) -> None:
        """A network lets its addresses in and nobody else."""
        one = policy(rule({"fromCIDR": ["10.1.0.0/16"]}))

        assert ["allow", "deny"] == [at_address(text, one) for text in ("10.1.2.3", "10.2.0.1")]

    def test_an_address_is_a_network_of_one(self) -> None:
        """A length of 32 is one address."""
        one = policy(rule({"fromCIDR": ["192.0.2.7/32"]}))

        assert ["allow", "deny"] == [at_address(text, one) for text in ("192.0.2.7", "192.0.2.8")]

    def test_bits_behind_the_length_do_not_count(self) -> None:
        """``10.1.2.3/8`` is ``10.0.0.0/8``."""
        assert "allow" == at_address("10.200.0.1", policy(rule({"fromCIDR": ["10.1.2.3/8"]})))

    def test_exceptions_are_left_out(self) -> None:
        """``except`` takes networks out, and another entry can let them in again."""
        ranges = {"fromCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.2.0.0/16"]}]}
        again = {"fromCIDR": ["10.1.1.0/24"]}
        addresses = "10.3.0.1", "10.1.0.1", "10.2.0.1", "10.1.1.1"

        assert ["allow", "deny", "deny", "deny"] == [
            at_address(text, policy(rule(ranges))) for text in addresses
        ]
        assert ["allow", "deny", "deny", "allow"] == [
            at_address(text, policy(rule(ranges, again))) for text in addresses
        ]

    def test_an_exception_of_one_policy_is_no_exception_of_another(self) -> None:
        """Networks of all policies are told apart, and each policy speaks for itself."""
        less = policy(rule({"fromCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}]}), name="a")
        more = policy(rule({"fromCIDR": ["10.0.0.0/8"]}), name="b")

        assert "allow" == at_address("10.1.0.1", less, more)

    def test_the_whole_of_a_family_is_not_the_other(self) -> None:
        """0.0.0.0/0 is every IPv4 address of the world and no IPv6 address."""
        one = policy(rule({"fromCIDR": ["0.0.0.0/0"]}))

        assert ["allow", "deny"] == [at_address(text, one) for text in ("8.8.8.8", "2001:db8::1")]

    def test_networks_are_no_pods_and_no_nodes(self) -> None:
        """0.0.0.0/0 lets the world in, but no endpoint and no node."""
        assert {"world"} == let_in({"fromCIDR": ["0.0.0.0/0"]})

    def test_the_world_has_the_networks_in_it(self) -> None:
        """The entity ``world`` lets addresses in that another policy names as a network."""
        world = policy(rule({"fromEntities": ["world"]}), name="a")
        network = policy(rule({"fromCIDR": ["10.0.0.0/8"], "toPorts": [port(80, GET)]}), name="b")

        assert "allow" == at_address("10.0.0.1", world, network)

    def test_the_longest_network_counts(self) -> None:
        """An address is in the longest network; the shorter ones contain it, too."""
        wide = policy(rule({"fromCIDR": ["10.0.0.0/8"], "toPorts": [port(80, GET)]}), name="a")
        narrow = policy(rule({"fromCIDR": ["10.1.0.0/16"], "toPorts": [port(81)]}), name="b")

        assert "inspect" == at_address("10.1.0.1", wide, narrow)
        assert "allow" == at_address("10.1.0.1", wide, narrow, number=81)
        assert "deny" == at_address("10.2.0.1", wide, narrow, number=81)

    def test_ipv6_networks(self) -> None:
        """IPv6 is the same."""
        one = policy(rule({"fromCIDRSet": [{"cidr": "2001:db8::/32", "except": ["2001:db8:1::/48"]}]}))
        addresses = "2001:db8::1", "2001:db8:1::1", "2001:db9::1"

        assert ["allow", "deny", "deny"] == [at_address(text, one) for text in addresses]


class TestClusterwide:
    """CiliumClusterwideNetworkPolicy."""

    def test_it_selects_in_every_namespace(self) -> None:
        """Without a namespace of its own it selects endpoints wherever they are."""
        meaning = lowered(clusterwide(rule({}, endpointSelector={"matchLabels": {"app": "client"}})))

        assert {"demo/client", "prod/client"} == {
            name for name, each in meaning.ingress.items() if each.enforced
        }

    def test_its_peers_are_pods_of_every_namespace(self) -> None:
        """``fromEndpoints: [{}]`` is every pod, and not the world."""
        assert set(PODS) == allowed(at_web(clusterwide(rule({"fromEndpoints": [{}]}))))

    def test_its_name_has_no_namespace(self) -> None:
        """Rules are named by the policy's name alone."""
        web = at_web(clusterwide(rule({"toPorts": [port(80, GET)]})))
        (rules,) = {each.name for rule_set in web.rule_sets() for each in rule_set.rules}

        assert "c spec.ingress[0].toPorts[0].rules.http[0]" == rules

    def test_rules_about_nodes_are_not_about_endpoints(self) -> None:
        """A ``nodeSelector`` selects no endpoint."""
        spec = {"nodeSelector": {}, "ingress": [{"fromEntities": ["world"]}]}

        assert not any(each.enforced for each in lowered(clusterwide(spec)).ingress.values())


class TestTheHost:
    """The node itself, on the way in."""

    @pytest.mark.parametrize(
        "peers",
        (
            {},
            {"fromEntities": ["all"]},
            {"fromEntities": ["all", "host"]},
            {"fromEntities": ["world"]},
            {"fromEndpoints": [{"matchExpressions": [{"key": "reserved:host", "operator": "Exists"}]}]},
        ),
    )
    def test_rules_for_everybody_do_not_bind_it(self, peers: Object) -> None:
        """HTTP rules that do not name the host let it through."""
        assert Allow() == at_web(policy(rule(peers | {"toPorts": [port(80, GET)]}))).verdict(HOST, 80)

    @pytest.mark.parametrize(
        "peers",
        (
            {"fromEntities": ["host"]},
            {"fromEntities": ["cluster"]},
            {"fromEndpoints": [{"matchLabels": {"reserved:host": ""}}]},
        ),
    )
    def test_rules_that_name_it_bind_it(self, peers: Object) -> None:
        """HTTP rules for the host by name are held against its requests; other ports stay open."""
        web = at_web(policy(rule(peers | {"toPorts": [port(80, GET)]})))

        assert "inspect" == word(web.verdict(HOST, 80))
        assert Allow() == web.verdict(HOST, 81)

    def test_a_wide_rule_beside_one_by_name(self) -> None:
        """Rules for everybody at the same port let the host through again: they are united."""
        named = {"fromEntities": ["host"], "toPorts": [port(80, GET)]}

        assert Allow() == at_web(policy(rule(named, {"toPorts": [port(80, GET)]}))).verdict(HOST, 80)

    def test_denials_hit_it(self) -> None:
        """What is denied to everybody is denied to the host."""
        web = at_web(policy(rule(ingress=[{}], ingressDeny=[{"toPorts": [port(80)]}])))

        assert Deny() == web.verdict(HOST, 80)
        assert Allow() == web.verdict(HOST, 81)

    def test_on_the_way_out_it_is_a_peer_like_others(self) -> None:
        """Connections to the host must be allowed."""
        web = from_web(policy(rule(ingress=[], egress=[{"toEntities": ["world"]}])))

        assert Deny() == web.verdict(HOST, 80)


class TestUnknownPeers:
    """Peers that only a cluster knows."""

    @pytest.mark.parametrize(
        "peers",
        (
            {"toFQDNs": [{"matchName": "shop.example"}]},
            {"toServices": [{"k8sService": {"serviceName": "shop", "namespace": "demo"}}]},
            {"toGroups": [{"aws": {"region": "north"}}]},
            {"toNodes": [{"matchLabels": {"rack": "1"}}]},
            {"toCIDRSet": [{"cidrGroupRef": "offices"}]},
            {"toCIDRSet": [{"cidrGroupSelector": {"matchLabels": {"role": "office"}}}]},
        ),
    )
    def test_they_open_nothing(self, peers: Object) -> None:
        """An entry for peers that nobody here knows closes the direction and opens nothing."""
        web = from_web(policy(rule(ingress=[], egress=[peers | {"toPorts": [port(80)]}])))

        assert set() == allowed(web)
        assert Deny() == web.verdict(HOST, 80)

    @pytest.mark.parametrize(
        ("peers", "denied"),
        (
            ({"fromGroups": [{"aws": {"region": "north"}}]}, {"world"}),
            ({"fromCIDRSet": [{"cidrGroupRef": "offices"}]}, {"world"}),
            ({"fromNodes": [{}]}, {"remote-node", "kube-apiserver"}),
            ({"fromGroups": []}, set()),
            ({"fromNodes": []}, set()),
        ),
    )
    def test_they_deny_whom_they_may_mean(self, peers: Object, denied: set[str]) -> None:
        """A denial for peers that nobody here knows hits everyone who could be meant."""
        web = at_web(policy(rule({"fromEntities": ["all"]}, ingressDeny=[peers])))
        everybody = {each.name for each in ENTITIES} - {"host"} | set(PODS)

        assert everybody - denied == allowed(web)

    def test_an_empty_list_of_groups_is_as_if_absent(self) -> None:
        """Beside ``fromGroups: []`` denied ports are denied to all; beside ``fromNodes: []`` to nobody."""
        words = {}
        for field in ("fromGroups", "fromNodes"):
            denies = [{field: [], "toPorts": [port(80)]}]
            web = at_web(policy(rule({"fromEntities": ["all"]}, ingressDeny=denies)))
            words[field] = [word(web.verdict(each, 80)) for each in (WORLD, peer(CLIENT), HOST)]

        assert {"fromGroups": ["deny"] * 3, "fromNodes": ["allow"] * 3} == words

    def test_services_may_be_anybody(self) -> None:
        """A denial of connections to a service hits every peer."""
        services = [{"k8sService": {"serviceName": "shop"}}]
        web = from_web(
            policy(rule(ingress=[], egress=[{"toEntities": ["all"]}], egressDeny=[{"toServices": services}]))
        )

        assert set() == allowed(web)


def test_peers_are_shown_as_the_command_line_takes_them() -> None:
    """Endpoint, entity and network have a form each."""
    assert ["demo/web", "entity:host", "cidr:10.0.0.0/8"] == [
        str(each) for each in (peer(WEB), HOST, Peer.cidr("10.0.0.0/8"))
    ]


def test_directions_are_apart() -> None:
    """A policy for connections in says nothing about connections out."""
    meaning = lowered(policy(rule({"fromEntities": ["world"]})))

    assert meaning.of(Direction.INGRESS)["demo/web"].enforced
    assert not meaning.of(Direction.EGRESS)["demo/web"].enforced


@pytest.mark.parametrize(
    ("key", "known"),
    (
        ("app.kubernetes.io/name", True),
        ("pod-template-hash", False),
        ("statefulset.kubernetes.io/pod-name", False),
        ("kubernetes.io/arch", False),
        ("team", True),
    ),
)
def test_labels_that_are_no_part_of_an_identity_are_unknown(key: str, *, known: bool) -> None:
    """What Cilium leaves out of identities selects nobody (pkg/labelsfilter)."""
    assert known == (key in Subject("demo", "web", {key: "1"}).identity_labels())
