# SPDX-License-Identifier: Apache-2.0
"""IPv6 with a real server: what IPv4 can is here in short, and what only IPv6 has at length.

``BPFAST_TEST_FAMILY=6`` runs all other modules here over IPv6.
"""

import contextlib
import hashlib
import os
import socket
import struct
import subprocess
from collections.abc import Iterator

import pytest

from e2e.bpfast import BPFast
from e2e.curl import curl
from e2e.policies import allow, entry, open_out, policy
from e2e.raw import RawClient
from e2e.scene import Scene, open_connections
from e2e.servers import BLOCK, Nginx
from e2e.topology import Pod

DOWNLOAD_BLOCKS = 100
UPLOAD_BYTES = 20 * BLOCK
SECONDS = 0.7
ECHO_REQUEST, ECHO_REPLY = 128, 129
POLICY = policy(
    entry(allow("/open.*"), allow("/files/down"), allow("/files/up.*", method="PUT")),
)


@pytest.fixture(scope="module")
def family() -> int:
    """IPv6, whatever the others run over."""
    return 6


@pytest.fixture(scope="module", autouse=True)
def policed(scene: Scene, web: Nginx) -> Iterator[BPFast]:  # noqa: ARG001 - it has to run
    """One run for all tests here; what is not selected is closed."""
    with scene.run(POLICY, open_out(), options=["--default", "deny", "--events", "denied"]) as run:
        yield run


@pytest.fixture
def client(scene: Scene) -> Pod:
    """The pod that asks."""
    return scene.client


def assert_quiet(scene: Scene) -> None:
    """Nobody has an open or half-open connection."""
    assert open_connections(scene.client.namespace, scene.server.namespace) == []


@pytest.mark.parametrize(("path", "status"), (("open", 200), ("denied", 403)))
def test_requests_are_judged(scene: Scene, client: Pod, web: Nginx, path: str, status: int) -> None:
    """An allowed request is served, a denied one answered by our 403 and not seen by the server."""
    before = len(web.requests())
    answer = curl(client, f"{web.url}/{path}")

    assert "[" in web.url
    assert (status, 0, "") == (answer.status, answer.code, answer.error)
    served = [f"GET /{path} HTTP/1.1"] if status == 200 else []
    assert served == [logged.request for logged in web.requests_since(before, expected=len(served))]
    assert_quiet(scene)


def test_head_gets_no_body(scene: Scene, client: Pod, web: Nginx) -> None:
    """A denied HEAD gets the head of the 403 only, and curl has no complaint."""
    answer = curl(client, f"{web.url}/denied", "--head")

    assert (403, 0, "", "") == (answer.status, answer.code, answer.error, answer.body)
    assert_quiet(scene)


def test_events_name_the_peer(scene: Scene, client: Pod, policed: BPFast) -> None:
    """A verdict's peer is the endpoint whose IPv6 address it is, else the address."""
    before = len(policed.verdicts(0))
    stranger = "fd88::99"
    curl(client, f"{scene.server.url()}/denied")
    client.namespace.run("ip", "-6", "addr", "add", f"{stranger}/128", "dev", "eth0", "nodad")
    try:
        curl(client, f"{scene.server.url()}/open", "--interface", stranger, seconds=SECONDS)
    finally:
        client.namespace.run("ip", "-6", "addr", "del", f"{stranger}/128", "dev", "eth0")
    events = policed.verdicts(before + 2)[before:]

    assert [("default/client", "no_rule"), (stranger, "l4_denied")] == [
        (event["peer"], event["reason"]) for event in events[:2]
    ]


