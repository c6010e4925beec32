# SPDX-License-Identifier: Apache-2.0
"""Policies damaged on purpose: each way has a name, and Cilium says whether it takes the result."""

import copy
import json
from collections.abc import Callable
from typing import Final

import yaml

from e2e.scenarios.dice import Dice
from e2e.scenarios.scenario import Object

Damage = Callable[[Object, Object], None]

TCP_80: Final = {"port": "80", "protocol": "TCP"}
HTTP: Final = {"http": [{"path": "/a"}]}


def damaged(dice: Dice, objects: tuple[Object, ...]) -> tuple[str, tuple[Object | str, ...]]:
    """Return the name of the damage, and the policies with one of them damaged."""
    at = dice.number(0, len(objects) - 1)
    policy = copy.deepcopy(objects[at])
    name = dice.one(sorted((*IN_RULE, *IN_POLICY, *IN_TEXT)))
    result: Object | str = policy
    if name in IN_TEXT:
        result = IN_TEXT[name](policy)
    elif name in IN_POLICY:
        IN_POLICY[name](policy)
    else:
        rule = policy["spec"] if "spec" in policy else dice.one(policy["specs"])
        IN_RULE[name](rule)
    return name, (*objects[:at], result, *objects[at + 1 :])


def _port(**changes: object) -> Callable[[Object], None]:
    """Add an ingress entry whose only port is changed."""
    return _entry({"toPorts": [{"ports": [{**TCP_80, **changes}]}]})


def _http_port(**changes: object) -> Callable[[Object], None]:
    return _entry({"toPorts": [{"ports": [{**TCP_80, **changes}], "rules": HTTP}]})


def _http(**fields: object) -> Callable[[Object], None]:
    return _entry({"toPorts": [{"ports": [TCP_80], "rules": {"http": [dict(fields)]}}]})


def _rules(rules: object) -> Callable[[Object], None]:
    return _entry({"toPorts": [{"ports": [TCP_80], "rules": rules}]})


def _entry(entry: Object, section: str = "ingress") -> Callable[[Object], None]:
    def add(rule: Object) -> None:
        rule[section] = [*(rule.get(section) or []), copy.deepcopy(entry)]

    return add


def _set(**fields: object) -> Callable[[Object], None]:
    def change(rule: Object) -> None:
        rule.update(copy.deepcopy(fields))

    return change


def _without(*fields: str) -> Callable[[Object], None]:
    def change(rule: Object) -> None:
        for field in fields:
            rule.pop(field, None)

    return change


def _selecting(selector: object) -> Callable[[Object], None]:
    return _entry({"fromEndpoints": [selector]})


def _term(**term: object) -> Callable[[Object], None]:
    return _selecting({"matchExpressions": [dict(term)]})


SECTIONS: Final = ("ingress", "ingressDeny", "egress", "egressDeny")


def _only_an_empty_section(rule: Object) -> None:
    _without(*SECTIONS)(rule)
    rule["ingress"] = []


