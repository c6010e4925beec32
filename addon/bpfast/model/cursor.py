# SPDX-License-Identifier: Apache-2.0
"""A place in a client's stream while a request head is read, from left to right and never back.

The first byte that no acceptable head could have there decides; so whoever reads
asks for one thing after the other. When the bytes end first, nothing is decided.
"""

import re
from typing import Final

from bpfast.abi import MAX_HEAD_BYTES, Reason

CR: Final = 0x0D
LF: Final = 0x0A


class Refused(Exception):
    """The head is denied; ``reason`` says why."""

    def __init__(self, reason: Reason) -> None:
        """Keep the reason."""
        self.reason = reason
        super().__init__(reason.name)


class Unfinished(Exception):
    """The stream ends before the head does."""


class Cursor:
    """Reads one head, which begins at byte ``at`` of ``stream`` and has at most 61,440 bytes."""

    def __init__(self, stream: bytes, at: int) -> None:
        """Stand before the first byte of the head."""
        self.at = at
        self._stream = stream
        self._end = min(len(stream), at + MAX_HEAD_BYTES)

    def next(self) -> int:
        """Return the byte behind the cursor, and stay."""
        if self.at < self._end:
            return self._stream[self.at]
        if self._end < len(self._stream):
            raise Refused(Reason.HEAD_TOO_LARGE)
        raise Unfinished

    def take(self) -> bytes:
        """Return the byte behind the cursor, and go on."""
        byte = self.next()
        self.at += 1
        return bytes((byte,))

    def run(self, pattern: re.Pattern[bytes]) -> bytes:
        """Return all that ``pattern`` matches from here on, and go on behind it."""
        found = pattern.match(self._stream, self.at, self._end)
        if found is None:
            return b""
        self.at = found.end()
        return found[0]

    def expect(self, wanted: bytes, reason: Reason) -> None:
        """Go on behind ``wanted``; the first other byte is refused for ``reason``."""
        for byte in wanted:
            if self.next() != byte:
                raise Refused(reason)
            self.at += 1

    def line_end(self, otherwise: Reason) -> None:
        """Go on behind CR LF; a byte that belongs to no line end is refused for ``otherwise``."""
        if self.next() == LF:
            raise Refused(Reason.BAD_LINE_END)
        self.expect(b"\r", otherwise)
        self.expect(b"\n", Reason.BAD_LINE_END)
