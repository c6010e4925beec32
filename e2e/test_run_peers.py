# SPDX-License-Identifier: Apache-2.0
"""``bpfast run`` with all of layers 3 and 4: networks, ranges, names, denials, UDP, SCTP, ICMP."""

import contextlib
import json
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from e2e.bpfast import BPFast, Endpoint
from e2e.curl import curl
from e2e.policies import allow
from e2e.scene import Scene
from e2e.segments import internet_checksum
from e2e.servers import Nginx
from e2e.topology import Pod

RANGE, DENIED, NAMED, HOST_ONLY, BESIDE = (8080, 8089), 8085, 8200, 8300, 8090
SECONDS = 0.7
TIMED_OUT = 28
SCTP = 132
GROUPS = [{"aws": {"securityGroupsNames": ["x"]}}]

Object = dict[str, Any]


def ports(*found: Object, http: list[Object] | None = None) -> Object:
    """Return a ``toPorts`` entry."""
    listed = [{"protocol": "TCP"} | port for port in found]
    return {"ports": listed} | ({"rules": {"http": http}} if http else {})


def policies(scene: Scene) -> str:
    """Return the policies; ``other`` is no endpoint, so it is known by its network."""
    client = {"fromEndpoints": [{"matchLabels": {"app": "client"}}]}
    network = {"fromCIDRSet": [{"cidr": "10.88.0.0/16", "except": [f"{scene.client.address}/32"]}]}
    first, last = RANGE
    whole: list[Object] = [
        client | {"toPorts": [ports({"port": str(first), "endPort": last}, http=[allow("/open")])]},
        client | {"toPorts": [ports({"port": "alt"}), ports({"port": "5000", "protocol": "UDP"})]},
        client | {"toPorts": [ports({"port": "3868", "protocol": "SCTP"})]},
        client | {"icmps": [{"fields": [{"type": 8, "family": "IPv4"}]}]},
        {"fromEntities": ["host"], "toPorts": [ports({"port": str(HOST_ONLY)}, http=[allow("/open")])]},
        network | {"toPorts": [ports({"port": str(BESIDE)}, http=[allow("/world")])]},
        {"fromGroups": GROUPS, "toPorts": [ports({"port": "9999"})]},
    ]
    denied = [client | {"toPorts": [ports({"port": str(DENIED)})]}]
    return of("server", ingress=whole, ingressDeny=denied)


