# SPDX-License-Identifier: Apache-2.0
"""A rule set to a table image; what does not fit is refused rule by rule.

First every rule is read by itself, in file order: bad patterns, impossible
headers and exhausted bits refuse that rule. Then all that is left is built at
once, and only if that passes a limit ``fit`` looks for the rules that have to
go. Rules stay independent: taking one out never makes another one wrong, since
rules only allow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from bpfast.abi import MAX_CANDIDATES, TABLE_WORDS
from bpfast.automata.classes import partition
from bpfast.automata.determinize import determinize
from bpfast.automata.nfa import compile_trees
from bpfast.automata.syntax import parse
from bpfast.automata.tree import ByteMask, Concat, OneByte
from bpfast.errors import LimitExceeded, Unsupported
from bpfast.policy.rules import HttpRule, RuleSet
from bpfast.tables.candidates import CandidateLists
from bpfast.tables.constraints import Constraints
from bpfast.tables.fit import ATTEMPTS, fit
from bpfast.tables.header_lines import add_header_lines, fields_of, value_masks
from bpfast.tables.http1 import METHODS, grammar_masks
from bpfast.tables.image import TableImage
from bpfast.tables.machine import STATE_LIMIT, MachineBuilder
from bpfast.tables.pack import pack
from bpfast.tables.request_line import (
    Group,
    PathRule,
    RequestLine,
    groups_of,
    make_group,
    path_nfa,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one table may cost; passing a limit refuses a rule, nothing is cut.

    ``states`` of the machine (and of each automaton on the way), ``words`` of
    the image, ``candidates`` that one request line leaves open.
    """

    states: int = STATE_LIMIT
    words: int = TABLE_WORDS
    candidates: int = MAX_CANDIDATES


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rule that is not in the image, and why."""

    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Built:
    """The image, and the rules that it leaves out, in file order."""

    image: TableImage
    refused: tuple[Refusal, ...]


Compiled = tuple[TableImage, frozenset[int]]
"""An image, and the positions of rules left out since a request line was too crowded."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A rule whose patterns have been read."""

    position: int
    source: HttpRule
    methods: frozenset[bytes]


def build(rule_set: RuleSet, *, limits: Limits | None = None) -> Built:
    """Return the image of all rules that fit, and the refusals."""
    bounds = limits or Limits()
    refused: dict[int, str] = {}
    rules = _read_all(rule_set, refused)
    try:
        image, crowded = _compile(rules, bounds)
    except LimitExceeded:
        image, crowded = _fit(rules, bounds, refused)
    reason = str(LimitExceeded("rules open for one request line", bounds.candidates))
    refused |= dict.fromkeys(crowded, reason)
    names = [rule.name for rule in rule_set.rules]
    return Built(image, tuple(Refusal(names[at], refused[at]) for at in sorted(refused)))


def _fit(rules: list[_Read], limits: Limits, refused: dict[int, str]) -> Compiled:
    """Return the image of the rules that fit together; enter the others in ``refused``."""
    alone = _too_big_alone(rules, limits)
    rules = [rule for rule in rules if rule.position not in alone]
    chosen, errors = fit(rules, lambda some: _compile(some, limits))
    refused |= alone | {rules[index].position: str(error) for index, error in errors.items()}
    return chosen


def _too_big_alone(rules: Sequence[_Read], limits: Limits) -> dict[int, str]:
    """Return the rules of which one pattern passes the limit all by itself.

    Only a short cut for ``fit``, so it ends after a few finds: each is as dear
    as a whole table.
    """
    found: dict[int, str] = {}
    for rule in rules:
        if len(found) >= ATTEMPTS:
            break
        for pattern in (rule.source.path, rule.source.host):
            if pattern is None:
                continue
            tree = parse(pattern)
            if isinstance(tree, Concat) and all(isinstance(part, OneByte) for part in tree.parts):
                continue  # a chain: as many states as it has bytes
            nfa = compile_trees([tree])
            try:
                determinize(nfa, partition(nfa.masks()), limit=limits.states)
            except LimitExceeded as error:
                found[rule.position] = str(error)
    return found


def _read_all(rule_set: RuleSet, refused: dict[int, str]) -> list[_Read]:
    """Read every rule by itself; enter those that are bad, or find no bit left, in ``refused``."""
    constraints = Constraints()
    methods: dict[str | None, frozenset[bytes]] = {None: frozenset(METHODS)}
    rules = []
    for position, rule in enumerate(rule_set.rules):
        try:
            if rule.method not in methods:
                methods[rule.method] = _methods(rule.method or "")
            for pattern in (rule.path, rule.host):
                if pattern is not None:
                    compile_trees([parse(pattern)])
            constraints.add(rule)
        except (Unsupported, LimitExceeded) as error:
            refused[position] = str(error)
        else:
            rules.append(_Read(position, rule, methods[rule.method]))
    return rules


@lru_cache(maxsize=256)
def _methods(pattern: str) -> frozenset[bytes]:
    nfa = compile_trees([parse(pattern)])
    return frozenset(method for method in METHODS if nfa.matching(method))


def _compile(rules: Sequence[_Read], limits: Limits) -> Compiled:
    """Return the image of these rules, without those that request lines have no place for."""
    crowded: set[int] = set()
    while True:
        kept = [rule for rule in rules if rule.position not in crowded]
        constraints = Constraints()
        lists = CandidateLists([constraints.add(rule.source) for rule in kept], limits.candidates)
        image = _assemble(kept, constraints, lists, limits)
        if image is not None:
            return image, frozenset(crowded)
        crowded |= {kept[index].position for index in lists.overflow()}


def _assemble(
    rules: Sequence[_Read], constraints: Constraints, lists: CandidateLists, limits: Limits
) -> TableImage | None:
    """Return the image of exactly these rules; None if a candidate list is too long."""
    fields = fields_of(constraints)
    groups = _Groups(rules)
    masks = [*grammar_masks(), *value_masks(fields), *groups.masks()]
    builder = MachineBuilder(partition(masks), limit=limits.states)
    start = builder.state()
    header_lines = add_header_lines(builder, fields, start, limit=limits.states)
    made = groups.make(lists, limits)
    if lists.overflow():
        return None
    RequestLine(builder, header_lines).add(made, start)
    names = tuple(rule.source.name for rule in rules)
    return pack(builder.finish(start, names), limit=limits.words)


class _Groups:
    """The rules grouped by method, as the request line needs them."""

    def __init__(self, rules: Sequence[_Read]) -> None:
        paths = [rule.source.path for rule in rules if rule.source.path is not None]
        numbers = {path: number for number, path in enumerate(dict.fromkeys(paths))}
        trees = [parse(path) for path in numbers]
        self._rules = [
            PathRule(index, rule.methods, None if path is None else numbers[path])
            for index, rule in enumerate(rules)
            for path in [rule.source.path]
        ]
        self._groups = [
            (methods, members, *path_nfa(members, trees)) for members, methods in groups_of(self._rules)
        ]

    def masks(self) -> list[ByteMask]:
        return [mask for _, _, nfa, _ in self._groups for mask in nfa.masks()]

    def make(self, lists: CandidateLists, limits: Limits) -> list[Group]:
        made = []
        for methods, members, nfa, paths in self._groups:
            dfa = determinize(nfa, partition(nfa.masks()), limit=limits.states)
            group = make_group(methods, members, dfa=dfa, paths=paths, candidates=lists.of)
            made.append(group)
        return made
