# SPDX-License-Identifier: Apache-2.0
"""Who a peer is changes while its connections are open: labels, owners, addresses."""

import contextlib
import http.client
from collections.abc import Iterator
from dataclasses import replace

import pytest

from e2e.bpfast import BPFast, Endpoint, write_endpoints
from e2e.curl import curl
from e2e.namespace import within
from e2e.policies import allow, entry, policy
from e2e.scene import Scene
from e2e.servers import Nginx
from e2e.topology import Pod

LOOK_SECONDS = 5
SECOND_ADDRESS = "10.88.7.7"
NOTHING = 0
"""No answer: silence, or a reset."""
# Clients get /a, others /b, and the host, which is named, /h.
POLICY = policy(
    entry(allow("/a")),
    entry(allow("/b"), peer={"app": "other"}),
    {
        "fromEntities": ["host"],
        "toPorts": [{"ports": [{"port": "80", "protocol": "TCP"}], "rules": {"http": [allow("/h")]}}],
    },
)


@pytest.fixture
def running(scene: Scene, web: Nginx) -> Iterator[BPFast]:
    """One run, with the endpoints as the pods are."""
    del web
    with scene.run(POLICY) as started:
        yield started


class Kept:
    """A connection that is asked again and again, and never opened anew."""

    def __init__(self, pod: Pod, web: Nginx, *, source: str | None = None) -> None:
        """Connect, from ``source`` where a pod has several addresses."""
        self._connection = http.client.HTTPConnection(
            web.pod.address, web.port, timeout=2, source_address=(source, 0) if source else None
        )
        with pod.namespace.entered():
            self._connection.connect()
        self._connection.auto_open = 0

    def ask(self, path: str) -> int:
        """Return the status, or NOTHING; what was denied is over."""
        try:
            self._connection.request("GET", path)
            answer = self._connection.getresponse()
            answer.read()
        except (ConnectionError, TimeoutError, http.client.NotConnected):
            return NOTHING
        return answer.status

    def close(self) -> None:
        """End it."""
        self._connection.close()


@contextlib.contextmanager
def kept(pod: Pod, web: Nginx, *, source: str | None = None) -> Iterator[Kept]:
    """Give a connection for the time of the block."""
    connection = Kept(pod, web, source=source)
    try:
        yield connection
    finally:
        connection.close()


def asks(pod: Pod, web: Nginx, path: str, *options: str) -> int:
    """Ask over a new connection; return the status, 0 for silence."""
    return curl(pod, web.url + path, *options, seconds=1).status


def write(scene: Scene, *entries: Endpoint) -> None:
    """Write the endpoints file."""
    write_endpoints(scene.endpoints, entries)


def test_new_labels_judge_open_connections(scene: Scene, web: Nginx, running: BPFast) -> None:
    """A pod that gets other labels is another peer from its next request on, on the same connection."""
    client, server, other = (scene.entry(name) for name in ("client", "server", "other"))
    with kept(scene.client, web) as first, kept(scene.client, web) as second:
        before = (first.ask("/a"), second.ask("/a"))
        with running.taking_up():
            write(scene, replace(client, labels={"app": "other"}), server, other)
        after = (first.ask("/b"), first.ask("/a"), second.ask("/a"))

    assert (200, 200) == before
    assert (200, 403, 403) == after


def test_an_address_moves_to_another_endpoint(scene: Scene, web: Nginx, running: BPFast) -> None:
    """A connection from an address that now belongs to somebody else is judged as his."""
    server = scene.entry("server")
    before_move = [
        Endpoint(name="client", labels={"app": "client"}, addresses=[scene.client.address]),
        Endpoint(name="other", labels={"app": "other"}, addresses=["192.0.2.7"]),
    ]
    after_move = [
        replace(before_move[0], addresses=["192.0.2.7"]),
        replace(before_move[1], addresses=[scene.client.address]),
    ]
    with running.taking_up():
        write(scene, server, *before_move)
    with kept(scene.client, web) as connection:
        before = connection.ask("/a")
        with running.taking_up():
            write(scene, server, *after_move)
        after = (connection.ask("/b"), connection.ask("/a"))

    assert (200, (200, 403)) == (before, after)


def test_who_becomes_unknown_is_denied(scene: Scene, web: Nginx, running: BPFast) -> None:
    """What a peer asks that has left the endpoints file never arrives, on an open connection either."""
    client, server, other = (scene.entry(name) for name in ("client", "server", "other"))
    with kept(scene.client, web) as connection:
        before = connection.ask("/a")
        with running.taking_up():
            write(scene, server, other)
        served = len(web.requests())
        after = connection.ask("/a")
    with running.taking_up():
        write(scene, client, server, other)

    assert (200, NOTHING) == (before, after)
    assert web.requests_since(served) == []
    assert asks(scene.client, web, "/a") == 200


