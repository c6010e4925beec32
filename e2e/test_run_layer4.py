# SPDX-License-Identifier: Apache-2.0
"""``bpfast run`` below HTTP: ports, peers, replies, the host, and what no policy selects."""

import socket
import struct
from collections.abc import Iterator

import pytest

from e2e.bpfast import Endpoint
from e2e.curl import curl
from e2e.namespace import within
from e2e.policies import allow, entry, open_out, policy
from e2e.scene import Scene
from e2e.segments import internet_checksum
from e2e.servers import Nginx
from e2e.topology import Pod

OPEN_PORT, CLOSED_PORT = 8080, 9090
SECONDS = 0.7
TIMED_OUT = 28
# The socket module does not know them.
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14
POLICY = policy(
    entry(allow("/open")),
    entry(port=OPEN_PORT),
    entry(allow("/world"), port=CLOSED_PORT, peer={"app": "nobody"}),
)


@pytest.fixture(scope="module", autouse=True)
def policed(scene: Scene, web: Nginx) -> Iterator[None]:  # noqa: ARG001 - it has to run
    """``client`` and ``server`` are policed, ``other`` is only a peer; what is not selected is closed."""
    entries = [scene.entry("client"), scene.entry("server"), peer(scene.topology["other"])]
    with (
        Nginx(scene.server, port=OPEN_PORT),
        Nginx(scene.server, port=CLOSED_PORT),
        scene.run(POLICY, open_out(), options=["--default", "deny"], endpoints=entries),
    ):
        yield


def peer(pod: Pod) -> Endpoint:
    """Return the entry of a pod that nothing is attached to."""
    return Endpoint(name=pod.name, labels={"app": pod.name}, addresses=[pod.address])


def asks(pod: Pod, server: Pod, port: int, path: str = "/open") -> tuple[int, int]:
    """Return curl's status and exit code."""
    answer = curl(pod, f"{server.url(port)}{path}", seconds=SECONDS)
    return answer.status, answer.code


def test_an_allowed_port_without_rules_passes_every_byte(scene: Scene) -> None:
    """Layer 4 alone allows any request, and what is not HTTP at all."""
    with scene.client.namespace.connect(scene.server.address, OPEN_PORT) as connection:
        connection.sendall(b"this is no HTTP\r\n\r\n")
        answer = connection.recv(100)

    assert (200, 0) == asks(scene.client, scene.server, OPEN_PORT, "/anything")
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_port_that_is_not_allowed_is_silent(scene: Scene) -> None:
    """A connection to it times out, whatever rules other peers have there."""
    assert (0, TIMED_OUT) == asks(scene.client, scene.server, CLOSED_PORT)


def test_a_peer_that_is_not_allowed_is_silent(scene: Scene) -> None:
    """Neither the inspected port nor the open one answers another pod."""
    other = scene.topology["other"]

    assert (0, TIMED_OUT) == asks(other, scene.server, 80)
    assert (0, TIMED_OUT) == asks(other, scene.server, OPEN_PORT)


def test_the_host_is_exempt(scene: Scene) -> None:
    """The node's own address may ask for everything on every port."""
    assert (200, 0) == asks(scene.host, scene.server, 80, "/denied")
    assert (200, 0) == asks(scene.host, scene.server, CLOSED_PORT)


def test_what_no_policy_selects_is_closed(scene: Scene) -> None:
    """With --default deny an endpoint without a policy takes no connection, the host's excepted."""
    with Nginx(scene.client):
        closed = asks(scene.topology["other"], scene.client, 80)
        exempt = asks(scene.host, scene.client, 80)

    assert (0, TIMED_OUT) == closed
    assert (200, 0) == exempt


def test_replies_to_own_connections_come_in(scene: Scene) -> None:
    """A pod that is closed may still ask others by TCP, and gets their answers."""
    assert (200, 0) == asks(scene.client, scene.server, 80)


def test_replies_to_own_datagrams_come_in(scene: Scene) -> None:
    """A closed pod gets the reply to its datagram, but no datagram that it has not asked for."""
    server, other = scene.server, scene.topology["other"]
    with (
        server.namespace.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as inside,
        other.namespace.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as outside,
    ):
        inside.bind((server.address, 5000))
        outside.bind((other.address, 5001))
        inside.settimeout(0.3)
        outside.settimeout(2)
        outside.sendto(b"unasked", (server.address, 5000))
        with pytest.raises(TimeoutError):
            inside.recv(100)
        inside.sendto(b"question", (other.address, 5001))
        question, sender = outside.recvfrom(100)
        outside.sendto(b"reply", sender)
        reply = inside.recv(100)

    assert (b"question", b"reply") == (question, reply)


def test_pings_go_out_and_not_in(scene: Scene) -> None:
    """The pod's own echo request is answered; one to the pod is not."""
    server, other = scene.server, scene.topology["other"]

    assert is_echoed(server, other)
    assert not is_echoed(other, server)


def is_echoed(pod: Pod, target: Pod) -> bool:
    """Send an ICMP echo request and say whether its reply comes."""
    request = struct.pack("!BBHHH", 8, 0, 0, 7, 1)
    request = request[:2] + struct.pack("!H", internet_checksum(request)) + request[4:]
    with pod.namespace.open_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.settimeout(0.5)
        raw.sendto(request, (target.address, 0))
        try:
            return raw.recv(100)[20] == 0
        except TimeoutError:
            return False


def test_errors_of_routers_come_in(scene: Scene) -> None:
    """A closed pod hears that its packets were too big (path MTU discovery needs that)."""
    host, server = scene.topology.host, scene.server
    host.run("ip", "link", "set", "host-other", "mtu", "1200")
    try:
        with server.namespace.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
            sender.connect((scene.topology["other"].address, 5002))
            sender.send(bytes(1300))
            heard = within(1, lambda: sender.getsockopt(socket.IPPROTO_IP, IP_MTU) == 1200)
    finally:
        host.run("ip", "link", "set", "host-other", "mtu", "1500")
        server.namespace.run("ip", "route", "flush", "cache")

    assert heard


@pytest.mark.parametrize(("path", "status"), (("open", 200), ("denied", 403)))
def test_both_families_are_judged_at_once(scene: Scene, path: str, status: int) -> None:
    """One run judges IPv4 and IPv6: both addresses of a pod are read from its namespace."""
    for url in (scene.server.url(), f"http://[{scene.server.address6}]:80"):
        answer = curl(scene.client, f"{url}/{path}", seconds=SECONDS)
        assert (status, 0) == (answer.status, answer.code)


def test_denied_connections_are_events(scene: Scene) -> None:
    """Each SYN that layer 4 denies counts for its reason."""
    before = scene.reasons().get("l4_denied", 0)
    asks(scene.topology["other"], scene.server, 80)

    assert before < scene.reasons()["l4_denied"]


def test_the_rules_of_an_inspected_port_hold(scene: Scene) -> None:
    """A request outside of them is answered by 403."""
    assert (403, 0) == asks(scene.client, scene.server, 80, "/denied")
