# SPDX-License-Identifier: Apache-2.0
"""Policy files -> who enforces each layer-7 rule, and why.

One line a rule: in the kernel, left to Envoy, or refused. An entry that stays on
Envoy without having rules is listed, too; what is enforced at layer 4 alone is
not. Unlike everywhere else a policy with faults ends nothing: each of its faults
is a line, and all other policies are looked at as if it were not there.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bpfast.controller.compile import worst_case
from bpfast.controller.read import regex_fault
from bpfast.controller.remarks import can_be_named, remarks
from bpfast.errors import BadInput, Fault
from bpfast.policy.envoy import Entry, Where, entries, staying
from bpfast.policy.overlap import Scope
from bpfast.policy.reader import PassedOver, Policy, examine
from bpfast.policy.rules import HttpRule
from bpfast.standalone.files import find_texts
from bpfast.tables.build import build
from bpfast.tables.image import open_rules


@dataclass(frozen=True, slots=True)
class Line:
    """What is said about one rule, entry or fault.

    ``policy`` is ns/name ("" where it cannot be known), ``file`` as the user
    named it, ``line`` from 1 (0: not known), ``rule`` the rule in short.
    """

    policy: str
    path: str
    where: Where
    reason: str
    file: str
    line: int
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All lines, by file and place, and the objects that no policy can be meant by."""

    lines: tuple[Line, ...]
    passed_over: tuple[PassedOver, ...]

    def count(self, where: Where) -> int:
        """Return how many lines there are of one kind."""
        return sum(line.where is where for line in self.lines)


def check_files(paths: Sequence[Path]) -> Report:
    """Read files and folders and say who enforces what; BadInput only if no file can be read at all."""
    texts, unread = find_texts(paths)
    if unread and not texts:
        raise BadInput(unread)
    reading = examine(texts, regex_fault)
    sources = [*(text.source for text in texts), *(fault.source for fault in unread)]
    order = {source: at for at, source in enumerate(sources)}
    lines = (*_faults((*reading.faults, *unread)), *_entries(reading.policies))
    return Report(tuple(sorted(lines, key=lambda line: (order[line.file], line.line))), reading.passed_over)


def _faults(faults: Iterable[Fault]) -> Iterator[Line]:
    for fault in faults:
        yield Line(fault.policy, fault.path, Where.REFUSED, fault.message, fault.source, fault.line)


def _entries(policies: Sequence[Policy]) -> Iterator[Line]:
    found = entries(policies)
    kept = staying(found)
    said = _said([entry for index, entry in enumerate(found) if index not in kept])
    for index, entry in enumerate(found):
        reason = kept.get(index)
        if reason is None:
            for rule in entry.http:
                where, text = said[rule.name]
                text = _nobody(entry.scope) or text if where is Where.KERNEL else text
                yield _line(entry, _path(rule), where, text, _short(rule))
        elif entry.http or entry.other:
            for rule in entry.http:
                yield _line(entry, _path(rule), Where.ENVOY, reason, _short(rule))
            for path in entry.other:
                yield _line(entry, path, Where.ENVOY, reason)
        else:
            yield _line(entry, entry.path, Where.ENVOY, reason)


def _said(found: Sequence[Entry]) -> Mapping[str, tuple[Where, str]]:
    """Return where each HTTP rule goes that does not stay, by name, and what is to be said about it."""
    said: dict[str, tuple[Where, str]] = {}
    for rules in worst_case(found):
        built = build(rules)
        reached = {built.image.rules[number] for number in open_rules(built.image)}
        refused = {refusal.rule: refusal.reason for refusal in built.refused}
        for rule in rules.rules:
            if rule.name in refused and can_be_named(rule):
                reason = _too_large(refused[rule.name], len(built.image.rules))
                said[rule.name] = Where.REFUSED, reason
            else:
                said[rule.name] = Where.KERNEL, remarks(rule, reached=rule.name in reached)
    return said


def _nobody(scope: Scope) -> str:
    """Return why an entry opens nothing to anybody, "" if it may."""
    if scope.peers == ():
        return "can never match: an empty list of peers selects nobody; leave it out to mean everybody"
    return "can never match: without ports the entry opens nothing" if scope.ports == () else ""


def _too_large(reason: str, others: int) -> str:
    """Return why a rule is in no table; its requests are denied, so say what to do."""
    beside = f" beside {others} other rules for the same peers and port" if others else ""
    return (
        f"too large for a table{beside}: {reason}: write it simpler, or give it other peers or another port"
    )


def _line(entry: Entry, path: str, where: Where, reason: str, rule: str = "") -> Line:
    policy = entry.policy
    return Line(policy.full_name, path, where, reason, policy.source, policy.line(path) or 0, rule)


def _path(rule: HttpRule) -> str:
    """Return where a rule stands in its policy: its name without the policy's."""
    return rule.name.partition(" ")[2]


def _short(rule: HttpRule) -> str:
    """Return a rule as a person would say it."""
    parts = [rule.method or "any method", rule.path or "any path"]
    parts += [f"host {rule.host}"] if rule.host else []
    parts += [
        header.name if header.value is None else f"{header.name}: {header.value}" for header in rule.headers
    ]
    return ", ".join((" ".join(parts[:2]), *parts[2:]))
