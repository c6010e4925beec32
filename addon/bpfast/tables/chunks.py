# SPDX-License-Identifier: Apache-2.0
"""The reference of ``bpf/lib/chunk.h``: the framing of a chunked body, byte by byte.

RFC 9112 section 7.1, strictly: a size of 1 to 15 hexadecimal digits, no chunk
extensions, no trailers. This grammar is the same for every rule set, so it is
not in the tables (``docs/decisions/0007``).
"""

from enum import Enum

from bpfast.abi import CHUNK_DIGITS_MOST, Reason

_CR, _LF = 0x0D, 0x0A


class _At(Enum):
    """What comes next."""

    FIRST = 0  # the first digit of a size
    SIZE = 1
    LINE_FEED = 2  # behind the size
    DATA = 3
    DATA_CR = 4
    DATA_LF = 5
    END_CR = 6  # of the empty line behind the last chunk
    END_LF = 7
    OVER = 8


_NEXT = {
    (_At.SIZE, _CR): _At.LINE_FEED,
    (_At.DATA_CR, _CR): _At.DATA_LF,
    (_At.DATA_LF, _LF): _At.FIRST,
    (_At.END_CR, _CR): _At.END_LF,
    (_At.END_LF, _LF): _At.OVER,
}


class Chunks:
    """Follows one chunked body; ``fault`` is the reason when it is malformed."""

    def __init__(self) -> None:
        """Stand before the first byte of the body."""
        self._at = _At.FIRST
        self._size = 0
        self._digits = 0
        self.fault: Reason | None = None

    @property
    def over(self) -> bool:
        """Whether the body has ended."""
        return self._at is _At.OVER

    def feed(self, data: bytes) -> int:
        """Take bytes up to the body's end or a fault; return how many, that of the fault included."""
        taken = 0
        while taken < len(data) and not self.over and self.fault is None:
            if self._at is _At.DATA:
                skipped = min(self._size, len(data) - taken)
                self._size -= skipped
                taken += skipped
                if not self._size:
                    self._at, self._digits = _At.DATA_CR, 0
                continue
            self._framing(data[taken])
            taken += 1
        return taken

    def _framing(self, byte: int) -> None:
        if self._at in (_At.FIRST, _At.SIZE) and byte in b"0123456789abcdefABCDEF":
            self._at = _At.SIZE
            self._size = self._size * 16 + int(chr(byte), 16)
            self._digits += 1
            if self._digits > CHUNK_DIGITS_MOST:
                self.fault = Reason.BAD_CHUNK
        elif (self._at, byte) == (_At.LINE_FEED, _LF):
            self._at = _At.DATA if self._size else _At.END_CR
        elif (self._at, byte) in _NEXT:
            self._at = _NEXT[self._at, byte]
        else:
            trailer = self._at is _At.END_CR and byte != _LF
            self.fault = Reason.CHUNK_TRAILER if trailer else Reason.BAD_CHUNK
