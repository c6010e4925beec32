# SPDX-License-Identifier: Apache-2.0
"""Candidate lists: the rules that a request line leaves open, as short as can be.

The first rule of a list whose demands are all fulfilled decides. So a rule
behind one that demands no more than itself is never the first: it is left out,
which also ends the list behind a rule that demands nothing.
"""

from collections.abc import Sequence

from bpfast.tables.machine import Candidate


class CandidateLists:
    """Makes the lists of one table and remembers those that are too long."""

    def __init__(self, needs: Sequence[int], limit: int) -> None:
        """``needs`` has the constraint bits of each rule, in file order."""
        self._needs = needs
        self._limit = limit
        self._crowded: dict[tuple[int, ...], None] = {}

    def of(self, rules: frozenset[int]) -> tuple[Candidate, ...]:
        """Return the list for a request line that ``rules`` match."""
        found: list[Candidate] = []
        for rule in sorted(rules):
            need = self._needs[rule]
            if all(earlier.need & ~need for earlier in found):
                found.append(Candidate(rule, need))
        if len(found) > self._limit:
            self._crowded[tuple(candidate.rule for candidate in found)] = None
        return tuple(found)

    def overflow(self) -> frozenset[int]:
        """Return the rules that, added in file order, find one of their lists full."""
        taken = dict.fromkeys(self._crowded, 0)
        refused = set()
        for rule in sorted({rule for crowd in taken for rule in crowd}):
            holding = [crowd for crowd in taken if rule in crowd]
            if any(taken[crowd] >= self._limit for crowd in holding):
                refused.add(rule)
            else:
                taken.update({crowd: taken[crowd] + 1 for crowd in holding})
        return frozenset(refused)
