# SPDX-License-Identifier: Apache-2.0
"""The bytes that all clients send; and the two ends of a client in Python: its orders, its report."""

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass

PERIOD = 251
"""A prime: bytes that come twice, not at all or in another order never go unseen."""
CHUNK = 10_000


@dataclass(frozen=True, slots=True)
class Line:
    """An order as a client reads it."""

    method: str
    path: str
    size: int
    framing: str
    asked: bool
    headers: dict[str, str]

    @property
    def data(self) -> bytes | None:
        """The body; None when there is none."""
        return None if self.framing == "none" else body(self.size)


def body(size: int) -> bytes:
    """Return a body of ``size`` bytes."""
    return (bytes(range(PERIOD)) * (size // PERIOD + 1))[:size]


def chunks(size: int) -> Iterator[bytes]:
    """Give a body in pieces, none of which is as long as a segment or a buffer."""
    data = body(size)
    for start in range(0, size, CHUNK):
        yield data[start : start + CHUNK]


def arguments() -> tuple[str, bool]:
    """Return the base URL and whether connections are to be kept."""
    base, keep = sys.argv[1:]
    return base, keep == "keep"


def lines() -> list[Line]:
    """Return the orders on standard input."""
    found = []
    for text in sys.stdin.read().splitlines():
        method, path, size, framing, when, *headers = text.split("\t")
        pairs = dict(header.split(": ", 1) for header in headers)
        found.append(Line(method, path, int(size), framing, when == "asked", pairs))
    return found


def report(status: int, data: bytes, error: str = "") -> None:
    """Say what was seen of one order."""
    row = {
        "status": status,
        "length": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "error": error,
    }
    sys.stdout.write(json.dumps(row) + "\n")
