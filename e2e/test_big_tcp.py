# SPDX-License-Identifier: Apache-2.0
"""BIG TCP: frames too long for the length field of IP, on links that carry them.

Linux sends IPv6 with hop-by-hop options that hold the real length, and IPv4 with
the length 0. nft's ``meta length`` shows that such frames have come.
"""

import hashlib
import os
import socket
import struct
import subprocess
from collections.abc import Iterator

import pytest

from e2e.curl import curl
from e2e.namespace import Namespace
from e2e.policies import allow, entry, policy
from e2e.scene import Scene, open_connections
from e2e.servers import BLOCK, Nginx
from e2e.topology import GATEWAY6

pytestmark = pytest.mark.parametrize("family", (4, 6), ids=("IPv4", "IPv6"), scope="module")

BIG_BYTES = 150_000
TRAFFIC_BYTES = 40 * BLOCK
PARTS, PART_BYTES = 6, 1_000_000
TRIES = 5
"""How long a frame gets depends on windows, which depend on luck."""

ERRORS = ("TcpInCsumErrors", "Ip6InHdrErrors", "IpInHdrErrors")
RTM_NEWLINK, NLM_F_REQUEST_ACK = 16, 5
# GSO and GRO, both families; Debian's ip does not know those of IPv4.
IFLA_SIZES = (41, 58, 63, 64)
POLICY = policy(
    entry(allow("/open"), allow("/files/down"), allow("/files/up.*", method="PUT")),
)
COUNT = """\
table inet bpfast-big {
    chain in {
        type filter hook input priority 0
        tcp dport 80 meta length > 65600 counter
        tcp sport 80 meta length > 65600 counter
    }
}
"""


@pytest.fixture(scope="module", autouse=True)
def policed(scene: Scene, web: Nginx) -> Iterator[None]:  # noqa: ARG001 - it has to run
    """Links that carry big frames, and one run for all tests here."""
    host = scene.topology.host
    for pod in (scene.client, scene.server):
        allow_big(pod.namespace, "eth0")
        allow_big(host, pod.host_interface)
        # A router measures the options with the segment, so segments must leave room for them.
        pod.namespace.run(
            "ip", "-6", "route", "replace", "default", "via", GATEWAY6, "dev", "eth0", "mtu", "1480"
        )
        # Windows are large from the beginning: a frame is at most half of one.
        pod.namespace.run("sysctl", "-qw", "net.ipv4.tcp_rmem=4096 8388608 16777216")
        pod.namespace.run("nft", "-f", "-", text=COUNT)
    with scene.run(POLICY, options=["--events", "denied"]):
        yield


def allow_big(namespace: Namespace, device: str) -> None:
    """Let a device carry frames of BIG_BYTES."""
    with namespace.entered():
        index = socket.if_nametoindex(device)
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    with netlink:
        for attribute in IFLA_SIZES:
            body = struct.pack("=BxHiIIHHI", 0, 0, index, 0, 0, 8, attribute, BIG_BYTES)
            header = struct.pack("=IHHII", 16 + len(body), RTM_NEWLINK, NLM_F_REQUEST_ACK, 1, 0)
            netlink.send(header + body)
            (error,) = struct.unpack_from("=i", netlink.recv(4096), 16)
            assert error == 0, os.strerror(-error)


def big_frames(namespace: Namespace) -> int:
    """Return how many big frames have come in."""
    listing = namespace.run("nft", "list", "table", "inet", "bpfast-big").stdout
    words = listing.split()
    return sum(int(words[at + 1]) for at, word in enumerate(words) if word == "packets")


def assert_quiet(scene: Scene) -> None:
    """Nobody has an open or half-open connection, and no flow is left."""
    assert open_connections(scene.client.namespace, scene.server.namespace) == []
    assert scene.flows() == 0


def test_an_upload_in_big_frames_arrives_whole(scene: Scene, web: Nginx) -> None:
    """40 MiB go through the chain in big frames and are in the file as they were sent."""
    before = big_frames(scene.server.namespace)
    path = scene.directory / "upload"
    path.write_bytes(os.urandom(TRAFFIC_BYTES))
    for _ in range(TRIES):
        answer = curl(scene.client, f"{web.url}/files/up", "--upload-file", str(path))
        assert answer.status in {201, 204}
        assert path.read_bytes() == (web.root / "up").read_bytes()
        if big_frames(scene.server.namespace) > before:
            break

    assert big_frames(scene.server.namespace) > before
    assert_quiet(scene)


