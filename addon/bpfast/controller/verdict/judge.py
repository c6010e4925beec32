# SPDX-License-Identifier: Apache-2.0
"""Lines in, verdicts out: the formats of ``bpfast verdict``.

A line that cannot be read is named on stderr and gets no answer; those behind it
are judged all the same, and the exit code says that something was wrong.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any, Literal, TextIO

from bpfast.controller.desired import World
from bpfast.controller.read import regex_fault
from bpfast.controller.staying import entries_that_stay
from bpfast.controller.verdict.engine import Case, Engine, Session
from bpfast.controller.verdict.lines import Scenario, Stream, read_scenario, read_stream
from bpfast.errors import BadInput
from bpfast.policy.reader import Text, examine
from bpfast.tables.build import Refusal

Json = dict[str, Any]


def engine_named(name: Literal["kernel", "model"]) -> Engine:
    """Return the engine that ``--engine`` names; only what it needs is imported."""
    if name == "model":
        from bpfast.controller.verdict.model import ModelEngine  # noqa: PLC0415 - no kernel is needed

        return ModelEngine()
    from bpfast.controller.verdict.kernel import KernelEngine  # noqa: PLC0415

    return KernelEngine()


def judge_streams(engine: Engine, case: Case, lines: Iterable[str], out: TextIO, err: TextIO) -> int:
    """Write a verdict for the stream on each line; return how many lines could not be read."""
    session = engine.open(case)

    def answer(line: str, number: int) -> Json:
        return _judged(session, read_stream(line, number))

    return _each(lines, answer, out, err)


def judge_scenarios(engine: Engine, lines: Iterable[str], out: TextIO, err: TextIO) -> int:
    """Write the verdicts for the scenario on each line; return how many lines could not be read."""

    def answer(line: str, number: int) -> Json:
        return judge_scenario(engine, read_scenario(line, number))

    return _each(lines, answer, out, err)


def _each(lines: Iterable[str], answer: Callable[[str, int], Json], out: TextIO, err: TextIO) -> int:
    bad = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found = answer(line, number)
        except BadInput as error:
            bad += 1
            print(error, file=err, flush=True)
        else:
            out.write(json.dumps(found) + "\n")
            out.flush()
    return bad


def judge_scenario(engine: Engine, scenario: Scenario) -> Json:
    """Return the answer to one scenario."""
    texts = [Text(f"policies[{number}]", text) for number, text in enumerate(scenario.policies)]
    reading = examine(texts, regex_fault)
    case = Case(World(scenario.endpoints), reading.policies, reading.refused, scenario.question)
    session = engine.open(case)
    refused = [
        {"policy": fault.policy or fault.source, "path": fault.path, "reason": fault.message}
        for fault in reading.faults
    ]
    refused += [_over_limit(refusal) for refusal in session.refused]
    refused += _staying(case)
    return {
        "id": scenario.identity,
        "l34": session.l34,
        "streams": [_judged(session, stream) for stream in scenario.streams],
        "refused": refused,
    }


def _judged(session: Session, stream: Stream) -> Json:
    found = session.judge(stream.segments)
    requests = [asdict(request) for request in found.requests]
    return {"id": stream.identity, "verdict": found.verdict, "requests": requests}


def _over_limit(refusal: Refusal) -> Json:
    policy, _blank, path = refusal.rule.partition(" ")
    return {"policy": policy, "path": path, "reason": refusal.reason}


def _staying(case: Case) -> list[Json]:
    asked = case.question
    (endpoint,) = (each for each in case.world.endpoints if each.full_name == asked.endpoint)
    found = entries_that_stay(case.policies, [endpoint.subject()], asked.direction)
    return [
        {"policy": each.policy, "path": each.path, "reason": f"stays on Envoy: {each.reason}"}
        for each in found
    ]
