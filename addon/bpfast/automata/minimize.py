# SPDX-License-Identifier: Apache-2.0
"""Minimisation: the fewest states with the same outputs for every text.

Source: Valmari, "Fast brief practical DFA minimization" (Information Processing
Letters 112, 2012), which is Hopcroft's "process the smaller half" for machines
with missing transitions. Cost: m log n for m present transitions. Chosen over
Hopcroft as written, which needs the full rows that our sparse ones avoid (a
factor of eighty for URLs), and over Moore's rounds, of which a trie takes as
many as its longest word has bytes.

States with different outputs start in different blocks, so machines for many
patterns keep them apart. States from which no output can be reached are the
dead state and go first.
"""

from bpfast.automata.dfa import Dfa, StateId, empty_dfa


def minimize(dfa: Dfa) -> Dfa:
    """Return the minimal machine, states numbered breadth first from the start."""
    live = _live(dfa)
    if not live[dfa.start]:
        return empty_dfa(dfa.classes)
    edges = [
        (state, number, int(target))
        for state, row in enumerate(dfa.rows)
        if live[state]
        for number, target in row.items()
        if live[target]
    ]
    states = [state for state, alive in enumerate(live) if alive]
    return _quotient(dfa, edges, _blocks(dfa, states, edges))


def _live(dfa: Dfa) -> list[bool]:
    sources: list[list[int]] = [[] for _ in dfa.rows]
    for state, row in enumerate(dfa.rows):
        for target in row.values():
            sources[target].append(state)
    waiting = [state for state, output in enumerate(dfa.outputs) if output]
    live = [bool(output) for output in dfa.outputs]
    while waiting:
        for source in sources[waiting.pop()]:
            if not live[source]:
                live[source] = True
                waiting.append(source)
    return live


class _Partition:
    """Sets of 0..size-1 that can only split: marked members leave as the smaller half.

    ``members[first[s]:past[s]]`` are the members of set ``s``, the marked ones
    in front; ``touched`` are the sets with a mark.
    """

    __slots__ = ("_marked", "_touched", "_where", "first", "members", "owner", "past")

    def __init__(self, groups: list[list[int]]) -> None:
        self.members = [member for group in groups for member in group]
        self._where = [0] * len(self.members)
        self.owner = [0] * len(self.members)
        self.first: list[int] = []
        self.past: list[int] = []
        self._marked = [0] * len(groups)
        self._touched: list[int] = []
        position = 0
        for number, group in enumerate(groups):
            self.first.append(position)
            for member in group:
                self._where[member], self.owner[member] = position, number
                position += 1
            self.past.append(position)

    def mark(self, member: int) -> None:
        owner = self.owner[member]
        at, front = self._where[member], self.first[owner] + self._marked[owner]
        if at < front:
            return
        other = self.members[front]
        self.members[at], self._where[other] = other, at
        self.members[front], self._where[member] = member, front
        if not self._marked[owner]:
            self._touched.append(owner)
        self._marked[owner] += 1

    def split(self) -> None:
        for owner in self._touched:
            cut = self.first[owner] + self._marked[owner]
            self._marked[owner] = 0
            if cut == self.past[owner]:
                continue
            if cut - self.first[owner] <= self.past[owner] - cut:
                first, past = self.first[owner], cut
                self.first[owner] = cut
            else:
                first, past = cut, self.past[owner]
                self.past[owner] = cut
            new = len(self.first)
            self.first.append(first)
            self.past.append(past)
            self._marked.append(0)
            for member in self.members[first:past]:
                self.owner[member] = new
        self._touched = []

    def of(self, number: int) -> list[int]:
        return self.members[self.first[number] : self.past[number]]


def _grouped(keys: list[object]) -> list[list[int]]:
    groups: dict[object, list[int]] = {}
    for member, key in enumerate(keys):
        groups.setdefault(key, []).append(member)
    return list(groups.values())


def _blocks(dfa: Dfa, states: list[int], edges: list[tuple[int, int, int]]) -> dict[int, int]:
    """Return the block of each live state."""
    local = {state: index for index, state in enumerate(states)}
    blocks = _Partition(_grouped([dfa.outputs[state] for state in states]))
    cords = _Partition(_grouped([number for _, number, _ in edges]))
    tails = [local[tail] for tail, _, _ in edges]
    entering: list[list[int]] = [[] for _ in states]
    for index, (_, _, head) in enumerate(edges):
        entering[local[head]].append(index)
    block, cord = 1, 0
    while cord < len(cords.first):
        for edge in cords.of(cord):
            blocks.mark(tails[edge])
        blocks.split()
        cord += 1
        while block < len(blocks.first):
            for state in blocks.of(block):
                for edge in entering[state]:
                    cords.mark(edge)
            cords.split()
            block += 1
    return {state: blocks.owner[index] for state, index in local.items()}


def _quotient(dfa: Dfa, edges: list[tuple[int, int, int]], blocks: dict[int, int]) -> Dfa:
    rows: dict[int, dict[int, int]] = {block: {} for block in blocks.values()}
    for state, number, target in edges:
        rows[blocks[state]][number] = blocks[target]
    order = [blocks[dfa.start]]
    ids = {order[0]: StateId(1)}
    for block in order:
        for _, target in sorted(rows[block].items()):
            if target not in ids:
                ids[target] = StateId(len(ids) + 1)
                order.append(target)
    outputs = {block: dfa.outputs[state] for state, block in blocks.items()}
    return Dfa(
        dfa.classes,
        ({}, *({n: ids[to] for n, to in sorted(rows[block].items())} for block in order)),
        ((), *(outputs[block] for block in order)),
        ids[order[0]],
    )
