# SPDX-License-Identifier: Apache-2.0
"""Chunked uploads by honest clients arrive byte by byte; forged framing brings nothing past the rules."""

import contextlib
import hashlib
import http.client
import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.namespace import within
from e2e.policies import allow, entry, policy
from e2e.raw import RawClient
from e2e.scene import Scene, open_connections
from e2e.servers import BLOCK, Apache, Nginx

POLICY = policy(entry(allow("/files/up.*", method="PUT|GET"), allow("/open.*")))
HEAD = b"PUT /files/up HTTP/1.1\r\nHost: server\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
_names = itertools.count(1)

_LOSS = """\
table ip loss {{
    chain {chain} {{
        type filter hook {chain} priority 0
        tcp dport 80 meta length > 60 numgen inc mod {every} 0 drop
    }}
}}
"""


@pytest.fixture(scope="module", autouse=True)
def policed(scene: Scene, web: Nginx) -> Iterator[None]:  # noqa: ARG001 - it has to run
    """One run for all tests here."""
    with scene.run(POLICY, options=["--events", "denied"]):
        yield


@contextlib.contextmanager
def losing(scene: Scene, every: int) -> Iterator[None]:
    """Lose one packet in so many on the way to the chain, and others behind it."""
    places = ((scene.topology.host, "forward"), (scene.server.namespace, "input"))
    for namespace, chain in places:
        namespace.run("nft", "-f", "-", text=_LOSS.format(chain=chain, every=every))
    try:
        yield
    finally:
        for namespace, _ in places:
            namespace.run("nft", "delete", "table", "ip", "loss")


def sha256(data: bytes) -> str:
    """Return a checksum."""
    return hashlib.sha256(data).hexdigest()


def pieces(data: bytes, most: int, seed: int) -> Iterator[bytes]:
    """Cut data into pieces of random sizes."""
    dice = random.Random(seed)
    at = 0
    while at < len(data):
        size = dice.randint(1, most)
        yield data[at : at + size]
        at += size


def put(scene: Scene, web: Nginx, data: bytes, most: int) -> tuple[int, str]:
    """Upload with http.client, a chunk for each piece; return the status and what arrived."""
    connection = http.client.HTTPConnection(scene.server.address, 80, timeout=30)
    connection.sock = scene.client.namespace.connect(scene.server.address, 80, timeout=30)
    headers = {"Transfer-Encoding": "chunked"}
    statuses = set()
    for _ in range(2):  # the connection is kept
        connection.request("PUT", "/files/up", pieces(data, most, len(data)), headers, encode_chunked=True)
        with connection.getresponse() as answer:
            answer.read()
            statuses.add(answer.status)
    connection.close()
    assert statuses <= {201, 204}
    return max(statuses), sha256((web.root / "up").read_bytes())


def curl_from_pipe(scene: Scene, web: Nginx, path: Path, *words: str) -> str:
    """Upload a file with ``curl -T -``; return curl's last status."""
    shell = (
        f'curl -sS -o /dev/null -w "%{{http_code}}" --max-time 60 {" ".join(words)} -T - {web.url}/files/up'
    )
    return scene.client.namespace.run("sh", "-c", f"cat {path} | {shell}", timeout=90).stdout


@pytest.mark.parametrize("words", ((), ("-H", "Expect:")), ids=("expect", "no-expect"))
def test_curl_uploads_from_a_pipe(scene: Scene, web: Nginx, words: tuple[str, ...]) -> None:
    """20 MiB by ``curl -T -`` arrive whole."""
    path = scene.directory / "upload"
    path.write_bytes(os.urandom(20 * BLOCK))

    assert curl_from_pipe(scene, web, path, *words) in {"201", "204"}
    assert sha256(path.read_bytes()) == sha256((web.root / "up").read_bytes())
    assert open_connections(scene.client.namespace, scene.server.namespace) == []


def test_curl_uploads_while_packets_are_lost(scene: Scene, web: Nginx) -> None:
    """With losses before and behind the chain 4 MiB arrive whole: what comes again is proved."""
    path = scene.directory / "upload"
    path.write_bytes(os.urandom(4 * BLOCK))

    with losing(scene, 60):
        assert curl_from_pipe(scene, web, path) in {"201", "204"}
    assert sha256(path.read_bytes()) == sha256((web.root / "up").read_bytes())


@pytest.mark.parametrize(("size", "most"), ((20_000, 10), (300_000, 300), (4_000_000, 20_000)))
def test_a_generator_uploads_twice_on_a_connection(scene: Scene, web: Nginx, size: int, most: int) -> None:
    """Chunks of a few bytes up to some KiB by Python's http.client, two requests on one connection."""
    data = os.urandom(size)

    assert sha256(data) == put(scene, web, data, most)[1]


