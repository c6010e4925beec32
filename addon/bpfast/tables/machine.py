# SPDX-License-Identifier: Apache-2.0
"""The machine over a whole request head, before it is packed.

A Mealy machine: what is done hangs on transitions, not on states, since the
kernel then tests one bit a byte and nothing else. A row holds one word a byte
class: the number of the next state, or ``TRANSITION_ACTION`` and the number of
an action. Equal actions are one record; equal candidate lists are one list.

State 0 faults on every byte: a flow that was never set to the start state is
denied, not matched.
"""

from dataclasses import dataclass

from bpfast.abi import TRANSITION_ACTION, ActionOp, Reason
from bpfast.automata.classes import ByteClasses
from bpfast.errors import LimitExceeded

STATE_LIMIT = 60_000
DEAD_STATE = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rule that a request line leaves open, and the constraint bits that it needs."""

    rule: int
    need: int


@dataclass(frozen=True, slots=True)
class Action:
    """One action record; ``seen`` and ``fulfilled`` are bit sets of a header line."""

    ops: ActionOp
    next: int = DEAD_STATE
    reason: Reason = Reason.NONE
    candidates: tuple[Candidate, ...] = ()
    seen: int = 0
    fulfilled: int = 0


@dataclass(frozen=True, slots=True)
class Machine:
    """A finished machine; ``rules`` are the names that rule ids index."""

    classes: ByteClasses
    rows: tuple[list[int], ...]
    actions: tuple[Action, ...]
    start: int
    rules: tuple[str, ...]


class MachineBuilder:
    """Hands out states and actions; rows are set once, in any order."""

    def __init__(self, classes: ByteClasses, *, limit: int = STATE_LIMIT) -> None:
        """Make the dead state; at most ``limit`` states in all."""
        self.classes = classes
        self._limit = limit
        self._rows: list[list[int]] = []
        self._actions: dict[Action, int] = {}
        self._faults: dict[int, int] = {}
        self.state()
        self.set_row(DEAD_STATE, self.fault_row(Reason.INTERNAL))

    def state(self) -> int:
        """Return a new state, its row still to be set."""
        if len(self._rows) >= self._limit:
            what = "states of a table"
            raise LimitExceeded(what, self._limit)
        self._rows.append([])
        return len(self._rows) - 1

    def action(self, action: Action) -> int:
        """Return the word of a transition that executes ``action``."""
        return TRANSITION_ACTION | self._actions.setdefault(action, len(self._actions))

    def fault(self, reason: Reason) -> int:
        """Return the word of a transition that denies for ``reason``."""
        number = int(reason)  # a plain number is faster to look up
        word = self._faults.get(number)
        if word is None:
            word = self._faults[number] = self.action(Action(ActionOp.FAULT, reason=reason))
        return word

    def fault_row(self, reason: Reason) -> list[int]:
        """Return a row that denies for ``reason`` whatever comes; to be filled in."""
        return [self.fault(reason)] * self.classes.count

    def row(self, reason: Reason, moves: dict[int, int]) -> list[int]:
        """Return a row: byte to word, every other byte denied for ``reason``."""
        row = self.fault_row(reason)
        for byte, word in moves.items():
            row[self.classes.of[byte]] = word
        return row

    def set_row(self, state: int, row: list[int]) -> None:
        """Give ``state`` its transitions."""
        self._rows[state] = row

    def add(self, row: list[int]) -> int:
        """Return a new state with the transitions given."""
        state = self.state()
        self.set_row(state, row)
        return state

    def finish(self, start: int, rules: tuple[str, ...]) -> Machine:
        """Return the machine; every state has its row by now."""
        return Machine(self.classes, tuple(self._rows), tuple(self._actions), start, rules)
