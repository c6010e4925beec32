# SPDX-License-Identifier: Apache-2.0
"""Policy files as text to policies, or to every fault of all of them at once.

A policy is taken whole or not at all: with half of its rules it would mean
something that nobody wrote. Regexes are compiled by a function that the caller
brings, since the engine is none of policy's business.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from bpfast.errors import BadInput, Fault
from bpfast.policy import supported
from bpfast.policy.cnp import CHECK_REGEX, PolicyObject, RegexCheck, Rule
from bpfast.policy.document import MAX_FLAWS, Document, Flaw, Path, read_documents
from bpfast.policy.faults import MISSING, in_file_order, parse_path, printable, validate, yaml_path
from bpfast.policy.kinds import (
    CNP,
    Object,
    full_name_of,
    is_endpoints_file,
    is_passed_over,
    namespace_of,
    objects_in,
    stranger,
)
from bpfast.policy.lines import Lines
from bpfast.policy.names import DEFAULT_NAMESPACE
from bpfast.policy.refused import Refused, refused
from bpfast.policy.schema import flaws_in

__all__ = ["PassedOver", "Policy", "Reading", "Refused", "Text", "examine", "read_policies"]


@dataclass(frozen=True, slots=True)
class Text:
    """A file's text. ``source`` is the file as the user named it.

    ``found`` says that the user named the folder and not the file: a file that
    is for somebody else is then passed over.
    """

    source: str
    text: str
    found: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as it was written: ``rules`` with the path of each, ``spec`` or ``specs[0]``.

    ``namespace`` is None for a CiliumClusterwideNetworkPolicy. ``lines`` are
    those of its document, in which it stands at ``path``.
    """

    source: str
    kind: str
    namespace: str | None
    name: str
    rules: tuple[tuple[str, Rule], ...]
    lines: Lines | None = field(default=None, compare=False, repr=False)
    path: Path = field(default=(), compare=False, repr=False)

    @property
    def full_name(self) -> str:
        """Return ``namespace/name``, or ``name`` for a clusterwide policy."""
        return self.name if self.namespace is None else f"{self.namespace}/{self.name}"

    def line(self, path: str) -> int | None:
        """Return the line, from 1, of ``path`` (``spec.ingress[0]``), or of what is nearest above it."""
        return None if self.lines is None else self.lines.at((*self.path, *parse_path(path)))


