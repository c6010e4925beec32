# SPDX-License-Identifier: Apache-2.0
"""Servers that answer before they have read the body: nginx by a 413, or a 200 on a kept connection."""

from collections.abc import Iterator

import pytest

from e2e.clients.order import MAKES
from e2e.honest.conftest import Enforce
from e2e.honest.ground import Ground
from e2e.honest.matrix import FAMILIES, PLACES, SOAK, Place
from e2e.honest.traffic import early

CASES = [(make, PLACES[number % len(PLACES)], FAMILIES[number // 2 % 2]) for number, make in enumerate(MAKES)]
EVERYTHING = [(make, place, family) for make in MAKES for place in PLACES for family in FAMILIES]
CHUNKED = b"POST /early/raw HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"5\r\nabcde\r\n"
SECONDS = 1


@pytest.fixture
def impatient(enforce: Enforce, place: Place) -> Iterator[Ground]:
    """The ground, whose client does not wait for the server's FIN when it has sent its own."""
    ground = enforce(place)
    ground.client.namespace.sysctl(net__ipv4__tcp_fin_timeout=1)
    yield ground
    ground.assert_quiet()
    ground.client.namespace.sysctl(net__ipv4__tcp_fin_timeout=60)


@pytest.mark.parametrize(("make", "place", "family"), EVERYTHING if SOAK else CASES, ids=str)
def test_an_early_answer_is_seen(impatient: Ground, make: str, family: int) -> None:
    """The client sees the 413 while it sends a body of 1 MB, and its next request is served."""
    file = impatient.files.downloads(number=1)
    impatient.assert_served(make, "nginx", family, [early("length", asked=False), *file])


@pytest.mark.xfail(reason="the client's side stays open, and swallows what the client sends next")
@pytest.mark.parametrize("place", PLACES if SOAK else PLACES[:1], ids=str)
def test_an_early_answer_ends_the_connection(impatient: Ground) -> None:
    """A client that keeps the connection after an early 200 is told that it is over."""
    with impatient.client.namespace.connect(impatient.address(4), 80, timeout=SECONDS) as connection:
        connection.sendall(CHUNKED)
        answer = connection.recv(1000)
        connection.sendall(b"0\r\n\r\n")
        rest = connection.recv(1000)

    assert b" 200 OK" in answer
    assert rest == b""
