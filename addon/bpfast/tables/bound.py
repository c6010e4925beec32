# SPDX-License-Identifier: Apache-2.0
"""Rules that surely fit into a table, told without making it.

A bound, not a guess: states of the paths' automaton, times those of the target's
grammar, for each method a group of its own. What it cannot prove it leaves to
``build``.
"""

from functools import lru_cache
from typing import Final

from bpfast.automata.classes import partition
from bpfast.automata.determinize import determinize
from bpfast.automata.nfa import compile_trees
from bpfast.automata.syntax import parse
from bpfast.errors import BPFastError
from bpfast.policy.rules import HttpRule, RuleSet
from bpfast.tables.constraints import Constraints

RULES: Final = 8
HEADERS: Final = 16
STATES: Final = 128
"""Of paths together: times 14 states of the grammar and 9 groups of methods 16,128, of 60,000 allowed."""

_LENGTH: Final = 200


def surely_fit(rules: RuleSet) -> bool:
    """Return whether no rule can pass a limit; False only says that there is no proof."""
    if len(rules.rules) > RULES or sum(len(rule.headers) for rule in rules.rules) > HEADERS:
        return False
    paths = tuple(dict.fromkeys(rule.path for rule in rules.rules if rule.path is not None))
    hosts = tuple(dict.fromkeys(rule.host for rule in rules.rules if rule.host is not None))
    methods = tuple(dict.fromkeys(rule.method for rule in rules.rules if rule.method is not None))
    if not all(map(_is_small, rules.rules)) or not _are_sound(rules):
        return False
    return all(map(_few_states, (paths, hosts, methods)))


def _are_sound(rules: RuleSet) -> bool:
    """Return whether every demand on a header is one that a table can take."""
    constraints = Constraints()
    try:
        for rule in rules.rules:
            constraints.add(rule)
    except BPFastError:
        return False
    return True


def _is_small(rule: HttpRule) -> bool:
    texts = [rule.path or "", rule.host or "", rule.method or ""]
    texts += [text for match in rule.headers for text in (match.name, match.value or "")]
    return max(map(len, texts)) <= _LENGTH


@lru_cache(maxsize=4096)
def _few_states(patterns: tuple[str, ...]) -> bool:
    try:
        nfa = compile_trees([parse(pattern) for pattern in patterns])
        determinize(nfa, partition(nfa.masks()), limit=STATES)
    except BPFastError:
        return False
    return True
