# SPDX-License-Identifier: Apache-2.0
"""The written scenarios of ``cases/``: a file a topic, a name that says what each shows.

A case has policies, or the sections of one policy for ``app: server``
(``app: client`` for egress), and what to ``ask``: a peer, a port, and the
requests that both sides ``allow`` or ``deny``, or ``all`` of them. What only we
deny is ``stricter``. IPv6 peers, and questions with ``dual_stack``, are asked
on a cluster with both families. ``refused`` is the stage at which Cilium
refuses; ``refuses`` marks what only we refuse. A request is written ``GET /a``,
headers behind bars: ``GET /a | X-Token: 42``; ``| Host`` alone sends no Host
header.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import yaml

from e2e.scenarios.scenario import HOST, Object, Request, Scenario, is_ipv6

CASES = Path(__file__).with_name("cases")
SECTIONS = ("ingress", "ingressDeny", "egress", "egressDeny", "enableDefaultDeny")
KEYS = {"name", "why", "policies", "ask", "refused", "refuses", *SECTIONS}
ASK_KEYS = {"peer", "port", "direction", "endpoint", "all", "allow", "deny", "stricter", "dual_stack"}
ANY_REQUESTS = ("GET /", "POST /any/thing?x=1")


@dataclass(frozen=True, slots=True)
class Written:
    """One question of a case. ``cilium`` and ``ours`` are the verdicts expected, request by request."""

    scenario: Scenario
    cilium: tuple[str, ...]
    ours: tuple[str, ...]
    decided: bool
    refused: str
    refuses: bool


@cache
def written() -> tuple[Written, ...]:
    """Return every question of every case."""
    return tuple(each for path in files() for case in _cases(path) for each in _questions(path.stem, case))


def names() -> list[str]:
    """Return the name of each case."""
    return [f"{path.stem}/{case['name']}" for path in files() for case in _cases(path)]


def files() -> list[Path]:
    """Return the files of cases."""
    return sorted(path for path in CASES.glob("*.yaml") if path.stem != "endpoints")


def _cases(path: Path) -> Sequence[Object]:
    cases: Sequence[Object] = yaml.load(path.read_text(), yaml.CSafeLoader)
    return cases


@cache
def _endpoints() -> tuple[Object, ...]:
    return tuple(yaml.load((CASES / "endpoints.yaml").read_text(), yaml.CSafeLoader))


def _questions(topic: str, case: Object) -> Iterator[Written]:
    if unknown := set(case) - KEYS:
        raise ValueError(f"{topic}/{case['name']}: unknown keys {sorted(unknown)}; valid: {sorted(KEYS)}")
    policies = _policies(case)
    refused = {"refused": case.get("refused", ""), "refuses": case.get("refuses", False)}
    default = [{"peer": "client"}] if "refused" in case else []
    for number, ask in enumerate(case.get("ask", default)):
        if unknown := set(ask) - ASK_KEYS:
            raise ValueError(
                f"{topic}/{case['name']}: unknown keys {sorted(unknown)}; valid: {sorted(ASK_KEYS)}"
            )
        egress = "egress" in case or "egressDeny" in case
        egress = egress and "ingress" not in case and "ingressDeny" not in case
        direction = ask.get("direction", "egress" if egress else "ingress")
        subject = "client" if direction == "egress" else "server"
        peer = _pod(ask["peer"])
        scenario = Scenario(
            id=f"{topic}/{case['name']}#{number}",
            policies=policies,
            endpoints=_endpoints(),
            direction=direction,
            endpoint=_pod(ask.get("endpoint", subject)),
            peer=peer,
            port=ask.get("port", 80),
            requests=(),
            dual_stack=ask.get("dual_stack", is_ipv6(peer)),
        )
        yield _expected(scenario, ask, **refused)


def _expected(scenario: Scenario, ask: Object, *, refused: str, refuses: bool) -> Written:
    if "all" in ask:
        ask = {**ask, ask["all"]: ANY_REQUESTS}
    both = [("allow", "allow"), ("deny", "deny"), ("stricter", "deny")]
    listed = [(text, key, ours) for key, ours in both for text in ask.get(key, ())]
    return Written(
        scenario=replace(scenario, requests=tuple(_request(text) for text, _, _ in listed)),
        cilium=tuple("deny" if key == "deny" else "allow" for _, key, _ in listed),
        ours=tuple(ours for _, _, ours in listed),
        decided="all" in ask,
        refused=refused,
        refuses=refuses,
    )


def _pod(name: str) -> str:
    known = "/" in name or ":" in name or name[0].isdigit()
    return name if known else f"default/{name}"


def _policies(case: Object) -> tuple[Object | str, ...]:
    if "policies" not in case:
        return (_policy({key: case[key] for key in SECTIONS if key in case}, 0),)
    return tuple(
        each if isinstance(each, str) else _policy(each, n) for n, each in enumerate(case["policies"])
    )


def _policy(short: Object, number: int) -> Object:
    clusterwide = short.get("kind") == "CCNP"
    metadata: Object = {"name": f"p{number}"}
    if not clusterwide:
        metadata["namespace"] = short.get("namespace", "default")
    kind = "CiliumClusterwideNetworkPolicy" if clusterwide else "CiliumNetworkPolicy"
    body: Object = {key: short[key] for key in ("spec", "specs") if key in short}
    if not body:
        egress = not {"ingress", "ingressDeny"} & set(short)
        subject = short.get("subject", {"app": "client" if egress else "server"})
        selector = {"matchLabels": subject} if subject else {}
        sections = {key: short[key] for key in SECTIONS if key in short}
        body = {"spec": {"endpointSelector": selector, **sections}}
    return {"apiVersion": "cilium.io/v2", "kind": kind, "metadata": metadata, **body}


def _request(text: str) -> Request:
    line, *rest = text.split(" | ")
    method, path = line.split(" ", 1)
    host: str | None = HOST
    headers = []
    for each in rest:
        name, colon, value = each.partition(":")
        if name == "Host":
            host = value.strip() if colon else None
        else:
            headers.append((name, value.strip()))
    return Request(method=method, path=path, host=host, headers=tuple(headers))
