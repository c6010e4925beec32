# SPDX-License-Identifier: Apache-2.0
"""A machine to words, as ``bpf/lib/abi.h`` lays them out.

Rows are dense, one word a class, and states are pre-multiplied by the row
length: the kernel's step is one byte load, one addition and one word load. A
row is as long as there are classes, not a power of two, since nothing shifts.
Action records stand on multiples of their size: the kernel then bounds a
record with one mask and reads its parts as they are.
The order is header, class map, rows, action records, candidate lists; both
lists are in order of first use, so equal machines give equal words.
"""

import zlib
from array import array

from bpfast.abi import (
    ACTION_WORDS,
    CANDIDATE_WORDS,
    CLASS_MAP_WORDS,
    IMAGE_HEADER_WORDS,
    IMAGE_MAGIC,
    IMAGE_VERSION,
    TRANSITION_ACTION,
    ImageWord,
)
from bpfast.errors import LimitExceeded
from bpfast.tables.image import TableImage
from bpfast.tables.machine import Action, Candidate, Machine

_LOW = 0xFFFFFFFF


def pack(machine: Machine, *, limit: int) -> TableImage:
    """Return the image; at most ``limit`` words."""
    stride = machine.classes.count
    rows = IMAGE_HEADER_WORDS + CLASS_MAP_WORDS
    padding = -(rows + stride * len(machine.rows)) % ACTION_WORDS
    actions = rows + stride * len(machine.rows) + padding
    lists = _Lists(actions + ACTION_WORDS * len(machine.actions))
    records = [word for action in machine.actions for word in _record(action, stride, lists)]
    size = lists.end
    if size > limit:
        what = "words in a table"
        raise LimitExceeded(what, limit)
    words = array("I", bytes(4 * IMAGE_HEADER_WORDS))
    words.frombytes(machine.classes.of)
    _append_rows(words, machine, actions)
    words.extend([0] * padding)
    words.extend(records)
    words.extend(lists.words)
    header = {
        ImageWord.MAGIC: IMAGE_MAGIC,
        ImageWord.VERSION: IMAGE_VERSION,
        ImageWord.SIZE: size,
        ImageWord.CLASSES: IMAGE_HEADER_WORDS,
        ImageWord.ROWS: rows,
        ImageWord.STRIDE: stride,
        ImageWord.STATES: len(machine.rows),
        ImageWord.START: machine.start * stride,
        ImageWord.ACTIONS: actions,
        ImageWord.ACTION_COUNT: len(machine.actions),
        ImageWord.RULES: len(machine.rules),
    }
    for index, value in header.items():
        words[index] = value
    words[ImageWord.CHECKSUM] = zlib.crc32(words.tobytes())
    return TableImage(words.tobytes(), machine.rules)


class _Lists:
    """Candidate lists, each stored once; ``end`` is the offset behind the last."""

    def __init__(self, offset: int) -> None:
        self.end = offset
        self.words: list[int] = []
        self._offsets: dict[tuple[Candidate, ...], int] = {(): 0}

    def offset(self, candidates: tuple[Candidate, ...]) -> int:
        found = self._offsets.get(candidates)
        if found is None:
            found = self._offsets[candidates] = self.end
            words = [len(candidates)]
            for candidate in candidates:
                words += [candidate.rule, candidate.need & _LOW, candidate.need >> 32]
            self.words += words
            self.end += 1 + CANDIDATE_WORDS * len(candidates)
        return found


def _record(action: Action, stride: int, lists: _Lists) -> tuple[int, ...]:
    return (
        action.ops | action.reason << 16,
        action.next * stride,
        lists.offset(action.candidates),
        0,
        action.seen & _LOW,
        action.seen >> 32,
        action.fulfilled & _LOW,
        action.fulfilled >> 32,
    )


def _append_rows(words: "array[int]", machine: Machine, actions: int) -> None:
    """Append every row, its states multiplied and its actions turned into offsets."""
    stride = machine.classes.count
    packed = {
        TRANSITION_ACTION | index: TRANSITION_ACTION | actions + ACTION_WORDS * index
        for index in range(len(machine.actions))
    }
    packed |= {state: state * stride for state in range(len(machine.rows))}
    for row in machine.rows:
        words.extend(map(packed.__getitem__, row))
