# SPDX-License-Identifier: Apache-2.0
"""Servers that answer before they have read the body: nginx by a 413, or a 200 on a kept connection.

As through Envoy, the client gets the whole answer, and then the connection ends.
"""

import itertools

import pytest

from e2e.clients.order import MAKES, Framing, ask, assert_seen
from e2e.honest.ground import Ground
from e2e.honest.matrix import FAMILIES, PLACES, SOAK, Place
from e2e.honest.traffic import FRAMINGS, early, early_kept

CASES = [(make, PLACES[number % len(PLACES)], FAMILIES[number // 2 % 2]) for number, make in enumerate(MAKES)]
EVERYTHING = [(make, place, family) for make in MAKES for place in PLACES for family in FAMILIES]
KEEPERS = ("curl", "requests", "go", "node")
RETRY = ("curl", "go")
"""They ask again on another connection when a kept one has ended."""
CHUNKED = b"POST /early/raw HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"5\r\nabcde\r\n"
LENGTH = b"POST /early/any/raw HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n%s\r\nabcde"
CLOSE = b"Connection: close\r\n"
SECONDS = 5


def kept() -> list[tuple[str, Place, int, Framing]]:
    """Return who meets what where: each make both framings and both hooks."""
    if SOAK:
        return list(itertools.product(KEEPERS, PLACES, FAMILIES, FRAMINGS))
    return [
        (make, PLACES[(number + turn * 3) % len(PLACES)], FAMILIES[(number + turn) % 2], framing)
        for number, make in enumerate(KEEPERS)
        for turn, framing in enumerate(FRAMINGS)
    ]


@pytest.mark.parametrize(("make", "place", "family"), EVERYTHING if SOAK else CASES, ids=str)
def test_an_early_answer_is_seen(policed: Ground, make: str, family: int) -> None:
    """The client sees the 413 while it sends a body of 1 MB, and its next request is served."""
    file = policed.files.downloads(number=1)
    policed.assert_served(make, "nginx", family, [early("length", asked=False), *file])


@pytest.mark.parametrize(("make", "place", "family", "framing"), kept(), ids=str)
def test_the_next_request_does_not_hang(policed: Ground, make: str, family: int, framing: Framing) -> None:
    """10 MB of early answer arrive whole beside 10 MB of upload; the next request finds it closed.

    It is asked again on another connection, or fails at once as on any connection that the server has closed.
    """
    orders = [early_kept(framing, huge=policed.files.huge), *policed.files.downloads(number=1)[:1]]
    orders += [early_kept(framing), orders[1]]
    seen = ask(policed.client, make, policed.base("nginx", family), orders)
    told = [make not in RETRY and row.status == 0 and number % 2 for number, row in enumerate(seen)]

    assert_seen(
        [order for order, over in zip(orders, told, strict=True) if not over],
        [row for row, over in zip(seen, told, strict=True) if not over],
    )
    assert [row for row in seen if "timed out" in row.error.lower()] == []
    policed.assert_quiet()


@pytest.mark.parametrize("family", FAMILIES, ids=("IPv4", "IPv6"))
@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize(
    ("begun", "rest"),
    (
        (CHUNKED, b"0\r\n\r\n"),
        (LENGTH % b"", b"abcdeGET /fast HTTP/1.1\r\nHost: a\r\n\r\n"),
        (LENGTH % CLOSE, b""),
    ),
    ids=("chunked", "length", "close"),
)
def test_an_early_answer_ends_the_connection(policed: Ground, family: int, begun: bytes, rest: bytes) -> None:
    """A client that keeps the connection after an early 200 is told that it is over; or closes."""
    with policed.client.namespace.connect(policed.address(family), 80, timeout=SECONDS) as connection:
        connection.sendall(begun)
        answer = connection.recv(1000)
        connection.sendall(rest or b"abc")
        if not rest:
            connection.shutdown(1)
        told = connection.recv(1000)

    assert b" 200 OK" in answer
    assert told == b""
    policed.assert_quiet()
