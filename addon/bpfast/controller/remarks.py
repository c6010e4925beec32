# SPDX-License-Identifier: Apache-2.0
"""HTTP rules -> what their author should know, though nothing is wrong with the policy.

Most of it is about rules that no request can ever fulfil: a method in lower case,
a path that is not canonical, a header whose name has a colon in it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from bpfast.automata.classes import partition
from bpfast.automata.determinize import determinize
from bpfast.automata.dfa import DEAD, StateId
from bpfast.automata.nfa import compile_trees
from bpfast.automata.syntax import parse
from bpfast.automata.tree import ByteMask, bytes_in
from bpfast.errors import LimitExceeded
from bpfast.policy.rules import HeaderMatch, HttpRule
from bpfast.tables.http1 import (
    BLANK,
    HOST_VALUE,
    METHODS,
    SP,
    TCHAR,
    VALUE,
    Target,
    grammar_masks,
    target_step,
)

_STATES = 20_000
_CACHED = 10_000
_CANONICAL = (
    "targets begin with '/' and are judged in canonical form: no '//', '/./', '/../', needless "
    "percent-encoding such as '%2e', backslash, blank or '#'"
)
_TOKEN = frozenset(bytes_in(TCHAR))
_CONNECT = b"CONNECT"
_UPGRADES = ("upgrade", "http2-settings", "sec-websocket-key", "sec-websocket-version")


def remarks(rule: HttpRule, *, reached: bool = False) -> str:
    """Return what is to be said about a rule, "" if nothing is.

    ``reached``: its method and path are known to match something.
    """
    never = [*_methods_never(rule), *_headers_never(rule.headers)]
    if not reached and rule.path is not None and not path_can_match(rule.path):
        never.append(f"no path fits {rule.path!r}: {_CANONICAL}")
    if rule.host is not None and not host_can_match(rule.host):
        never.append(f"no Host fits {rule.host!r}")
    if never:
        return f"can never match: {'; '.join(never)}"
    return "; ".join(_notes(rule))


def can_be_named(rule: HttpRule) -> bool:
    """Return whether all headers that a rule asks for have names that a header can have."""
    return all(_is_token(header.name) for header in rule.headers)


def _is_token(name: str) -> bool:
    return _TOKEN.issuperset(name.encode(errors="replace"))


@lru_cache(maxsize=_CACHED)
def methods_of(pattern: str | None) -> frozenset[bytes]:
    """Return the methods of HTTP that a pattern matches."""
    if pattern is None:
        return frozenset(METHODS)
    nfa = compile_trees([parse(pattern)])
    return frozenset(method for method in METHODS if nfa.matching(method))


def _methods_never(rule: HttpRule) -> Iterator[str]:
    methods = methods_of(rule.method)
    if not methods:
        hint = ": methods are in upper case" if methods_of((rule.method or "").upper()) else ""
        yield f"no method of HTTP fits {rule.method!r}{hint}"
    elif methods == {_CONNECT}:
        yield "CONNECT is denied whatever rules say: leave the rule out"


def _headers_never(headers: tuple[HeaderMatch, ...]) -> Iterator[str]:
    values: dict[str, str | None] = {}
    for header in headers:
        name = header.name.lower()
        if not _is_token(header.name):
            hint = ": write 'Name: value', with a space" if ":" in header.name else ""
            yield f"no header can be called {header.name!r}{hint}"
        if name == "upgrade":
            yield "requests with Upgrade are denied whatever rules say"
        value = header.value
        if value is None:
            continue
        if values.setdefault(name, value) != value:
            yield f"{header.name} cannot be {values[name]!r} and {value!r}, and twice is denied"
        if value != value.strip(" \t"):
            yield f"values are compared without the blanks around them, which {value!r} has"
        elif any(not VALUE >> byte & 1 for byte in value.encode(errors="replace")):
            yield f"no header can have the value {value!r}"


def _notes(rule: HttpRule) -> Iterator[str]:
    methods = methods_of(rule.method)
    if _CONNECT in methods and methods != frozenset(METHODS):
        yield "CONNECT is denied whatever rules say: leave it out of the method"
    asked = {header.name.lower(): header.value for header in rule.headers}
    upgrades = [name for name in _UPGRADES if name in asked]
    if upgrades or "upgrade" in (asked.get("connection") or "").lower():
        yield "requests with Upgrade (WebSocket) are denied whatever rules say"


@lru_cache(maxsize=_CACHED)
def path_can_match(pattern: str) -> bool:
    """Return whether some canonical target matches a path's regex."""

    def step(state: int, byte: int) -> int | None:
        after = target_step(Target(state), byte)
        return after.value if isinstance(after, Target) and after is not Target.END else None

    def ends(state: int) -> bool:
        return target_step(Target(state), SP) is Target.END

    return _meet(pattern, _Grammar(Target.FIRST.value, grammar_masks(), step, ends))


@lru_cache(maxsize=_CACHED)
def host_can_match(pattern: str) -> bool:
    """Return whether some value that Host can have matches a regex."""
    nfa = compile_trees([HOST_VALUE])
    dfa = determinize(nfa, partition(nfa.masks()))

    def step(state: int, byte: int) -> int | None:
        after = dfa.step(StateId(state), byte)
        return None if after == DEAD or BLANK >> byte & 1 else int(after)

    grammar = _Grammar(int(dfa.start), tuple(nfa.masks()), step, lambda state: bool(dfa.outputs[state]))
    return _meet(pattern, grammar)


@dataclass(frozen=True, slots=True)
class _Grammar:
    """What a text must be besides: a machine, and the sets of bytes that it tells apart."""

    start: int
    masks: tuple[ByteMask, ...]
    step: Callable[[int, int], int | None]
    ends: Callable[[int], bool]


def _meet(pattern: str, grammar: _Grammar) -> bool:
    """Return whether some text matches both; True where it is too dear to find out."""
    nfa = compile_trees([parse(pattern)])
    classes = partition([*nfa.masks(), *grammar.masks])
    try:
        dfa = determinize(nfa, classes, limit=_STATES)
    except LimitExceeded:
        return True
    seen = {(dfa.start, grammar.start)}
    waiting = list(seen)
    while waiting:
        state, place = waiting.pop()
        if dfa.outputs[state] and grammar.ends(place):
            return True
        for number, after in dfa.rows[state].items():
            following = grammar.step(place, classes.firsts[number])
            if after != DEAD and following is not None and (after, following) not in seen:
                seen.add((after, following))
                waiting.append((after, following))
    return False
