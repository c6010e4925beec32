# SPDX-License-Identifier: Apache-2.0
r"""Print a machine: as a table for reading, as dot for drawing.

Bytes are shown as ranges (``a-z``), unprintable ones as ``\xHH``. The edges of
a state that lead to the same place are one entry.
"""

from collections.abc import Iterable

from bpfast.automata.classes import ByteClasses
from bpfast.automata.dfa import DEAD, Dfa

_FIRST_VISIBLE, _LAST_VISIBLE = 0x21, 0x7E


def byte_name(byte: int) -> str:
    """Return a printable name of one byte."""
    return chr(byte) if _FIRST_VISIBLE <= byte <= _LAST_VISIBLE else f"\\x{byte:02x}"


def class_names(classes: ByteClasses, numbers: Iterable[int]) -> str:
    """Return the bytes of some classes as ranges, ascending."""
    wanted = set(numbers)
    spans: list[list[int]] = []
    for byte in range(256):
        if classes.of[byte] not in wanted:
            continue
        if spans and spans[-1][1] == byte - 1:
            spans[-1][1] = byte
        else:
            spans.append([byte, byte])
    return "".join(_span(low, high) for low, high in spans)


def _span(low: int, high: int) -> str:
    between = "-" if high - low > 1 else ""
    return byte_name(low) + (between + byte_name(high) if high > low else "")


def _edges(dfa: Dfa, state: int) -> list[tuple[str, int]]:
    by_target: dict[int, list[int]] = {}
    for number, target in dfa.rows[state].items():
        by_target.setdefault(target, []).append(number)
    return [(class_names(dfa.classes, numbers), target) for target, numbers in by_target.items()]


def table(dfa: Dfa) -> str:
    """Return one line a state: ``>`` the start, ``*`` a match, what matches, the edges."""
    lines = [f"{len(dfa.rows)} states (0 is dead), {dfa.classes.count} classes"]
    for state in range(DEAD + 1, len(dfa.rows)):
        start = ">" if state == dfa.start else " "
        match = "*" if dfa.outputs[state] else " "
        patterns = ",".join(map(str, dfa.outputs[state]))
        edges = "  ".join(f"{label} -> {target}" for label, target in _edges(dfa, state))
        lines.append(f"{start}{match}{state:>6} {patterns:<8} {edges}".rstrip())
    return "\n".join(lines) + "\n"


def dot(dfa: Dfa) -> str:
    """Return a graph in the language of Graphviz, matches as double circles."""
    lines = ["digraph dfa {", "  rankdir=LR;", f'  start [shape=point]; start -> "{dfa.start}";']
    for state in range(DEAD + 1, len(dfa.rows)):
        output = dfa.outputs[state]
        label = str(state) + (f"\\n{','.join(map(str, output))}" if output else "")
        lines.append(f'  "{state}" [shape={"doublecircle" if output else "circle"}, label="{label}"];')
        for name, target in _edges(dfa, state):
            text = name.replace("\\", "\\\\").replace('"', '\\"')
            lines.append(f'  "{state}" -> "{target}" [label="{text}"];')
    return "\n".join([*lines, "}"]) + "\n"
