# SPDX-License-Identifier: Apache-2.0
"""YAML or JSON text to plain values, with everything that is wrong in the text itself.

libyaml scans the text; the values are put together here, from its events and
without recursion, for three reasons: a key that is given twice must be a flaw
with its path (yaml's own constructor keeps the last one in silence), nesting
must not be able to exhaust the C stack, and aliases must not be able to grow a
small text into a huge value. What Kubernetes reads as text stays text: only
null, booleans and numbers get another type, and they are recognised as Kubernetes
does it (``y`` is true, ``1e3`` a number, ``12:30`` text), not as PyYAML does.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from bpfast.policy.lines import Lines, Path, TextLines

__all__ = [
    "MAX_DEPTH",
    "MAX_FLAWS",
    "MAX_SHOWN",
    "MAX_VALUES",
    "Document",
    "Flaw",
    "Path",
    "read_documents",
    "shown",
    "wrong_type",
]

MAX_DEPTH = 64
MAX_VALUES = 1_000_000
MAX_FLAWS = 1000
MAX_SHOWN = 80
_BOM = "\ufeff"
_TOP = 8  # of a path, where the rest of it would tell nothing

_TAG = "tag:yaml.org,2002:"
_NAMES: Final = {type(None): "null", bool: "bool", int: "int", float: "float"}
_WORDS: Final[dict[str, object]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
# What Kubernetes keeps as a whole number.
_LEAST: Final = -(2**63)
_MOST: Final = 2**64 - 1
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NUMBER: Final = re.compile(
    rf"[-+]?0[bB][01_]+|[-+]?0[oO][0-7_]+|[-+]?0[xX][0-9a-fA-F_]+|[-+]?[0-9][0-9_]*|{_FLOAT.pattern}"
)


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong, at ``path`` inside its document.

    ``line`` is where it stands in the text, counted from 1, if that is not the
    line of ``path``; 0 says nothing.
    """

    path: Path
    message: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a text: its value, and what is wrong in its text.

    ``complete`` is False if the text could not be read to the end; the value
    is then None.
    """

    value: object
    flaws: tuple[Flaw, ...] = ()
    complete: bool = True
    lines: Lines | None = field(default=None, compare=False, repr=False)

    def line(self, path: Path) -> int | None:
        """Return the line of ``path``, or of what is nearest above it; None where no text is known."""
        return None if self.lines is None else self.lines.at(path)


def read_documents(text: str) -> list[Document]:
    """Return the documents of ``text``; empty ones are left out."""
    mark = text.find(_BOM, 1)
    if mark > 0:
        # libyaml takes it for nothing, Kubernetes' reader for a part of the next word.
        flaw = Flaw((), "not YAML: a byte order mark inside of the text", text.count("\n", 0, mark) + 1)
        return [Document(None, (flaw,), complete=False)]
    documents: list[Document] = []
    lines = TextLines(text)
    builder = _Builder(Lines(lines, 0))
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            builder.take(event)
            if isinstance(event, yaml.DocumentEndEvent):
                documents.append(builder.finish())
                builder = _Builder(Lines(lines, len(documents)))
    except _TooMuch as error:
        flaw = Flaw(builder.path()[:_TOP], str(error), builder.line)
        documents.append(Document(None, (*builder.flaws, flaw), complete=False, lines=builder.lines))
    except (yaml.YAMLError, UnicodeError) as error:
        flaw = _not_yaml(error)
        documents.append(Document(None, (*builder.flaws, flaw), complete=False, lines=builder.lines))
    return [document for document in documents if document.value is not None or document.flaws]


def _not_yaml(error: Exception) -> Flaw:
    """Return what libyaml complains about, on one line, with the place."""
    mark = getattr(error, "problem_mark", None)
    place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or error
    text = f"not YAML: {' '.join(str(problem).split())}{place}"
    return Flaw((), text, mark.line + 1 if mark is not None else 0)


class _TooMuch(Exception):
    """The document passes a limit; the text names it."""


class _Frame:
    """A list or mapping that is being filled; ``first`` is its own number among the values."""

    __slots__ = ("anchor", "drop", "first", "key", "value")

    def __init__(self, value: list[Any] | dict[str, Any], anchor: str | None, first: int) -> None:
        self.value = value
        self.anchor = anchor
        self.first = first
        # In a mapping the key whose value comes next, and whether that value
        # goes nowhere because the key is already a flaw.
        self.key: str | None = None
        self.drop = False


class _Builder:
    """Puts one document together from libyaml's events."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        # The line of the event that was taken last.
        self.line = 1
        self.frames: list[_Frame] = []
        self.flaws: list[Flaw] = []
        # Value and size of what has a name, for aliases.
        self.anchors: dict[str, tuple[object, int]] = {}
        self.count = 0
        self.root: object = None

    def finish(self) -> Document:
        """Return the finished document."""
        return Document(self.root, tuple(self.flaws), lines=self.lines)

    def path(self) -> Path:
        """Return the path of the value that comes next."""
        return tuple(_steps(self.frames))

    def flaw(self, message: str) -> None:
        """Note that the value that comes next is wrong."""
        if len(self.flaws) >= MAX_FLAWS:
            raise _TooMuch(f"more than {MAX_FLAWS} faults: what follows was not read")
        self.flaws.append(Flaw(self.path(), message, self.line))

    def take(self, event: yaml.Event) -> None:
        """Take the next event."""
        self.line = event.start_mark.line + 1  # type: ignore[union-attr]  # libyaml's events have marks
        if isinstance(event, yaml.ScalarEvent):
            self.grow(1)
            value = event.value if event.style and event.tag is None else self.scalar(event)
            if event.anchor is not None:
                self.anchors[event.anchor] = (value, 1)
            self.put(value)
        elif isinstance(event, yaml.SequenceStartEvent):
            self.open([], event)
        elif isinstance(event, yaml.MappingStartEvent):
            self.open({}, event)
        elif isinstance(event, yaml.CollectionEndEvent):
            frame = self.frames.pop()
            if frame.anchor is not None:
                self.anchors[frame.anchor] = (frame.value, self.count - frame.first)
            self.put(frame.value)
        elif isinstance(event, yaml.AliasEvent):
            self.put(self.alias(event.anchor or ""))

    def grow(self, size: int) -> None:
        """Count ``size`` more values."""
        self.count += size
        if self.count > MAX_VALUES:
            raise _TooMuch(f"the document holds more than {MAX_VALUES} values")

    def open(self, value: list[Any] | dict[str, Any], event: yaml.CollectionStartEvent) -> None:
        """Begin a list or a mapping."""
        if len(self.frames) >= MAX_DEPTH:
            raise _TooMuch(f"nested deeper than {MAX_DEPTH} levels")
        wanted = _TAG + ("seq" if isinstance(value, list) else "map")
        if event.tag not in (None, wanted):
            self.flaw(f"tag {event.tag!r} is not supported")
        self.grow(1)
        if event.anchor is not None:
            self.anchors.pop(event.anchor, None)
        self.frames.append(_Frame(value, event.anchor, self.count - 1))

    def alias(self, anchor: str) -> object:
        """Return what an alias stands for, counted as if it were written out."""
        if anchor not in self.anchors:
            self.flaw(f"alias *{anchor} names nothing that stands complete before it")
            return None
        value, size = self.anchors[anchor]
        self.grow(size)
        return value

    def put(self, value: object) -> None:
        """Put a finished value where it belongs."""
        if not self.frames:
            self.root = value
            return
        frame = self.frames[-1]
        if isinstance(frame.value, list):
            frame.value.append(value)
        elif frame.key is None:
            self.put_key(frame, frame.value, value)
        else:
            if not frame.drop:
                frame.value[frame.key] = value
            frame.key, frame.drop = None, False

    def put_key(self, frame: _Frame, mapping: dict[str, Any], key: object) -> None:
        """Take a mapping's next key."""
        if not isinstance(key, str):
            self.flaw(f"a key {wrong_type('a string', key)}")
            frame.key, frame.drop = "?", True
            return
        frame.key = key
        if key in mapping:
            self.flaw("given twice")
            frame.drop = True
        elif key == "<<":
            self.flaw("merge keys are not supported: write the fields out")
            frame.drop = True

    def scalar(self, event: yaml.ScalarEvent) -> object:
        """Return a scalar's value: a plain one is resolved, a quoted one is text."""
        if event.tag is None:
            return _plain(event.value) if event.implicit[0] else event.value
        name = event.tag.removeprefix(_TAG)
        if name in ("str", "!"):
            return event.value
        value = _plain(event.value)
        if _NAMES.get(type(value)) != name:
            self.flaw(f"{shown(event.value)} cannot be read as {name!r}")
        return value


def _plain(text: str) -> object:
    """Return the value of a scalar without quotes, as the YAML reader of Kubernetes resolves it."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789" or not _NUMBER.fullmatch(text):
        return text
    digits = text.replace("_", "")
    octal = re.fullmatch(r"([-+]?)0([0-7]+)", digits)
    try:
        number = int(octal[1] + octal[2], 8) if octal else int(digits, 0)
    except ValueError:
        number = None
    if number is not None and _LEAST <= number <= _MOST:
        return number
    return float(digits) if _FLOAT.fullmatch(digits) else text


def _steps(frames: list[_Frame]) -> Iterator[str | int]:
    """Yield the way down to the value that comes next."""
    for frame in frames:
        if isinstance(frame.value, list):
            yield len(frame.value)
        elif frame.key is not None:
            yield frame.key


def wrong_type(wanted: str, value: object) -> str:
    """Return the message for a value that is not what is wanted, with the way out for text."""
    quotes = ": put it in quotes" if wanted == "a string" and isinstance(value, bool | int | float) else ""
    return f"must be {wanted}, not {shown(value)}{quotes}"


def shown(value: object) -> str:
    """Return ``value`` as a message shows it: as in YAML, strings quoted, nothing long."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 4]}...{text[-1]}"