IN_RULE: Final[dict[str, Callable[[Object], None]]] = {
    "unknown-field": _set(ingres=[{}]),
    "unknown-field-of-an-entry": _entry({"fromEndpoint": [{}]}),
    "field-of-the-other-direction": _entry({"toEndpoints": [{}]}),
    "no-section": _without(*SECTIONS),
    "only-an-empty-section": _only_an_empty_section,
    "no-selector": _without("endpointSelector"),
    "two-selectors": _set(nodeSelector={}),
    "selector-is-null": _set(endpointSelector=None),
    "selector-is-a-list": _set(endpointSelector=[]),
    "section-is-an-object": _set(ingress={}),
    "section-is-null": _set(egress=None),
    "entry-is-null": _set(ingress=[None]),
    "two-kinds-of-peers": _entry({"fromEndpoints": [{}], "fromCIDR": ["10.0.0.0/8"]}),
    "two-kinds-one-empty": _entry({"fromEndpoints": [{}], "fromCIDR": []}),
    "bad-cidr": _entry({"fromCIDR": ["10.0.0.0/33"]}),
    "address-for-a-cidr": _entry({"fromCIDR": ["192.0.2.7"]}),
    "cidr-without-length": _entry({"fromCIDRSet": [{"cidr": "10.0.0.1"}]}),
    "except-outside": _entry({"fromCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}]}),
    "except-wider": _entry({"fromCIDRSet": [{"cidr": "10.0.0.0/16", "except": ["10.0.0.0/8"]}]}),
    "empty-cidr-rule": _entry({"fromCIDRSet": [{}]}),
    "bad-entity": _entry({"fromEntities": ["everybody"]}),
    "entity-in-capitals": _entry({"fromEntities": ["World"]}),
    "port-too-big": _port(port="65536"),
    "port-with-zeros-before-an-8": _port(port="0080"),
    "port-negative": _port(port="-1"),
    "port-is-a-number": _port(port=80),
    "port-empty": _port(port=""),
    "port-name-too-long": _port(port="a-name-of-sixteen"),
    "port-name-with-underscore": _port(port="my_port"),
    "no-port": _entry({"toPorts": [{"ports": [{"protocol": "TCP"}]}]}),
    "end-port-too-big": _port(endPort=65536),
    "end-port-negative": _port(endPort=-1),
    "end-port-is-a-text": _port(endPort="90"),
    "end-port-below": _port(endPort=70),
    "protocol-in-small-letters": _port(protocol="tcp"),
    "protocol-unknown": _port(protocol="QUIC"),
    "too-many-ports": _entry({"toPorts": [{"ports": [{"port": str(n)} for n in range(1, 42)]}]}),
    "http-on-udp": _http_port(protocol="UDP"),
    "http-on-any": _http_port(protocol="ANY"),
    "http-without-protocol": _entry({"toPorts": [{"ports": [{"port": "80"}], "rules": HTTP}]}),
    "http-on-port-0": _http_port(port="0"),
    "http-end-port-below": _http_port(endPort=70),
    "path-does-not-compile": _http(path="/("),
    "path-with-lookahead": _http(path="/(?=a)"),
    "path-with-backreference": _http(path=r"/(a)\1"),
    "method-does-not-compile": _http(method="*"),
    "host-does-not-compile": _http(host="["),
    "path-is-a-number": _http(path=7),
    "header-is-empty": _http(headers=[""]),
    "header-is-a-number": _http(headers=[42]),
    "headers-is-a-text": _http(headers="X-Token: 42"),
    "header-match-without-a-name": _http(headerMatches=[{"value": "42"}]),
    "header-match-with-an-empty-name": _http(headerMatches=[{"name": ""}]),
    "mismatch-unknown": _http(headerMatches=[{"name": "X", "mismatch": "IGNORE"}]),
    "unknown-http-field": _http(paths=["/a"]),
    "http-is-an-object": _rules({"http": {"path": "/a"}}),
    "http-is-null": _rules({"http": None}),
    "rules-are-empty": _rules({}),
    "rules-is-a-list": _rules([]),
    "http-and-dns": _rules({"http": [{}], "dns": [{"matchName": "a.example"}]}),
    "http-and-kafka": _rules({"http": [{}], "kafka": [{"topic": "t"}]}),
    "dns-on-ingress": _rules({"dns": [{"matchPattern": "*"}]}),
    "rules-of-a-deny-entry": _entry({"toPorts": [{"ports": [TCP_80], "rules": HTTP}]}, "ingressDeny"),
    "icmps-and-ports": _entry({"icmps": [{"fields": [{"type": 8}]}], "toPorts": [{"ports": [TCP_80]}]}),
    "icmp-family-unknown": _entry({"icmps": [{"fields": [{"type": 8, "family": "IPv5"}]}]}),
    "icmp-type-too-big": _entry({"icmps": [{"fields": [{"type": 256}]}]}),
    "icmp-type-unknown": _entry({"icmps": [{"fields": [{"type": "Hello"}]}]}),
    "icmp-without-a-type": _entry({"icmps": [{"fields": [{"family": "IPv4"}]}]}),
    "fqdns-of-a-deny-entry": _entry({"toFQDNs": [{"matchName": "a.example"}]}, "egressDeny"),
    "operator-unknown": _term(key="app", operator="Equals", values=["a"]),
    "in-without-values": _term(key="app", operator="In"),
    "in-with-no-values": _term(key="app", operator="In", values=[]),
    "exists-with-values": _term(key="app", operator="Exists", values=["a"]),
    "term-without-a-key": _term(operator="Exists"),
    "label-value-too-long": _selecting({"matchLabels": {"app": "a" * 64}}),
    "label-value-with-a-blank": _selecting({"matchLabels": {"app": "a b"}}),
    "label-key-with-a-blank": _selecting({"matchLabels": {"a b": "c"}}),
    "label-key-empty": _selecting({"matchLabels": {"": "c"}}),
    "label-value-is-a-number": _selecting({"matchLabels": {"app": 1}}),
    "unknown-field-of-a-selector": _selecting({"matchLabel": {"app": "a"}}),
    "default-deny-is-a-text": _set(enableDefaultDeny={"ingress": "false"}),
    "default-deny-of-nothing": _set(enableDefaultDeny={"forward": False}),
    "default-deny-is-null": _set(enableDefaultDeny=None),
}


def _kind(policy: Object) -> None:
    policy["kind"] = "NetworkPolicy"


def _version(policy: Object) -> None:
    policy["apiVersion"] = "cilium.io/v1"


def _spec_is(value: object) -> Callable[[Object], None]:
    def change(policy: Object) -> None:
        policy.pop("specs", None)
        policy["spec"] = value

    return change


def _specs_are(value: object) -> Callable[[Object], None]:
    def change(policy: Object) -> None:
        policy.pop("spec", None)
        policy["specs"] = value

    return change


def _both(policy: Object) -> None:
    rule = policy["spec"] if "spec" in policy else policy["specs"][0]
    policy["spec"] = rule
    policy["specs"] = [rule]


def _unknown(policy: Object) -> None:
    policy["rules"] = []


IN_POLICY: Final[dict[str, Callable[[Object], None]]] = {
    "other-kind": _kind,
    "no-kind": _without("kind"),
    "unknown-field-of-the-policy": _unknown,
    "spec-is-null": _spec_is(None),
    "spec-is-empty": _spec_is({}),
    "spec-is-a-list": _spec_is([]),
    "specs-are-empty": _specs_are([]),
    "specs-are-null": _specs_are(None),
    "spec-and-specs": _both,
    "neither-spec-nor-specs": _without("spec", "specs"),
}


def _key_twice(policy: Object) -> str:
    text = json.dumps(policy)
    return text[:-1] + ', "kind": "CiliumNetworkPolicy"}'


def _cut(policy: Object) -> str:
    text = json.dumps(policy)
    return text[: len(text) * 2 // 3]


def _tabs(policy: Object) -> str:
    return yaml.safe_dump(policy).replace("  ", "\t")


def _twice(policy: Object) -> str:
    return f"{json.dumps(policy)}\n---\n{json.dumps(policy)}"


IN_TEXT: Final[dict[str, Callable[[Object], str]]] = {
    "key-given-twice": _key_twice,
    "text-cut-off": _cut,
    "tabs": _tabs,
}
