# SPDX-License-Identifier: Apache-2.0
"""Both engines on whole scenarios: what each says, and that they say the same."""

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from bpfast.controller.verdict.engine import Engine
from bpfast.controller.verdict.judge import engine_named, judge_scenarios
from bpfast.controller.verdict.kernel import _INSTALLED, KernelEngine

pytestmark = pytest.mark.privileged

Json = dict[str, Any]

ENDPOINTS = [
    {"name": "web", "labels": {"app": "web"}, "addresses": ["10.0.0.1"], "ports": {"http": 80, "alt": 8080}},
    {"name": "client", "labels": {"app": "client"}, "addresses": ["fd00::2", "10.0.0.2"]},
    {"name": "far", "namespace": "other", "labels": {"app": "client"}, "addresses": ["fd00::3"]},
]


@pytest.fixture(scope="module")
def kernel() -> Iterator[Engine]:
    """The programs, loaded once."""
    engine = engine_named("kernel")
    yield engine
    engine.close()


def text(request: str = "GET /a HTTP/1.1", host: str = "x") -> str:
    """Return a request in base64."""
    return base64.b64encode(f"{request}\r\nHost: {host}\r\n\r\n".encode()).decode()


def policy(spec: Json, name: str = "p", kind: str = "CiliumNetworkPolicy") -> str:
    """Return a policy in JSON."""
    metadata = {"name": name} | ({"namespace": "default"} if kind == "CiliumNetworkPolicy" else {})
    return json.dumps({"apiVersion": "cilium.io/v2", "kind": kind, "metadata": metadata, "spec": spec})


def web(**sections: Any) -> Json:
    """Return a spec about the server."""
    return {"endpointSelector": {"matchLabels": {"app": "web"}}, **sections}


def at(*ports: Json, http: list[Json] | None = None) -> Json:
    """Return a ``toPorts`` entry."""
    return {"ports": [{"protocol": "TCP"} | port for port in ports]} | (
        {"rules": {"http": http}} if http else {}
    )


def scenario(*policies: str, **change: Any) -> Json:
    """Return a scenario: the client asks the server for /a and for /b."""
    whole: Json = {
        "id": 1,
        "policies": list(policies),
        "endpoints": ENDPOINTS,
        "direction": "ingress",
        "endpoint": "default/web",
        "peer": "default/client",
        "port": 80,
        "streams": [
            {"id": "a", "segments": [text()]},
            {"id": "b", "segments": [text("GET /b HTTP/1.1")]},
        ],
    }
    return whole | change


def judged(engine: Engine, *scenarios: Json) -> list[Json]:
    """Return the answers to scenarios."""
    out, err = io.StringIO(), io.StringIO()
    bad = judge_scenarios(engine, [json.dumps(each) for each in scenarios], out, err)
    assert (0, "") == (bad, err.getvalue())
    return [json.loads(line) for line in out.getvalue().splitlines()]


