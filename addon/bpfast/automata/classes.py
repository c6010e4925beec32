# SPDX-License-Identifier: Apache-2.0
"""Byte classes: bytes that no pattern tells apart share one column of a table.

Source: the byte equivalence classes of RE2 and regex-automata. Each byte's
signature is the list of sets that hold it; equal signatures are one class.
Cost: sets times 256. One table for a whole machine rather than one a state:
the kernel looks a byte up once, whatever state it is in. Rejected: splitting
ranges at their borders (regex-automata), which keeps ``[a-c]`` and ``[x-z]``
apart for ever, even if they are always used together.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from bpfast.automata.tree import ByteMask, bytes_in


@dataclass(frozen=True, slots=True)
class ByteClasses:
    """The classes, numbered by their lowest byte.

    ``of`` has the class of each of the 256 bytes, ``firsts`` the lowest byte
    of each class: what holds for it holds for the class.
    """

    of: bytes
    firsts: bytes

    @property
    def count(self) -> int:
        """Return how many classes there are."""
        return len(self.firsts)

    def members(self, mask: ByteMask) -> tuple[int, ...]:
        """Return the classes of a set that is a union of classes, ascending."""
        return tuple(number for number, first in enumerate(self.firsts) if mask >> first & 1)


def partition(masks: Iterable[ByteMask]) -> ByteClasses:
    """Return the coarsest classes of which every set given is a union."""
    signatures = [0] * 256
    for bit, mask in enumerate(dict.fromkeys(masks)):
        for byte in bytes_in(mask):
            signatures[byte] |= 1 << bit
    numbers: dict[int, int] = {}
    firsts = bytearray()
    of = bytearray(256)
    for byte, signature in enumerate(signatures):
        if signature not in numbers:
            numbers[signature] = len(numbers)
            firsts.append(byte)
        of[byte] = numbers[signature]
    return ByteClasses(bytes(of), bytes(firsts))
