# SPDX-License-Identifier: Apache-2.0
"""The 403 over links that verify what they carry: checksums, connection tracking, TCP options."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from e2e.curl import curl
from e2e.policies import allow, entry, policy
from e2e.raw import RawClient
from e2e.scene import Scene, open_connections
from e2e.segments import Flags
from e2e.servers import BLOCK, Nginx

TRIES = 20
HEAD_BYTES = (0, 5_000, 20_000, 59_000)
ONE_FRAME = """\
table inet bpfast-size {
    chain out {
        type filter hook output priority 0
        tcp dport 80 @th,160,24 0x474554 meta length > 58000 counter
        tcp dport 80 @th,256,24 0x474554 meta length > 58000 counter
    }
}
"""


@pytest.fixture(scope="module", autouse=True)
def policed(scene: Scene, web: Nginx) -> Iterator[None]:  # noqa: ARG001 - it has to run
    """One run for all tests here: ``/open`` may be read."""
    with scene.run(policy(entry(allow("/open"), allow("/files/up", method="PUT")))):
        yield


def stamp(value: int, echo: int) -> bytes:
    """Return the timestamps option, padded in front as Linux does."""
    return b"\x01\x01\x08\x0a" + value.to_bytes(4, "big") + echo.to_bytes(4, "big")


def offload(scene: Scene, **features: bool) -> None:
    """Switch offloads at both ends of both links."""
    for name in ("client", "server"):
        scene.topology[name].offload(**features)


def checksum_errors(scene: Scene) -> int:
    """Return how many segments a pod has thrown away for their checksum."""
    total = 0
    for name in ("client", "server"):
        said = scene.topology[name].namespace.run("nstat", "-asz", "TcpInCsumErrors").stdout
        total += int(said.split("TcpInCsumErrors")[1].split()[0])
    return total


def assert_answers(scene: Scene, web: Nginx) -> None:
    """Heads of every size are served or answered by 403, and nothing stays open."""
    for size in HEAD_BYTES:
        words = ("--header", "Cookie: a=" + "c" * size)
        allowed = curl(scene.client, f"{web.url}/open", *words)
        denied = curl(scene.client, f"{web.url}/denied", *words)

        assert (200, 0, "") == (allowed.status, allowed.code, allowed.error)
        assert (403, 0, "") == (denied.status, denied.code, denied.error)
        assert denied.body == "Access denied\n"
    assert open_connections(scene.client.namespace, scene.server.namespace) == []


@pytest.mark.parametrize("gso", (True, False), ids=("gso", "no-gso"))
@pytest.mark.parametrize("tx", (True, False), ids=("partial", "verified"))
def test_checksums_are_right_whoever_looks(scene: Scene, web: Nginx, *, tx: bool, gso: bool) -> None:
    """With and without checksum and segmentation offload nobody throws a segment away."""
    before = checksum_errors(scene)
    offload(scene, tx=tx, gso=gso, tso=tx and gso)
    try:
        assert_answers(scene, web)
        assert before == checksum_errors(scene)
    finally:
        offload(scene, tx=True, gso=True, tso=True)


@pytest.mark.parametrize(("path", "status"), (("open", b"200"), ("denied", b"403")))
def test_the_longest_head_may_come_in_one_frame(scene: Scene, web: Nginx, path: str, status: bytes) -> None:
    """A head of 59 KB that the client sends in a single GSO frame is judged and answered."""
    client, server = scene.client.namespace, scene.server.namespace
    answers = []
    client.run("nft", "-f", "-", text=ONE_FRAME)
    try:
        for _ in range(TRIES):
            answers.append(ask_after_upload(scene, web, f"GET /{path}"))
            seen = client.run("nft", "list", "table", "inet", "bpfast-size").stdout
            if "packets 1 " in seen:
                break
    finally:
        client.run("nft", "delete", "table", "inet", "bpfast-size")

    assert "packets 1 " in seen
    assert {status} == {answer.split(b" ")[1] for answer in answers}
    assert open_connections(client, server) == []


def ask_after_upload(scene: Scene, web: Nginx, request: str) -> bytes:
    """Send a head of 59 KB over a connection that has sent much before; return the answer.

    A frame is at most half of the largest window that the server has announced, which grows
    with what it gets, and no longer than the congestion window, which depends on luck.
    """
    head = f"{request} HTTP/1.1\r\nHost: a\r\nCookie: {'c' * 59_000}\r\n\r\n"
    with scene.client.namespace.connect(web.pod.address, web.port) as connection:
        connection.sendall(b"PUT /files/up HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n")
        connection.sendall(bytes(4_000_000))
        assert b" 20" in connection.recv(BLOCK).split(b"\r\n")[0]
        connection.sendall(head.encode())
        return connection.recv(BLOCK)


@pytest.mark.parametrize("timestamps", (0, 1))
def test_timestamps_are_kept_if_there_are_any(scene: Scene, web: Nginx, timestamps: int) -> None:
    """A client with and without the timestamps option gets whole answers."""
    scene.client.namespace.sysctl(net__ipv4__tcp_timestamps=timestamps)
    try:
        assert_answers(scene, web)
    finally:
        scene.client.namespace.sysctl(net__ipv4__tcp_timestamps=1)


def test_explicit_congestion_notification_changes_nothing(scene: Scene, web: Nginx) -> None:
    """With ECN asked for on both sides, heads are served and answered as without."""
    pods = (scene.client.namespace, scene.server.namespace)
    for namespace in pods:
        namespace.sysctl(net__ipv4__tcp_ecn=1)
    try:
        assert_answers(scene, web)
    finally:
        for namespace in pods:
            namespace.sysctl(net__ipv4__tcp_ecn=2)


@pytest.mark.parametrize("stamped", (False, True))
def test_an_answer_is_right_to_the_bit(scene: Scene, web: Nginx, *, stamped: bool) -> None:
    """Checksum, numbers and timestamps are those of the connection; FIN comes with the text."""
    with RawClient(scene.client, web.pod.address) as raw:
        options = stamp(7, 0) if stamped else b""
        theirs = raw.connect(options=b"\x02\x04\x05\xb4" + options).segment.options
        server_time = int.from_bytes(theirs[-8:-4], "big") if stamped else 0
        request = raw.segment(Flags.ACK | Flags.PSH, b"GET /denied HTTP/1.1\r\nHost: a\r\n\r\n")
        raw.send_segment(replace(request, options=stamp(8, server_time) if stamped else b""))
        raw.sequence = request.end
        answer = raw.receive(2, want=lambda segment: bool(segment.payload))
        assert answer is not None
        raw.acknowledgement = answer.segment.end
        raw.send(b"", flags=Flags.ACK)
        raw.finish()
        last = raw.receive(2)

    assert answer.checksum_right
    assert request.end == answer.segment.acknowledgement
    assert Flags.FIN | Flags.ACK in answer.segment.flags
    assert answer.segment.payload.endswith(b"\r\n\r\nAccess denied\r\n")
    assert (stamp(server_time, 8) if stamped else b"") == answer.segment.options
    assert last is not None
    assert last.checksum_right
    assert raw.sequence == last.segment.acknowledgement


def test_connection_tracking_sees_nothing_odd(scene: Scene, web: Nginx) -> None:
    """A host that drops what belongs to no connection passes requests, answers and what ends them."""
    scene.topology.track_connections()
    try:
        assert_answers(scene, web)
        invalid = scene.topology.invalid_packets()
    finally:
        scene.topology.host.run("nft", "delete", "table", "inet", "bpfast")

    assert invalid == 0
