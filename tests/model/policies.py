# SPDX-License-Identifier: Apache-2.0
"""Random policies with everything in them that the kernel can or cannot do, and some that are broken.

Each is made from its own seed.
"""

import json
import random
from typing import Any

Json = dict[str, Any]

ENTITIES = ("all", "world", "cluster", "host", "init", "ingress", "unmanaged", "remote-node", "health",
            "none", "kube-apiserver")  # fmt: skip
NETWORKS = ("10.0.0.0/8", "192.0.2.0/24", "192.0.2.128/25", "0.0.0.0/0", "198.51.100.7/32", "::/0")
SELECTORS: tuple[Json, ...] = (
    {},
    {"matchLabels": {"app": "c"}},
    {"matchLabels": {"any:tier": "2"}},
    {"matchLabels": {"reserved:host": ""}},
    {"matchLabels": {"reserved:remote-node": ""}},
    {"matchLabels": {"io.kubernetes.pod.namespace": "other", "app": "c"}},
    {"matchLabels": {"k8s:io.cilium.k8s.namespace.labels.team": "x"}},
)
KEYS = ("app", "tier", "k8s:io.kubernetes.pod.namespace", "io.cilium.k8s.namespace.labels.team",
        "reserved:host", "host", "io.cilium.k8s.policy.cluster")  # fmt: skip
VALUES = ("c", "web", "1", "2", "demo", "other", "x", "default")
HTTP: tuple[Json, ...] = (
    {"path": "/a"},
    {"method": "GET", "host": "a"},
    {"headers": ["X-A: 1", "X-B"]},
    {},
    {"headerMatches": [{"name": "X-A", "value": "1"}]},
)
ODD_HTTP: tuple[Json, ...] = (
    *(
        {"headerMatches": [{"name": "X", "value": "1", "mismatch": word}]}
        for word in ("LOG", "LOG", "REPLACE")
    ),
    {"headerMatches": [{"name": "X", "secret": {"name": "s", "namespace": "n"}}]},
)
SECRET = {"secret": {"name": "s"}}


