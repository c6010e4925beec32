# SPDX-License-Identifier: Apache-2.0
"""All small patterns on all short texts: every engine agrees with RE2."""

import itertools
import random
import secrets

import pytest

from bpfast.automata.syntax import PatternError, parse
from tests.automata.machines import disagreements, judge

ATOMS = ("a", "b", ".", "[ab]", "[^a]", "^", "$", r"\z", "(a|b)", "a*", "b+?", "(?:a)?", "a{2}", "(a*)*")
TOKENS = ("a", "b", ".", "|", "(", ")", "*", "?", "{2}", "[ab]", "(?i)", "^", "$")
SHORT = ["".join(text) for length in range(5) for text in itertools.product("ab\n", repeat=length)]
SHORTER = ["".join(text) for length in range(4) for text in itertools.product("aAb", repeat=length)]
UP_TO_FIVE = ["".join(text) for length in range(6) for text in itertools.product("ab", repeat=length)]


def random_pattern(source: random.Random, depth: int) -> str:
    """Return a pattern that nests at most ``depth`` deep."""
    kind = source.randrange(7) if depth else 0
    if kind in (0, 1):
        return source.choice(ATOMS)
    if kind == 2:
        return f"({random_pattern(source, depth - 1)}|{random_pattern(source, depth - 1)})"
    if kind == 3:
        operator = source.choice(("*", "+", "?", "{0,2}", "{2,}", "{0}", "{1,3}"))
        return f"(?:{random_pattern(source, depth - 1)}){operator}"
    return random_pattern(source, depth - 1) + random_pattern(source, depth - 1)


@pytest.mark.parametrize("atoms", range(4))
def test_all_patterns_of_few_atoms(atoms: int) -> None:
    """NFA, DFA and minimised DFA match exactly what RE2 matches, atom after atom."""
    patterns = ["".join(parts) for parts in itertools.product(ATOMS, repeat=atoms)]
    assert [] == [wrong for pattern in patterns for wrong in disagreements([pattern], SHORT)]


def test_all_alternations_of_two_atoms() -> None:
    """An alternation of any two atoms matches what RE2 matches, on longer texts."""
    patterns = ["|".join(parts) for parts in itertools.product(ATOMS, repeat=2)]
    assert [] == [wrong for pattern in patterns for wrong in disagreements([pattern], UP_TO_FIVE)]


@pytest.mark.parametrize("tokens", range(1, 5))
def test_all_sequences_of_few_tokens(tokens: int) -> None:
    """What is a pattern for RE2 is one here and means the same; all else is refused."""
    step = 7 if tokens == 4 else 1  # a sample of the 28,561 longest
    wrong: list[object] = []
    for parts in itertools.islice(itertools.product(TOKENS, repeat=tokens), 0, None, step):
        pattern = "".join(parts)
        try:
            parse(pattern)
        except PatternError as error:
            wrong += [(pattern, error)] if judge(pattern) else []
        else:
            wrong += [(pattern, "RE2 refuses")] if judge(pattern) is None else []
            wrong += disagreements([pattern], SHORTER)
    assert [] == wrong


def test_all_pairs_of_atoms_side_by_side() -> None:
    """Two patterns in one machine match what each matches alone."""
    pairs = itertools.product(ATOMS, repeat=2)
    assert [] == [wrong for pair in pairs for wrong in disagreements(pair, SHORTER)]


def test_random_patterns_side_by_side() -> None:
    """Three random patterns in one machine match what RE2 matches; the seed is printed."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201 - to run it again
    source = random.Random(seed)
    for _ in range(150):
        patterns = [random_pattern(source, 3) for _ in range(3)]
        assert [] == disagreements(patterns, UP_TO_FIVE)
