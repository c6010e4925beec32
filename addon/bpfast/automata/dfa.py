# SPDX-License-Identifier: Apache-2.0
"""The deterministic automaton: its representation and the reference search.

Bytes go through a class map first (``classes``). State 0 is dead: nothing
matches from there, so "stop" is one comparison. Rows are sparse, class to next
state, and a class that is not in a row leads to the dead state: a trie of URLs
has one entry a row where a full row has eighty, and every algorithm here costs
what the entries cost. ``tables.pack`` makes the full rows that the kernel
steps through without a branch.

What the packed form takes from this one, and what each saves a byte:

* classes: a row of some eighty words instead of 256, so more of a table stays in
  the cache, for one byte load more;
* the dead state as number 0: a state that was never set is dead, without a test;
* states multiplied by the row length when packed: no multiplication, and no need
  for rows of 2^n words, which would cost up to twice the memory.

A state's output is the list of the patterns that match if the text ends there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NewType

from bpfast.automata.classes import ByteClasses

StateId = NewType("StateId", int)
DEAD = StateId(0)


@dataclass(frozen=True, slots=True)
class Dfa:
    """A machine; ``rows[state][class]`` is the next state, absent is ``DEAD``.

    ``outputs[state]`` is ascending; equal tuples mean equal outcomes.
    """

    classes: ByteClasses
    rows: tuple[Mapping[int, StateId], ...]
    outputs: tuple[tuple[int, ...], ...]
    start: StateId

    def step(self, state: StateId, byte: int) -> StateId:
        """Return the state after one byte."""
        return self.rows[state].get(self.classes.of[byte], DEAD)

    def matching(self, text: bytes) -> tuple[int, ...]:
        """Return the patterns that match the whole of ``text``."""
        state = self.start
        for byte in text:
            state = self.step(state, byte)
            if state == DEAD:
                break
        return self.outputs[state]

    def with_outputs(self, change: Callable[[tuple[int, ...]], tuple[int, ...]]) -> "Dfa":
        """Return the same machine with other outputs, e.g. rules for patterns.

        ``change`` must keep the empty output empty, which the dead state has.
        """
        return Dfa(self.classes, self.rows, tuple(map(change, self.outputs)), self.start)


def empty_dfa(classes: ByteClasses) -> Dfa:
    """Return the machine that matches nothing."""
    return Dfa(classes, ({}, {}), ((), ()), StateId(1))
