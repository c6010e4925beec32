# SPDX-License-Identifier: Apache-2.0
"""What policies mean, sentence by sentence, as the texts say it (cilium-reference, docs/supported.md)."""

import json
from ipaddress import ip_address
from typing import Any

import pytest

from bpfast.model.policy import decide
from bpfast.policy.meaning import HOST, WORLD, Allow, Deny, Direction, Inspect, Peer, PortVerdict
from bpfast.policy.reader import Policy, Text, examine
from bpfast.policy.refused import Refused
from bpfast.policy.rules import HeaderMatch, HttpRule, RuleSet
from bpfast.policy.subject import Subject

Json = dict[str, Any]

WEB = Subject("demo", "web", {"app": "web"}, ports={"http": ((80, "TCP"),), "dns": ((53, "UDP"),)})
CLIENT = Subject("demo", "client", {"app": "client"}, ports={"http": ((80, "TCP"),), "alt": ((81, "TCP"),)})
FAR = Subject("other", "far", {"app": "client"}, {"team": "x"}, ports={"alt": ((82, "TCP"),)})
SUBJECTS = (WEB, CLIENT, FAR)
NEAR, AWAY = Peer.endpoint("demo/client"), Peer.endpoint("other/far")
NODE, APISERVER = Peer.entity("remote-node"), Peer.entity("kube-apiserver")

TCP80: Json = {"ports": [{"port": "80", "protocol": "TCP"}]}
HTTP: Json = {**TCP80, "rules": {"http": [{"path": "/a"}]}}
DNS: Json = {"ports": [{"port": "80"}], "rules": {"dns": [{"matchPattern": "*"}]}}
SECRET: Json = {"secret": {"name": "s"}}
CLIENTS: Json = {"fromEndpoints": [{"matchLabels": {"app": "client"}}]}


def policies(*specs: Json, clusterwide: bool = False, namespace: str = "demo") -> tuple[Policy, ...]:
    """Return policies about the server, or about whom a spec selects."""
    texts = []
    for number, spec in enumerate(specs):
        kind = "CiliumClusterwideNetworkPolicy" if clusterwide else "CiliumNetworkPolicy"
        metadata = {"name": f"p{number}"} | ({} if clusterwide else {"namespace": namespace})
        whole = {"endpointSelector": {"matchLabels": {"app": "web"}}} | spec
        document = {"apiVersion": "cilium.io/v2", "kind": kind, "metadata": metadata, "spec": whole}
        texts.append(Text(f"{number}.yaml", json.dumps(document)))
    reading = examine(texts)
    assert () == reading.faults
    return reading.policies


def ingress(read: tuple[Policy, ...], peer: Peer | str = NEAR, port: int = 80, **more: Any) -> PortVerdict:
    """Return what a peer, or the owner of an address, may do to the server."""
    who = ip_address(peer) if isinstance(peer, str) else peer
    return decide(read, SUBJECTS, Direction.INGRESS, "demo/web", who, port, **more)


def egress(read: tuple[Policy, ...], peer: Peer | str = NEAR, port: int = 80) -> PortVerdict:
    """Return what the server may do to a peer."""
    who = ip_address(peer) if isinstance(peer, str) else peer
    return decide(read, SUBJECTS, Direction.EGRESS, "demo/web", who, port)


def paths(verdict: PortVerdict) -> list[str | None]:
    """Return the paths of the rules that a verdict asks for."""
    assert isinstance(verdict, Inspect)
    return [rule.path for rule in verdict.rules.rules]


def test_nobody_selects() -> None:
    """An endpoint that no policy selects is open, or closed by default to all but the node."""
    assert Allow() == ingress(())
    assert Deny() == ingress((), default_deny=True)
    assert Allow() == ingress((), HOST, default_deny=True)
    assert Allow() == ingress(policies({"ingress": [{}]}, namespace="other"))


def test_directions_are_apart() -> None:
    """A rule with one direction leaves the other one open."""
    only = policies({"ingress": [CLIENTS]})

    assert Deny() == ingress(only, WORLD)
    assert Allow() == egress(only, WORLD)


