# SPDX-License-Identifier: Apache-2.0
"""What is said of a connection whose bytes were judged; the kernel engine of ``verdict`` says it alike."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["allow", "deny", "incomplete"]


@dataclass(frozen=True, slots=True)
class Request:
    """What became of one request.

    ``method`` and ``path`` (the target, query included) are as sent, None where
    there are none. ``rule`` is the name of the first rule in file order that
    holds. ``reason`` is a name of ``bpfast doctor --reasons``.
    """

    verdict: Literal["allow", "deny"]
    method: str | None
    path: str | None
    rule: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of a connection: ``incomplete`` if a head or body is unfinished at its end."""

    verdict: Verdict
    requests: tuple[Request, ...] = ()
