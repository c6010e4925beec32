# SPDX-License-Identifier: Apache-2.0
"""Subset construction: a nondeterministic automaton to a deterministic one.

Source: Rabin and Scott 1959. Cost: the number of reachable subsets times their
edges, exponential in the worst case; ``limit`` bounds the states and raises,
nothing is truncated. Only states that count (with a byte edge, a match or a
pending ``$``) are kept in a subset, so that subsets which differ in mere
junctions are one. Chosen over Brzozowski's double reversal, whose intermediate
automaton has no useful bound, and over lazy construction as in RE2, which
needs memory while matching; the kernel has none to give.

A step goes set by set, not byte by byte: edges of one class (the trie) are a
dict, the few wide sets of a subset (``.``) are cut into disjoint pieces, and
each piece is one look-up however many classes it has. States are numbered in
order of discovery, which follows the order of the edges alone: the same
patterns give the same numbers.
"""

from bpfast.automata.classes import ByteClasses
from bpfast.automata.dfa import DEAD, Dfa, StateId
from bpfast.automata.nfa import Nfa, Where
from bpfast.automata.tree import ByteMask
from bpfast.errors import LimitExceeded

DFA_LIMIT = 60_000

Subset = tuple[int, ...]


def determinize(nfa: Nfa, classes: ByteClasses, *, limit: int = DFA_LIMIT) -> Dfa:
    """Return the automaton of subsets, the dead state included in ``limit``."""
    return _Construction(nfa, classes, limit).run()


class _Construction:
    def __init__(self, nfa: Nfa, classes: ByteClasses, limit: int) -> None:
        self._nfa = nfa
        self._classes = classes
        self._limit = limit
        self._members = {mask: classes.members(mask) for mask in nfa.masks()}
        self._ids: dict[Subset, StateId] = {}
        self._by_targets: dict[Subset, StateId] = {}
        self._closures: dict[int, Subset] = {}
        self._subsets: list[Subset] = [()]
        self._rows: list[dict[int, StateId]] = [{}]
        self._outputs: list[tuple[int, ...]] = [()]

    def run(self) -> Dfa:
        nfa = self._nfa
        first = self._important(nfa.closure([nfa.START], Where.BEGIN))
        # Not entered in _ids: here a `^` behind a `$` still holds, nowhere else.
        start = self._new(first, Where.BEGIN | Where.END)
        state = int(start)
        while state < len(self._subsets):
            self._rows[state] = self._row(self._subsets[state])
            state += 1
        return Dfa(self._classes, tuple(self._rows), tuple(self._outputs), start)

    def _row(self, subset: Subset) -> dict[int, StateId]:
        narrow: dict[int, list[int]] = {}
        wide: dict[ByteMask, list[int]] = {}
        apart = 0
        for state in subset:
            for mask, target in self._nfa.edges[state]:
                members = self._members[mask]
                if len(members) == 1:
                    narrow.setdefault(members[0], []).append(target)
                    apart |= mask
                elif members:
                    wide.setdefault(mask, []).append(target)
        row: dict[int, StateId] = {}
        for mask, targets in _disjoint(wide, apart):
            row |= dict.fromkeys(self._members_of(mask), self._state(targets))
        for number, targets in narrow.items():
            first = self._classes.firsts[number]
            for mask, more in wide.items():
                if mask >> first & 1:
                    targets.extend(more)
            row[number] = self._state(targets)
        return {number: row[number] for number in sorted(row) if row[number] != DEAD}

    def _members_of(self, mask: ByteMask) -> tuple[int, ...]:
        found = self._members.get(mask)
        if found is None:
            found = self._members[mask] = self._classes.members(mask)
        return found

    def _state(self, targets: list[int]) -> StateId:
        key = tuple(sorted(set(targets)))
        state = self._by_targets.get(key)
        if state is None:
            subset = tuple(sorted({state for target in key for state in self._closure(target)}))
            state = self._ids.get(subset)
            if state is None:
                state = self._ids[subset] = self._new(subset, Where.END) if subset else DEAD
            self._by_targets[key] = state
        return state

    def _closure(self, state: int) -> Subset:
        found = self._closures.get(state)
        if found is None:
            found = self._important(self._nfa.closure([state], Where.ANYWHERE))
            self._closures[state] = found
        return found

    def _important(self, states: list[int]) -> Subset:
        nfa = self._nfa
        return tuple(
            state
            for state in states
            if nfa.edges[state]
            or nfa.matches[state]
            or any(where == Where.END for where, _ in nfa.empties[state])
        )

    def _new(self, subset: Subset, where: Where) -> StateId:
        if len(self._subsets) >= self._limit:
            what = "states"
            raise LimitExceeded(what, self._limit)
        final = self._nfa.closure(subset, where)
        output = sorted({match for state in final for match in self._nfa.matches[state]})
        self._subsets.append(subset)
        self._rows.append({})
        self._outputs.append(tuple(output))
        return StateId(len(self._subsets) - 1)


def _disjoint(sets: dict[ByteMask, list[int]], apart: int) -> list[tuple[ByteMask, list[int]]]:
    """Cut overlapping sets, without ``apart``, into disjoint ones with the targets of all that hold them."""
    pieces: list[tuple[ByteMask, list[int]]] = []
    for mask, targets in sets.items():
        cut: list[tuple[ByteMask, list[int]]] = []
        rest = mask & ~apart
        for piece, have in pieces:
            both = piece & mask
            rest &= ~piece
            if both:
                cut.append((ByteMask(both), have + targets))
            if piece != both:
                cut.append((ByteMask(piece ^ both), have))
        if rest:
            cut.append((ByteMask(rest), targets))
        pieces = cut
    return pieces