def test_an_empty_entry() -> None:
    """``- {}`` opens nothing and closes everything else; as a denial it denies nothing."""
    assert Deny() == ingress(policies({"ingress": [{}]}))
    assert Allow() == ingress(policies({"ingress": [CLIENTS], "ingressDeny": [{}]}))


def test_union_and_names() -> None:
    """Rules of all policies that fit are united in the order of the files, each with its place."""
    other = {**TCP80, "rules": {"http": [{}, {"method": "GET", "headers": ["X-A: 1", "X-B"]}]}}
    read = policies({"ingress": [CLIENTS | {"toPorts": [HTTP]}]}, {"ingress": [{"toPorts": [other]}]})
    expected = (
        HttpRule("demo/p0 spec.ingress[0].toPorts[0].rules.http[0]", path="/a"),
        HttpRule("demo/p1 spec.ingress[0].toPorts[0].rules.http[0]"),
        HttpRule(
            "demo/p1 spec.ingress[0].toPorts[0].rules.http[1]",
            method="GET",
            headers=(HeaderMatch("X-A", "1"), HeaderMatch("X-B", None)),
        ),
    )

    assert Inspect(RuleSet(expected)) == ingress(read)


@pytest.mark.parametrize(
    "entry",
    (
        CLIENTS,
        CLIENTS | {"toPorts": [TCP80]},
        {"toPorts": [{"ports": [{"port": "0"}]}]},
        {"fromEntities": ["all"]},
        {"toPorts": [TCP80 | {"rules": {"http": []}}]},
    ),
)
def test_less_specific_cancels_http(entry: Json) -> None:
    """An entry without HTTP rules for the same peer and port lets everything pass."""
    assert Allow() == ingress(policies({"ingress": [{"toPorts": [HTTP]}, entry]}))


def test_another_port_cancels_nothing() -> None:
    """An entry for another port, protocol or peer leaves HTTP rules as they are."""
    others = [
        CLIENTS | {"toPorts": [{"ports": [{"port": "81"}, {"port": "80", "protocol": "UDP"}]}]},
        {"fromEntities": ["world"]},
        {"icmps": [{"fields": [{"type": 8, "family": "IPv4"}]}]},
    ]

    assert ["/a"] == paths(ingress(policies({"ingress": [{"toPorts": [HTTP]}, *others]})))


def test_a_denial_wins() -> None:
    """A denial that fits wins over whatever any policy allows, for the node, too."""
    denies = {"ingressDeny": [{"fromEntities": ["cluster"], "toPorts": [TCP80]}]}
    read = policies({"ingress": [{"fromEntities": ["all"]}]}, denies)

    assert [Deny(), Deny(), Allow()] == [ingress(read), ingress(read, HOST), ingress(read, WORLD)]
    assert Allow() == ingress(read, port=81)


def test_enable_default_deny() -> None:
    """Rules that do not close their endpoints deny only; HTTP rules filter only if another rule closes."""
    off = {"enableDefaultDeny": {"ingress": False}}
    http = off | {"ingress": [{"toPorts": [HTTP]}]}
    denies = off | {"ingressDeny": [{"fromEntities": ["world"]}]}

    assert [Allow(), Allow()] == [ingress(policies(http)), ingress(policies(http), port=81)]
    assert [Allow(), Deny()] == [ingress(policies(denies)), ingress(policies(denies), WORLD)]
    assert ["/a"] == paths(ingress(policies(http, {"ingress": [{}]})))
    assert Allow() == ingress(policies({"enableDefaultDeny": {"ingress": True}, "egress": [{}]}))