@dataclass(frozen=True, slots=True)
class PassedOver:
    """An object that is for somebody else, and was not read: its kind, its name, its line from 1."""

    source: str
    kind: str
    name: str
    line: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of reading.

    The policies that are right, all faults of the others, what those may have
    meant, and what was not looked at.
    """

    policies: tuple[Policy, ...]
    faults: tuple[Fault, ...]
    refused: tuple[Refused, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()


def read_policies(texts: Iterable[Text], check_regex: RegexCheck | None = None) -> tuple[Policy, ...]:
    """Return the policies of all ``texts`` in their order; raise BadInput with every fault found."""
    reading = examine(texts, check_regex)
    if reading.faults:
        raise BadInput(reading.faults)
    return reading.policies


def examine(texts: Iterable[Text], check_regex: RegexCheck | None = None) -> Reading:
    """Return the policies that are right, and all about the others.

    ``check_regex`` returns what is wrong with a regex, or None; without it
    regexes are taken as they are.
    """
    found = _Found({}, [], [], [])
    for text in texts:
        _examine_text(text, check_regex, found)
    policies, passed = tuple(found.policies.values()), tuple(found.passed_over)
    return Reading(policies, tuple(found.faults), tuple(found.refused), passed)


@dataclass(frozen=True, slots=True)
class _Found:
    """What has come of the texts so far; policies by kind and full name."""

    policies: dict[tuple[str, str], Policy]
    faults: list[Fault]
    refused: list[Refused]
    passed_over: list[PassedOver]


def _examine_text(text: Text, check_regex: RegexCheck | None, found: _Found) -> None:
    """Read one text; what comes of it goes to ``found``."""
    documents = read_documents(text.text)
    others: list[PassedOver] = []
    empty = True
    most = len(found.faults) + MAX_FLAWS
    for document in documents:
        if text.found and is_endpoints_file(document.value):
            empty = False
            continue
        for each in _parts(document):
            if len(found.faults) >= most:
                message = f"more than {MAX_FLAWS} faults: what follows was not read"
                found.faults.append(Fault(text.source, "", "", message, document.line(each.path) or 0))
                found.refused.append(Refused(text.source))
                return
            if isinstance(each.value, dict) and not each.flaws and is_passed_over(each.value):
                others.append(_passed_over(text.source, document, each))
                continue
            empty = False
            _examine_part(text.source, document, each, check_regex, found)
    found.passed_over.extend(others)
    if empty and not (others and text.found):
        kinds = ", ".join(dict.fromkeys(other.kind for other in others))
        message = f"holds no policy; passed over: {kinds}" if others else "holds no policy"
        found.faults.append(Fault(text.source, "", "", message))


@dataclass(frozen=True, slots=True)
class _Part:
    """An object of a document at ``path``, and what is wrong with its text; paths start at the object.

    ``readable`` False: there is no object, and the flaws say why.
    """

    path: Path
    value: object
    flaws: tuple[Flaw, ...]
    readable: bool = True


def _parts(document: Document) -> Iterator[_Part]:
    """Yield the objects of a document: one, or those of a list."""
    if not document.complete:
        yield _Part((), None, document.flaws, readable=False)
        return
    objects: list[Object] = []
    outside: list[Flaw] = []
    for each in objects_in(document.value):
        (objects if isinstance(each, Object) else outside).append(each)  # type: ignore[arg-type]
    inside: dict[Path, list[Flaw]] = {each.path: [] for each in objects}
    depth = len(objects[0].path) if objects else 0
    for flaw in document.flaws:
        inside.get(flaw.path[:depth], outside).append(flaw)
    for each in objects:
        yield _Part(each.path, each.value, tuple(_moved(flaw, each.path) for flaw in inside[each.path]))
    if outside:
        yield _Part((), None, tuple(outside), readable=False)


def _moved(flaw: Flaw, path: Path) -> Flaw:
    """Return a flaw with its path from the object at ``path`` on."""
    return Flaw(flaw.path[len(path) :], flaw.message, flaw.line)


def _passed_over(source: str, document: Document, part: _Part) -> PassedOver:
    value = part.value
    kind = value["kind"] if isinstance(value, dict) else ""
    return PassedOver(source, kind, full_name_of(value), document.line(part.path) or 0)


def _examine_part(
    source: str, document: Document, part: _Part, check_regex: RegexCheck | None, found: _Found
) -> None:
    """Read one object: it becomes a policy, or faults and what it may have meant."""
    model, flaws = _examine_object(part, check_regex)
    name = full_name_of(part.value)
    if model is not None and not flaws:
        policy = _policy(source, model, document.lines, part.path)
        first = found.policies.setdefault((policy.kind, policy.full_name), policy)
        if first is policy:
            return
        flaws = [Flaw(("metadata", "name"), f"{policy.full_name!r} is given twice, first in {first.source}")]
    lines = [flaw.line or document.line((*part.path, *flaw.path)) or 0 for flaw in flaws]
    for line, flaw in sorted(zip(lines, flaws, strict=True), key=lambda pair: pair[0]):
        path = yaml_path((*part.path, *flaw.path))
        found.faults.append(Fault(source, name, path, printable(flaw.message), line))
    found.refused.extend(refused(source, part.value, part.flaws))


def _examine_object(part: _Part, check_regex: RegexCheck | None) -> tuple[PolicyObject | None, list[Flaw]]:
    """Return the model of an object, if it can be made, and all that is wrong with it."""
    value, flaws = part.value, list(part.flaws)
    if not part.readable:
        return None, flaws
    strange = stranger(value)
    if strange is not None or not isinstance(value, dict):
        return None, [*flaws, *([strange] if strange else [])]
    model, found = validate(PolicyObject, value, supported.refusal, {CHECK_REGEX: check_regex})
    flaws += found
    flaws += islice(flaws_in(value, namespace_of(value)), MAX_FLAWS)
    return model, in_file_order(_unexplained(flaws), value) if flaws else []


def _unexplained(flaws: list[Flaw]) -> list[Flaw]:
    """Return ``flaws`` without those for a field that is missing because it was misspelt."""
    misspelt = {flaw.path[:-1] for flaw in flaws if flaw.message.startswith(supported.MISSPELT)}
    return [
        flaw
        for flaw in flaws
        if not (flaw.path[:-1] in misspelt and flaw.message.startswith(MISSING) and flaw.path)
    ]


def _policy(source: str, model: PolicyObject, lines: Lines | None, path: Path) -> Policy:
    metadata = model.metadata
    namespace = (metadata.namespace or DEFAULT_NAMESPACE) if model.kind == CNP else None
    rules = [] if model.spec is None else [("spec", model.spec)]
    rules += ((f"specs[{number}]", rule) for number, rule in enumerate(model.specs))
    return Policy(source, model.kind, namespace, metadata.name, tuple(rules), lines, path)