@pytest.mark.parametrize(("path", "start"), (("open", b"HTTP/1.1 200 "), ("denied", b"HTTP/1.1 403 ")))
def test_single_bytes_are_put_together(
    scene: Scene, client: Pod, web: Nginx, path: str, start: bytes
) -> None:
    """A request of one byte a segment is served or denied like a whole one, checksums right."""
    with RawClient(client, web.pod.address) as raw:
        raw.connect()
        raw.crumble(f"GET /{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        answer = raw.read(5)
        raw.finish()
        raw.read(0.2)

    assert start == answer.data[: len(start)]
    assert (True, False) == (answer.finished, answer.reset)
    assert_quiet(scene)


@pytest.mark.parametrize("number", (2, 45, 200))
def test_pipelined_requests_are_served(client: Pod, web: Nginx, number: int) -> None:
    """Requests that are sent at once are all answered, however many fit into a segment."""
    answers = b""
    with client.namespace.connect(web.pod.address, web.port, timeout=3) as connection:
        connection.sendall(b"GET /open HTTP/1.1\r\nHost:a\r\n\r\n" * number)
        with contextlib.suppress(TimeoutError):
            while answers.count(b"GET /open\n") < number and (more := connection.recv(BLOCK)):
                answers += more

    assert number == answers.count(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("offloads", (True, False), ids=("offloads", "plain"))
@pytest.mark.parametrize("kilobytes", (5, 20, 59))
@pytest.mark.parametrize("denied", (False, True), ids=("open", "denied"))
def test_big_heads_are_judged_whole(
    scene: Scene, web: Nginx, kilobytes: int, denied: bool, *, offloads: bool
) -> None:
    """Heads of many segments or of one large frame, with partial checksums or whole ones."""
    pods = (scene.client, scene.server)
    path, status = ("denied", 403) if denied else ("open", 200)
    for pod in pods:
        pod.offload(tx=offloads, gso=offloads, tso=offloads)
    try:
        cookie = "Cookie: a=" + "c" * kilobytes * 1000
        answer = curl(scene.client, f"{web.url}/{path}", "--header", cookie)
    finally:
        for pod in pods:
            pod.offload(tx=True, gso=True, tso=True)

    assert (status, 0, "") == (answer.status, answer.code, answer.error)
    assert_quiet(scene)


def test_an_upload_arrives_whole(scene: Scene, client: Pod, web: Nginx) -> None:
    """20 MiB arrive byte by byte."""
    path = scene.directory / "upload6"
    path.write_bytes(os.urandom(UPLOAD_BYTES))
    answer = curl(client, f"{web.url}/files/up", "--upload-file", str(path))

    assert answer.status in {201, 204}
    assert path.read_bytes() == (web.root / "up").read_bytes()
    assert_quiet(scene)


def test_a_denied_upload_is_answered(scene: Scene, client: Pod, web: Nginx) -> None:
    """The client sees the 403 before or while it sends the body, of which nothing arrives."""
    path = scene.directory / "upload6"
    path.write_bytes(bytes(UPLOAD_BYTES))
    answer = curl(client, f"{web.url}/files/no", "--upload-file", str(path))

    assert (403, "Access denied\n") == (answer.status, answer.body)
    assert not (web.root / "no").exists()
    assert_quiet(scene)


def test_a_download_arrives_whole(scene: Scene, client: Pod, web: Nginx) -> None:
    """100 MiB come as they are in the file."""
    path = web.add_file("down", size=DOWNLOAD_BLOCKS * BLOCK)
    with path.open("rb") as file:
        expected = hashlib.file_digest(file, "sha256").hexdigest()
    words = ("curl", "--silent", "--globoff", "--max-time", "60", f"{web.url}/files/down")
    with client.namespace.start(*words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        found = hashlib.sha256(process.stdout.read()).hexdigest()

    assert (expected, 0) == (found, process.returncode)
    assert_quiet(scene)


def test_neighbours_are_found_under_default_deny(scene: Scene, client: Pod, web: Nginx) -> None:
    """With empty neighbour tables on all sides requests get through; an echo request does not."""
    host = scene.topology.host
    for namespace, device in (
        (host, client.host_interface),
        (host, scene.server.host_interface),
        (client.namespace, "eth0"),
        (scene.server.namespace, "eth0"),
    ):
        namespace.run("ip", "-6", "neigh", "flush", "dev", device)
        assert "lladdr" not in namespace.run("ip", "-6", "neigh", "show", "dev", device).stdout
    answer = curl(client, f"{web.url}/open")
    known = host.run("ip", "-6", "neigh", "show", "dev", scene.server.host_interface).stdout

    assert answer.status == 200
    assert not echoes(client, scene.server)
    assert "lladdr" in known


def test_link_local_addresses_are_nobodys(scene: Scene, web: Nginx) -> None:
    """A link-local address is not read from the namespace: who comes from one is the world."""
    server_local = link_local(scene.server)
    before = scene.reasons().get("l4_denied", 0)
    answer = curl(
        Pod("host", scene.topology.host, scene.topology.host, "", ""),
        f"http://[{server_local}%25{scene.server.host_interface}]:{web.port}/open",
        seconds=SECONDS,
    )

    assert answer.status == 0
    assert before < scene.reasons().get("l4_denied", 0)


def echoes(client: Pod, server: Pod) -> bool:
    """Say whether a pod answers an echo request."""
    with client.namespace.open_socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
        raw.settimeout(SECONDS)
        # Its checksum is the kernel's work.
        raw.sendto(struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, 1, 1), (server.address6, 0))
        with contextlib.suppress(TimeoutError):
            while True:
                if raw.recv(100)[0] == ECHO_REPLY:
                    return True
    return False


def link_local(pod: Pod) -> str:
    """Return the link-local address of a pod's ``eth0``."""
    shown = pod.namespace.run("ip", "-6", "-br", "addr", "show", "dev", "eth0", "scope", "link").stdout
    return shown.split()[2].split("/")[0]