@pytest.mark.parametrize(
    ("selector", "selected"),
    (
        ({}, {NEAR}),
        ({"matchLabels": {"app": "client"}}, {NEAR}),
        ({"matchLabels": {"k8s:app": "client"}}, {NEAR}),
        ({"matchLabels": {"io.kubernetes.pod.namespace": "other"}}, {AWAY}),
        ({"matchLabels": {"io.cilium.k8s.namespace.labels.team": "x"}}, {AWAY}),
        ({"matchLabels": {"reserved:host": ""}}, {HOST}),
        ({"matchLabels": {"reserved:remote-node": ""}}, {NODE, APISERVER}),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["client", "x"]}]}, {NEAR}),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["client"]}]}, set()),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, {NEAR}),
        (
            {"matchExpressions": [
                {"key": "io.kubernetes.pod.namespace", "operator": "NotIn", "values": ["demo"]}
            ]},
            {AWAY, HOST, WORLD, NODE, APISERVER},
        ),
    ),
)  # fmt: skip
def test_selectors_of_peers(selector: Json, selected: set[Peer]) -> None:
    """A selector means the policy's own namespace, unless it speaks of namespaces or reserved labels."""
    read = policies({"egress": [{"toEndpoints": [selector]}]})
    found = {peer for peer in (NEAR, AWAY, HOST, WORLD, NODE, APISERVER) if egress(read, peer) == Allow()}

    assert selected == found


def test_clusterwide() -> None:
    """In a clusterwide policy selectors mean pods of every namespace, and only pods."""
    spec: Json = {"endpointSelector": {}, "ingress": [{"fromEndpoints": [{}]}]}
    read = policies(spec, clusterwide=True)

    assert [Allow(), Allow(), Deny()] == [ingress(read), ingress(read, AWAY), ingress(read, WORLD)]
    assert ["p0 spec.ingress[0].toPorts[0].rules.http[0]"] == [
        rule.name
        for verdict in [ingress(policies({"ingress": [{"toPorts": [HTTP]}]}, clusterwide=True))]
        if isinstance(verdict, Inspect)
        for rule in verdict.rules.rules
    ]


@pytest.mark.parametrize(
    ("entity", "selected"),
    (
        ("all", {NEAR, AWAY, HOST, WORLD, NODE, APISERVER}),
        ("cluster", {NEAR, AWAY, HOST, NODE, APISERVER}),
        ("world", {WORLD}),
        ("host", {HOST}),
        ("remote-node", {NODE, APISERVER}),
        ("kube-apiserver", {APISERVER}),
        ("none", set()),
    ),
)
def test_entities(entity: str, selected: set[Peer]) -> None:
    """An entity is one identity or several; the API server's is that of another node, too."""
    read = policies({"egress": [{"toEntities": [entity]}]})
    found = {peer for peer in (NEAR, AWAY, HOST, WORLD, NODE, APISERVER) if egress(read, peer) == Allow()}

    assert selected == found


