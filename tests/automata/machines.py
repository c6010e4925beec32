# SPDX-License-Identifier: Apache-2.0
"""A pattern as every kind of machine, and the judge: google-re2, silent about errors."""

from collections.abc import Callable, Sequence

import re2

from bpfast.automata.classes import partition
from bpfast.automata.determinize import determinize
from bpfast.automata.dfa import Dfa
from bpfast.automata.minimize import minimize
from bpfast.automata.nfa import compile_trees
from bpfast.automata.syntax import parse

Matcher = Callable[[bytes], tuple[int, ...]]

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False


def judge(pattern: str) -> "re2._Regexp | None":
    """Return the pattern as RE2 reads it, None if it refuses."""
    try:
        return re2.compile(pattern, _OPTIONS)
    except re2.error:
        return None


def dfa_of(patterns: Sequence[str]) -> Dfa:
    """Return the machine of all patterns, not minimised."""
    nfa = compile_trees([parse(pattern) for pattern in patterns])
    return determinize(nfa, partition(nfa.masks()))


def engines(patterns: Sequence[str]) -> dict[str, Matcher]:
    """Return the matching functions of all engines by name."""
    nfa = compile_trees([parse(pattern) for pattern in patterns])
    dfa = determinize(nfa, partition(nfa.masks()))
    return {"nfa": nfa.matching, "dfa": dfa.matching, "minimised": minimize(dfa).matching}


def disagreements(patterns: Sequence[str], texts: Sequence[str]) -> list[tuple[object, ...]]:
    """Return (engine, patterns, text, expected, actual) wherever an engine is not RE2."""
    judges = [judge(pattern) for pattern in patterns]
    machines = engines(patterns)
    found: list[tuple[object, ...]] = []
    for text in texts:
        expected = tuple(n for n, regex in enumerate(judges) if regex and regex.fullmatch(text))
        for name, matching in machines.items():
            actual = matching(text.encode())
            if expected != actual:
                found.append((name, patterns, text, expected, actual))
    return found
