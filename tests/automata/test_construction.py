# SPDX-License-Identifier: Apache-2.0
"""Classes, tries, limits and minimality of the construction."""

import random

import pytest

from bpfast.automata.classes import partition
from bpfast.automata.determinize import determinize
from bpfast.automata.dfa import DEAD, Dfa, empty_dfa
from bpfast.automata.literals import Trie
from bpfast.automata.minimize import minimize
from bpfast.automata.nfa import compile_trees
from bpfast.automata.syntax import parse
from bpfast.automata.tree import ALL_BYTES, NO_BYTE, bytes_in, mask_of, mask_range
from bpfast.errors import LimitExceeded
from tests.automata.machines import dfa_of
from tests.automata.test_exhaustive import random_pattern


def moore_blocks(dfa: Dfa) -> int:
    """Count the classes of equivalent states by plain rounds of refinement, dead state included."""
    block = [hash(output) for output in dfa.outputs]
    count = 0
    while count != len(set(block)):
        count = len(set(block))
        keys = [
            (block[state], tuple(block[row.get(number, DEAD)] for number in range(dfa.classes.count)))
            for state, row in enumerate(dfa.rows)
        ]
        names = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        block = [names[key] for key in keys]
    return count


def test_a_set_of_bytes_keeps_its_members() -> None:
    """Members come back ascending, ranges hold both ends, an inverted range is empty."""
    assert b"abz" == bytes_in(mask_of(b"zab"))
    assert b"abc" == bytes_in(mask_range(ord("a"), ord("c")))
    assert NO_BYTE == mask_range(5, 4)
    assert bytes(range(256)) == bytes_in(ALL_BYTES)


def test_classes_are_as_coarse_as_the_sets_allow() -> None:
    """Bytes of the same sets share a class, numbered by the lowest byte."""
    classes = partition([mask_range(ord("a"), ord("f")), mask_of(b"ax"), mask_of(b"ax")])
    assert 4 == classes.count
    assert b"\0abx" == classes.firsts
    assert classes.of[ord("b")] == classes.of[ord("f")]
    assert (1, 2) == classes.members(mask_range(ord("a"), ord("f")))


def test_without_sets_all_bytes_are_one_class() -> None:
    """No pattern tells any bytes apart."""
    assert 1 == partition([]).count


def test_a_trie_stores_equal_beginnings_once() -> None:
    """Nodes are as many as distinct beginnings; a word's node knows its number."""
    trie = Trie([b"ab", b"ac", b"a", b"ab"])
    assert [{97: 1}, {98: 2, 99: 3}, {}, {}] == trie.children
    assert [[], [2], [0, 3], [1]] == trie.ends


def test_literals_are_a_trie_in_the_machine() -> None:
    """A thousand words that differ at the end cost one chain and a thousand ends."""
    words = [f"abcdefgh{number}" for number in range(1000, 2000)]
    assert len(Trie([word.encode() for word in words]).children) + 1 == len(dfa_of(words).rows)


def test_nfa_limit() -> None:
    """As many states as the limit are built, one more is refused with the limit."""
    states = len(compile_trees([parse("(a|b){5}")]).edges)
    compile_trees([parse("(a|b){5}")], limit=states)
    with pytest.raises(LimitExceeded, match=f"more than {states - 1} states of a nondeterministic automaton"):
        compile_trees([parse("(a|b){5}")], limit=states - 1)


def test_dfa_limit() -> None:
    """As many states as the limit are built, one more is refused with the limit."""
    nfa = compile_trees([parse(".*a.{6}")])
    classes = partition(nfa.masks())
    states = len(determinize(nfa, classes).rows)
    assert 2**7 < states
    determinize(nfa, classes, limit=states)
    with pytest.raises(LimitExceeded, match=f"more than {states - 1} states"):
        determinize(nfa, classes, limit=states - 1)


def test_an_explosion_ends_at_the_limit() -> None:
    """A pattern of 2^40 states is refused after the limit, not after the memory."""
    nfa = compile_trees([parse(".*a.{40}")])
    with pytest.raises(LimitExceeded) as caught:
        determinize(nfa, partition(nfa.masks()), limit=1000)
    assert ("states", 1000) == (caught.value.what, caught.value.limit)


def test_minimised_machines_are_minimal() -> None:
    """No two states of a minimised machine are equivalent, and none was lost."""
    source = random.Random(3)
    for _ in range(150):
        dfa = dfa_of([random_pattern(source, 3) for _ in range(2)])
        small = minimize(dfa)
        live = len(small.rows) if small.rows[small.start] or small.outputs[small.start] else 1
        assert moore_blocks(dfa) == moore_blocks(small) == live


def test_outputs_keep_states_apart() -> None:
    """Equal endings of different patterns stay different states, those of one pattern are one."""
    assert 5 == len(minimize(dfa_of(["ab|cb"])).rows) + 1
    assert 7 == len(minimize(dfa_of(["ab", "cb"])).rows) + 1


def test_outputs_may_be_renamed_before_minimising() -> None:
    """Patterns that mean the same afterwards share their states."""
    dfa = dfa_of(["ab", "cb"]).with_outputs(lambda output: (0,) if output else ())
    assert 4 == len(minimize(dfa).rows)


def test_a_machine_that_matches_nothing_is_two_states() -> None:
    """States that lead to no match are the dead state."""
    dfa = dfa_of([r"a[^\x00-\x7f]b"])
    assert empty_dfa(dfa.classes) == minimize(dfa)


def test_a_search_stops_in_the_dead_state() -> None:
    """No output is found behind a byte that no pattern has there."""
    assert () == dfa_of(["a*"]).matching(b"aab" + b"a" * 10)


def test_bytes_above_ascii_never_match() -> None:
    """RE2 is asked about ASCII only; every other byte leads to the dead state."""
    dfa = dfa_of([".", "[^a]", r"\C", r"\x80"])
    assert [()] * 128 == [dfa.matching(bytes([byte])) for byte in range(128, 256)]
