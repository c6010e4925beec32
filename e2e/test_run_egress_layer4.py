# SPDX-License-Identifier: Apache-2.0
"""What holds on the way out of a pod and needs no look into HTTP; and what is not held."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from e2e.curl import curl
from e2e.policies import allow, egress, entry, get, policy
from e2e.scene import Scene, trusted
from e2e.servers import Nginx
from e2e.topology import Pod

OUT = egress(allow("/out"))


def test_http_rules_of_an_untrusted_pod_open_nothing(scene: Scene, web: Nginx) -> None:
    """They cannot be held, so they are named, and the connections that they are about are denied."""
    with scene.run(OUT) as running:
        (warning,) = running.events("warning")
        assert ("default/out", "spec.egress[0].toPorts[0]") == (warning["policy"], warning["path"])
        assert "say 'trusted_egress: true' of 'default/client'" in warning["reason"]
        assert 0 == curl(scene.client, f"{web.url}/out", seconds=1).status
        assert 200 == curl(scene.topology["other"], f"{web.url}/out").status


def test_layer_4_rules_need_no_trust(scene: Scene, web: Nginx) -> None:
    """Ports and peers of an untrusted pod are policed as they are written."""
    with scene.run(egress()) as running:
        assert [] == running.events("warning")
        assert 200 == curl(scene.client, f"{web.url}/anything").status
        with pytest.raises(TimeoutError):
            scene.client.namespace.connect(scene.server.address, 8081, timeout=0.5)


def test_datagrams_out_and_their_answers(scene: Scene) -> None:
    """UDP that no rule allows does not leave; the answers of what is allowed come back."""
    rules = egress(port=5000).replace('"TCP"', '"UDP"')
    family = socket.AF_INET6 if ":" in scene.server.address else socket.AF_INET
    with scene.run(rules), contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(scene.server.namespace.open_socket(family, socket.SOCK_DGRAM)) for _ in "ab"
        ]
        asker = stack.enter_context(scene.client.namespace.open_socket(family, socket.SOCK_DGRAM))
        for one, port in zip(servers, (5000, 5001), strict=True):
            one.settimeout(0.5)
            one.bind((scene.server.address, port))
            asker.sendto(b"ask", (scene.server.address, port))
        allowed, denied = servers
        text, sender = allowed.recvfrom(16)
        allowed.sendto(text, sender)
        asker.settimeout(2)
        assert b"ask" == asker.recv(16)
        with pytest.raises(TimeoutError):
            denied.recvfrom(16)


@contextlib.contextmanager
def _bound(pod: Pod, port: int) -> Iterator[socket.socket]:
    """Give a socket for datagrams in a pod."""
    family = socket.AF_INET6 if ":" in pod.address else socket.AF_INET
    with pod.namespace.open_socket(family, socket.SOCK_DGRAM) as opened:
        opened.settimeout(0.5)
        opened.bind((pod.address, port))
        yield opened


def test_an_answer_opens_the_way_to_its_sender_alone(scene: Scene) -> None:
    """Who was answered by one peer may not send to another from the same port to the same port."""
    rules = egress(port=5000).replace('"TCP"', '"UDP"')
    other = scene.topology["other"]
    with (
        scene.run(rules),
        _bound(scene.server, 5000) as allowed,
        _bound(other, 5000) as denied,
        _bound(scene.client, 4444) as asker,
    ):
        asker.sendto(b"ask", (scene.server.address, 5000))
        text, sender = allowed.recvfrom(16)
        allowed.sendto(text, sender)
        assert b"ask" == asker.recv(16)
        asker.sendto(b"leak", (other.address, 5000))
        with pytest.raises(TimeoutError):
            denied.recvfrom(16)


def test_a_refused_datagram_opens_no_way_back(scene: Scene) -> None:
    """Who may not send to a pod does not make it a peer that the pod may answer."""
    rules = egress(port=5000).replace('"TCP"', '"UDP"')
    way_in = policy(entry(peer={"app": "server"}), subject={"app": "client"}, name="in")
    other = scene.topology["other"]
    with scene.run(rules, way_in), _bound(other, 53) as denied, _bound(scene.client, 4444) as asked:
        denied.sendto(b"ask", (scene.client.address, 4444))
        with pytest.raises(TimeoutError):
            asked.recv(16)
        asked.sendto(b"leak", (other.address, 53))
        with pytest.raises(TimeoutError):
            denied.recvfrom(16)


def test_devices_are_free_afterwards(scene: Scene, web: Nginx) -> None:
    """When the run has ended neither end of the veth has a program."""
    with scene.run(OUT, get("/out"), endpoints=trusted(scene)):
        assert 200 == curl(scene.client, f"{web.url}/out").status
    for pod in (scene.client, scene.server):
        for namespace, name in ((pod.namespace, "eth0"), (pod.host, pod.host_interface)):
            assert "xdp" not in namespace.run("ip", "link", "show", name).stdout
            assert "" == namespace.run("tc", "filter", "show", "dev", name, "ingress").stdout
