# SPDX-License-Identifier: Apache-2.0
"""Header lines: a trie of the names that matter, and a value machine for each.

All other names share one value machine of two states. A value machine is the
product of two automata over the value: one that the grammar demands (host,
length, ...), of which the dead state is a fault, and one of what rules ask for.
In the values whose grammar has no blank inside, the second one does not see the
blanks around, so that ``^`` and ``$`` of a host pattern stand at the host.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from bpfast.abi import ActionOp, Reason, SeenBit
from bpfast.automata.classes import partition
from bpfast.automata.determinize import determinize
from bpfast.automata.dfa import DEAD, Dfa, StateId
from bpfast.automata.literals import Trie
from bpfast.automata.minimize import minimize
from bpfast.automata.nfa import compile_trees
from bpfast.automata.tree import ByteMask, Concat, Node, literal
from bpfast.tables.constraints import Constraints
from bpfast.tables.http1 import (
    ALIASES,
    BLANK,
    BLANKS,
    CLOSE_VALUE,
    CODING_VALUE,
    CR,
    DIGIT,
    EXPECT_VALUE,
    HOST_VALUE,
    LENGTH_VALUE,
    LF,
    SP,
    TAB,
    TCHAR,
    VALUE,
)
from bpfast.tables.machine import Action, MachineBuilder

_CLOSE_BIT = 64  # stands for Connection: close among the bits of constraints


@dataclass(frozen=True, slots=True)
class Form:
    """What the grammar demands of the value of one header.

    A value that does not match ``value`` is a fault for ``reason``; one that
    does is not. ``ops`` go with the line's end, ``seen`` are bits of names that
    count as this one.
    """

    value: Node | None = None
    reason: Reason = Reason.BAD_HEADER_VALUE
    ops: ActionOp = ActionOp.HEADER_LINE
    seen: int = 0


_FREE = Form()
_FORMS = {
    b"host": Form(HOST_VALUE, Reason.BAD_HOST),
    b"content-length": Form(LENGTH_VALUE, Reason.BAD_CONTENT_LENGTH),
    b"transfer-encoding": Form(
        CODING_VALUE,
        Reason.BAD_TRANSFER_ENCODING,
        ops=ActionOp.HEADER_LINE | ActionOp.CHUNKED,
        seen=1 << SeenBit.CONTENT_LENGTH,  # so that a length beside it is one too many
    ),
    b"expect": Form(EXPECT_VALUE, Reason.BAD_EXPECT, ops=ActionOp.HEADER_LINE | ActionOp.EXPECT),
}
_AT_COLON = {b"upgrade": Reason.UPGRADE} | dict.fromkeys(ALIASES, Reason.BAD_HEADER_NAME)


@dataclass(frozen=True, slots=True)
class Field:
    """One header name with all that is asked of it: bit and tree of each demand."""

    name: bytes
    form: Form
    seen: int
    always: int
    asked: tuple[tuple[int, Node], ...]


def fields_of(constraints: Constraints) -> tuple[Field, ...]:
    """Return the fields that need a value machine of their own."""
    names = dict.fromkeys((*_FORMS, b"connection", *constraints.names))
    return tuple(_field(name, constraints) for name in names if name not in _AT_COLON)


def _field(name: bytes, constraints: Constraints) -> Field:
    form = _FORMS.get(name, _FREE)
    always, asked = 0, []
    for (demanded, value), bit in constraints.demands.items():
        if demanded == name and value is None:
            always |= 1 << bit
        elif demanded == name and value is not None and value == value.strip(b" \t"):
            tree = literal(value)
            asked.append((bit, tree if form.value else Concat((BLANKS, tree, BLANKS))))
    if name == b"host":
        asked.extend(constraints.host_trees())
    if name == b"connection":
        asked.append((_CLOSE_BIT, CLOSE_VALUE))
    seen = 1 << constraints.names[name] if name in constraints.names else 0
    return Field(name, form, seen | form.seen, always, tuple(asked))


def value_masks(fields: Sequence[Field]) -> list[ByteMask]:
    """Return the sets of bytes that the values tell apart."""
    trees = [tree for field in fields for _, tree in field.asked]
    trees += [form.value for form in _FORMS.values() if form.value is not None]
    names = [byte for name in (*_names(fields), b"upgrade") for byte in name]
    cases = [ByteMask(1 << byte | 1 << ord(chr(byte).upper())) for byte in names]
    return [*compile_trees(trees).masks(), BLANK, *cases]


def _names(fields: Sequence[Field]) -> tuple[bytes, ...]:
    return (*(field.name for field in fields), *_AT_COLON)


def add_header_lines(builder: MachineBuilder, fields: Sequence[Field], start: int, *, limit: int) -> int:
    """Add the states of header lines; return the first. An empty line leads to ``start``."""
    first = builder.state()
    end = builder.action(Action(ActionOp.HEAD_END, next=start))
    empty = builder.add(builder.row(Reason.BAD_LINE_END, {LF: end}))
    other = _Value(builder, Field(b"", _FREE, 0, 0, ()), first, limit=limit).add()
    colons = [_Value(builder, field, first, limit=limit).add() for field in fields]
    colons += [builder.fault(reason) for reason in _AT_COLON.values()]
    trie = Trie(_names(fields))
    plain = builder.fault_row(Reason.BAD_HEADER_NAME)
    unknown = builder.state()
    for number in builder.classes.members(TCHAR):
        plain[number] = unknown
    states = [first, *(builder.state() for _ in trie.children[1:])]
    for node, children in enumerate(trie.children):
        row = plain.copy()
        for byte, child in children.items():
            for case in {byte, ord(chr(byte).upper())}:
                row[builder.classes.of[case]] = states[child]
        if node:
            ends = [colons[end] for end in trie.ends[node]]
            row[builder.classes.of[ord(":")]] = ends[0] if ends else other
        else:
            row[builder.classes.of[CR]] = empty
            row[builder.classes.of[LF]] = builder.fault(Reason.BAD_LINE_END)
            for byte in (SP, TAB):
                row[builder.classes.of[byte]] = builder.fault(Reason.FOLDED_HEADER)
        builder.set_row(states[node], row)
    plain[builder.classes.of[ord(":")]] = other
    builder.set_row(unknown, plain)
    return first


class _Value:
    """The value machine of one field."""

    def __init__(self, builder: MachineBuilder, field: Field, after: int, *, limit: int) -> None:
        self._builder = builder
        self._field = field
        self._after = after
        self._demanded = _dfa((field.form.value,) if field.form.value else (), limit=limit)
        self._asked = _dfa(tuple(tree for _, tree in field.asked), limit=limit)
        self._states: dict[tuple[StateId, StateId], int] = {}
        self._waiting: list[tuple[StateId, StateId]] = []
        self._line_ends: dict[int, int] = {}
        self._kinds, self._firsts = self._alike()

    def add(self) -> int:
        entry = self._pair(self._demanded.start, self._asked.start)
        for demanded, asked in self._waiting:
            words = [self._word(demanded, asked, byte) for byte in self._firsts]
            self._builder.set_row(self._states[demanded, asked], [words[kind] for kind in self._kinds])
        return entry

    def _alike(self) -> tuple[list[int], list[int]]:
        """Return the kind of each class, and the first byte of each kind: this field tells few apart."""
        demanded, asked = self._demanded.classes.of, self._asked.classes.of
        kinds: dict[tuple[int, ...], int] = {}
        firsts: list[int] = []
        numbers: list[int] = []
        for byte in self._builder.classes.firsts:
            end = byte if byte in (CR, LF) else -1
            bits = (VALUE >> byte & 1, BLANK >> byte & 1, DIGIT >> byte & 1)
            number = kinds.setdefault((end, *bits, demanded[byte], asked[byte]), len(kinds))
            if number == len(firsts):
                firsts.append(byte)
            numbers.append(number)
        return numbers, firsts

    def _pair(self, demanded: StateId, asked: StateId) -> int:
        number = self._states.get((demanded, asked))
        if number is None:
            number = self._states[demanded, asked] = self._builder.state()
            self._waiting.append((demanded, asked))
        return number

    def _word(self, demanded: StateId, asked: StateId, byte: int) -> int:
        builder, form = self._builder, self._field.form
        if byte == CR:
            return self._line_end(demanded, asked)
        if byte == LF:
            return builder.fault(Reason.BAD_LINE_END)
        if not VALUE >> byte & 1:
            return builder.fault(Reason.BAD_HEADER_VALUE)
        if form.value is not None:
            demanded = self._demanded.step(demanded, byte)
            if demanded == DEAD:
                return builder.fault(form.reason)
        if form.value is None or not BLANK >> byte & 1:
            asked = self._asked.step(asked, byte)
        state = self._pair(demanded, asked)
        if form.reason == Reason.BAD_CONTENT_LENGTH and DIGIT >> byte & 1:
            return builder.action(Action(ActionOp.DIGIT, next=state))
        return state

    def _line_end(self, demanded: StateId, asked: StateId) -> int:
        """Return the state behind the CR; equal outcomes share it."""
        word = self._outcome(demanded, asked)
        state = self._line_ends.get(word)
        if state is None:
            row = self._builder.row(Reason.BAD_LINE_END, {LF: word})
            state = self._line_ends[word] = self._builder.add(row)
        return state

    def _outcome(self, demanded: StateId, asked: StateId) -> int:
        field, form = self._field, self._field.form
        if form.value is not None and not self._demanded.outputs[demanded]:
            return self._builder.fault(form.reason)
        bits = field.always
        for pattern in self._asked.outputs[asked]:
            bits |= 1 << field.asked[pattern][0]
        ops = form.ops
        if bits >> _CLOSE_BIT & 1:
            bits ^= 1 << _CLOSE_BIT
            ops |= ActionOp.CLOSE
        action = Action(ops, next=self._after, seen=field.seen, fulfilled=bits)
        return self._builder.action(action)


@lru_cache(maxsize=1024)
def _dfa(trees: tuple[Node, ...], *, limit: int) -> Dfa:
    """Return the automaton of values; most are the grammar's own, the same in every table."""
    nfa = compile_trees(trees)
    return minimize(determinize(nfa, partition(nfa.masks()), limit=limit))
