# SPDX-License-Identifier: Apache-2.0
"""The automata of compiled policies as text: what the patterns become, then the machine of each table.

The patterns' own automata come first, since these are what a person can follow; the
machine is their product with the grammar of HTTP, which alone has some 300 states.
"""

from collections.abc import Sequence

from bpfast.automata import show as automata
from bpfast.automata.classes import partition
from bpfast.automata.determinize import determinize
from bpfast.automata.minimize import minimize
from bpfast.automata.nfa import compile_trees
from bpfast.automata.syntax import parse
from bpfast.controller.compile import Compiled
from bpfast.policy.rules import HttpRule
from bpfast.tables import show as tables


def printable(text: str) -> str:
    """Return a text in which all that a terminal would not print is spelled out."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def show_dfa(compiled: Compiled) -> str:
    """Return every table of ``compiled`` as text."""
    parts = []
    for number, image in enumerate(compiled.images):
        kept = [rule for rule in compiled.rule_sets[number].rules if rule.name in set(image.rules)]
        parts.append(f"=== table {number}: {len(kept)} rules")
        parts.append(_patterns("path", [rule.path for rule in kept], kept))
        parts.append(_patterns("host", [rule.host for rule in kept], kept))
        parts.append(f"--- machine\n{tables.table(image)}")
    return "\n".join(part for part in parts if part)


def _patterns(what: str, texts: Sequence[str | None], rules: Sequence[HttpRule]) -> str:
    """Return the automaton of all patterns of one kind, as they are written: without the grammar."""
    distinct = list(dict.fromkeys(text for text in texts if text is not None))
    if not distinct:
        return ""
    nfa = compile_trees([parse(text) for text in distinct])
    dfa = minimize(determinize(nfa, partition(nfa.masks())))
    lines = [f"--- {what}"]
    for number, pattern in enumerate(distinct):
        names = ", ".join(rule.name for rule, text in zip(rules, texts, strict=True) if text == pattern)
        lines.append(f"pattern {number}: {printable(pattern)}  ({names})")
    return "\n".join([*lines, automata.table(dfa)])
