# SPDX-License-Identifier: Apache-2.0
"""A packed rule set, and the reader that refuses anything else.

The image is content: its name is the hash of its words, equal rule sets are one
image. The reader checks more than the checksum, since a checksum only says that
the words are as written: every offset, state and action must lie inside, so
that no image it accepts can lead a walker astray.
"""

import hashlib
import zlib
from array import array
from dataclasses import dataclass, field

from bpfast.abi import (
    ACTION_WORDS,
    CANDIDATE_WORDS,
    CLASS_MAP_WORDS,
    IMAGE_HEADER_WORDS,
    IMAGE_MAGIC,
    IMAGE_VERSION,
    MAX_CANDIDATES,
    TRANSITION_ACTION,
    ActionWord,
    ImageWord,
)
from bpfast.errors import Failure


@dataclass(frozen=True, slots=True)
class TableImage:
    """The words of a rule set (host byte order) and the names of its rules.

    ``rules[i]`` is the name of rule id ``i``. ``digest`` is the SHA-256 of the
    words in hexadecimal; the names are no part of it.
    """

    data: bytes = field(repr=False)
    rules: tuple[str, ...]
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        """Name the image by its content."""
        object.__setattr__(self, "digest", hashlib.sha256(self.data).hexdigest())

    @property
    def words(self) -> memoryview:
        """Return the words, read-only and without a copy."""
        return memoryview(self.data).cast("I")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of an image are, in words; ``start`` is pre-multiplied."""

    classes: int
    rows: int
    stride: int
    states: int
    start: int
    actions: int
    action_count: int
    rules: int


def read(image: TableImage) -> Layout:
    """Return the layout of an image; raise Failure for one that is not sound."""
    if len(image.data) % 4 or len(image.data) < 4 * (IMAGE_HEADER_WORDS + CLASS_MAP_WORDS):
        _refuse("is too short or not made of words", len(image.data))
    words = image.words
    layout = _layout(words)
    _check_header(words, layout, len(image.rules))
    _check_rows(words, layout)
    _check_records(words, layout)
    return layout


def open_rules(image: TableImage) -> frozenset[int]:
    """Return the rules that some request line leaves open: the others can decide nothing."""
    layout, words = read(image), image.words
    found: set[int] = set()
    for number in range(layout.action_count):
        offset = words[layout.actions + ACTION_WORDS * number + ActionWord.CANDIDATES]
        if offset:
            end = offset + 1 + CANDIDATE_WORDS * words[offset]
            found.update(words[offset + 1 : end : CANDIDATE_WORDS].tolist())
    return frozenset(found)


def decode(data: bytes, rules: tuple[str, ...]) -> TableImage:
    """Return the image of ``data``; raise Failure if it is not sound."""
    image = TableImage(data, rules)
    read(image)
    return image


def _refuse(what: str, value: object) -> None:
    message = f"table image {what}: {value!r}"
    raise Failure(message)


def _layout(words: memoryview) -> Layout:
    return Layout(
        classes=words[ImageWord.CLASSES],
        rows=words[ImageWord.ROWS],
        stride=words[ImageWord.STRIDE],
        states=words[ImageWord.STATES],
        start=words[ImageWord.START],
        actions=words[ImageWord.ACTIONS],
        action_count=words[ImageWord.ACTION_COUNT],
        rules=words[ImageWord.RULES],
    )


def _check_header(words: memoryview, layout: Layout, rules: int) -> None:
    rows = IMAGE_HEADER_WORDS + CLASS_MAP_WORDS
    blank = array("I", words)
    blank[ImageWord.CHECKSUM] = 0
    expected = {
        "magic": (IMAGE_MAGIC, words[ImageWord.MAGIC]),
        "version": (IMAGE_VERSION, words[ImageWord.VERSION]),
        "size": (len(words), words[ImageWord.SIZE]),
        "checksum": (zlib.crc32(blank.tobytes()), words[ImageWord.CHECKSUM]),
        "offset of the class map": (IMAGE_HEADER_WORDS, layout.classes),
        "offset of the rows": (rows, layout.rows),
        "offset of the actions": (_actions_after(rows + layout.stride * layout.states), layout.actions),
        "number of rules": (rules, layout.rules),
        "reserved words": ([0] * 4, list(words[ImageWord.RULES + 1 : IMAGE_HEADER_WORDS])),
    }
    for what, (right, found) in expected.items():
        if right != found:
            _refuse(f"has a wrong {what}, expected {right!r}", found)
    if layout.actions + ACTION_WORDS * layout.action_count > len(words):
        _refuse("has more actions than words", layout.action_count)


def _actions_after(end_of_rows: int) -> int:
    """Return where the action records begin: on a multiple of their size."""
    return end_of_rows + -end_of_rows % ACTION_WORDS


def _check_rows(words: memoryview, layout: Layout) -> None:
    """Check each distinct transition once: there are few, however many rows."""
    classes = bytes(words[layout.classes : layout.rows])
    if max(classes) >= layout.stride:
        _refuse("has a class outside its rows", max(classes))
    for word in {layout.start, *words[layout.rows : layout.rows + layout.stride * layout.states]}:
        if word & TRANSITION_ACTION:
            offset = (word ^ TRANSITION_ACTION) - layout.actions
            index, rest = divmod(offset, ACTION_WORDS)
            sound = rest == 0 and 0 <= index < layout.action_count
        else:
            sound = word % layout.stride == 0 and word < layout.stride * layout.states
        if not sound:
            _refuse("has a transition to nowhere", word)


def _check_records(words: memoryview, layout: Layout) -> None:
    lists = layout.actions + ACTION_WORDS * layout.action_count
    for record in range(layout.actions, lists, ACTION_WORDS):
        following = words[record + ActionWord.NEXT]
        if following % layout.stride or following >= layout.stride * layout.states:
            _refuse("has an action that leads nowhere", following)
        offset = words[record + ActionWord.CANDIDATES]
        if offset:
            _check_candidates(words, offset, lists, layout.rules)


def _check_candidates(words: memoryview, offset: int, lists: int, rules: int) -> None:
    if not lists <= offset < len(words):
        _refuse("has a candidate list outside", offset)
    count = words[offset]
    end = offset + 1 + CANDIDATE_WORDS * count
    if not 0 < count <= MAX_CANDIDATES or end > len(words):
        _refuse("has a candidate list of a wrong length", count)
    if any(rule >= rules for rule in words[offset + 1 : end : CANDIDATE_WORDS].tolist()):
        _refuse("has a candidate that is no rule", offset)