class Maker:
    """Throws the dice for one policy after the other."""

    def __init__(self, seed: object) -> None:
        """Take the seed."""
        self.dice = random.Random(str(seed))

    def chance(self, share: float) -> bool:
        """Return True in this share of the throws."""
        return self.dice.random() < share

    def policy(self, number: int) -> str:
        """Return a policy's text."""
        clusterwide = self.chance(0.2)
        namespace = {} if clusterwide else {"namespace": self.dice.choice(("demo", "demo", "other"))}
        kind = "CiliumClusterwideNetworkPolicy" if clusterwide else "CiliumNetworkPolicy"
        metadata = {"name": f"p{number}"} | namespace
        whole = {"apiVersion": "cilium.io/v2", "kind": kind, "metadata": metadata, "spec": self.spec()}
        return json.dumps(whole)

    def spec(self) -> Json:
        """Return a rule."""
        spec: Json = {"endpointSelector": self.subject()}
        for direction in ("ingress", "egress"):
            if self.chance(0.8):
                spec[direction] = [self.allows(direction) for _ in range(self.dice.choice((1, 1, 2, 3)))]
            if self.chance(0.25):
                spec[f"{direction}Deny"] = [self.entry(direction, denies=True)]
        if len(spec) == 1:
            spec["ingress"] = [{}]
        if self.chance(0.2):
            spec["enableDefaultDeny"] = {self.dice.choice(("ingress", "egress")): self.chance(0.5)}
        if self.chance(0.06):
            spec.update(
                self.dice.choice(({"bogus": 1}, {"ingress": [{"toPorts": 5}]}, {"endpointSelector": 5}))
            )
        return spec

    def subject(self) -> Json:
        """Return whom a rule is about, with the label of the handover now and then."""
        selector = dict(self.dice.choice(({}, {"matchLabels": {"app": "web"}}, self.expression("tier"))))
        if self.chance(0.2):
            key = self.dice.choice(("", "k8s:", "any:")) + "bpfast.io/enforcing"
            operator = self.dice.choice(("DoesNotExist", "DoesNotExist", "Exists"))
            more = [{"key": key, "operator": operator}]
            selector["matchExpressions"] = [*selector.get("matchExpressions", []), *more]
        return selector

    def expression(self, key: str) -> Json:
        """Return a selector with one expression."""
        operator = self.dice.choice(("In", "NotIn", "Exists", "DoesNotExist"))
        values = {"values": self.dice.sample(VALUES, 2)} if operator in ("In", "NotIn") else {}
        return {"matchExpressions": [{"key": key, "operator": operator} | values]}

    def allows(self, direction: str) -> Json:
        """Return an entry that allows, with what cannot be done here now and then."""
        entry = self.entry(direction, denies=False)
        if "toPorts" not in entry and self.chance(0.15):
            entry["icmps"] = [{"fields": [{"type": 8, "family": "IPv4"}]}]
        if self.chance(0.08):
            entry["authentication"] = {"mode": self.dice.choice(("disabled", "required"))}
        return entry

    def entry(self, direction: str, *, denies: bool) -> Json:
        """Return an entry of any section."""
        entry = self.peers("from" if direction == "ingress" else "to", denies=denies)
        if self.chance(0.75):
            entry["toPorts"] = [self.ports(denies=denies) for _ in range(self.dice.choice((1, 1, 2)))]
            if direction == "egress" and not denies and self.chance(0.15):
                entry["toPorts"].append(
                    {"ports": [{"port": "80"}], "rules": {"dns": [{"matchPattern": "*"}]}}
                )
        return entry

    def peers(self, word: str, *, denies: bool) -> Json:
        """Return the peers of an entry, or none."""
        few = self.dice.choice((1, 1, 1, 2, 0))
        known: list[Json] = [
            {},
            {},
            {f"{word}Endpoints": [self.dice.choice(SELECTORS) for _ in range(few)]},
            {f"{word}Endpoints": [self.expression(self.dice.choice(KEYS)) for _ in range(few)]},
            {f"{word}Entities": self.dice.sample(ENTITIES, few)},
            {f"{word}CIDR": self.dice.sample(NETWORKS, few)},
            {f"{word}CIDRSet": [{"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}]},
            {f"{word}CIDRSet": [{"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}]},
        ]
        unknown: list[Json] = [
            {f"{word}Nodes": [{"matchLabels": {"a": "b"}}]},
            {f"{word}Groups": [{"aws": {"region": "x"}}]},
            {f"{word}Groups": []},
            {f"{word}Nodes": []},
            {f"{word}CIDRSet": [{"cidrGroupRef": "g"}, {"cidr": "10.0.0.0/8"}]},
        ]
        if word == "to":
            unknown.append({"toServices": [{"k8sService": {"serviceName": "s", "namespace": "demo"}}]})
        if word == "to" and not denies:
            unknown += [{"toFQDNs": [{"matchName": "a.b"}]}, {"toFQDNs": []}, {"toServices": []}]
        return dict(self.dice.choice(known if self.chance(0.8) else unknown))

    def ports(self, *, denies: bool) -> Json:
        """Return an entry of ``toPorts``."""
        http = not denies and self.chance(0.5)
        entry: Json = {"ports": [self.port(http=http) for _ in range(self.dice.choice((1, 1, 2)))]}
        if http:
            entry["rules"] = {"http": self.dice.sample(HTTP, 2)}
            if self.chance(0.2):
                entry["rules"]["http"].append(self.dice.choice(ODD_HTTP))
        if denies or self.chance(0.8):
            return entry
        odd: list[Json] = [{"terminatingTLS": SECRET}, {"originatingTLS": SECRET}, {"ports": []}]
        if not http:
            odd += [{"serverNames": ["a.b"]}, {"rules": {"http": []}}]
        return entry | self.dice.choice(odd)

    def port(self, *, http: bool) -> Json:
        """Return a port; HTTP needs TCP."""
        protocol = "TCP" if http else self.dice.choice(("TCP", "TCP", "ANY", "UDP"))
        numbers: list[Json] = [
            {"port": "80"},
            {"port": "80"},
            {"port": self.dice.choice(("81", "8080"))},
            {"port": "79", "endPort": self.dice.choice((79, 80, 85))},
            {"port": self.dice.choice(("http", "alt", "nope"))},
        ]
        return self.dice.choice(numbers + ([] if http else [{"port": "0"}])) | {"protocol": protocol}