ONLY_A = [{"path": "/a"}]
CLIENTS = {"fromEndpoints": [{"matchLabels": {"app": "client"}}]}
INSPECTS = policy(web(ingress=[CLIENTS | {"toPorts": [at({"port": "80"}, http=ONLY_A)]}]))
RANGE = policy(web(ingress=[{"toPorts": [at({"port": "80", "endPort": 90}, http=ONLY_A)]}]))
NAMED = policy(web(ingress=[{"toPorts": [at({"port": "alt"}, http=ONLY_A)]}]))
NETWORK = policy(
    web(
        ingress=[
            {
                "fromCIDRSet": [{"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}],
                "toPorts": [at({"port": "80"})],
            }
        ]
    )
)
NETWORK6 = policy(
    web(ingress=[{"fromCIDRSet": [{"cidr": "2001:db8::/32", "except": ["2001:db8:bad::/48"]}]}]), "n6"
)
INSPECTS6 = policy(
    web(ingress=[{"fromCIDR": ["2001:db8::/32"], "toPorts": [at({"port": "80"}, http=ONLY_A)]}]), "i6"
)
OF_IPV4 = policy(web(ingress=[{"fromCIDR": ["0.0.0.0/0"]}]), "v4")
DENIES = policy(
    web(ingress=[{}], ingressDeny=[{"fromEntities": ["world"], "toPorts": [at({"port": "80"})]}]), "d"
)
EVERYBODY = policy(web(ingress=[{"fromEntities": ["all"]}]), "e")
OUT = policy(
    {
        "endpointSelector": {"matchLabels": {"app": "client"}},
        "egress": [
            {
                "toEndpoints": [{"matchLabels": {"app": "web"}}],
                "toPorts": [at({"port": "http"}, http=ONLY_A)],
            },
            {"toCIDR": ["198.51.100.0/24"]},
        ],
    }
)
OUT_OF = {"direction": "egress", "endpoint": "default/client"}

CASES: dict[str, tuple[Json, str]] = {
    "no policy": (scenario(), "allow"),
    "inspected": (scenario(INSPECTS), "inspect"),
    "another port": (scenario(INSPECTS, port=81), "deny"),
    "another peer": (scenario(INSPECTS, peer="other/far"), "deny"),
    "the host": (scenario(INSPECTS, peer="entity:host"), "allow"),
    "the world": (scenario(INSPECTS, peer="entity:world"), "deny"),
    "by address": (scenario(INSPECTS, peer="10.0.0.2"), "inspect"),
    "by IPv6 address": (scenario(INSPECTS, peer="fd00::2"), "inspect"),
    "cancelled": (scenario(INSPECTS, EVERYBODY), "allow"),
    "range, first": (scenario(RANGE), "inspect"),
    "range, last": (scenario(RANGE, port=90, peer="203.0.113.1"), "inspect"),
    "range, behind": (scenario(RANGE, port=91), "deny"),
    "named port": (scenario(NAMED, port=8080), "inspect"),
    "network": (scenario(NETWORK, peer="192.0.2.7"), "allow"),
    "network, excepted": (scenario(NETWORK, peer="192.0.2.200"), "deny"),
    "network, an endpoint's": (scenario(NETWORK), "deny"),
    "network of IPv6": (scenario(NETWORK6, peer="2001:db8::7"), "allow"),
    "network of IPv6, excepted": (scenario(NETWORK6, peer="2001:db8:bad::7"), "deny"),
    "network of IPv6, outside": (scenario(NETWORK6, peer="2001:db9::7"), "deny"),
    "network of IPv6, inspected": (scenario(INSPECTS6, peer="2001:db8::7"), "inspect"),
    "all of IPv4 is not IPv6": (scenario(OF_IPV4, peer="2001:db8::7"), "deny"),
    "denied": (scenario(INSPECTS, DENIES, EVERYBODY, peer="203.0.113.1"), "deny"),
    "not denied": (scenario(INSPECTS, DENIES), "inspect"),
    "out": (scenario(OUT, **OUT_OF, peer="default/web"), "inspect"),
    "out, without an IPv4 address": (scenario(OUT, **OUT_OF, peer="other/far"), "deny"),
    "out, to a network": (scenario(OUT, **OUT_OF, peer="198.51.100.9", port=25), "allow"),
    "out, to the world": (scenario(OUT, **OUT_OF, peer="203.0.113.1"), "deny"),
    "out is not in": (scenario(OUT, endpoint="default/client", peer="default/web"), "allow"),
}


@pytest.mark.parametrize("name", CASES)
def test_layers_3_and_4_decide_first(kernel: Engine, name: str) -> None:
    """Both engines say the same about a peer and a port; only ``inspect`` looks at requests."""
    asked, expected = CASES[name]
    (found,) = judged(kernel, asked)
    assert expected == found["l34"]
    assert [found] == judged(engine_named("model"), asked)
    verdicts = {"allow": ["allow"] * 2, "deny": ["deny"] * 2, "inspect": ["allow", "deny"]}[expected]
    assert verdicts == [stream["verdict"] for stream in found["streams"]]
    assert (expected == "inspect") == all(stream["requests"] for stream in found["streams"])


def test_one_scenario_leaves_nothing_to_the_next(kernel: Engine) -> None:
    """In whatever order scenarios come, each gets the answer that it gets alone."""
    asked = [each | {"id": name} for name, (each, _l34) in CASES.items()]
    forward = judged(kernel, *asked)
    backward = judged(kernel, *reversed(asked))
    assert forward == backward[::-1]
    assert [l34 for _each, l34 in CASES.values()] == [answer["l34"] for answer in forward]


def test_tables_are_retired_when_there_are_many(kernel: Engine) -> None:
    """More rule sets than there is room for: each is judged by its own rules."""
    asked = [
        scenario(policy(web(ingress=[{"toPorts": [at({"port": "80"}, http=[{"path": path}])]}])), id=path)
        for path in (f"/{number}" for number in range(_INSTALLED + 20))
    ]
    for each in asked:
        each["streams"] = [{"id": 0, "segments": [text(f"GET {each['id']} HTTP/1.1")]}]
    assert {("inspect", "allow")} == {
        (answer["l34"], answer["streams"][0]["verdict"]) for answer in judged(kernel, *asked)
    }
    assert isinstance(kernel, KernelEngine)
    assert [] == kernel.trial.flows()


def test_the_answer_has_the_fields_of_the_contract(kernel: Engine) -> None:
    """Ids of any type come back; a request has its rule's name and the reason."""
    asked = scenario(INSPECTS, id={"n": [1]})
    asked["streams"] = [{"id": None, "segments": [text()[:8], text()[8:]]}]
    rule = "default/p spec.ingress[0].toPorts[0].rules.http[0]"
    request = {"verdict": "allow", "method": "GET", "path": "/a", "rule": rule, "reason": "rule"}
    expected = {
        "id": {"n": [1]},
        "l34": "inspect",
        "streams": [{"id": None, "verdict": "allow", "requests": [request]}],
        "refused": [],
    }
    for engine in (kernel, engine_named("model")):
        assert [expected] == judged(engine, asked)
        assert list(expected) == list(judged(engine, asked)[0])


def test_what_is_refused_is_named(kernel: Engine) -> None:
    """Faults, rules over the limits and entries that stay on Envoy are listed; none opens anything."""
    faulty = policy(web(ingress=[{"toPorts": [at({"port": "99999"})]}]), "faulty")
    big = policy(
        web(ingress=[{"toPorts": [at({"port": "80"}, http=[{"path": "/a(.*b.{40})"}, {"path": "/b"}])]}]),
        "big",
    )
    names = policy(
        web(
            ingress=[
                {"fromGroups": [{"aws": {"securityGroupsNames": ["x"]}}], "toPorts": [at({"port": "81"})]}
            ]
        ),
        "stays",
    )
    asked = scenario(faulty, big, names)
    (found,) = judged(kernel, asked)
    assert [found] == judged(engine_named("model"), asked)
    assert "inspect" == found["l34"]
    assert ["deny", "allow"] == [stream["verdict"] for stream in found["streams"]]
    places = [(one["policy"], one["path"]) for one in found["refused"]]
    assert [
        ("default/faulty", "spec.ingress[0].toPorts[0].ports[0].port"),
        ("default/big", "spec.ingress[0].toPorts[0].rules.http[0]"),
        ("default/stays", "spec.ingress[0].toPorts[0]"),
    ] == places
    reasons = [one["reason"] for one in found["refused"]]
    assert "more than 60000 states" in reasons[1]
    assert reasons[2].startswith("stays on Envoy: ")


def test_a_rule_over_the_limits_elsewhere_is_not_named(kernel: Engine) -> None:
    """What could not have decided this question is no part of the answer: another port's rules."""
    big = at({"port": "8080"}, http=[{"path": "/a(.*b.{40})"}])
    asked = scenario(policy(web(ingress=[{"toPorts": [at({"port": "80"}, http=ONLY_A), big]}])))
    (found,) = judged(kernel, asked)
    assert [] == found["refused"]
    assert [found] == judged(engine_named("model"), asked)


def test_what_stays_elsewhere_is_not_named(kernel: Engine) -> None:
    """Entries of the other direction, and of policies about other endpoints, are no part of the answer."""
    groups = {"aws": {"securityGroupsNames": ["x"]}}
    out = policy(web(egress=[{"toGroups": [groups]}]), "out")
    other = policy(
        {"endpointSelector": {"matchLabels": {"app": "db"}}, "ingress": [{"fromGroups": [groups]}]}, "db"
    )
    (found,) = judged(kernel, scenario(out, other))
    assert [] == found["refused"]


def test_a_policy_that_cannot_be_read_closes_what_it_may_be_about(kernel: Engine) -> None:
    """A fault opens nothing: the endpoint that the policy selects is closed, whatever was to be allowed."""
    faulty = policy(web(ingress=[{"toPorts": [at({"port": "80"}, http=[{"path": "/(a"}])]}]))
    asked = scenario(faulty)
    (found,) = judged(kernel, asked)
    assert "deny" == found["l34"]
    assert [found] == judged(engine_named("model"), asked)


def test_bad_lines_do_not_end_it() -> None:
    """A line that is no scenario is named, the others are judged; blank lines are counted."""
    out, err = io.StringIO(), io.StringIO()
    lines = ["", json.dumps(scenario(id=1)), "{", json.dumps(scenario(peer="x")), json.dumps(scenario(id=2))]
    assert 2 == judge_scenarios(engine_named("model"), lines, out, err)
    assert [1, 2] == [json.loads(line)["id"] for line in out.getvalue().splitlines()]
    assert ["<stdin>:3: not", "<stdin>:4: pee"] == [line[:14] for line in err.getvalue().splitlines()]
