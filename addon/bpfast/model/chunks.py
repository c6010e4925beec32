# SPDX-License-Identifier: Apache-2.0
"""Where a chunked body ends (RFC 9112 section 7.1), strictly.

    chunk          = chunk-size CRLF chunk-data CRLF
    last-chunk     = 1*"0" CRLF
    chunked-body   = *chunk last-chunk CRLF

A size has at most 15 digits; chunk extensions and trailers are refused.
"""

import re
from typing import Final

from bpfast.abi import Reason
from bpfast.model.cursor import Refused, Unfinished

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
_BEGUN_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15}\r?)?")
_MOST: Final = 17  # bytes of a size and its line end


def end_of_chunks(stream: bytes, at: int) -> int:
    """Return where the body ends that begins at byte ``at``; raise Unfinished or Refused."""
    while True:
        found = _SIZE.match(stream, at)
        if found is None:
            rest = stream[at : at + _MOST + 1]
            raise Unfinished if _BEGUN_SIZE.fullmatch(rest) else Refused(Reason.BAD_CHUNK)
        size = int(found[1], 16)
        if not size:
            return _line_end(stream, found.end(), Reason.CHUNK_TRAILER)
        at = _line_end(stream, found.end() + size, Reason.BAD_CHUNK)


def _line_end(stream: bytes, at: int, otherwise: Reason) -> int:
    """Return the place behind the CR LF at byte ``at``; what is no line end is refused, for ``otherwise``."""
    end = stream[at : at + 2]
    if end == b"\r\n":
        return at + 2
    if end in (b"", b"\r"):
        raise Unfinished
    raise Refused(Reason.BAD_CHUNK if end[:1] in (b"\r", b"\n") else otherwise)
