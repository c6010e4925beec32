# SPDX-License-Identifier: Apache-2.0
"""Print a packed table as it is: one line a state, one an action record.

Reads the words and nothing else, so what is shown is what the kernel walks.
Transitions to one place are one entry; faults are named by their reason and
stand last, the commonest as ``else``.
"""

from bpfast.abi import (
    ACTION_WORDS,
    CANDIDATE_WORDS,
    TRANSITION_ACTION,
    ActionOp,
    ActionWord,
    Reason,
)
from bpfast.automata.classes import ByteClasses
from bpfast.automata.show import class_names
from bpfast.tables.image import Layout, TableImage, read


def table(image: TableImage) -> str:
    """Return the whole machine as text."""
    layout = read(image)
    classes = _classes(bytes(image.words[layout.classes : layout.rows]))
    lines = [
        f"{layout.states} states, {layout.stride} classes, {layout.action_count} actions",
        f"{len(image.data)} bytes, sha256 {image.digest}",
    ]
    lines += [f"rule {number}: {name}" for number, name in enumerate(image.rules)]
    for number in range(layout.action_count):
        lines.append(f"action {number}: {_action(image, layout, number)}")
    for number in range(layout.states):
        mark = ">" if number * layout.stride == layout.start else " "
        lines.append(f"{mark}state {number}: {_row(image, layout, classes, number)}")
    return "\n".join(lines) + "\n"


def _classes(of: bytes) -> ByteClasses:
    return ByteClasses(of, bytes(of.index(number) for number in range(max(of) + 1)))


def _action(image: TableImage, layout: Layout, number: int) -> str:
    offset = layout.actions + ACTION_WORDS * number
    words = image.words[offset : offset + ACTION_WORDS].tolist()
    ops = ActionOp(words[ActionWord.OPS] & 0xFFFF)
    names = "+".join(op.name or "" for op in ActionOp if op in ops)
    if ActionOp.FAULT in ops:
        return f"{names} {Reason(words[ActionWord.OPS] >> 16).name}"
    parts = [names, f"next {words[ActionWord.NEXT] // layout.stride}"]
    for name, word in (("seen", ActionWord.SEEN_LO), ("set", ActionWord.SET_LO)):
        bits = words[word] | words[word + 1] << 32
        parts += [f"{name} {bits:#x}"] if bits else []
    if words[ActionWord.CANDIDATES]:
        parts.append("candidates " + _candidates(image, words[ActionWord.CANDIDATES]))
    return ", ".join(parts)


def _candidates(image: TableImage, offset: int) -> str:
    count = image.words[offset]
    words = image.words[offset + 1 : offset + 1 + CANDIDATE_WORDS * count].tolist()
    entries = zip(words[::3], words[1::3], words[2::3], strict=True)
    return " ".join(f"{rule}:{low | high << 32:#x}" for rule, low, high in entries)


def _row(image: TableImage, layout: Layout, classes: ByteClasses, number: int) -> str:
    first = layout.rows + number * layout.stride
    by_word: dict[int, list[int]] = {}
    for column, word in enumerate(image.words[first : first + layout.stride].tolist()):
        by_word.setdefault(word, []).append(column)
    rest = max(by_word, key=lambda word: len(by_word[word]))
    order = [word for word in by_word if word != rest]
    named = [f"{class_names(classes, by_word[word])} -> {_target(layout, word)}" for word in order]
    return "  ".join([*named, f"else -> {_target(layout, rest)}"])


def _target(layout: Layout, word: int) -> str:
    if word & TRANSITION_ACTION:
        return f"action {((word ^ TRANSITION_ACTION) - layout.actions) // ACTION_WORDS}"
    return str(word // layout.stride)
