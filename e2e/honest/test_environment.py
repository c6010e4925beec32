# SPDX-License-Identifier: Apache-2.0
"""Links and hosts that honest traffic meets: offloads, connection tracking, shaping, redirects.

Each is met at both hooks, in both directions and over both families, not in all
combinations (``make soak`` does that).
"""

import contextlib
from collections.abc import Iterator

import pytest

from e2e.honest.ground import Ground
from e2e.honest.matrix import across
from e2e.honest.traffic import denied, uploads
from e2e.namespace import Namespace
from e2e.redirect import redirect_peer
from e2e.topology import Pod

# A burst of less than a frame with offload: the shaper cuts it.
BUCKET = ("tbf", "rate", "80mbit", "burst", "30kb", "latency", "200ms")
FORWARDED = """\
table inet bpfast-forwarded {{
    chain forward {{
        type filter hook forward priority 0
        iifname {device} counter
    }}
}}
"""
OFFLOADS = ("tx", "rx", "sg", "tso", "gso", "gro")


def met(turn: int) -> pytest.MarkDecorator:
    """Run a test at two places that have nothing in common."""
    return pytest.mark.parametrize(("place", "family"), across(turn), ids=str)


def assert_served(policed: Ground, family: int) -> None:
    """Go and Node download from and upload to two servers; what is denied is answered."""
    for make, server in (("go", "nginx"), ("node", "http.server")):
        orders = [*policed.files.downloads(number=10), *uploads(server, asked=True), *denied(asked=True)]
        policed.assert_served(make, server, family, orders)


@contextlib.contextmanager
def offloads(*pods: Pod, on: bool) -> Iterator[None]:
    """Switch all offloads at both ends of the pods' links; they are on again behind the block."""
    for pod in pods:
        pod.offload(**dict.fromkeys(OFFLOADS, on))
    try:
        yield
    finally:
        for pod in pods:
            pod.offload(**dict.fromkeys(OFFLOADS, True))


@contextlib.contextmanager
def shaped(host: Namespace, pod: Pod) -> Iterator[str]:
    """Send all that the host gets from a pod through an ifb with a bucket; give the ifb's name."""
    name, device = f"ifb-{pod.name}", pod.host_interface
    everything = ["protocol", "all", "u32", "match", "u32", "0", "0"]
    host.run("ip", "link", "add", name, "type", "ifb")
    try:
        host.run("ip", "link", "set", name, "up")
        host.run("tc", "qdisc", "add", "dev", name, "root", *BUCKET)
        host.run("tc", "qdisc", "add", "dev", device, "handle", "ffff:", "ingress")
        action = ["action", "mirred", "egress", "redirect", "dev", name]
        host.run("tc", "filter", "add", "dev", device, "parent", "ffff:", *everything, *action)
        yield name
    finally:
        host.run("tc", "qdisc", "delete", "dev", device, "ingress", check=False)
        host.run("ip", "link", "delete", name)


def shaped_bytes(host: Namespace, name: str) -> int:
    """Return how many bytes an ifb's bucket has let through."""
    said = host.run("tc", "-s", "qdisc", "show", "dev", name).stdout
    return int(said.split("Sent ")[1].split()[0])


@pytest.mark.parametrize("on", (True, False), ids=("on", "off"))
@met(0)
def test_offloads_change_nothing(policed: Ground, family: int, *, on: bool) -> None:
    """With checksums and segmentation left to the links, and with both done in the pods."""
    with offloads(policed.client, policed.server, on=on):
        assert_served(policed, family)


@met(1)
def test_connection_tracking_sees_nothing_odd(policed: Ground, family: int) -> None:
    """A host that drops what belongs to no connection drops nothing."""
    topology = policed.scene.topology
    topology.track_connections()
    try:
        assert_served(policed, family)
        assert topology.invalid_packets() == 0
    finally:
        topology.host.run("nft", "delete", "table", "inet", "bpfast")


@met(0)
def test_a_bandwidth_limit_is_kept_to(policed: Ground, family: int) -> None:
    """Both ways through an ifb that cuts frames, delays and drops them, all arrives."""
    host = policed.scene.topology.host
    with shaped(host, policed.client) as asked, shaped(host, policed.server) as answered:
        assert_served(policed, family)
        assert shaped_bytes(host, asked) > 4_000_000
        assert shaped_bytes(host, answered) > 2_000_000


@met(1)
def test_frames_may_come_by_redirect_peer(policed: Ground, family: int) -> None:
    """What the host hands to the server's eth0 itself, forwarding nothing, is judged and served."""
    host = policed.scene.topology.host
    host.run("nft", "-f", "-", text=FORWARDED.format(device=policed.client.host_interface))
    try:
        with redirect_peer(policed.client, policed.server):
            assert_served(policed, family)
        said = host.run("nft", "list", "table", "inet", "bpfast-forwarded").stdout
    finally:
        host.run("nft", "delete", "table", "inet", "bpfast-forwarded")

    assert "counter packets 0 " in said
