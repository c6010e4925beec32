# SPDX-License-Identifier: Apache-2.0
"""The kernel's programs and the model on the same streams: all that is told of each request.

Streams have numbers. A seed and a number give the stream, its cuts, its rules and
the way that it takes, so a difference can be looked at again.
"""

import base64
import io
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from bpfast.controller.verdict.engine import Engine
from bpfast.controller.verdict.judge import engine_named, judge_scenarios
from tests.model.streams import cut, stream

Json = dict[str, Any]
Segments = tuple[bytes, ...]

RULE_SETS: Final[dict[str, list[Json]]] = {
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
_NETWORKS: Final = {4: "10.0.0.", 6: "fd00::"}


@dataclass(frozen=True, slots=True)
class Setting:
    """What a stream meets: rules, by their name, in one direction, between addresses of one family."""

    rules: str
    direction: str = "ingress"
    family: int = 4

    def __str__(self) -> str:
        return f"{self.rules}, {self.direction}, IPv{self.family}"

    def scenario(self, streams: Sequence[tuple[object, Segments]]) -> str:
        """Return a line of input: one inspected port and many connections to it."""
        port = {"ports": [{"port": "80", "protocol": "TCP"}], "rules": {"http": RULE_SETS[self.rules]}}
        policy = {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumNetworkPolicy",
            "metadata": {"name": "p"},
            "spec": {"endpointSelector": {}, self.direction: [{"toPorts": [port]}]},
        }
        network = _NETWORKS[self.family]
        pods = [{"name": name, "addresses": [f"{network}{last}"]} for name, last in (("web", 1), ("peer", 2))]
        coded = [
            {"id": name, "segments": [base64.b64encode(each).decode() for each in segments]}
            for name, segments in streams
        ]
        question = {"direction": self.direction, "endpoint": "default/web", "peer": "default/peer"}
        case = {"id": 1, "policies": [json.dumps(policy)], "endpoints": pods, "streams": coded, "port": 80}
        return json.dumps(case | question)


SETTINGS: Final = tuple(
    Setting(rules, direction, family)
    for direction, family, rules in itertools.product(("ingress", "egress"), (4, 6), RULE_SETS)
)


@dataclass(frozen=True, slots=True)
class Difference:
    """A stream of which the engines say different things."""

    name: object
    setting: Setting
    segments: Segments
    model: Json
    kernel: Json


def setting_of(number: int) -> Setting:
    """Return what the stream of this number meets."""
    return SETTINGS[number % len(SETTINGS)]


def segments_of(seed: int, number: int) -> Segments:
    """Return the stream of a number, cut."""
    name = f"{seed} {number}"
    return tuple(cut(stream(name), name))


class Engines:
    """The model and the kernel, its programs loaded once; another engine can take the kernel's place."""

    def __init__(self, kernel: Engine | None = None) -> None:
        """Load the programs."""
        self._model = engine_named("model")
        self._kernel = engine_named("kernel") if kernel is None else kernel

    def __enter__(self) -> Self:
        """Return itself; leaving the block gives everything back."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give everything back."""
        self._model.close()
        self._kernel.close()

    def answers(
        self, setting: Setting, streams: Sequence[tuple[object, Segments]]
    ) -> Iterator[tuple[Json, Json]]:
        """Give what the model and what the kernel say to each stream."""
        line = setting.scenario(streams)
        return zip(_answers(self._model, line), _answers(self._kernel, line), strict=True)

    def differences(
        self, setting: Setting, streams: Sequence[tuple[object, Segments]]
    ) -> Iterator[Difference]:
        """Give the streams of which they say different things."""
        for (name, segments), (model, kernel) in zip(streams, self.answers(setting, streams), strict=True):
            if model != kernel:
                yield Difference(name, setting, segments, model, kernel)


def _answers(engine: Engine, line: str) -> list[Json]:
    out, err = io.StringIO(), io.StringIO()
    assert 0 == judge_scenarios(engine, [line], out, err), err.getvalue()
    found = json.loads(out.getvalue())
    assert "inspect" == found["l34"]
    streams: list[Json] = found["streams"]
    return streams
