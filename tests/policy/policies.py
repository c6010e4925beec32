# SPDX-License-Identifier: Apache-2.0
"""Policies and endpoints, written short: what the tests of meaning are made of."""

import json
from typing import TYPE_CHECKING, Any

from bpfast.policy.lower import lower
from bpfast.policy.meaning import Allow, Deny, Direction, EndpointPolicy, Inspect, Lowered, Peer, PortVerdict
from bpfast.policy.reader import Policy, Text, read_policies
from bpfast.policy.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Mapping

Object = dict[str, Any]

WEB = Subject("demo", "web", {"app": "web", "tier": "front"}, ports={"http": ((8080, "TCP"),)})
CLIENT = Subject("demo", "client", {"app": "client"}, ports={"http": ((9090, "TCP"),), "dns": ((53, "UDP"),)})
OTHER = Subject("demo", "other", {"app": "other"})
STRANGER = Subject("prod", "client", {"app": "client"}, {"team": "shop"}, "till")
SUBJECTS = (WEB, CLIENT, OTHER, STRANGER)

FROM_CLIENT: Object = {"fromEndpoints": [{"matchLabels": {"app": "client"}}]}
GET: Object = {"method": "GET"}


def port(number: int, *http: Object, ports: tuple[int, ...] = ()) -> Object:
    """Return a ``toPorts`` entry for TCP ports; without ``http`` it has no rules."""
    entry: Object = {"ports": [{"port": str(each), "protocol": "TCP"} for each in (number, *ports)]}
    return entry | ({"rules": {"http": list(http)}} if http else {})


def rule(*ingress: Object, **fields: object) -> Object:
    """Return a rule about the endpoint WEB, unless ``fields`` say otherwise."""
    return {"endpointSelector": {"matchLabels": {"app": "web"}}, "ingress": list(ingress)} | fields


def policy(spec: Object | None, *, name: str = "p", namespace: str = "demo", **fields: object) -> Object:
    """Return a policy with this ``spec``, and whatever else ``fields`` hold."""
    whole: Object = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
    }
    return whole | ({} if spec is None else {"spec": spec}) | fields


def clusterwide(spec: Object, *, name: str = "c") -> Object:
    """Return a clusterwide policy with this ``spec``."""
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumClusterwideNetworkPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


def read(*policies: Object) -> tuple[Policy, ...]:
    """Return policies as if each had been a file of its own."""
    return read_policies(Text(f"{n}.json", json.dumps(each)) for n, each in enumerate(policies))


def lowered(*policies: Object, default_deny: bool = False) -> Lowered:
    """Return what policies mean for all the endpoints above."""
    return lower(read(*policies), SUBJECTS, default_deny=default_deny)


def at_web(*policies: Object, default_deny: bool = False) -> EndpointPolicy:
    """Return what policies mean for connections to WEB."""
    return lowered(*policies, default_deny=default_deny).ingress["demo/web"]


def from_web(*policies: Object, default_deny: bool = False) -> EndpointPolicy:
    """Return what policies mean for connections that WEB opens."""
    return lowered(*policies, default_deny=default_deny).of(Direction.EGRESS)["demo/web"]


def peer(subject: Subject) -> Peer:
    """Return an endpoint as the other side of a connection."""
    return Peer.endpoint(subject.full_name)


def word(verdict: PortVerdict) -> str:
    """Return ``allow``, ``deny`` or ``inspect``."""
    names: Mapping[type, str] = {Allow: "allow", Deny: "deny", Inspect: "inspect"}
    return names[type(verdict)]


def rule_names(verdict: PortVerdict) -> list[str]:
    """Return the names of the rules that a verdict inspects by."""
    assert isinstance(verdict, Inspect)
    return [each.name for each in verdict.rules.rules]