def test_a_pod_gains_and_loses_an_address(scene: Scene, web: Nginx, running: BPFast) -> None:
    """An address that is added inside of a pod is the pod's within seconds, and is not when it is gone."""
    pod = scene.client
    with second_address(pod):
        taken_up = within(LOOK_SECONDS, lambda: asks(pod, web, "/a", "--interface", SECOND_ADDRESS) == 200)
        with kept(pod, web, source=SECOND_ADDRESS) as connection:
            before = (connection.ask("/a"), asks(pod, web, "/b", "--interface", SECOND_ADDRESS))
            known = len(running.events("ready"))
            pod.namespace.run("ip", "addr", "del", f"{SECOND_ADDRESS}/32", "dev", "eth0")
            gone = within(LOOK_SECONDS, lambda: len(running.events("ready")) > known)
            # The address is somebody else's now, as far as anybody knows: the other pod takes it.
        with second_address(scene.topology["other"]):
            moved = within(
                LOOK_SECONDS,
                lambda: asks(scene.topology["other"], web, "/b", "--interface", SECOND_ADDRESS) == 200,
            )
            as_client = asks(scene.topology["other"], web, "/a", "--interface", SECOND_ADDRESS)

    assert (True, (200, 403)) == (taken_up, before)
    assert gone
    assert (True, 403) == (moved, as_client)


@contextlib.contextmanager
def second_address(pod: Pod) -> Iterator[None]:
    """Give a pod one more address, and the host a way to it."""
    pod.namespace.run("ip", "addr", "add", f"{SECOND_ADDRESS}/32", "dev", "eth0")
    pod.host.run("ip", "route", "replace", f"{SECOND_ADDRESS}/32", "dev", pod.host_interface)
    try:
        yield
    finally:
        pod.namespace.run("ip", "addr", "del", f"{SECOND_ADDRESS}/32", "dev", "eth0", check=False)
        pod.host.run("ip", "route", "del", f"{SECOND_ADDRESS}/32", check=False)


def test_an_address_that_a_pod_takes_stays_its_owners(scene: Scene, web: Nginx, running: BPFast) -> None:
    """Another pod's root adds the client's address to its interface: nobody changes, new files are taken."""
    thief = scene.topology["other"]
    length = "128" if ":" in scene.client.address else "32"
    address = f"{scene.client.address}/{length}"
    thief.namespace.run("ip", "addr", "add", address, "dev", "eth0")
    try:
        with running.taking_up():
            write(scene, scene.entry("other"), scene.entry("client"), scene.entry("server"))
        assert 200 == asks(scene.client, web, "/a")
        assert 403 == asks(scene.client, web, "/b")
        assert [] == running.events("error")
    finally:
        thief.namespace.run("ip", "addr", "delete", address, "dev", "eth0")


def test_the_host_gains_an_address(scene: Scene, web: Nginx, running: BPFast) -> None:
    """An address that is added to the host is the host's within seconds."""
    added = "10.88.8.8"
    scene.topology.host.run("ip", "addr", "add", f"{added}/32", "dev", "lo")
    try:
        taken_up = within(LOOK_SECONDS, lambda: asks(scene.host, web, "/h", "--interface", added) == 200)
        judged = asks(scene.host, web, "/a", "--interface", added)
        known = len(running.events("ready"))
    finally:
        scene.topology.host.run("ip", "addr", "del", f"{added}/32", "dev", "lo")
    gone = within(LOOK_SECONDS, lambda: len(running.events("ready")) > known)
    with second_host_address(scene.client, added):
        stranger = asks(scene.client, web, "/h", "--interface", added)

    assert (True, 403) == (taken_up, judged)
    assert gone
    assert stranger == NOTHING


@contextlib.contextmanager
def second_host_address(pod: Pod, address: str) -> Iterator[None]:
    """Give a pod the address that was the host's."""
    pod.namespace.run("ip", "addr", "add", f"{address}/32", "dev", "eth0")
    pod.host.run("ip", "route", "replace", f"{address}/32", "dev", pod.host_interface)
    try:
        yield
    finally:
        pod.namespace.run("ip", "addr", "del", f"{address}/32", "dev", "eth0")
        pod.host.run("ip", "route", "del", f"{address}/32")
