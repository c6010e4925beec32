# SPDX-License-Identifier: Apache-2.0
"""Much traffic: big uploads and downloads, many connections, requests in a row."""

import contextlib
import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.curl import curl
from e2e.policies import allow, entry, policy
from e2e.raw import RawClient
from e2e.scene import Scene, open_connections
from e2e.segments import Flags
from e2e.servers import BLOCK, Nginx
from e2e.topology import Pod

pytestmark = pytest.mark.slow

UPLOAD_BYTES = 100 * BLOCK
DOWNLOAD_BLOCKS = 1024
POLICY = policy(
    entry(
        allow("/files/up.*", method="PUT"),
        allow("/files/down"),
        allow("/fast"),
    )
)
WRK_SECONDS = 2
WRK_CONNECTIONS = 64
WRK_TOTAL = re.compile(r"(\d+) requests in")
WRK_OTHERS = re.compile(r"Non-2xx or 3xx responses: (\d+)")


@pytest.fixture(scope="module", autouse=True)
def policed(scene: Scene, web: Nginx) -> Iterator[None]:  # noqa: ARG001 - it has to run
    """One run for all tests here; it reports denials only, as users with much traffic do."""
    with scene.run(POLICY, options=["--events", "denied"]):
        yield


@pytest.fixture
def client(scene: Scene) -> Pod:
    """The pod that asks."""
    return scene.client


