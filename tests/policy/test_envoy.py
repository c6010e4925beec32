# SPDX-License-Identifier: Apache-2.0
"""What stays on Envoy, why, and what it takes along."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpfast.policy.envoy import Where, entries, stays
from bpfast.policy.lower import lower
from bpfast.policy.meaning import Allow, Direction, Inspect
from bpfast.policy.overlap import overlap
from tests.policy.policies import (
    FROM_CLIENT,
    GET,
    SUBJECTS,
    WEB,
    clusterwide,
    lowered,
    policy,
    port,
    read,
    rule,
)

Object = dict[str, Any]

SECRET = {"name": "s", "namespace": "demo"}
TLS = {"secret": SECRET}
LISTENER = {"envoyConfig": {"kind": "CiliumEnvoyConfig", "name": "c"}, "name": "mine"}
TO_CLIENT = {"toEndpoints": [{"matchLabels": {"app": "client"}}]}
LABELS = {"matchLabels": {"app": "web"}}


def found(*policies: Object, trusted_egress: bool = False) -> list[tuple[str, str]]:
    """Return path and reason of all that stays."""
    findings = stays(read(*policies), trusted_egress=trusted_egress)
    assert {Where.ENVOY} >= {finding.where for finding in findings}
    return [(finding.path, finding.reason) for finding in findings]


def match(**fields: object) -> Object:
    """Return an HTTP rule with one of ``headerMatches``."""
    return {"headerMatches": [{"name": "X-A", "value": "1", **fields}]}


@pytest.mark.parametrize(
    ("entry", "path", "part"),
    (
        (
            FROM_CLIENT | {"toPorts": [port(443, GET) | {"terminatingTLS": TLS}]},
            ".toPorts[0]",
            "terminatingTLS",
        ),
        (
            FROM_CLIENT | {"toPorts": [port(443, GET), port(80) | {"originatingTLS": TLS}]},
            ".toPorts[1]",
            "TLS",
        ),
        (FROM_CLIENT | {"toPorts": [port(443) | {"serverNames": ["a.b"]}]}, ".toPorts[0]", "serverNames"),
        (FROM_CLIENT | {"toPorts": [port(80, match(mismatch="ADD"))]}, ".toPorts[0]", "mismatch ADD"),
        (FROM_CLIENT | {"toPorts": [port(80, match(mismatch="DELETE"))]}, ".toPorts[0]", "mismatch DELETE"),
        (FROM_CLIENT | {"toPorts": [port(80, match(mismatch="REPLACE"))]}, ".toPorts[0]", "mismatch REPLACE"),
        (
            FROM_CLIENT | {"toPorts": [port(80, GET, match(mismatch="LOG"))]},
            ".toPorts[0]",
            "http[1].headerMatches[0]",
        ),
        (FROM_CLIENT | {"toPorts": [port(80, match(secret=SECRET))]}, ".toPorts[0]", "a secret is known"),
        (FROM_CLIENT | {"authentication": {"mode": "required"}}, "", "authentication"),
        (FROM_CLIENT | {"authentication": {"mode": "test-always-fail"}}, "", "authentication"),
        (
            {"fromNodes": [{"matchLabels": {"a": "b"}}], "toPorts": [port(80, GET)]},
            ".toPorts[0]",
            "fromNodes: nodes",
        ),
        ({"fromGroups": [{"aws": {"region": "x"}}]}, "", "fromGroups: the addresses"),
        ({"fromCIDRSet": [{"cidrGroupRef": "g"}]}, "", "fromCIDRSet[0].cidrGroupRef"),
        (
            {"fromCIDRSet": [{"cidr": "1.0.0.0/8"}, {"cidrGroupSelector": LABELS}]},
            "",
            "fromCIDRSet[1].cidrGroupSelector",
        ),
    ),
)
def test_what_stays_by_itself_on_the_way_in(entry: Object, path: str, part: str) -> None:
    """The entry is named with the reason, and nothing is refused for it."""
    (finding,) = [each for each in found(policy(rule(entry))) if "may meet" not in each[1]]

    assert f"spec.ingress[0]{path}" == finding[0]
    assert part in finding[1]


@pytest.mark.parametrize(
    ("entry", "path", "part"),
    (
        ({"toFQDNs": [{"matchName": "a.example"}], "toPorts": [port(443)]}, ".toPorts[0]", "toFQDNs"),
        ({"toServices": [{"k8sService": {"serviceName": "s", "namespace": "n"}}]}, "", "toServices"),
        ({"toNodes": [{"matchLabels": {"a": "b"}}]}, "", "toNodes"),
        ({"toGroups": [{"aws": {"region": "x"}}]}, "", "toGroups"),
        ({"toCIDRSet": [{"cidrGroupRef": "g"}]}, "", "toCIDRSet[0].cidrGroupRef"),
        (TO_CLIENT | {"toPorts": [port(80) | {"listener": LISTENER}]}, ".toPorts[0]", "listener 'mine'"),
        (
            TO_CLIENT | {"toPorts": [{"ports": [{"port": "53"}], "rules": {"dns": [{"matchPattern": "*"}]}}]},
            ".toPorts[0]",
            "rules.dns",
        ),
        (TO_CLIENT | {"toPorts": [port(80, GET)]}, ".toPorts[0]", "trusted_egress: true"),
    ),
)
def test_what_stays_by_itself_on_the_way_out(entry: Object, path: str, part: str) -> None:
    """Egress has reasons of its own."""
    (finding,) = found(policy(rule(egress=[entry])))

    assert f"spec.egress[0]{path}" == finding[0]
    assert part in finding[1]


def test_egress_http_is_for_the_kernel_where_the_pod_is_trusted() -> None:
    """The one reason that an endpoints file can take away."""
    text = policy(rule(egress=[TO_CLIENT | {"toPorts": [port(80, GET)]}]))

    assert [] == found(text, trusted_egress=True)


@pytest.mark.parametrize(
    "entry",
    (
        FROM_CLIENT | {"toPorts": [port(80, GET)]},
        FROM_CLIENT | {"toPorts": [port(80, match())]},
        FROM_CLIENT | {"authentication": {"mode": "disabled"}, "toPorts": [port(80, GET)]},
        {"fromEntities": ["all"], "toPorts": [port(80, GET)]},
        {"fromCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}], "toPorts": [port(80, GET)]},
        {"icmps": [{"fields": [{"type": 8}]}]},
        {},
    ),
)
def test_what_the_kernel_can_do_does_not_stay(entry: Object) -> None:
    """Labels, entities, networks, headers without side effects."""
    assert [] == found(policy(rule(entry)))


def test_rules_about_nodes_stay_with_the_host_firewall() -> None:
    """BPFast polices pods."""
    spec = {"nodeSelector": LABELS, "ingress": [FROM_CLIENT]}
    ((path, reason),) = found(clusterwide(spec))

    assert "spec.ingress[0]" == path
    assert "nodeSelector" in reason


def test_the_kernels_half_of_a_split_policy_is_left_out() -> None:
    """It repeats what the original says; the original is read as if it did not exclude those pods."""
    generated = {"matchLabels": {"app": "web", "bpfast.io/enforcing": "true"}}
    original = LABELS | {"matchExpressions": [{"key": "bpfast.io/enforcing", "operator": "DoesNotExist"}]}
    specs = [
        rule(FROM_CLIENT | {"toPorts": [port(80, GET)]}, endpointSelector=e) for e in (generated, original)
    ]
    both = [policy(spec, name=f"p{at}") for at, spec in enumerate(specs)]

    assert ["demo/p1"] == [entry.policy.full_name for entry in entries(read(*both))]


STAYING = FROM_CLIENT | {"toPorts": [port(80, match(mismatch="ADD"))]}


def overlapping(*others: Object) -> list[str]:
    """Return which of some policies, named a, b, ..., go along with one that stays: port 80, the client."""
    named = [policy(spec, name=name) for name, spec in zip("abcdef", others, strict=False)]
    findings = stays(read(policy(rule(STAYING), name="stays"), *named))
    return [finding.policy for finding in findings if finding.policy != "demo/stays"]


@pytest.mark.parametrize(
    ("other", "goes_along"),
    (
        (rule(FROM_CLIENT | {"toPorts": [port(80, GET)]}), True),
        (rule(FROM_CLIENT | {"toPorts": [port(81, GET)]}), False),
        (rule({"toPorts": [port(80, GET)]}), True),
        (rule({"fromEntities": ["world"], "toPorts": [port(80, GET)]}), False),
        (rule({"fromCIDR": ["10.0.0.0/8"], "toPorts": [port(80, GET)]}), False),
        (rule({"fromEndpoints": [{"matchLabels": {"app": "other"}}], "toPorts": [port(80, GET)]}), False),
        (rule({"fromEndpoints": [{"matchLabels": {"tier": "x"}}], "toPorts": [port(80, GET)]}), True),
        (rule(FROM_CLIENT | {"toPorts": [port(80, GET)]}, endpointSelector={}), True),
        (
            rule(FROM_CLIENT | {"toPorts": [port(80, GET)]}, endpointSelector={"matchLabels": {"app": "b"}}),
            False,
        ),
        (rule(FROM_CLIENT | {"toPorts": [port(80)]}), False),
        (
            rule(FROM_CLIENT | {"toPorts": [port(80, GET)]}, ingress=[], egress=[]) | {"egressDeny": [{}]},
            False,
        ),
    ),
)
def test_http_rules_that_may_meet_it_go_along(other: Object, goes_along: bool) -> None:
    """The same endpoint, peer and port are possible; what stops at layer 4 is not asked."""
    assert (["demo/a"] if goes_along else []) == overlapping(other)


def test_a_named_port_may_be_any_port() -> None:
    """Whatever number it has on the pods that exist now."""
    named = {"ports": [{"port": "http", "protocol": "TCP"}], "rules": {"http": [GET]}}

    assert ["demo/a"] == overlapping(rule(FROM_CLIENT | {"toPorts": [named]}))


def test_overlap_goes_on_from_entry_to_entry() -> None:
    """A meets what stays and B meets A; B goes along, and its reason names where it began."""
    a = rule(FROM_CLIENT | {"toPorts": [port(80, GET, ports=(81,))]})
    b = rule({"toPorts": [port(81, GET)]})
    c = rule({"toPorts": [port(82, GET)]})

    assert ["demo/a", "demo/b"] == overlapping(a, b, c)
    named = [policy(spec, name=name) for name, spec in zip("sab", (rule(STAYING), a, b), strict=True)]
    reasons = dict(zip("sab", (finding.reason for finding in stays(read(*named))), strict=True))
    assert reasons["s"] in reasons["b"]
    assert "demo/a spec.ingress[0].toPorts[0]" in reasons["b"]
    assert "demo/s spec.ingress[0].toPorts[0]" in reasons["b"]


def test_what_opens_at_layer_4_takes_nothing_along() -> None:
    """An entry without rules that meets both does not tie them together: Cilium enforces it before either."""
    bridge = rule({"toPorts": [port(80, ports=(81,))]})

    assert [] == overlapping(bridge, rule({"toPorts": [port(81, GET)]}))


@pytest.mark.parametrize("section", ("ingress", "ingressDeny"))
def test_unknown_peers_take_http_rules_along(section: str) -> None:
    """The kernel could not tell for whom a port is open, or closed, without rules."""
    unknown = policy(
        rule(ingress=[]) | {section: [{"fromCIDRSet": [{"cidrGroupRef": "g"}], "toPorts": [port(80)]}]},
        name="u",
    )
    world = policy(rule({"fromEntities": ["world"], "toPorts": [port(80, GET)]}), name="w")
    pods = policy(rule(FROM_CLIENT | {"toPorts": [port(80, GET)]}), name="c")

    assert ["demo/u", "demo/w"] == [finding.policy for finding in stays(read(unknown, world, pods))]


def peers() -> st.SearchStrategy[Object]:
    """Return peers of an ingress entry."""
    value = st.sampled_from(("client", "other", "web"))
    labels = st.dictionaries(st.sampled_from(("app", "k8s:app", "tier")), value, max_size=1)
    space: st.SearchStrategy[Object] = st.sampled_from(
        ({}, *({"k8s:io.kubernetes.pod.namespace": name} for name in ("demo", "prod")))
    )
    expression = st.builds(
        lambda operator, values: {"key": "app", "operator": operator, "values": values},
        st.sampled_from(("In", "NotIn")),
        st.lists(value, min_size=1, max_size=2, unique=True),
    )
    selector = st.builds(
        lambda found, inside, asked: {"matchLabels": found | inside, "matchExpressions": asked},
        labels,
        space,
        st.lists(expression, max_size=1),
    )
    return st.one_of(
        st.just({}),
        selector.map(lambda each: {"fromEndpoints": [each]}),
        st.sampled_from(("world", "all", "cluster", "host", "remote-node", "kube-apiserver")).map(
            lambda name: {"fromEntities": [name]}
        ),
        st.sampled_from(("10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0")).map(lambda net: {"fromCIDR": [net]}),
        st.just({"fromCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}]}),
    )


def ports() -> st.SearchStrategy[Object]:
    """Return a ``toPorts`` entry with one HTTP rule."""
    listed = st.sampled_from(
        (
            {"port": "80", "protocol": "TCP"},
            {"port": "8080", "protocol": "TCP"},
            {"port": "http", "protocol": "TCP"},
            {"port": "8000", "endPort": 8090, "protocol": "TCP"},
        )
    )
    return listed.map(lambda each: {"ports": [each], "rules": {"http": [GET]}})


def specs() -> st.SearchStrategy[Object]:
    """Return a rule with one entry of HTTP rules, for connections in."""
    selector = st.sampled_from(({}, {"matchLabels": {"app": "web"}}, {"matchLabels": {"app": "other"}}))
    return st.builds(
        lambda found, entry, where: {"endpointSelector": found, "ingress": [entry | {"toPorts": [where]}]},
        selector,
        peers(),
        ports(),
    )


@settings(max_examples=300, deadline=None)
@given(st.lists(specs(), min_size=2, max_size=4))
def test_what_never_meets_is_never_united(rules: list[Object]) -> None:
    """No endpoint, peer and port has rules of two entries that are said to share no connection."""
    texts = [policy(spec, name=f"p{at}") for at, spec in enumerate(rules)]
    listed = {entry.http[0].name: entry for entry in entries(read(*texts))}
    meaning = lowered(*texts)

    for rule_set in meaning.rule_sets():
        names = [each.name for each in rule_set.rules]
        assert all(overlap(listed[one].scope, listed[other].scope) for one in names for other in names)


def test_lowering_opens_nothing_that_stays() -> None:
    """Where an entry would be left to Envoy and there is none, its requests are not let through."""
    meaning = lower(read(policy(rule(STAYING))), SUBJECTS).of(Direction.INGRESS)[WEB.full_name]
    verdicts = {str(peer): meaning.verdict(peer, 80) for peer in meaning.peers if str(peer) != "entity:host"}

    assert not any(isinstance(verdict, Allow) for verdict in verdicts.values())
    assert all(not verdict.rules.rules for verdict in verdicts.values() if isinstance(verdict, Inspect))
