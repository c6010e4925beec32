# SPDX-License-Identifier: Apache-2.0
"""What the user sees of a run: ready, verdicts, answers, losses; a line of text or of JSON each."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import TextIO

from bpfast.abi import Direction, Verdict
from bpfast.controller.desired import Desired
from bpfast.events.asked import Asked
from bpfast.events.response import ResponseEvent, decode_response, is_response
from bpfast.events.verdict import VerdictEvent, decode
from bpfast.policy.meaning import Direction as PolicyDirection
from bpfast.policy.meaning import Inspect
from bpfast.policy.rules import RuleSet
from bpfast.standalone.endpoints import Endpoint

_MONOTONIC_TO_WALL = time.time_ns() - time.monotonic_ns()


class Reporter:
    """Prints events; knows the names behind the kernel's numbers."""

    def __init__(self, out: TextIO, err: TextIO, *, as_json: bool) -> None:
        """Print results to ``out`` and errors to ``err``."""
        self._out = out
        self._err = err
        self._json = as_json
        self._wanted: Desired | None = None
        self._indices: Mapping[RuleSet, int] = {}
        self._endpoints: Mapping[int, Endpoint] = {}
        self._peers: dict[str, str] = {}
        self._asked = Asked()

    def learn(
        self, wanted: Desired, indices: Mapping[RuleSet, int], endpoints: Mapping[int, Endpoint]
    ) -> None:
        """Take the names of rules, endpoints and peers of what is enforced from now on."""
        self._wanted, self._indices = wanted, indices
        self._endpoints = endpoints
        self._peers = {
            str(address): endpoint.full_name
            for endpoint in wanted.endpoints
            for address in endpoint.addresses
        }

    def ready(self, *, endpoints: int, rules: int) -> None:
        """Say that everything is enforced."""
        self._print(
            {"event": "ready", "endpoints": endpoints, "rules": rules},
            f"ready: {endpoints} endpoints, {rules} HTTP rules",
        )

    def error(self, message: str) -> None:
        """Say what is wrong, on stderr too."""
        if self._json:
            self._print({"event": "error", "message": message}, message)
        print(message, file=self._err, flush=True)

    def warning(self, policy: str, path: str, reason: str) -> None:
        """Say that an entry of a policy does not do what it says, on stderr too."""
        fields = {"event": "warning", "policy": policy, "path": path, "reason": reason}
        text = f"warning: {policy}: {path}: {reason}"
        if self._json:
            self._print(fields, text)
        print(text, file=self._err, flush=True)

    def lost(self, count: int) -> None:
        """Say how many events were not reported, if any."""
        if count:
            self._print({"event": "lost", "count": count}, f"lost: {count} events over the rate")

    def events(self, raw: Sequence[bytes]) -> None:
        """Print the verdicts and answers in raw events."""
        for one in raw:
            if is_response(one):
                fields = self.describe_response(decode_response(one))
                self._print(fields, _response_line(fields))
                continue
            event = decode(one)
            self._asked.keep(event)
            fields = self.describe(event)
            self._print(fields, _line(fields))

    def describe_response(self, event: ResponseEvent) -> dict[str, object]:
        """Return the fields of an answer; method and path are those of its request, if that was reported."""
        request = self._asked.take(event)
        return {
            "event": "response",
            **self._where(event),
            "method": request.method,
            "path": request.path,
            "status": event.status,
            "ttfb_ns": event.nanoseconds,
        }

    def _where(self, event: VerdictEvent | ResponseEvent) -> dict[str, object]:
        """Return what verdicts and answers begin with: when, who and to whom."""
        endpoint = self._endpoints.get(event.endpoint)
        return {
            "time": (event.time + _MONOTONIC_TO_WALL) / 1e9,
            "endpoint": endpoint.full_name if endpoint else str(event.endpoint),
            "direction": event.direction.name.lower(),
            "peer": self._peers.get(str(event.peer), str(event.peer)),
            "peer_port": event.port if event.direction is Direction.EGRESS else event.peer_port,
            "port": event.port,
        }

    def describe(self, event: VerdictEvent) -> dict[str, object]:
        """Return the fields of design section 10 for one verdict."""
        endpoint = self._endpoints.get(event.endpoint)
        fields: dict[str, object] = {
            "event": "verdict",
            **self._where(event),
            "method": event.method,
            "path": event.path,
            "host": event.host,
            "verdict": "allow" if event.verdict is Verdict.ALLOW else "deny",
            "rule": self._rule(event, endpoint),
            "reason": event.reason.name.lower(),
        }
        if event.nanoseconds:
            fields["ns"] = event.nanoseconds
        return fields

    def _rule(self, event: VerdictEvent, endpoint: Endpoint | None) -> str | None:
        """Return the rule's name: equal rules of two policies are one table, but each has its own names."""
        if event.rule is None or endpoint is None or self._wanted is None:
            return None
        peer = self._wanted.peer_at(event.peer)
        direction = PolicyDirection[event.direction.name]
        verdict = self._wanted.policy(endpoint.full_name, direction).verdict(peer, event.port)
        if not isinstance(verdict, Inspect) or self._indices.get(verdict.rules) != event.rule_set:
            return None  # decided under a policy that is gone
        names = self._wanted.images[verdict.rules].rules
        return names[event.rule] if event.rule < len(names) else None

    def _print(self, fields: Mapping[str, object], text: str) -> None:
        print(json.dumps(fields) if self._json else text, file=self._out, flush=True)


def _stamp(fields: Mapping[str, object]) -> str:
    return time.strftime("%H:%M:%S", time.localtime(float(str(fields["time"]))))


def _request(fields: Mapping[str, object]) -> str:
    """Return who asks whom for what."""
    ends = [fields["peer"], fields["endpoint"]]
    client, server = ends if fields["direction"] == "ingress" else reversed(ends)
    return f"{client} -> {server}:{fields['port']} {fields['method'] or '-'} {fields['path'] or '-'}"


def _line(fields: Mapping[str, object]) -> str:
    return f"{_stamp(fields)} {fields['verdict']!s:5} {_request(fields)} ({fields['reason']})"


def _response_line(fields: Mapping[str, object]) -> str:
    milliseconds = int(str(fields["ttfb_ns"])) / 1e6
    return f"{_stamp(fields)} {fields['status'] or '-'!s:5} {_request(fields)} (after {milliseconds:.3f} ms)"
