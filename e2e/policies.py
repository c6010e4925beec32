# SPDX-License-Identifier: Apache-2.0
"""Policies written short: who may ask whom for what, as the text of a file."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

Object = dict[str, Any]

SERVER = {"app": "server"}
CLIENT = {"app": "client"}


def entry(*http: Object, port: int = 80, peer: Mapping[str, str] | None = CLIENT) -> Object:
    """Return an ingress entry for a TCP port; without ``http`` it stops at layer 4, ``peer`` None is all."""
    ports: Object = {"ports": [{"port": str(port), "protocol": "TCP"}]}
    if http:
        ports["rules"] = {"http": list(http)}
    peers = {} if peer is None else {"fromEndpoints": [{"matchLabels": dict(peer)}]}
    return {**peers, "toPorts": [ports]}


def policy(
    *entries: Object,
    name: str = "p",
    namespace: str = "default",
    subject: Mapping[str, str] = SERVER,
) -> str:
    """Return a CiliumNetworkPolicy in JSON, which is YAML."""
    whole = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"endpointSelector": {"matchLabels": dict(subject)}, "ingress": list(entries)},
    }
    return json.dumps(whole, indent=1) + "\n"


def egress(
    *http: Object, port: int = 80, peer: Mapping[str, str] = SERVER, subject: Mapping[str, str] = CLIENT
) -> str:
    """Return a policy about what pods ``subject`` may ask pods ``peer`` for, at a TCP port."""
    ports: Object = {"ports": [{"port": str(port), "protocol": "TCP"}]}
    if http:
        ports["rules"] = {"http": list(http)}
    return _out(
        {"matchLabels": dict(subject)}, {"toEndpoints": [{"matchLabels": dict(peer)}], "toPorts": [ports]}
    )


def open_out() -> str:
    """Return a policy by which every pod may connect to anybody."""
    return _out({}, {"toEntities": ["all"]})


def _out(subject: Object, entry: Object) -> str:
    whole = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "out", "namespace": "default"},
        "spec": {"endpointSelector": subject, "egress": [entry]},
    }
    return json.dumps(whole, indent=1) + "\n"


def allow(path: str, *, method: str = "GET", headers: Sequence[str] = (), host: str | None = None) -> Object:
    """Return one HTTP rule."""
    rule: Object = {"method": method, "path": path}
    if headers:
        rule["headers"] = list(headers)
    if host is not None:
        rule["host"] = host
    return rule


def get(path: str) -> str:
    """Return a policy by which pods ``app: client`` may GET one path of ``app: server``."""
    return policy(entry(allow(path)))
