# SPDX-License-Identifier: Apache-2.0
"""The cases of ``data/match/*.toml``, for every engine that judges request heads.

A case is rules, a stream and what must become of each head in it. Text stands
for bytes, one character a byte (U+00E9 is the byte e9); a stream in pieces may
repeat one. ``rules`` of policies are text as everywhere. Rule ``i`` of a case
has the name ``rule-i``. ``results`` ends with ``incomplete`` if a head or body
is unfinished at the end; nothing is listed after a denial.
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bpfast.abi import Reason
from bpfast.policy.rules import HeaderMatch, HttpRule, RuleSet

FOLDER = Path(__file__).parent / "data" / "match"


@dataclass(frozen=True, slots=True)
class Expected:
    """What must become of one head; a field that is None is not compared.

    ``verdict`` is ``allow``, ``deny`` or ``incomplete``.
    """

    verdict: str
    rule: str | None
    reason: Reason
    content_length: int | None = None
    close: bool | None = None
    expect: bool | None = None
    head_method: bool | None = None
    chunked: bool | None = None


@dataclass(frozen=True, slots=True)
class MatchCase:
    """One case; ``str`` of it names the file and the case."""

    file: str
    name: str
    rules: RuleSet
    stream: bytes
    results: tuple[Expected, ...]

    def __str__(self) -> str:
        return f"{self.file}: {self.name}"


def cases() -> Iterator[MatchCase]:
    """Yield every case of every file, in order."""
    for path in sorted(FOLDER.glob("*.toml")):
        for entry in tomllib.loads(path.read_text())["case"]:
            yield _case(path.stem, **entry)


def _case(file: str, name: str, rules: list[Any], stream: Any, results: list[Any]) -> MatchCase:
    return MatchCase(
        file,
        name,
        RuleSet(tuple(_rule(index, **rule) for index, rule in enumerate(rules))),
        _stream(stream),
        tuple(_expected(**result) for result in results),
    )


def _rule(index: int, headers: tuple[Any, ...] = (), **parts: str) -> HttpRule:
    matches = tuple(HeaderMatch(header["name"], header.get("value")) for header in headers)
    return HttpRule(f"rule-{index}", headers=matches, **parts)


def _stream(stream: Any) -> bytes:
    pieces = stream if isinstance(stream, list) else [stream]
    text = "".join(p if isinstance(p, str) else p["text"] * p["times"] for p in pieces)
    return text.encode("latin-1")


def _expected(verdict: str, rule: int | None = None, reason: str = "none", **more: Any) -> Expected:
    why = Reason.RULE if verdict == "allow" else Reason[reason.upper()]
    return Expected(verdict, None if rule is None else f"rule-{rule}", why, **more)