def test_a_download_in_big_frames_arrives_whole(scene: Scene, web: Nginx) -> None:
    """40 MiB go past the watcher in big frames, and it believes the numbers of all."""
    before = big_frames(scene.client.namespace)
    expected = hashlib.sha256(web.add_file("down", size=TRAFFIC_BYTES).read_bytes()).hexdigest()
    words = ("curl", "--silent", "--globoff", "--max-time", "60", f"{web.url}/files/down")
    for _ in range(TRIES):
        with scene.client.namespace.start(*words, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            found = hashlib.sha256(process.stdout.read()).hexdigest()
        assert (expected, 0) == (found, process.returncode)
        if big_frames(scene.client.namespace) > before:
            break

    assert big_frames(scene.client.namespace) > before
    assert_quiet(scene)


def test_big_frames_are_cut_where_requests_end(scene: Scene, web: Nginx) -> None:
    """Uploads behind one another in one stream wait for each other's answers; none loses a byte."""
    before, reasons, errors = big_frames(scene.server.namespace), scene.reasons(), seen_errors(scene)
    for _ in range(TRIES):
        bodies = [os.urandom(PART_BYTES) for _ in range(PARTS)]
        assert PARTS == upload_at_once(scene, web, bodies)
        assert bodies == [(web.root / f"up{number}").read_bytes() for number in range(PARTS)]
        if big_frames(scene.server.namespace) > before:
            break

    assert big_frames(scene.server.namespace) > before
    assert reasons.get("awaits_answer", 0) < scene.reasons().get("awaits_answer", 0)
    assert errors == seen_errors(scene)
    assert_quiet(scene)


def upload_at_once(scene: Scene, web: Nginx, bodies: list[bytes]) -> int:
    """Send all requests without waiting; return how many were answered by success."""
    head = "PUT /files/up{} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n"
    stream = b"".join(head.format(number, len(body)).encode() + body for number, body in enumerate(bodies))
    answers = b""
    with scene.client.namespace.connect(web.pod.address, web.port, timeout=20) as connection:
        connection.sendall(stream)
        while answers.count(b"HTTP/1.1 20") < len(bodies) and (more := connection.recv(BLOCK)):
            answers += more
    return answers.count(b"HTTP/1.1 20")


def seen_errors(scene: Scene) -> str:
    """Return what the server's pod has thrown away for its headers or checksums."""
    return scene.server.namespace.run("nstat", "-asz", *ERRORS).stdout


@pytest.mark.parametrize(("path", "status"), (("open", b"200"), ("denied", b"403")))
def test_a_request_behind_big_frames_is_judged(scene: Scene, web: Nginx, path: str, status: bytes) -> None:
    """A request whose head comes in the same stream as a large body is served or answered by 403."""
    length = 4_000_000
    with scene.client.namespace.connect(web.pod.address, web.port) as connection:
        connection.sendall(b"PUT /files/up HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length)
        connection.sendall(bytes(length))
        assert b" 20" in connection.recv(BLOCK).split(b"\r\n")[0]
        head = f"GET /{path} HTTP/1.1\r\nHost: a\r\nCookie: {'c' * 59_000}\r\n\r\n"
        connection.sendall(head.encode())
        answer = connection.recv(BLOCK)

    assert status == answer.split(b" ")[1]
    assert_quiet(scene)


def test_a_denied_upload_in_big_frames_is_answered(scene: Scene, web: Nginx) -> None:
    """The 403 comes before or while the body does, whose big frames become small ones of ours."""
    path = scene.directory / "upload"
    path.write_bytes(bytes(TRAFFIC_BYTES))
    answer = curl(scene.client, f"{web.url}/files/no", "--header", "Expect:", "--upload-file", str(path))

    assert (403, "Access denied\n") == (answer.status, answer.body)
    assert not (web.root / "no").exists()
    assert_quiet(scene)
