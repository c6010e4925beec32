# SPDX-License-Identifier: Apache-2.0
"""The request line: methods, the target's grammar times the rules' paths, the version.

Rules are first grouped by method: the methods are a fixed list, so a method
pattern is just a set of methods, and methods with equal rules share all states.
For each group one automaton of its path patterns, with byte classes of its own,
is multiplied by the grammar of ``http1.Target``. Most products are never reached (a literal URL is in one
grammar state at a time), so only pairs that are found by walking are made.

The record with the candidates hangs on the blank behind the target, where they
are known, not on the line's end: the version is then spelled out once instead
of once a rule. Only when no rule is left does the line's end deny, so that a
bad version is reported as such either way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from bpfast.abi import ActionOp, Reason
from bpfast.automata.dfa import DEAD, Dfa, StateId
from bpfast.automata.literals import Trie
from bpfast.automata.minimize import minimize
from bpfast.automata.nfa import Nfa, compile_trees
from bpfast.automata.tree import Node
from bpfast.tables.http1 import CR, LF, METHODS, PREFACE, SP, VERSION, Target, target_step
from bpfast.tables.machine import Action, Candidate, MachineBuilder

_END: Final = Target.END.value
_WORDS: Final = (*METHODS, PREFACE)
_TRIE: Final = Trie(_WORDS)


@dataclass(frozen=True, slots=True)
class PathRule:
    """A rule as the request line sees it; ``path`` indexes the patterns, None is any path."""

    rule: int
    methods: frozenset[bytes]
    path: int | None


@dataclass(frozen=True, slots=True)
class Group:
    """Methods with the same rules, and the automaton of their paths.

    ``dfa`` outputs indexes into ``lists``; list 0 is for a target that no
    pattern matches.
    """

    methods: tuple[bytes, ...]
    dfa: Dfa
    lists: tuple[tuple[Candidate, ...], ...]


def groups_of(
    rules: Sequence[PathRule],
) -> list[tuple[tuple[PathRule, ...], tuple[bytes, ...]]]:
    """Return each list of rules with the methods that have it, in the order of the methods."""
    groups: dict[tuple[int, ...], list[bytes]] = {}
    for method in METHODS:
        key = tuple(index for index, rule in enumerate(rules) if method in rule.methods)
        groups.setdefault(key, []).append(method)
    return [(tuple(rules[index] for index in key), tuple(methods)) for key, methods in groups.items()]


def path_nfa(rules: Sequence[PathRule], trees: Sequence[Node]) -> tuple[Nfa, tuple[int, ...]]:
    """Return the automaton of the distinct paths of ``rules``, and which path each pattern is."""
    paths = tuple(dict.fromkeys(rule.path for rule in rules if rule.path is not None))
    return compile_trees([trees[path] for path in paths]), paths


def make_group(
    methods: tuple[bytes, ...],
    rules: Sequence[PathRule],
    *,
    dfa: Dfa,
    paths: tuple[int, ...],
    candidates: Callable[[frozenset[int]], tuple[Candidate, ...]],
) -> Group:
    """Turn the paths that ``dfa`` finds into candidate lists, and minimise it for these."""
    by_path: dict[int, set[int]] = {}
    anywhere = {rule.rule for rule in rules if rule.path is None}
    for rule in rules:
        if rule.path is not None:
            by_path.setdefault(rule.path, set()).add(rule.rule)
    numbers = {candidates(frozenset(anywhere)): 0}

    def number(output: tuple[int, ...]) -> tuple[int, ...]:
        found = anywhere.union(*(by_path[paths[pattern]] for pattern in output))
        index = numbers.setdefault(candidates(frozenset(found)), len(numbers))
        return (index,) if index else ()

    return Group(methods, minimize(dfa.with_outputs(number)), tuple(numbers))


class RequestLine:
    """Adds the states of a request line to a machine."""

    def __init__(self, builder: MachineBuilder, header_lines: int) -> None:
        """``header_lines`` is the state that the line's end leads to."""
        self._builder = builder
        self._matched = self._version(header_lines)
        self._unmatched = self._version(builder.fault(Reason.NO_RULE))

    def _version(self, end: int) -> int:
        builder = self._builder
        after = builder.add(builder.row(Reason.BAD_LINE_END, {LF: end}))
        row = builder.row(Reason.BAD_VERSION, {CR: after})
        row[builder.classes.of[LF]] = builder.fault(Reason.BAD_LINE_END)
        state = builder.add(row)
        for byte in reversed(VERSION):
            state = builder.add(builder.row(Reason.BAD_VERSION, {byte: state}))
        return state

    def add(self, groups: Sequence[Group], start: int) -> None:
        """Give ``start`` its row: the trie of the methods, each leading to its group's target."""
        builder = self._builder
        after = {
            b"CONNECT": builder.fault(Reason.CONNECT_METHOD),
            PREFACE: builder.fault(Reason.HTTP2_PREFACE),
        }
        for group in groups:
            entry = _Target(builder, group, (self._matched, self._unmatched)).add()
            for method in group.methods:
                after.setdefault(method, entry)
        head = Action(ActionOp.HEAD_METHOD, next=after[b"HEAD"])
        after[b"HEAD"] = builder.action(head)
        states = [start, *(builder.state() for _ in _TRIE.children[1:])]
        for node, children in enumerate(_TRIE.children):
            moves = {byte: states[child] for byte, child in children.items()}
            if _TRIE.ends[node]:
                moves[SP] = after[_WORDS[_TRIE.ends[node][0]]]
            builder.set_row(states[node], builder.row(Reason.BAD_METHOD, moves))


