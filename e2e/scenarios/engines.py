# SPDX-License-Identifier: Apache-2.0
"""The two sides: Cilium's engine in ``build/judge/judge``, and ``bpfast verdict --scenarios``."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.scenarios.scenario import Scenario

ROOT = Path(__file__).resolve().parents[2]
JUDGE = ROOT / "build" / "judge" / "judge"
BPFAST = Path(sys.executable).with_name("bpfast")
SECONDS = 1200

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cilium:
    """The judge's answer. ``stage`` is where all was refused, "" when there are verdicts."""

    l34: str
    requests: tuple[str, ...]
    shipped: tuple[str, ...]
    refused: tuple[tuple[int, str], ...]
    stage: str
    error: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Our verdict on one stream of one request; ``reason`` is "" when layer 4 decided."""

    verdict: str
    reason: str


@dataclass(frozen=True, slots=True)
class Complaint:
    """An entry of ``refused``; ``stays`` tells what is Envoy's from what is refused."""

    policy: str
    path: str
    reason: str

    @property
    def stays(self) -> bool:
        """True for what stays on Envoy."""
        return self.reason.startswith("stays on Envoy: ")


@dataclass(frozen=True, slots=True)
class Ours:
    """The answer of ``bpfast verdict --scenarios``."""

    l34: str
    requests: tuple[Verdict, ...]
    refused: tuple[Complaint, ...]


def ask_judge(scenarios: Sequence[Scenario]) -> list[Cilium]:
    """Return the judge's answers, in order. Dual-stack clusters need a process of their own."""
    found: dict[str, Cilium] = {}
    for dual_stack in (False, True):
        chosen = [each for each in scenarios if each.dual_stack == dual_stack]
        words = [str(JUDGE), *(["-dual-stack"] if dual_stack else [])]
        if chosen:
            answers = _answers(words, [each.for_judge() for each in chosen])
            found.update((answer["id"], _cilium(answer)) for answer in answers)
    return [found[each.id] for each in scenarios]


def ask_bpfast(scenarios: Sequence[Scenario], engine: str) -> list[Ours]:
    """Return the answers of one engine, in order."""
    if not scenarios:
        return []
    words = [str(BPFAST), "verdict", "--scenarios", "--engine", engine]
    answers = _answers(words, [each.for_bpfast() for each in scenarios])
    return [_ours(answer) for answer in answers]


def _answers(words: Sequence[str], lines: Sequence[str]) -> list[Json]:
    text = "".join(f"{line}\n" for line in lines)
    done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=SECONDS, check=False)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode or [each["id"] for each in answers] != [json.loads(line)["id"] for line in lines]:
        raise RuntimeError(
            f"{words[0]} answered {len(answers)} of {len(lines)} scenarios: {done.stderr[-2000:]}"
        )
    return answers


def _cilium(answer: Json) -> Cilium:
    return Cilium(
        l34=answer.get("l34", ""),
        requests=tuple(answer.get("requests", ())),
        shipped=tuple(answer.get("requests_shipped", ())),
        refused=tuple((each["policy"], each["stage"]) for each in answer.get("refused", ())),
        stage=answer.get("stage", ""),
        error=answer.get("error", "") + "; ".join(each["error"] for each in answer.get("refused", ())),
        notes=tuple(answer.get("notes", ())),
    )


def _ours(answer: Json) -> Ours:
    verdicts = []
    for stream in answer["streams"]:
        reason = stream["requests"][-1]["reason"] if stream["requests"] else ""
        verdicts.append(Verdict(stream["verdict"], reason))
    complaints = (Complaint(each["policy"], each["path"], each["reason"]) for each in answer["refused"])
    return Ours(answer["l34"], tuple(verdicts), tuple(complaints))
