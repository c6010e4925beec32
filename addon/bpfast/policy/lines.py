# SPDX-License-Identifier: Apache-2.0
"""Where the values of a document stand in its text.

Lines are asked for in messages and tables only, so nothing is kept while a text is
read: the first question scans the text a second time, and what it finds is kept
for the next. A field stands where its key stands, since that is what a reader
looks for; an entry of a list where the entry itself begins; what an alias stands
for, where it was written out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

Path = tuple[str | int, ...]

_AROUND: Final = (yaml.StreamStartEvent, yaml.DocumentStartEvent, yaml.StreamEndEvent)
_SCALAR: Final = yaml.ScalarEvent
_ENDS: Final = (yaml.SequenceEndEvent, yaml.MappingEndEvent)


class _Place:
    """A value's line, and the places of what is inside of it."""

    __slots__ = ("inside", "key", "line")

    def __init__(self, line: int, inside: "dict[str, _Place] | list[_Place] | None" = None) -> None:
        self.line = line
        self.inside = inside
        # While a mapping is filled: the key whose value comes next, with its line.
        self.key: tuple[str, int] | None = None

    def put(self, place: "_Place", text: str) -> None:
        """Take the next value inside; ``text`` is a key's own."""
        if isinstance(self.inside, list):
            self.inside.append(place)
        elif isinstance(self.inside, dict):
            if self.key is None:
                self.key = (text, place.line)
            else:
                name, line = self.key
                self.inside.setdefault(name, _at(line, place))
                self.key = None

    def step(self, step: str | int) -> "_Place | None":
        """Return the place of one field or entry."""
        if isinstance(self.inside, dict):
            return self.inside.get(step) if isinstance(step, str) else None
        if isinstance(self.inside, list) and isinstance(step, int) and step < len(self.inside):
            return self.inside[step]
        return None


def _at(line: int, place: _Place) -> _Place:
    """Return ``place`` as it stands behind a key in ``line``."""
    if line != place.line:
        place = _Place(line, place.inside)
    return place


class TextLines:
    """The lines of a text, document by document, as far as they have been asked for."""

    __slots__ = ("_events", "_roots")

    def __init__(self, text: str) -> None:
        """Keep the text; it is read when the first line is asked for."""
        self._events = _quietly(text)
        self._roots: list[_Place] = []

    def root(self, number: int) -> _Place:
        """Return the place of the document with this number, from 0, empty ones counted."""
        while len(self._roots) <= number:
            self._roots.append(_next_document(self._events))
        return self._roots[number]


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of one document of a text."""

    text: TextLines
    number: int

    def at(self, path: Path) -> int:
        """Return the line, from 1, of ``path``, or of what is nearest above it."""
        place = self.text.root(self.number)
        for step in path:
            inner = place.step(step)
            if inner is None:
                break
            place = inner
        return place.line


def _quietly(text: str) -> Iterator[yaml.Event]:
    """Yield the events of a text as far as it can be read."""
    try:
        yield from yaml.parse(text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, UnicodeError):
        return


def _next_document(events: Iterator[yaml.Event]) -> _Place:
    """Return the place of the next document, with the places in it."""
    root = _Place(1, [])
    stack = [root]
    anchors: dict[str, _Place] = {}
    for event in events:
        if isinstance(event, yaml.DocumentEndEvent):
            break
        if not isinstance(event, _AROUND):
            _take(event, stack, anchors)
    inside: Any = root.inside
    return inside[0] if inside else root


def _take(event: yaml.Event, stack: list[_Place], anchors: dict[str, _Place]) -> None:
    """Take the next event of the document."""
    if isinstance(event, _ENDS):
        stack.pop()
        return
    line = event.start_mark.line + 1  # type: ignore[union-attr]  # libyaml's events have marks
    text = ""
    if isinstance(event, _SCALAR):
        place, text = _Place(line), event.value
    elif isinstance(event, yaml.AliasEvent):
        place = anchors.get(event.anchor or "") or _Place(line)
    else:
        place = _Place(line, [] if isinstance(event, yaml.SequenceStartEvent) else {})
    if not isinstance(event, yaml.AliasEvent) and event.anchor is not None:  # type: ignore[attr-defined]
        anchors[event.anchor] = place  # type: ignore[attr-defined]
    stack[-1].put(place, text)
    if isinstance(event, yaml.CollectionStartEvent):
        stack.append(place)
