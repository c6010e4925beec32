# SPDX-License-Identifier: Apache-2.0
"""A server, its clients and policies in words; connections as the maps know them."""

import json
import struct
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any

from bpfast import abi
from bpfast.abi import MapNumber
from bpfast.controller.desired import Desired, World, desired
from bpfast.kernel import syscall
from bpfast.kernel.frames import ACK, SYN, Frames
from bpfast.kernel.trial import XDP_PASS, Trial
from bpfast.policy.reader import Text, read_policies
from bpfast.standalone.endpoints import Endpoint
from bpfast.standalone.netns import NetNs

WEB_ADDRESS = IPv4Address("10.0.0.2")
CLIENT_ADDRESS = IPv4Address("10.0.0.1")
STRANGER_ADDRESS = IPv4Address("192.0.2.9")
HOST_ADDRESS = IPv4Address("192.0.2.1")
WEB = Endpoint("web", labels={"app": "web"}, netns=NetNs("web", "/run/netns/web"), addresses=(WEB_ADDRESS,))
API = Endpoint(
    "api",
    labels={"app": "api"},
    netns=NetNs("api", "/run/netns/api"),
    addresses=(IPv4Address("10.0.0.3"),),
)
CLIENT = Endpoint("client", labels={"app": "client"}, addresses=(CLIENT_ADDRESS,))
ENDPOINTS = (WEB, API, CLIENT)

Object = dict[str, Any]


def policy(app: str, *http: Object, port: int = 80, peer: str = "client") -> Object:
    """Return a policy that lets ``peer`` into a port of ``app``, its requests judged if there is ``http``."""
    entry: Object = {"ports": [{"port": str(port), "protocol": "TCP"}]}
    if http:
        entry["rules"] = {"http": list(http)}
    rule: Object = {"fromEndpoints": [{"matchLabels": {"app": peer}}], "toPorts": [entry]}
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": f"{app}-{port}", "namespace": "default"},
        "spec": {"endpointSelector": {"matchLabels": {"app": app}}, "ingress": [rule]},
    }


GET_PUBLIC: Object = {"method": "GET", "path": "/public.*"}
INSPECT = policy("web", GET_PUBLIC)
ALLOW = policy("web")


def wanted(*policies: Object, endpoints: Sequence[Endpoint] = ENDPOINTS) -> Desired:
    """Return what these policies ask for."""
    texts = [Text(f"{number}.json", json.dumps(each)) for number, each in enumerate(policies)]
    attached = {endpoint.full_name for endpoint in endpoints if endpoint.netns}
    world = World(tuple(endpoints), (HOST_ADDRESS,))
    return desired(world, read_policies(texts), only=attached)


def packed_key(endpoint: int, frames: Frames) -> bytes:
    """Return ``struct flow_key`` of a connection."""
    ends = abi.pack_address(frames.client) + abi.pack_address(frames.server)
    return struct.pack("=I", endpoint) + struct.pack("!HH", frames.client_port, frames.server_port) + ends


def half_open(trial: Trial, frames: Frames) -> None:
    """Let SYN and SYN-ACK of a connection pass: an embryo."""
    assert XDP_PASS == trial.receive(frames.from_client(1000, 0, SYN))[0]
    trial.watch(frames.from_server(5000, 1001, SYN | ACK))


def opened(trial: Trial, frames: Frames) -> None:
    """Open a connection: a flow, where it is inspected."""
    half_open(trial, frames)
    assert XDP_PASS == trial.receive(frames.from_client(1001, 5001, ACK))[0]


def to_web(client_port: int, client: IPv4Address = CLIENT_ADDRESS) -> Frames:
    """Return the frames of a connection to the server's port 80."""
    return Frames(client, WEB_ADDRESS, client_port, 80)


def embryos(trial: Trial) -> list[bytes]:
    """Return the keys of all connections that wait for their first segment."""
    return list(syscall.map_keys(trial.maps[MapNumber.EMBRYOS], abi.SIZES["flow_key"]))
