# SPDX-License-Identifier: Apache-2.0
"""Much traffic: a gigabyte at each hook over each family, and wrk."""

import hashlib
import re
from collections.abc import Iterator

import pytest

from e2e.clients.order import Order
from e2e.honest.ground import Ground
from e2e.honest.matrix import FAMILIES, FORBIDDEN, PLACES, SOAK, across
from e2e.servers import BLOCK

pytestmark = pytest.mark.slow

BLOCKS = 1024
WRK_CONNECTIONS = 32
WRK_SECONDS = 1
WRK_TOTAL = re.compile(r"(\d+) requests in")
WRK_OTHERS = re.compile(r"Non-2xx or 3xx responses: (\d+)")
# A direction a hook is enough for a gigabyte.
DOWNLOADS = PLACES if SOAK else tuple({place.hook: place for place in reversed(PLACES)}.values())


@pytest.fixture(scope="module")
def gigabyte(bare: Ground) -> Iterator[str]:
    """1 GiB that nginx serves, every block with its number in front; its checksum."""
    path = bare.servers["nginx"].add_file("gigabyte", size=BLOCKS * BLOCK, random=False)
    checksum = hashlib.sha256()
    with path.open("r+b") as file:
        for number in range(BLOCKS):
            file.seek(number * BLOCK)
            file.write(number.to_bytes(8, "big"))
            checksum.update(number.to_bytes(8, "big") + bytes(BLOCK - 8))
    yield checksum.hexdigest()
    path.unlink()


def wrk(policed: Ground, family: int, path: str) -> tuple[int, int]:
    """Ask over many connections as fast as it goes; return how many answers came, and how many not 2xx."""
    words = ["-t1", f"-c{WRK_CONNECTIONS}", f"-d{WRK_SECONDS}s", "--timeout", "2s"]
    url = policed.base("nginx", family) + path
    said = policed.client.namespace.run("wrk", *words, url, timeout=30).stdout
    total, others = WRK_TOTAL.search(said), WRK_OTHERS.search(said)
    assert total is not None
    assert "Socket errors" not in said
    return int(total[1]), int(others[1]) if others else 0


@pytest.mark.parametrize("place", DOWNLOADS, ids=str)
@pytest.mark.parametrize("family", FAMILIES, ids=("IPv4", "IPv6"))
def test_a_gigabyte_comes_as_it_is(policed: Ground, family: int, gigabyte: str) -> None:
    """1 GiB from nginx's sendfile has its checksum."""
    orders = [Order(path="/files/gigabyte", sha256=gigabyte)]

    assert policed.assert_served("go", "nginx", family, orders) == 1


@pytest.mark.parametrize(("place", "family"), dict.fromkeys((*across(0), *across(1))), ids=str)
def test_many_connections_have_no_errors(policed: Ground, family: int) -> None:
    """Requests over 32 connections at full speed are all served."""
    served, others = wrk(policed, family, "/fast")

    assert served > 100
    assert others == 0


@pytest.mark.parametrize(("place", "family"), across(0), ids=str)
def test_many_denied_requests_are_all_answered(policed: Ground, family: int) -> None:
    """Denied ones are all answered by 403, without a broken connection."""
    answered, refused = wrk(policed, family, f"{FORBIDDEN}wrk")

    assert answered > 100
    assert answered == refused