@pytest.mark.parametrize(("size", "most"), ((2_000, 10), (100_000, 1000)))
def test_a_generator_uploads_while_packets_are_lost(scene: Scene, web: Nginx, size: int, most: int) -> None:
    """The same with losses."""
    data = os.urandom(size)

    with losing(scene, 40):
        assert sha256(data) == put(scene, web, data, most)[1]


FRAMING = {
    "twice": HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n",
    "two lines": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "capital": HEAD + b"Transfer-Encoding: Chunked\r\n\r\n",
    "tab": HEAD + b"Transfer-Encoding:\tchunked\r\n\r\n",
    "space before the colon": HEAD + b"Transfer-Encoding : chunked\r\n\r\n",
    "vertical tab": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n",
    "folded": HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n",
    "underscore": HEAD + b"Transfer_Encoding: chunked\r\n\r\n",
    "identity": HEAD + b"Transfer-Encoding: identity\r\n\r\n",
    "gzip": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "with a length": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "before a length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    "HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0", 1),
}
SIZES = {
    "prefix": b"0x5\r\nabcde\r\n0\r\n\r\n",
    "plus": b"+5\r\nabcde\r\n0\r\n\r\n",
    "negative": b"-1\r\na\r\n0\r\n\r\n",
    "extension": b"5 ;a=b\r\nabcde\r\n0\r\n\r\n",
    "bare LF": b"5\nabcde\r\n0\r\n\r\n",
    "bare LF in an extension": b"5;\nxx\r\nabcde\r\n0\r\n\r\n",
    "overflow": b"10000000000000005\r\nabcde\r\n0\r\n\r\n",
    "longer": b"5\r\nabcdefg\r\n0\r\n\r\n",
    "shorter": b"5\r\nabc\r\n0\r\n\r\n",
    "trailer": b"0\r\nX: y\r\n\r\n",
    "no empty line": b"5\r\nabcde\r\n0\r\n",
}


def requests(web: Nginx, name: str) -> list[str]:
    """Return the request lines in the server's log that have a name in them."""
    return [logged.request for logged in web.requests() if name in logged.request]


def send_all(scene: Scene, parts: list[bytes]) -> bytes:
    """Send parts one after the other on a raw connection; return what comes back."""
    with RawClient(scene.client, scene.server.address) as client:
        client.connect()
        for part in parts:
            client.send(part)
            client.receive(0.02)
        return client.read(0.3).data


@pytest.mark.parametrize("apart", (False, True), ids=("one segment", "segments"))
@pytest.mark.parametrize("kind", (*FRAMING, *SIZES))
def test_forged_framing_brings_no_request_past_the_rules(
    scene: Scene, web: Nginx, kind: str, apart: bool
) -> None:
    """A denied request behind framing that servers read differently never gets to the server's log."""
    name = f"smuggled{next(_names)}"
    inner = f"GET /secret/{name} HTTP/1.1\r\nHost: server\r\n\r\n".encode()
    head, body = (CHUNKED, SIZES[kind]) if kind in SIZES else (FRAMING[kind], b"5\r\nabcde\r\n0\r\n\r\n")
    parts = [head, body, inner]
    send_all(scene, parts if apart else [b"".join(parts)])
    with scene.client.namespace.connect(scene.server.address, 80, timeout=5) as honest:
        honest.sendall(f"GET /open?{name} HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n".encode())
        assert honest.recv(12) == b"HTTP/1.1 200"
    within(2, lambda: bool(requests(web, name)))

    assert [f"GET /open?{name} HTTP/1.1"] == requests(web, name)


def test_a_request_in_the_data_of_a_chunk_is_data(scene: Scene, web: Nginx) -> None:
    """What looks like a request inside of a chunk is stored, not served, and the next request is judged."""
    name = f"inner{next(_names)}"
    inner = f"GET /secret/{name} HTTP/1.1\r\nHost: server\r\n\r\n".encode()
    send_all(scene, [CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner), inner])

    assert inner == (web.root / "up").read_bytes()
    assert [] == requests(web, name)


def test_apache_takes_chunks_too(scene: Scene) -> None:
    """apache2 answers a chunked request and the one behind it on the same connection."""
    with Apache(scene.topology["other"]) as apache:
        connection = http.client.HTTPConnection(apache.pod.address, 80, timeout=10)
        connection.sock = scene.client.namespace.connect(apache.pod.address, 80, timeout=10)
        statuses = []
        for _ in range(2):
            body = pieces(b"x" * 5000, 100, 1)
            connection.request("GET", "/open", body, {"Transfer-Encoding": "chunked"}, encode_chunked=True)
            with connection.getresponse() as answer:
                answer.read()
                statuses.append(answer.status)
        connection.close()

    assert [200, 200] == statuses
