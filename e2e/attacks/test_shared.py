# SPDX-License-Identifier: Apache-2.0
"""A client's file on its way through the host: the sender can write to it until the server has read it."""

import mmap
import os

from e2e.attacks import arena as place
from e2e.attacks.arena import ALLOWED, DENIED, Arena

TRIES = 10


def _send_and_change(arena: Arena, name: str) -> None:
    """Send an allowed request from a file, and make it the denied one as soon as it is on its way."""
    text = ALLOWED + place.rest(name)
    with (
        os.fdopen(os.memfd_create("request"), "wb") as file,
        arena.client.namespace.connect(arena.pod.address, 80) as connection,
    ):
        os.write(file.fileno(), text)
        with mmap.mmap(file.fileno(), len(text)) as memory:
            os.sendfile(connection.fileno(), file.fileno(), 0, len(text))
            memory[: len(DENIED)] = DENIED
            place.read_all(connection)


def test_what_is_inspected_is_what_the_server_reads(arena: Arena) -> None:
    """A request that is changed behind the chain, in the page that it was sent from, is the old one."""
    names = [arena.name() for _ in range(TRIES)]
    for name in names:
        _send_and_change(arena, name)

    got = [arena.log(name) for name in names]
    assert [[f"GET /public/{name} HTTP/1.1"] for name in names] == got
