# SPDX-License-Identifier: Apache-2.0
"""The kernel's programs and the model on the same random streams: all that is told of each request."""

import base64
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from bpfast.controller.verdict.engine import Engine
from bpfast.controller.verdict.judge import engine_named, judge_scenarios
from tests.model.streams import cut, stream

pytestmark = pytest.mark.privileged

Json = dict[str, Any]

RULE_SETS: dict[str, list[Json]] = {
    "everything": [{}],
    "a path": [{"path": "/a"}],
    "methods and paths": [{"path": "/a.*"}, {"method": "GET|POST", "path": "/.*"}],
    "hosts": [{"host": "a"}, {"path": "/b"}],
    "headers": [{"headers": ["X-A: 1"]}, {"path": "/public/.*", "headers": ["X-B"]}],
    "headers that frame": [
        {"path": "/a", "headers": ["X-A: 1"]},
        {"headers": ["Content-Length: 3"]},
        {"host": r"b\.example", "method": "P.*"},
    ],
    "all together": [
        {"path": r"(?i)/A(b|/b)?(\?.*)?"},
        {"headers": ["Connection", "Expect: 100-continue"]},
        {"path": "/[^.]*"},
    ],
}
STREAMS = 100
RECORDED = 700


@pytest.fixture(scope="module")
def engines() -> Iterator[tuple[Engine, Engine]]:
    """The model and the kernel, its programs loaded once."""
    both = engine_named("model"), engine_named("kernel")
    yield both
    for engine in both:
        engine.close()


def scenario(rules: list[Json], streams: Sequence[tuple[str, Sequence[bytes]]]) -> str:
    """Return a line of input: one inspected port and many connections to it."""
    port = {"ports": [{"port": "80", "protocol": "TCP"}], "rules": {"http": rules}}
    policy = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "p"},
        "spec": {"endpointSelector": {}, "ingress": [{"toPorts": [port]}]},
    }
    pods = [{"name": "web", "addresses": ["10.0.0.1"]}, {"name": "client", "addresses": ["10.0.0.2"]}]
    coded = [
        {"id": name, "segments": [base64.b64encode(each).decode() for each in cut]} for name, cut in streams
    ]
    question = {"direction": "ingress", "endpoint": "default/web", "peer": "default/client", "port": 80}
    return json.dumps(
        {"id": 1, "policies": [json.dumps(policy)], "endpoints": pods, "streams": coded} | question
    )


def answers(engine: Engine, line: str) -> list[Json]:
    """Return what an engine says to each stream."""
    out, err = io.StringIO(), io.StringIO()
    assert 0 == judge_scenarios(engine, [line], out, err), err.getvalue()
    found = json.loads(out.getvalue())
    assert "inspect" == found["l34"]
    streams: list[Json] = found["streams"]
    return streams


def differ(
    engines: tuple[Engine, Engine], rules: list[Json], names: Sequence[str]
) -> list[tuple[Json, Json]]:
    """Return the answers to those streams of which the model and the kernel say different things."""
    line = scenario(rules, [(name, cut(stream(name), name)) for name in names])
    model, kernel = (answers(engine, line) for engine in engines)
    return [pair for pair in zip(model, kernel, strict=True) if pair[0] != pair[1]]


@pytest.mark.parametrize("name", RULE_SETS)
def test_the_same_as_the_kernel(engines: tuple[Engine, Engine], name: str) -> None:
    """A hundred streams a rule set: the kernel says what the model says."""
    assert [] == differ(engines, RULE_SETS[name], [f"{name} {number}" for number in range(STREAMS)])


@pytest.mark.slow
@pytest.mark.parametrize("name", RULE_SETS)
def test_thousands_of_streams(engines: tuple[Engine, Engine], name: str) -> None:
    """4,900 streams more."""
    assert [] == differ(engines, RULE_SETS[name], [f"{name} more {number}" for number in range(RECORDED)])


@pytest.mark.parametrize("length", (61439, 61440, 61441, 61442))
def test_the_largest_head(engines: tuple[Engine, Engine], length: int) -> None:
    """At the limit of a head's size both stop at the same byte."""
    begin, end = b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"\r\n\r\n"
    whole = begin + b"y" * (length - len(begin) - len(end)) + end
    line = scenario([{}], [("large", [whole]), ("cut", cut(whole, length))])
    model, kernel = (answers(engine, line) for engine in engines)

    assert ["deny" if length > 61440 else "allow"] * 2 == [answer["verdict"] for answer in model]
    assert model == kernel