def of(app: str, **sections: Any) -> str:
    """Return a policy with these sections about a pod."""
    spec = {"endpointSelector": {"matchLabels": {"app": app}}, **sections}
    metadata = {"name": "layers", "namespace": "default"}
    return json.dumps(
        {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": metadata, "spec": spec}
    )


@pytest.fixture(scope="module", autouse=True)
def policed(scene: Scene) -> Iterator[BPFast]:
    """``server`` is policed, ``client`` is its peer, and nothing is said about ``other``."""
    server = replace(scene.entry("server"), ports={"alt": NAMED})
    entries = [server, Endpoint(name="client", labels={"app": "client"}, addresses=[scene.client.address])]
    with contextlib.ExitStack() as stack:
        for port in (*RANGE, DENIED, NAMED, HOST_ONLY, BESIDE):
            stack.enter_context(Nginx(scene.server, port=port))
        yield stack.enter_context(scene.run(policies(scene), endpoints=entries))


def asks(pod: Pod, server: Pod, port: int, path: str = "/open") -> tuple[int, int]:
    """Return curl's status and exit code."""
    answer = curl(pod, f"{server.url(port)}{path}", seconds=SECONDS)
    return answer.status, answer.code


@pytest.mark.parametrize("port", RANGE)
def test_each_port_of_a_range_is_inspected(scene: Scene, port: int) -> None:
    """The rules hold at the first and at the last port."""
    assert (200, 0) == asks(scene.client, scene.server, port)
    assert (403, 0) == asks(scene.client, scene.server, port, "/denied")


def test_what_is_denied_is_denied_whatever_else_allows_it(scene: Scene) -> None:
    """A port of the range that a deny rule names is silent."""
    assert (0, TIMED_OUT) == asks(scene.client, scene.server, DENIED)


def test_a_named_port_is_its_number(scene: Scene) -> None:
    """The endpoint's own name for a port is what the policy means."""
    assert (200, 0) == asks(scene.client, scene.server, NAMED, "/denied")


def test_a_network_is_a_peer(scene: Scene) -> None:
    """Who is no endpoint is known by its network; who is one is not, and is excepted as well."""
    other = scene.topology["other"]
    assert (200, 0) == asks(other, scene.server, BESIDE, "/world")
    assert (403, 0) == asks(other, scene.server, BESIDE, "/open")
    assert (0, TIMED_OUT) == asks(scene.client, scene.server, BESIDE, "/world")
    assert (0, TIMED_OUT) == asks(other, scene.server, RANGE[0])


def test_the_host_is_bound_where_it_is_named(scene: Scene) -> None:
    """Rules that name the host hold for it; elsewhere it is exempt."""
    assert (200, 0) == asks(scene.host, scene.server, HOST_ONLY)
    assert (403, 0) == asks(scene.host, scene.server, HOST_ONLY, "/denied")
    assert (200, 0) == asks(scene.host, scene.server, NAMED, "/denied")
    assert (0, TIMED_OUT) == asks(scene.client, scene.server, HOST_ONLY)


@pytest.mark.parametrize(
    ("sender", "port", "arrives"), (("client", 5000, True), ("client", 5001, False), ("other", 5000, False))
)
def test_datagrams_pass_by_peer_and_port(scene: Scene, sender: str, port: int, arrives: bool) -> None:
    """A UDP rule lets in what it says, and nothing else."""
    pod = scene.topology[sender]
    with (
        scene.server.namespace.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as inside,
        pod.namespace.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as outside,
    ):
        inside.bind((scene.server.address, port))
        inside.settimeout(0.5)
        outside.sendto(b"asked", (scene.server.address, port))
        assert arrives == received(inside)


@pytest.mark.parametrize(("port", "arrives"), ((3868, True), (3869, False)))
def test_sctp_passes_by_its_port(scene: Scene, port: int, arrives: bool) -> None:
    """An SCTP rule is enforced though nobody here speaks the protocol: a raw socket sees what arrives."""
    with (
        scene.server.namespace.open_socket(socket.AF_INET, socket.SOCK_RAW, SCTP) as inside,
        scene.client.namespace.open_socket(socket.AF_INET, socket.SOCK_RAW, SCTP) as outside,
    ):
        inside.settimeout(0.5)
        packet = struct.pack("!HHII", 4000, port, 0, 0) + bytes(20)
        outside.sendto(packet, (scene.server.address, 0))
        assert arrives == received(inside)


def received(inside: socket.socket) -> bool:
    """Say whether anything arrives."""
    try:
        return bool(inside.recv(200))
    except TimeoutError:
        return False


@pytest.mark.parametrize(("sender", "answered"), (("client", True), ("other", False)))
def test_icmp_passes_by_its_type(scene: Scene, sender: str, answered: bool) -> None:
    """An ICMP rule lets its peer ping the pod, and nobody else."""
    pod = scene.topology[sender]
    request = struct.pack("!BBHHH", 8, 0, 0, 7, 1)
    request = request[:2] + struct.pack("!H", internet_checksum(request)) + request[4:]
    with pod.namespace.open_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.settimeout(0.5)
        raw.sendto(request, (scene.server.address, 0))
        assert answered == received(raw)


def test_what_would_stay_on_envoy_is_reported(policed: BPFast) -> None:
    """There is no Envoy here: such an entry opens nothing, and the user hears which and why."""
    (warning,) = policed.events("warning")
    assert ("default/layers", "spec.ingress[6].toPorts[0]") == (warning["policy"], warning["path"])
    assert warning["reason"].startswith("opens nothing here: fromGroups: ")
    assert f"warning: default/layers: {warning['path']}: {warning['reason']}" in policed.errors.splitlines()