@pytest.fixture(scope="module")
def upload(scene: Scene) -> Path:
    """A file of 100 MiB that nobody could guess."""
    path = scene.directory / "upload"
    with path.open("wb") as file:
        for _ in range(UPLOAD_BYTES // BLOCK):
            file.write(os.urandom(BLOCK))
    return path


def sha256(path: Path) -> str:
    """Return the checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def block(number: int) -> bytes:
    """Return one block of the file that is downloaded: its number, and zeros."""
    return number.to_bytes(8, "big") + bytes(BLOCK - 8)


def wrk(client: Pod, url: str) -> str:
    """Ask for a URL over 64 connections as fast as it goes; return what wrk says."""
    words = ["-t1", f"-c{WRK_CONNECTIONS}", f"-d{WRK_SECONDS}s", "--timeout", "2s", url]
    return client.namespace.run("wrk", *words, timeout=30).stdout


def total(said: str) -> int:
    """Return how many answers wrk has counted."""
    match = WRK_TOTAL.search(said)
    assert match is not None
    return int(match[1])


def assert_quiet(scene: Scene, *, flows: int = 0) -> None:
    """Nobody has an open or half-open connection, and no more than ``flows`` wait for the sweeper."""
    assert open_connections(scene.client.namespace, scene.server.namespace) == []
    assert scene.flows() <= flows


@pytest.mark.parametrize("words", ((), ("--header", "Expect:")), ids=("expect", "no-expect"))
def test_an_upload_arrives_whole(
    scene: Scene, client: Pod, web: Nginx, upload: Path, words: tuple[str, ...]
) -> None:
    """100 MiB arrive byte by byte, with and without Expect: 100-continue."""
    answer = curl(client, f"{web.url}/files/up", "--upload-file", str(upload), *words)

    assert answer.status in {201, 204}
    assert sha256(upload) == sha256(web.root / "up")
    assert_quiet(scene)


@pytest.mark.parametrize("words", ((), ("--header", "Expect:")), ids=("expect", "no-expect"))
def test_a_denied_upload_is_answered(
    scene: Scene, client: Pod, web: Nginx, upload: Path, words: tuple[str, ...]
) -> None:
    """The client sees the 403 before or while it sends the body, of which nothing arrives."""
    answer = curl(client, f"{web.url}/files/no", "--upload-file", str(upload), *words)

    assert answer.status == 403
    assert answer.body == "Access denied\n"
    assert not (web.root / "no").exists()
    assert_quiet(scene)


def test_a_download_arrives_whole(scene: Scene, client: Pod, web: Nginx) -> None:
    """1 GiB comes block by block as it is in the file."""
    path = web.add_file("down", size=DOWNLOAD_BLOCKS * BLOCK, random=False)
    with path.open("r+b") as file:
        for number in range(DOWNLOAD_BLOCKS):
            file.seek(number * BLOCK)
            file.write(number.to_bytes(8, "big"))
    curl_to_here = client.namespace.start(
        "curl", "--silent", "--max-time", "60", f"{web.url}/files/down", stdout=subprocess.PIPE
    )
    with curl_to_here as process:
        assert process.stdout is not None
        wrong = [n for n in range(DOWNLOAD_BLOCKS) if process.stdout.read(BLOCK) != block(n)]
        rest = process.stdout.read()
    path.unlink()

    assert ([], b"", 0) == (wrong, rest, process.returncode)
    assert_quiet(scene)


def test_many_connections_have_no_errors(scene: Scene, client: Pod, web: Nginx) -> None:
    """64 connections for two seconds: every answer is a 200 and no connection breaks."""
    said = wrk(client, f"{web.url}/fast")

    assert total(said) > 100
    assert "Socket errors" not in said
    assert "Non-2xx" not in said
    assert_quiet(scene, flows=WRK_CONNECTIONS)


def test_many_denied_requests_are_all_answered(scene: Scene, client: Pod, web: Nginx) -> None:
    """64 connections for two seconds: every answer is a 403 and the server logs nothing."""
    before = len(web.requests())
    said = wrk(client, f"{web.url}/denied")
    others = WRK_OTHERS.search(said)

    assert total(said) > 100
    assert others is not None
    assert total(said) == int(others[1])
    assert "Socket errors" not in said
    assert_quiet(scene, flows=WRK_CONNECTIONS)
    assert web.requests()[before:] == []


@pytest.mark.parametrize("number", (2, 16, 45, 200))
def test_pipelined_requests_are_served(client: Pod, web: Nginx, number: int) -> None:
    """Requests that are sent at once are all answered, however many fit into a segment."""
    request = b"GET /fast HTTP/1.1\r\nHost:a\r\n\r\n"
    answers = b""
    with client.namespace.connect(web.pod.address, web.port, timeout=3) as connection:
        connection.sendall(request * number)
        with contextlib.suppress(TimeoutError):
            while answers.count(b"GET /fast\n") < number and (more := connection.recv(BLOCK)):
                answers += more

    assert number == answers.count(b"HTTP/1.1 200 OK\r\n")


def test_a_denied_request_behind_an_allowed_one_is_reset(client: Pod, web: Nginx) -> None:
    """A 403 would overtake the answer to the first; both sides are reset and the second is not served."""
    before = len(web.requests())
    with RawClient(client, web.pod.address) as raw:
        raw.connect()
        raw.send(b"GET /fast HTTP/1.1\r\nHost: a\r\n\r\nGET /denied HTTP/1.1\r\nHost: a\r\n\r\n")
        raw.send(b"", flags=Flags.ACK)
        answer = raw.read(1)

    assert b"403" not in answer.data
    assert not [row for row in open_connections(web.pod.namespace) if f":{raw.source_port}" in row]
    assert "/denied" not in " ".join(logged.request for logged in web.requests()[before:])


def test_body_bytes_may_come_out_of_order(client: Pod, web: Nginx) -> None:
    """A body whose second half comes first is complete, and the next request is judged from its start."""
    head = b"PUT /files/up HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
    with RawClient(client, web.pod.address) as raw:
        raw.connect()
        raw.send(head)
        first = raw.sequence
        raw.send_segment(raw.segment(Flags.ACK | Flags.PSH, b"fghij", sequence=first + 5))
        raw.send(b"abcde")
        raw.sequence = first + 10
        one = raw.read(2, until=b"\r\n\r\n")
        raw.send(b"GET /fast HTTP/1.1\r\nHost: a\r\n\r\n")
        two = raw.read(2, until=b"GET /fast\n")
        raw.reset()

    assert b" 201 " in one.data or b" 204 " in one.data
    assert b"200 OK" in two.data
