# SPDX-License-Identifier: Apache-2.0
"""What is met at every hook, in both directions and over both families.

curl with a connection for each request, Go with one for hundreds of them,
and packets of our own; the other makes are in ``test_makes``, where each meets
a selection.
"""

import json

import pytest

from e2e.honest.ground import Ground
from e2e.honest.matrix import FAMILIES, FORBIDDEN, PLACES
from e2e.honest.traffic import denied, uploads
from e2e.namespace import Namespace
from e2e.raw import RawClient
from e2e.servers import BLOCK

pytestmark = [
    pytest.mark.parametrize("place", PLACES, ids=str),
    pytest.mark.parametrize("family", FAMILIES, ids=("IPv4", "IPv6")),
]

MANY = 200
PIPELINED = 100
REQUEST = b"GET /fast HTTP/1.1\r\nHost: a\r\n\r\n"
ANSWER = b"nginx: GET /fast\n"
REFUSED = (
    b"HTTP/1.1 403 Forbidden\r\ncontent-length: 15\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n"
    b"Access denied\r\n"
)
ONE_FRAME = f"""\
table inet bpfast-frames {{
    chain out {{
        type filter hook output priority 0
        tcp dport 80 meta length > {PIPELINED * len(REQUEST)} counter
    }}
}}
"""


def retransmissions(namespace: Namespace) -> int:
    """Return how many segments a pod has sent again."""
    said = namespace.run("nstat", "-asz", "--json", "TcpRetransSegs").stdout
    return int(json.loads(said)["kernel"]["TcpRetransSegs"])


def ask_at_once(policed: Ground, family: int) -> tuple[bytes, int]:
    """Send ``PIPELINED`` requests at once; return what comes, and how many frames held all of them."""
    client = policed.client.namespace
    client.run("nft", "-f", "-", text=ONE_FRAME)
    got = b""
    try:
        with client.connect(policed.address(family), 80) as connection:
            connection.sendall(REQUEST * PIPELINED)
            while got.count(ANSWER) < PIPELINED and (more := connection.recv(BLOCK)):
                got += more
        said = client.run("nft", "list", "table", "inet", "bpfast-frames").stdout
    finally:
        client.run("nft", "delete", "table", "inet", "bpfast-frames")
    return got, int(said.split("counter packets ")[1].split()[0])


def test_curl_opens_a_connection_for_each_request(policed: Ground, family: int) -> None:
    """Downloads, a HEAD, uploads and denied requests of all kinds, each on a connection of its own."""
    orders = [
        *policed.files.downloads(number=2),
        *uploads("http.server", asked=False),
        *uploads("http.server", asked=True),
        *denied(asked=True),
    ]
    opened = policed.assert_served("curl", "http.server", family, orders, keep=False)

    assert opened == len(orders)


def test_a_connection_is_kept_for_hundreds_of_requests(policed: Ground, family: int) -> None:
    """Small and large answers in a row, uploads between them, and a connection less than our 403."""
    orders = [*policed.files.downloads(number=MANY), *uploads("nginx", asked=True)]
    opened = policed.assert_served("go", "nginx", family, [*orders, *orders[:MANY]])

    assert opened == 1


def test_requests_in_one_frame_pass_in_one_go(policed: Ground, family: int) -> None:
    """100 requests in a single frame are all answered, and nobody has to send anything again."""
    before = retransmissions(policed.client.namespace)
    got, frames = ask_at_once(policed, family)

    assert frames == 1
    assert got.count(ANSWER) == PIPELINED
    assert before == retransmissions(policed.client.namespace)


@pytest.mark.parametrize("path", ("/fast", f"{FORBIDDEN}raw"))
def test_single_bytes_are_put_together(policed: Ground, family: int, path: str) -> None:
    """A request of one byte a segment is served, or gets our 403 byte for byte."""
    with RawClient(policed.client, policed.address(family)) as raw:
        raw.connect()
        raw.crumble(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        answer = raw.read(5)
        raw.finish()
        raw.read(0.2)

    assert (True, False) == (answer.finished, answer.reset)
    assert answer.data.endswith(ANSWER) if path == "/fast" else answer.data == REFUSED