class _Target:
    """The product of one group's paths and the target's grammar."""

    def __init__(self, builder: MachineBuilder, group: Group, tails: tuple[int, int]) -> None:
        self._builder = builder
        self._dfa = group.dfa
        self._lists = group.lists
        self._tails = tails
        self._blank = builder.classes.of[SP]
        self._steps = [[_steps(state)[byte] for byte in builder.classes.firsts] for state in range(_END)]
        own = group.dfa.classes
        self._columns: list[list[int]] = [[] for _ in own.firsts]
        for number, byte in enumerate(builder.classes.firsts):
            self._columns[own.of[byte]].append(number)
        self._states: dict[tuple[StateId, int], int] = {}
        self._waiting: list[tuple[StateId, int]] = []
        self._ends: dict[int, int] = {}

    def add(self) -> int:
        for state in range(_END):
            self._pair(DEAD, state)
        plain = [self._plain_row(state) for state in range(_END)]
        for state, row in enumerate(plain):
            self._builder.set_row(self._states[DEAD, state], row)
        self._waiting = []
        entry = self._pair(self._dfa.start, Target.FIRST.value)
        for path, state in self._waiting:
            row = self._row(path, state, plain[state])
            self._builder.set_row(self._states[path, state], row)
        return entry

    def _pair(self, path: StateId, state: int) -> int:
        number = self._states.get((path, state))
        if number is None:
            number = self._states[path, state] = self._builder.state()
            self._waiting.append((path, state))
        return number

    def _plain_row(self, state: int) -> list[int]:
        """Return the row where no pattern can match any more."""
        words: dict[int, int] = {}
        for code in self._steps[state]:
            if code in words:
                continue
            if code < 0:
                words[code] = self._builder.fault(Reason(-code))
            else:
                words[code] = self._end(()) if code == _END else self._states[DEAD, code]
        return [words[code] for code in self._steps[state]]

    def _row(self, path: StateId, state: int, plain: list[int]) -> list[int]:
        row = plain.copy()
        steps = self._steps[state]
        for own, target in self._dfa.rows[path].items():
            for number in self._columns[own]:
                if 0 <= steps[number] < _END:
                    row[number] = self._pair(target, steps[number])
        if steps[self._blank] == _END:
            row[self._blank] = self._end(self._dfa.outputs[path])
        return row

    def _end(self, output: tuple[int, ...]) -> int:
        index = output[0] if output else 0
        word = self._ends.get(index)
        if word is None:
            candidates = self._lists[index]
            matched, unmatched = self._tails
            action = Action(ActionOp.REQUEST_LINE, next=matched, candidates=candidates)
            word = self._ends[index] = self._builder.action(action) if candidates else unmatched
        return word


@cache
def _steps(state: int) -> tuple[int, ...]:
    """Return where each byte leads, the same in every table: a state's number, or minus a reason's.

    Plain numbers, since they are looked up hundreds of times for each state of a table.
    """
    results = (target_step(Target(state), byte) for byte in range(256))
    return tuple(-int(result) if isinstance(result, Reason) else result.value for result in results)