def test_networks() -> None:
    """A network holds what is outside and in it, less its exceptions; never a pod or a node."""
    whole = {"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}
    read = policies({"ingress": [{"fromCIDRSet": [whole]}, {"fromCIDR": ["198.51.100.7/32"]}]})

    assert Allow() == ingress(read, "192.0.2.1")
    assert Deny() == ingress(read, "192.0.2.200")
    assert Allow() == ingress(read, "198.51.100.7")
    assert Allow() == ingress(read, Peer.cidr("192.0.2.0/25"))
    assert Deny() == ingress(read, Peer.cidr("192.0.2.0/23"))
    assert Allow() == ingress(policies({"ingress": [{"fromCIDR": ["0.0.0.0/0"]}]}), WORLD)
    assert Deny() == ingress(policies({"ingress": [{"fromCIDR": ["0.0.0.0/0"]}]}), "2001:db8::1")
    assert Deny() == ingress(policies({"ingress": [{"fromCIDR": ["0.0.0.0/0", "::/0"]}]}), NEAR)


def test_the_whole_world_denied() -> None:
    """Denying all addresses of a family denies the world, of which the family is not known."""
    allows = {"ingress": [{"fromEntities": ["all"]}]}

    assert Deny() == ingress(policies(allows | {"ingressDeny": [{"fromCIDR": ["::/0"]}]}), WORLD)
    denied = policies(allows | {"ingressDeny": [{"fromCIDRSet": [{"cidr": "::/0"}]}]})
    assert [Deny(), Allow()] == [ingress(denied, "192.0.2.1"), ingress(denied, NEAR)]


@pytest.mark.parametrize("field", ("fromEndpoints", "fromCIDR", "fromCIDRSet", "fromEntities"))
def test_empty_lists_are_nobody(field: str) -> None:
    """An empty list of peers is for nobody, in what allows and in what denies."""
    assert Deny() == ingress(policies({"ingress": [{field: []}]}))
    assert Allow() == ingress(
        policies({"ingress": [CLIENTS], "ingressDeny": [{field: [], "toPorts": [TCP80]}]})
    )


@pytest.mark.parametrize(
    ("port", "open_ports"),
    (
        ({"port": "80"}, {80}),
        ({"port": "79", "endPort": 81}, {79, 80, 81}),
        ({"port": "0"}, {1, 79, 80, 81, 82}),
        ({"port": "80", "protocol": "UDP"}, set()),
        ({"port": "80", "protocol": "SCTP"}, set()),
        ({"port": "http"}, {80}),
        ({"port": "http", "protocol": "UDP"}, set()),
        ({"port": "dns"}, set()),
        ({"port": "alt"}, set()),
    ),
)
def test_ports(port: Json, open_ports: set[int]) -> None:
    """Ports by number, range, name and protocol, for TCP; a name is the endpoint's own."""
    read = policies({"ingress": [{"toPorts": [{"ports": [port]}]}]})

    assert open_ports == {number for number in (1, 79, 80, 81, 82) if ingress(read, port=number) == Allow()}


def test_names_of_ports_outwards() -> None:
    """Outwards, a name is what all endpoints mean by it, if they agree."""
    agreed = policies({"egress": [{"toPorts": [{"ports": [{"port": "http"}]}]}]})
    argued = policies({"egress": [{"toPorts": [{"ports": [{"port": "alt"}]}]}]})

    assert Allow() == egress(agreed, AWAY)
    assert [Deny(), Deny()] == [egress(argued, port=81), egress(argued, port=82)]


def test_entries_that_open_no_port() -> None:
    """``toPorts`` without ``ports``, and ICMP, open nothing at any port."""
    icmp = {"icmps": [{"fields": [{"type": 8, "family": "IPv4"}]}]}

    assert Deny() == ingress(policies({"ingress": [{"toPorts": [{"ports": []}]}, CLIENTS | icmp]}))


CLOSING: dict[str, Json] = {
    "terminating TLS": CLIENTS | {"toPorts": [TCP80 | {"terminatingTLS": SECRET}]},
    "originating TLS": CLIENTS | {"toPorts": [TCP80 | {"originatingTLS": SECRET}]},
    "names of servers": CLIENTS | {"toPorts": [TCP80 | {"serverNames": ["a.b"]}]},
    "authentication": CLIENTS | {"authentication": {"mode": "required"}},
    "authentication at a port": CLIENTS | {"authentication": {"mode": "required"}, "toPorts": [HTTP]},
    **{
        mismatch: CLIENTS
        | {"toPorts": [TCP80 | {"rules": {"http": [
            {"path": "/a"}, {"headerMatches": [{"name": "X", "value": "1", "mismatch": mismatch}]}
        ]}}]}
        for mismatch in ("ADD", "DELETE", "REPLACE")
    },
    "a secret": CLIENTS
    | {"toPorts": [TCP80 | {"rules": {"http": [{"headerMatches": [{"name": "X"} | SECRET]}]}}]},
}  # fmt: skip


@pytest.mark.parametrize("entry", CLOSING.values(), ids=CLOSING)
def test_what_cannot_be_done_here(entry: Json) -> None:
    """A connection that would have to be decrypted, changed or vouched for is denied, whoever allows it."""
    read = policies({"ingress": [entry, {"fromEntities": ["all"]}]})

    assert [Deny(), Allow(), Allow()] == [ingress(read), ingress(read, WORLD), ingress(read, HOST)]


def test_authentication_that_is_disabled() -> None:
    """Authentication with the mode ``disabled`` is none."""
    assert Allow() == ingress(policies({"ingress": [CLIENTS | {"authentication": {"mode": "disabled"}}]}))


def test_a_listener() -> None:
    """What is for a proxy of the user's is denied."""
    listener = {"envoyConfig": {"kind": "CiliumEnvoyConfig", "name": "x"}, "name": "y"}

    assert Deny() == egress(policies({"egress": [{"toPorts": [TCP80 | {"listener": listener}]}]}))


def test_a_mismatch_that_is_logged() -> None:
    """A rule with LOG allows nothing by itself; its siblings stand."""
    log = {"path": "/log", "headerMatches": [{"name": "X", "value": "1", "mismatch": "LOG"}]}

    both = policies({"ingress": [{"toPorts": [TCP80 | {"rules": {"http": [log, {"path": "/a"}]}}]}]})
    alone = policies({"ingress": [{"toPorts": [TCP80 | {"rules": {"http": [log]}}]}]})

    assert ["/a"] == paths(ingress(both))
    assert [] == paths(ingress(alone))


def test_header_matches() -> None:
    """``headerMatches`` without ``mismatch`` are equality, or presence where the value is empty."""
    http = [{"headerMatches": [{"name": "X", "value": "1"}, {"name": "Y"}], "headers": ["Z: a: b"]}]
    verdict = ingress(policies({"ingress": [{"toPorts": [TCP80 | {"rules": {"http": http}}]}]}))

    assert isinstance(verdict, Inspect)
    assert {("Z", "a: b"), ("X", "1"), ("Y", None)} == {
        (match.name, match.value) for match in verdict.rules.rules[0].headers
    }


def test_dns() -> None:
    """DNS rules open nothing; where HTTP rules meet them, everything is denied."""
    assert Deny() == egress(policies({"egress": [{"toPorts": [DNS]}]}))
    assert Allow() == egress(policies({"egress": [{"toPorts": [DNS]}, {"toPorts": [TCP80]}]}))
    assert Deny() == egress(policies({"egress": [{"toPorts": [DNS]}, {"toPorts": [HTTP]}]}))
    assert Deny() == egress(policies({"egress": [{"toPorts": [DNS, HTTP]}, {"toEntities": ["all"]}]}))


UNKNOWN: dict[str, tuple[Json, set[Peer]]] = {
    "groups": ({"toGroups": [{"aws": {"region": "x"}}]}, {WORLD}),
    "a group of networks": ({"toCIDRSet": [{"cidrGroupRef": "g"}]}, {WORLD}),
    "groups of networks": ({"toCIDRSet": [{"cidrGroupSelector": {}}]}, {WORLD}),
    "nodes": ({"toNodes": [{"matchLabels": {"a": "b"}}]}, {HOST, NODE, APISERVER}),
    "services": (
        {"toServices": [{"k8sService": {"serviceName": "s", "namespace": "demo"}}]},
        {NEAR, AWAY, HOST, WORLD, NODE, APISERVER},
    ),
}


@pytest.mark.parametrize(("peers", "meant"), UNKNOWN.values(), ids=UNKNOWN)
def test_peers_that_are_not_known(peers: Json, meant: set[Peer]) -> None:
    """Peers that nobody here can know open nothing; as a denial they deny all that they may mean."""
    everybody = (NEAR, AWAY, HOST, WORLD, NODE, APISERVER)
    opening = policies({"egress": [peers]})
    denying = policies({"egress": [{"toEntities": ["all"]}], "egressDeny": [peers]})

    assert [Deny()] * 6 == [egress(opening, peer) for peer in everybody]
    assert meant == {peer for peer in everybody if egress(denying, peer) == Deny()}


def test_names_in_the_dns() -> None:
    """``toFQDNs`` opens nothing; what is known beside what is not stays open."""
    known = {"toCIDRSet": [{"cidrGroupRef": "g"}, {"cidr": "192.0.2.0/24"}]}

    assert Deny() == egress(policies({"egress": [{"toFQDNs": [{"matchName": "a.b"}]}]}), WORLD)
    assert Allow() == egress(policies({"egress": [known]}), "192.0.2.1")


@pytest.mark.parametrize(
    ("entries", "expected"),
    (
        ([{}], Allow()),
        ([{"toPorts": [HTTP]}], Allow()),
        ([{"fromEntities": ["all"], "toPorts": [HTTP]}], Allow()),
        ([{"fromEntities": ["host"], "toPorts": [HTTP]}], None),
        ([{"fromEntities": ["cluster"], "toPorts": [HTTP]}], None),
        ([{"fromEndpoints": [{"matchLabels": {"reserved:host": ""}}], "toPorts": [HTTP]}], None),
        ([{"fromEntities": ["host"], "toPorts": [HTTP]}, {"toPorts": [HTTP]}], Allow()),
        ([{"fromEntities": ["host", "all"], "toPorts": [HTTP]}], Allow()),
        ([{"fromEntities": ["host"], "toPorts": [HTTP]}, {"fromEntities": ["host"]}], Allow()),
        ([{"fromEntities": ["host"], "toPorts": [TCP80 | {"terminatingTLS": SECRET}]}], Deny()),
        ([{"toPorts": [TCP80 | {"terminatingTLS": SECRET}]}], Allow()),
    ),
)
def test_the_node_itself(entries: list[Json], expected: PortVerdict | None) -> None:
    """The node comes in, unless a rule names it: ``host``, or ``cluster``, whose list has its name in it."""
    verdict = ingress(policies({"ingress": entries}), HOST)

    assert expected == verdict if expected else ["/a"] == paths(verdict)


def test_the_node_outwards() -> None:
    """Outwards, the node is a peer like any other."""
    assert ["/a"] == paths(egress(policies({"egress": [{"toPorts": [HTTP]}]}), HOST))
    assert Deny() == egress(policies({"egress": [{}]}), HOST)


def test_the_label_of_the_handover() -> None:
    """The term that splits a policy is read as absent; of a generated half only denials count."""
    key = "k8s:bpfast.io/enforcing"
    term = {"matchExpressions": [{"key": key, "operator": "DoesNotExist"}], "matchLabels": {"app": "web"}}
    demand = {"matchLabels": {key: "", "app": "web"}}
    opens = {"ingress": [CLIENTS]}
    denies = {"ingress": [{}], "ingressDeny": [CLIENTS | {"toPorts": [TCP80]}]}

    assert Allow() == ingress(policies({"endpointSelector": term} | opens))
    assert Deny() == ingress(policies({"endpointSelector": demand} | opens))
    generated = policies(opens, {"endpointSelector": demand} | denies)
    assert [Deny(), Allow()] == [ingress(generated), ingress(generated, port=81)]


def test_rules_about_nodes() -> None:
    """A rule with a nodeSelector is about no endpoint."""
    spec: Json = {"nodeSelector": {}, "ingress": [{}]}
    document = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumClusterwideNetworkPolicy",
        "metadata": {"name": "p"},
    }
    reading = examine([Text("p.yaml", json.dumps(document | {"spec": spec}))])

    assert () == reading.faults
    assert Allow() == ingress(reading.policies)


def test_what_could_not_be_read() -> None:
    """A rule that was refused opens nothing, closes what it may select, denies what it may deny."""
    closes = Refused("x", namespace="demo", denies_ingress=False)
    opens = policies({"ingress": [CLIENTS]})

    assert [Deny(), Deny()] == [ingress((), refused=[closes]), ingress((), HOST, refused=[closes])]
    assert Allow() == ingress(opens, refused=[closes])
    assert Deny() == ingress(opens, refused=[Refused("x")])
    assert Allow() == ingress((), refused=[Refused("x", namespace="other")])
