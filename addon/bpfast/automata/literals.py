# SPDX-License-Identifier: Apache-2.0
"""A trie of byte strings: equal beginnings are stored once.

Source: Fredkin 1960. Cost: one dict step a byte. All our searches are anchored
at the start, so failure links (Aho-Corasick) would never be followed and are
left out. ``nfa`` hangs the literal beginning of every pattern into one trie:
a thousand URLs become one branching tree, of which subset construction sees
one state a step instead of a thousand.
"""

from collections.abc import Iterable

ROOT = 0


class Trie:
    """Nodes are numbers, 0 the root; ``children`` keeps the order of insertion."""

    __slots__ = ("children", "ends")

    def __init__(self, words: Iterable[bytes] = ()) -> None:
        """Make a trie of ``words``; each one's identifier is its position."""
        self.children: list[dict[int, int]] = [{}]
        self.ends: list[list[int]] = [[]]
        for identifier, word in enumerate(words):
            self.insert(word, identifier)

    def insert(self, word: bytes, identifier: int) -> int:
        """Add ``word``; return the node where it ends."""
        node = ROOT
        for byte in word:
            following = self.children[node].get(byte)
            if following is None:
                following = len(self.children)
                self.children.append({})
                self.ends.append([])
                self.children[node][byte] = following
            node = following
        self.ends[node].append(identifier)
        return node
