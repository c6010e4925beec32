# SPDX-License-Identifier: Apache-2.0
"""Several trees to one nondeterministic automaton, and its direct simulation.

Source: Thompson 1968, with one change: the literal beginnings of all patterns
share a trie (see ``literals``), whose nodes are states with several byte
edges. Cost: linear in the tree after counted repeats are written out, which
``limit`` bounds. Chosen over Glushkov's construction, whose edges grow with
the square of a pattern's length, and over derivatives, which have no cheap
place for a limit.

``^`` and ``$`` are empty edges that can be followed only before the first
byte, or after the last one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntFlag

from bpfast.automata.literals import Trie
from bpfast.automata.tree import (
    Alternate,
    Begin,
    ByteMask,
    Concat,
    Empty,
    End,
    Node,
    OneByte,
    Repeat,
)
from bpfast.errors import LimitExceeded

NFA_LIMIT = 400_000


class Where(IntFlag):
    """Where in the text an empty edge may be followed."""

    ANYWHERE = 0
    BEGIN = 1
    END = 2


@dataclass(frozen=True, slots=True)
class Nfa:
    """States are numbers, ``START`` the first; one row each in every table.

    ``edges`` are (set of bytes, next state), ``empties`` (where, next state),
    ``matches`` the patterns that end in the state. ``patterns`` is how many
    there are.
    """

    edges: tuple[tuple[tuple[ByteMask, int], ...], ...]
    empties: tuple[tuple[tuple[Where, int], ...], ...]
    matches: tuple[tuple[int, ...], ...]
    patterns: int

    START = 0

    def masks(self) -> Iterable[ByteMask]:
        """Return every set of bytes on an edge, for ``classes.partition``."""
        return dict.fromkeys(mask for row in self.edges for mask, _ in row)

    def closure(self, states: Iterable[int], where: Where) -> list[int]:
        """Return what is reached by empty edges that hold at ``where``, ascending."""
        found = set(states)
        waiting = list(found)
        while waiting:
            for needed, target in self.empties[waiting.pop()]:
                if needed & ~where == 0 and target not in found:
                    found.add(target)
                    waiting.append(target)
        return sorted(found)

    def matching(self, text: bytes) -> tuple[int, ...]:
        """Return the patterns that match the whole of ``text``: the slow, plain judge."""
        states, where = [self.START], Where.BEGIN
        for byte in text:
            reached = self.closure(states, where)
            states = [to for state in reached for mask, to in self.edges[state] if mask >> byte & 1]
            where = Where.ANYWHERE
        final = self.closure(states, where | Where.END)
        return tuple(sorted({match for state in final for match in self.matches[state]}))


def compile_trees(trees: Sequence[Node], *, limit: int = NFA_LIMIT) -> Nfa:
    """Return the automaton of all trees; a pattern's number is its position."""
    builder = _Builder(limit)
    trie = Trie()
    rests: list[tuple[int, int, Node | None]] = []
    for number, tree in enumerate(trees):
        prefix, rest = _literal_prefix(tree)
        rests.append((trie.insert(prefix, number), number, rest))
    for _ in trie.children:
        builder.state()
    for node, children in enumerate(trie.children):
        builder.edges[node] = [(ByteMask(1 << byte), child) for byte, child in children.items()]
    for node, number, rest in rests:
        end = node if rest is None else builder.add(rest, node)
        builder.matches[end].append(number)
    return Nfa(
        tuple(map(tuple, builder.edges)),
        tuple(map(tuple, builder.empties)),
        tuple(map(tuple, builder.matches)),
        len(trees),
    )


def _literal_prefix(tree: Node) -> tuple[bytes, Node | None]:
    """Split a tree into the bytes that it surely begins with, and the rest (None: nothing)."""
    parts = tree.parts if isinstance(tree, Concat) else (tree,)
    prefix = bytearray()
    for part in parts:
        if not isinstance(part, OneByte) or part.mask.bit_count() != 1:
            break
        prefix.append(part.mask.bit_length() - 1)
    rest = parts[len(prefix) :]
    return bytes(prefix), Concat(rest) if rest else None


class _Builder:
    def __init__(self, limit: int) -> None:
        self.edges: list[list[tuple[ByteMask, int]]] = []
        self.empties: list[list[tuple[Where, int]]] = []
        self.matches: list[list[int]] = []
        self._limit = limit

    def state(self) -> int:
        if len(self.edges) >= self._limit:
            what = "states of a nondeterministic automaton"
            raise LimitExceeded(what, self._limit)
        self.edges.append([])
        self.empties.append([])
        self.matches.append([])
        return len(self.edges) - 1

    def add(self, node: Node, start: int) -> int:
        """Hang ``node`` on the state ``start``; return the new state where it ends."""
        if isinstance(node, OneByte):
            end = self.state()
            self.edges[start].append((node.mask, end))
            return end
        if isinstance(node, Concat):
            for part in node.parts:
                start = self.add(part, start)
            return self._step(start)
        if isinstance(node, Alternate):
            end = self.state()
            for part in node.parts:
                branch = self.add(part, self._step(start))
                self.empties[branch].append((Where.ANYWHERE, end))
            return end
        if isinstance(node, Repeat):
            return self._repeat(node, start)
        return self._step(start, _EMPTY_AT[type(node)])

    def _step(self, start: int, where: Where = Where.ANYWHERE) -> int:
        end = self.state()
        self.empties[start].append((where, end))
        return end

    def _repeat(self, node: Repeat, start: int) -> int:
        for _ in range(node.low):
            start = self.add(node.node, self._step(start))
        if node.high is None:
            loop = self._step(start)
            back = self.add(node.node, self._step(loop))
            self.empties[back].append((Where.ANYWHERE, loop))
            return self._step(loop)
        end = self.state()
        self.empties[start].append((Where.ANYWHERE, end))
        for _ in range(node.high - node.low):
            start = self.add(node.node, self._step(start))
            self.empties[start].append((Where.ANYWHERE, end))
        return end


_EMPTY_AT: dict[type[Node], Where] = {
    Empty: Where.ANYWHERE,
    Begin: Where.BEGIN,
    End: Where.END,
}
