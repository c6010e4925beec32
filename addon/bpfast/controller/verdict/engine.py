# SPDX-License-Identifier: Apache-2.0
"""The seam between ``verdict`` and whoever judges: the kernel's programs, or the model.

An engine takes a case, says what layers 3 and 4 make of it, and then judges one
stream of bytes after the other. Both get the same case and must agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from bpfast.controller.desired import World
from bpfast.model.judgement import Judgement
from bpfast.policy.meaning import Direction, Peer
from bpfast.policy.peers import Address
from bpfast.policy.reader import Policy
from bpfast.policy.refused import Refused
from bpfast.tables.build import Refusal

Layer34 = Literal["allow", "deny", "inspect"]


@dataclass(frozen=True, slots=True)
class Question:
    """Which connections are asked about: to ``port`` (TCP) of ``endpoint``, or out of it to the peer's."""

    direction: Direction
    endpoint: str
    peer: Peer | Address
    port: int


@dataclass(frozen=True, slots=True)
class Case:
    """A question and all that decides it; ``refused`` are policies that could not be read."""

    world: World
    policies: tuple[Policy, ...]
    refused: tuple[Refused, ...]
    question: Question


class Session(Protocol):
    """One case under one engine."""

    @property
    def l34(self) -> Layer34:
        """What layers 3 and 4 say: only ``inspect`` looks at the bytes."""

    @property
    def refused(self) -> tuple[Refusal, ...]:
        """The HTTP rules that would decide and that no table can take: they open nothing."""

    def judge(self, segments: Sequence[bytes]) -> Judgement:
        """Return what becomes of a connection on which the client sends these segments."""


class Engine(Protocol):
    """Judges cases, one at a time."""

    def open(self, case: Case) -> Session:
        """Return the session of a case; the one before is over."""

    def close(self) -> None:
        """Give everything back."""
