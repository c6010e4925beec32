# SPDX-License-Identifier: Apache-2.0
"""Every example can be used as it is, and all of them together still deny what they should.

Requests are judged here by google-re2, the engine of Envoy, and not by our own.
"""

from pathlib import Path

import pytest
import re2

from bpfast.policy.lower import lower
from bpfast.policy.meaning import WORLD, Allow, EndpointPolicy, Inspect, Peer
from bpfast.policy.reader import read_policies
from bpfast.policy.rules import HttpRule
from bpfast.standalone.files import read_endpoints, read_texts
from bpfast.tables.build import build
from tests.conftest import ROOT

EXAMPLES = ROOT / "manifests" / "examples"
ENDPOINTS = EXAMPLES / "endpoints.yaml"
POLICIES = sorted(set(EXAMPLES.glob("*.yaml")) - {ENDPOINTS})

CLIENT = Peer.endpoint("demo/client")

# Method, target, Host, other headers.
Request = tuple[str, str, str, dict[str, str]]

ALLOWED: tuple[Request, ...] = (
    ("GET", "/public", "web", {}),
    ("GET", "/public/news?page=2", "web", {}),
    ("GET", "/admin", "web", {"x-token": "42"}),
    ("GET", "/items", "web", {}),
    ("HEAD", "/items/7", "web", {}),
    ("POST", "/items", "web", {}),
    ("GET", "/status", "api.demo.example", {}),
    ("GET", "/status", "api.demo.example:8080", {}),
    ("GET", "/assets/site-1.css", "web", {}),
    ("GET", "/healthz", "web", {}),
)
DENIED: tuple[Request, ...] = (
    ("GET", "/secret", "web", {}),
    ("GET", "/", "web", {}),
    ("HEAD", "/public", "web", {}),
    ("GET", "/admin", "web", {}),
    ("GET", "/admin", "web", {"x-token": "41"}),
    ("GET", "/admin/users", "web", {"x-token": "42"}),
    ("DELETE", "/items/7", "web", {}),
    ("POST", "/items/7", "web", {}),
    ("GET", "/items/seven", "web", {}),
    ("GET", "/status", "web", {}),
    ("GET", "/status", "apixdemo.example", {}),
    ("GET", "/assets/site.html", "web", {}),
    ("GET", "/healthz/all", "web", {}),
    ("GET", "/stats", "web", {}),
)


def re2_error(regex: str) -> str | None:
    """Return what RE2 says against a regex."""
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(regex, options)
    except re2.error as error:
        return str(error)
    return None


@pytest.fixture(scope="module")
def web() -> EndpointPolicy:
    """What all examples together mean for demo/web."""
    policies = read_policies(read_texts([EXAMPLES]), re2_error)
    subjects = [endpoint.subject() for endpoint in read_endpoints(ENDPOINTS)]
    return lower(policies, subjects).endpoints["demo/web"]


def holds(regex: str | None, text: str) -> bool:
    """Return whether a regex matches in full; none asks for nothing."""
    return regex is None or re2.fullmatch(regex, text) is not None


def fits(rule: HttpRule, request: Request) -> bool:
    """Return whether a request has everything that a rule asks for."""
    method, target, host, headers = request
    return (
        holds(rule.method, method)
        and holds(rule.path, target)
        and holds(rule.host, host)
        and all(headers.get(header.name.lower()) == header.value for header in rule.headers)
    )


def allowed(policy: EndpointPolicy, peer: Peer, request: Request) -> bool:
    """Return whether a peer's request to port 80 is allowed."""
    verdict = policy.verdict(peer, 80)
    assert isinstance(verdict, Inspect)
    return any(fits(rule, request) for rule in verdict.rules.rules)


def test_there_are_examples() -> None:
    """The folder that is tested here is not empty."""
    assert len(POLICIES) >= 6


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_each_example_is_one_policy_named_like_its_file(path: Path) -> None:
    """A file shows one thing, and its name says which."""
    (policy,) = read_policies(read_texts([path]), re2_error)

    assert path.stem == policy.name


def test_the_endpoints_are_those_of_the_demo() -> None:
    """The example of an endpoints file has the two pods that the policies speak of."""
    web, client = read_endpoints(ENDPOINTS)

    assert ["demo/web", "demo/client"] == [web.full_name, client.full_name]
    assert ["bpfast-web", "bpfast-client"] == [str(web.netns), str(client.netns)]


def test_only_the_server_is_enforced() -> None:
    """The policies of the examples close demo/web and leave demo/client alone."""
    policies = read_policies(read_texts([EXAMPLES]))
    meaning = lower(policies, [endpoint.subject() for endpoint in read_endpoints(ENDPOINTS)])

    assert [True, False] == [meaning.endpoints[name].enforced for name in ("demo/web", "demo/client")]


@pytest.mark.parametrize("request_line", ALLOWED, ids=lambda request: " ".join(request[:3]))
def test_all_examples_together_allow(web: EndpointPolicy, request_line: Request) -> None:
    """What one of the examples allows to the client is allowed by all of them together."""
    assert allowed(web, CLIENT, request_line)


@pytest.mark.parametrize("request_line", DENIED, ids=lambda request: " ".join(request[:3]))
def test_all_examples_together_still_deny(web: EndpointPolicy, request_line: Request) -> None:
    """What no example allows to the client is denied by all of them together."""
    assert not allowed(web, CLIENT, request_line)


def test_the_world_may_ask_for_health_only(web: EndpointPolicy) -> None:
    """Unknown addresses get the one rule that names no peer."""
    assert allowed(web, WORLD, ("GET", "/healthz", "web", {}))
    assert not allowed(web, WORLD, ("GET", "/public", "web", {}))


def test_the_metrics_port_is_open_without_inspection(web: EndpointPolicy) -> None:
    """A port without rules passes every byte, and other ports stay closed."""
    assert Allow() == web.verdict(CLIENT, 9100)
    assert frozenset({80, 9100}) == web.ports()


def test_every_rule_gets_into_a_table(web: EndpointPolicy) -> None:
    """All rules of the examples compile, and none is refused for its size."""
    assert [()] * 2 == [build(rules).refused for rules in dict.fromkeys(web.rule_sets())]
