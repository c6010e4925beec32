# SPDX-License-Identifier: Apache-2.0
"""What honest clients ask for: orders with the answers that they should get."""

import itertools
import os
from dataclasses import dataclass, replace
from typing import Self

from e2e.clients.order import Framing, Order, body_sha256, sha256
from e2e.honest.matrix import FORBIDDEN
from e2e.servers import Server

DENIED = sha256(b"Access denied\r\n")
NOTHING = sha256(b"")
SMALL, LARGE = 100, 1 << 20
SENT = 1_000_000
HUGE = 10_000_000
KEPT = 40
FRAMINGS: tuple[Framing, ...] = ("length", "chunked")
_names = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Files:
    """Files that every server has below ``/files/``; their checksums."""

    small: str
    large: str
    huge: str

    @classmethod
    def put(cls, *servers: Server) -> Self:
        """Put the files where the servers find them."""
        contents = {"small": os.urandom(SMALL), "large": os.urandom(LARGE), "huge": os.urandom(HUGE)}
        for server in servers:
            for name, data in contents.items():
                (server.root / name).write_bytes(data)
        return cls(**{name: sha256(data) for name, data in contents.items()})

    def downloads(self, *, number: int = KEPT) -> list[Order]:
        """Return GETs in a row, every tenth of a large file, and a HEAD between them."""
        small = Order(path="/files/small", sha256=self.small)
        large = Order(path="/files/large", sha256=self.large)
        row = [large if place % 10 == 5 else small for place in range(number)]
        return [*row, Order(method="HEAD", path="/files/large", sha256=NOTHING), small]


def uploads(server: str, *, asked: bool) -> list[Order]:
    """Return 1 MB with a length and 1 MB in chunks; ``asked`` has them wait for ``100 Continue``.

    The answers show what arrived: its checksum, or from nginx the file itself.
    """
    return [order for framing in FRAMINGS for order in _upload(server, framing, asked=asked)]


def _upload(server: str, framing: Framing, *, asked: bool) -> list[Order]:
    body = body_sha256(SENT)
    if server != "nginx":
        answer = sha256(body.encode())
        sent = Order(method="POST", path="/sum", size=SENT, framing=framing, asked=asked, sha256=answer)
        return [sent]
    path = f"/files/sent-{next(_names)}"
    sent = Order(method="PUT", path=path, size=SENT, framing=framing, asked=asked, status=201, sha256=NOTHING)
    return [sent, Order(path=path, sha256=body)]


def denied(*, asked: bool) -> list[Order]:
    """Return requests that are answered by 403: without a body, with one, and one that waits to send it."""
    get = Order(path=f"{FORBIDDEN}{next(_names)}", status=403, sha256=DENIED)
    post = replace(get, method="POST", size=SENT, framing="length")
    orders = [get, replace(get, method="HEAD", sha256=NOTHING), post, replace(post, framing="chunked")]
    return [*orders, replace(post, asked=True)] if asked else orders


def early(framing: Framing, *, asked: bool) -> Order:
    """Return an upload that the server answers before it has read it: 413."""
    path = f"/early/{next(_names)}"
    return Order(method="POST", path=path, size=SENT, framing=framing, asked=asked, status=413, sha256=None)


def early_kept(framing: Framing, *, huge: str = "") -> Order:
    """Return an upload of 10 MB that nginx answers at once by a 200 and keeps: a word, or a file of 10 MB."""
    path = "/early/file/huge" if huge else f"/early/any/{next(_names)}"
    answer = huge or sha256(b"early\n")
    return Order(method="POST", path=path, size=HUGE, framing=framing, sha256=answer)
