# SPDX-License-Identifier: Apache-2.0
"""A scenario: policies, endpoints, one question, and the requests that are asked about.

Both sides get the same question. The judge reads the requests in words;
``bpfast verdict --scenarios`` reads ``streams``, where each request stands as
the bytes of a connection of its own.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

Object = dict[str, Any]

HOST = "server"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; ``host`` None sends no Host header."""

    method: str = "GET"
    path: str = "/"
    host: str | None = HOST
    headers: tuple[tuple[str, str], ...] = ()

    def wire(self) -> bytes:
        """Return the request as a client writes it."""
        host = () if self.host is None else (("Host", self.host),)
        lines = [f"{self.method} {self.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in (*host, *self.headers)]
        return "\r\n".join([*lines, "", ""]).encode()

    def words(self) -> Object:
        """Return the request as the judge reads it."""
        host = {} if self.host is None else {"host": self.host}
        return {"method": self.method, "path": self.path, **host, "headers": [list(h) for h in self.headers]}

    def __str__(self) -> str:
        """Return the request line and headers in one line."""
        return self.wire().decode().strip().replace("\r\n", " | ")


@dataclass(frozen=True, slots=True)
class Scenario:
    """``policies`` are manifests: objects, or texts where the text itself matters.

    ``dual_stack`` is the cluster that it is asked on; one with IPv4 alone knows
    no IPv6 peers.
    """

    id: str
    policies: tuple[Object | str, ...]
    endpoints: tuple[Object, ...]
    direction: str
    endpoint: str
    peer: str
    port: int
    requests: tuple[Request, ...]
    dual_stack: bool = False

    def texts(self) -> list[str]:
        """Return the manifests as texts; JSON is YAML, too."""
        return [each if isinstance(each, str) else json.dumps(each) for each in self.policies]

    def for_judge(self) -> str:
        """Return the input line for the judge."""
        return json.dumps({**self._question(), "requests": [each.words() for each in self.requests]})

    def for_bpfast(self) -> str:
        """Return the input line for ``bpfast verdict --scenarios``."""
        streams = [
            {"id": number, "segments": [base64.b64encode(request.wire()).decode()]}
            for number, request in enumerate(self.requests)
        ]
        return json.dumps({**self._question(), "streams": streams})

    def _question(self) -> Object:
        return {
            "id": self.id,
            "policies": self.texts(),
            "endpoints": list(self.endpoints),
            "direction": self.direction,
            "endpoint": self.endpoint,
            "peer": self.peer,
            "port": self.port,
        }

    def asking(self, requests: Sequence[Request]) -> "Scenario":
        """Return the same scenario with other requests."""
        return replace(self, requests=tuple(requests))

    def __str__(self) -> str:
        """Return all of it, for a person."""
        stack = " on a dual-stack cluster" if self.dual_stack else ""
        parts = [f"{self.id}: {self.direction} of {self.endpoint}, peer {self.peer}, port {self.port}{stack}"]
        parts += [f"  {number}: {request}" for number, request in enumerate(self.requests)]
        parts += [
            "endpoints:",
            yaml.safe_dump(list(self.endpoints), sort_keys=False, default_flow_style=None),
        ]
        for policy in self.policies:
            text = policy if isinstance(policy, str) else yaml.safe_dump(policy, sort_keys=False)
            parts += ["---", text.rstrip("\n")]
        return "\n".join(parts)


def is_ipv6(peer: str) -> bool:
    """Return whether a peer is an IPv6 address."""
    return ":" in peer.removeprefix("entity:")


def full_name(endpoint: Object) -> str:
    """Return ``namespace/name`` of an endpoint."""
    return f"{endpoint.get('namespace', 'default')}/{endpoint['name']}"
