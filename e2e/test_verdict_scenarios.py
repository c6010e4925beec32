# SPDX-License-Identifier: Apache-2.0
"""``bpfast verdict --scenarios`` as other tools drive it: a process, lines in, lines out."""

import base64
import json
import os
import subprocess
from typing import Any

import pytest

from e2e.bpfast import COMMAND
from e2e.policies import allow, entry, policy

Json = dict[str, Any]

ENDPOINTS = [
    {"name": "server", "labels": {"app": "server"}, "addresses": ["10.0.0.1"]},
    {"name": "client", "labels": {"app": "client"}, "addresses": ["10.0.0.2"]},
]
RULE = "default/p spec.ingress[0].toPorts[0].rules.http[0]"


def segment(path: str) -> str:
    """Return a GET of ``path`` in base64."""
    return base64.b64encode(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()).decode()


def scenario(identity: object, *policies: str, **change: Any) -> Json:
    """Return a scenario of two streams."""
    whole: Json = {
        "id": identity,
        "policies": list(policies),
        "endpoints": ENDPOINTS,
        "direction": "ingress",
        "endpoint": "default/server",
        "peer": "default/client",
        "port": 80,
        "streams": [{"id": path, "segments": [segment(path)]} for path in ("/a", "/b")],
    }
    return whole | change


def scenarios(engine: str, *lines: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run ``bpfast verdict --scenarios`` on these lines."""
    words = [str(COMMAND), "verdict", "--scenarios", "--engine", engine]
    text = "".join(f"{line}\n" for line in lines)
    return subprocess.run(words, input=text, capture_output=True, text=True, timeout=60, check=False, **more)


@pytest.mark.parametrize("engine", ("kernel", "model"))
def test_scenarios_are_answered_in_their_order(engine: str) -> None:
    """Each line has an answer of its own, under its own id, whatever type that is."""
    inspects = policy(entry(allow("/a")))
    lines = [
        scenario(1, inspects),
        scenario("two"),
        scenario([3], inspects, peer="192.0.2.1"),
        scenario({"four": None}, "kind: Nonsense", inspects),
    ]
    done = scenarios(engine, *map(json.dumps, lines))
    assert (0, "") == (done.returncode, done.stderr)
    first, second, third, fourth = map(json.loads, done.stdout.splitlines())
    allowed = {"verdict": "allow", "method": "GET", "path": "/a", "rule": RULE, "reason": "rule"}
    denied = {"verdict": "deny", "method": "GET", "path": "/b", "rule": None, "reason": "no_rule"}
    assert {
        "id": 1,
        "l34": "inspect",
        "streams": [
            {"id": "/a", "verdict": "allow", "requests": [allowed]},
            {"id": "/b", "verdict": "deny", "requests": [denied]},
        ],
        "refused": [],
    } == first
    assert ("two", "allow", []) == (second["id"], second["l34"], second["streams"][0]["requests"])
    assert ([3], "deny", "deny") == (third["id"], third["l34"], third["streams"][1]["verdict"])
    assert {"four": None} == fourth["id"]
    assert ["policies[0]"] == [one["policy"] for one in fourth["refused"]]


@pytest.mark.parametrize("engine", ("kernel", "model"))
def test_bad_lines_are_named_and_the_others_judged(engine: str) -> None:
    """The number of the line and the place in it are on stderr, one line a fault; the exit code is 2."""
    lines = [
        "nonsense",
        json.dumps(scenario(1)),
        json.dumps(scenario(2, peer="nobody", endpoint="default/db")),
        json.dumps(scenario(3, endpoints=[{"name": "server"}])),
        json.dumps(scenario(4)),
    ]
    done = scenarios(engine, *lines)
    assert 2 == done.returncode
    assert [1, 4] == [json.loads(line)["id"] for line in done.stdout.splitlines()]
    names = "default/client, default/server"
    expected = [
        f"<stdin>:3: endpoint: 'default/db' is none of the endpoints; valid: {names}",
        f"<stdin>:3: peer: 'nobody' is no endpoint, address or entity:NAME; endpoints: {names}",
        (
            "<stdin>:4: default/server: endpoints[0]: "
            "'netns' or 'addresses' is required: nothing says where it is"
        ),
    ]
    first, *others = done.stderr.splitlines()
    assert first.startswith("<stdin>:1: not a JSON line with the keys id, policies, ")
    assert expected == others


def test_what_stands_in_a_scenario_is_no_option() -> None:
    """Options that every scenario has for itself are refused by name."""
    words = [str(COMMAND), "verdict", "--scenarios", "--port", "80"]
    done = subprocess.run(words, input="", capture_output=True, text=True, timeout=60, check=False)
    assert 2 == done.returncode
    assert "--port stands in each scenario" in done.stderr


def test_the_model_needs_no_kernel() -> None:
    """The reference runs where no program can be loaded: without any privilege."""
    line = json.dumps(scenario(1, policy(entry(allow("/a")))))
    done = scenarios("model", line, user="nobody" if os.geteuid() == 0 else None)
    assert ("", "inspect") == (done.stderr, json.loads(done.stdout)["l34"])
