# SPDX-License-Identifier: Apache-2.0
"""Sockets as /proc/net shows them, and flows that have none any more."""

import contextlib
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from bpfast import abi
from bpfast.abi import DenyMode, Direction, EventMode, PortVerdict
from bpfast.controller import sweep
from bpfast.controller.sweep import FlowKey, Sweeper
from bpfast.kernel.frames import Frames
from bpfast.kernel.prefixes import PortPrefix
from bpfast.kernel.site import Place, Site
from bpfast.kernel.state import EndpointConfig, PortEntry
from bpfast.kernel.trial import Trial
from tests.controller.scenes import embryos, half_open, opened, packed_key

LOOPBACK = IPv4Address("127.0.0.1")
MAPPED = abi.pack_address(LOOPBACK)
HERE = Site(Place("/proc/thread-self/ns/net", "eth0"))
GONE = Site(Place("/run/netns/there-is-no-such-namespace", "eth0"))
NUMBER = 1
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
REST = "00000000:00000000 00:00000000 00000000     0        0 34010 1 0000000000000000 20 4 30 10 -1\n"
# Words are in the order of a little-endian machine.
TCP = (
    HEAD
    + f"   0: 00000000:0050 00000000:0000 0A {REST}"
    + f"   1: 0200000A:0050 0100000A:9C40 01 {REST}"
    + f"   2: 0200000A:0050 0100000A:9C41 06 {REST}"
)
TCP6 = (
    HEAD
    + f"   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A {REST}"
    + f"   1: 0000000000000000FFFF00000200000A:1F90 0000000000000000FFFF00000100000A:9C42 01 {REST}"
    + f"   2: B80D0120000000000000000002000000:1F90 B80D0120000000000000000001000000:9C43 08 {REST}"
)
PEER = abi.pack_address(IPv4Address("10.0.0.1"))
LOCAL = abi.pack_address(IPv4Address("10.0.0.2"))


def test_sockets_of_ipv4() -> None:
    """Every socket but a listening one is one line's ports and addresses."""
    assert [(40000, 80, PEER, LOCAL), (40001, 80, PEER, LOCAL)] == list(sweep._parse(TCP))


def test_sockets_of_ipv6_and_of_ipv4_in_it() -> None:
    """An IPv4 connection of a server on [::] is told like any other of IPv4."""
    six = (40003, 8080, IPv6Address("2001:db8::1").packed, IPv6Address("2001:db8::2").packed)
    assert [(40002, 8080, PEER, LOCAL), six] == list(sweep._parse(TCP6))


@pytest.mark.parametrize("text", ("", HEAD))
def test_an_empty_table_has_no_sockets(text: str) -> None:
    """A table of no lines but its head is no fault."""
    assert [] == list(sweep._parse(text))


def test_a_key_is_unpacked_in_host_order() -> None:
    """Ports stand in a flow's key in network order."""
    frames = Frames(IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"), 40000, 80)
    assert FlowKey(9, 40000, 80, PEER, LOCAL) == FlowKey.unpack(packed_key(9, frames))


@contextlib.contextmanager
def connection(*, dual_stack: bool) -> Iterator[tuple[int, int]]:
    """Connect by IPv4 on loopback to a server on [::] or 0.0.0.0; yield (peer port, port)."""
    family, address = (socket.AF_INET6, "::") if dual_stack else (socket.AF_INET, "0.0.0.0")  # noqa: S104
    with (
        socket.create_server((address, 0), family=family, dualstack_ipv6=dual_stack) as server,
        socket.create_connection(("127.0.0.1", server.getsockname()[1])) as client,
        server.accept()[0] as accepted,
    ):
        # It ends by a reset: no TIME_WAIT.
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        yield client.getsockname()[1], server.getsockname()[1]


@pytest.mark.parametrize("dual_stack", (False, True), ids=("IPv4", "dual stack"))
def test_a_servers_connections_are_read(*, dual_stack: bool) -> None:
    """An IPv4 connection stands once in one of the two tables, as seen from the server."""
    with connection(dual_stack=dual_stack) as (peer_port, port):
        found = [one for file in sweep._SOCKETS for one in sweep._parse(file.read_text())]
    assert 1 == found.count((peer_port, port, MAPPED, MAPPED))


@pytest.mark.privileged
@pytest.mark.parametrize("dual_stack", (False, True), ids=("IPv4", "dual stack"))
def test_a_namespace_is_asked_for_both_tables(*, dual_stack: bool) -> None:
    """The connection is among the sockets of its namespace, in both roles, and gone when it is gone."""
    with connection(dual_stack=dual_stack) as (peer_port, port):
        found = sweep._sockets(HERE)
        outgoing = sweep._sockets(replace(HERE, direction=Direction.EGRESS))
    assert found is not None
    assert (peer_port, port, MAPPED, MAPPED) in found
    assert outgoing is not None
    assert (port, peer_port, MAPPED, MAPPED) in outgoing
    after = sweep._sockets(HERE)
    assert after is not None
    assert (peer_port, port, MAPPED, MAPPED) not in after


@pytest.mark.privileged
def test_a_namespace_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path) -> None:
    """Where nothing can be read nothing is known."""
    (tmp_path / "file").touch()
    assert sweep._sockets(GONE) is None
    assert sweep._sockets(Site(Place(str(tmp_path / "file"), "eth0"))) is None


def inspect(trial: Trial, port: int) -> Sweeper:
    """Have the trial's endpoint inspect a port; return a sweeper for it."""
    trial.state.write_policy(1, {PortPrefix.one(0, port): PortEntry(PortVerdict.INSPECT, 1)})
    config = EndpointConfig(
        enforced=True,
        timing=False,
        generation=1,
        policy=1,
        deny_mode=DenyMode.DROP,
        event_mode=EventMode.NONE,
        mark=1,
        inspected=frozenset({port}),
    )
    trial.state.write_endpoint(NUMBER, config)
    return Sweeper(trial.maps, trial.programs)


@pytest.mark.privileged
@pytest.mark.parametrize("dual_stack", (False, True), ids=("IPv4", "dual stack"))
def test_a_flow_with_a_socket_stays(trial: Trial, *, dual_stack: bool) -> None:
    """A flow outlives any number of sweeps as long as its socket does, and goes in the second after that."""
    with connection(dual_stack=dual_stack) as (peer_port, port):
        sweeper = inspect(trial, port)
        opened(trial, Frames(LOOPBACK, LOOPBACK, peer_port, port))
        assert [0, 0, 0] == [sweeper.sweep({NUMBER: HERE}) for _ in range(3)]
        assert 1 == len(trial.flows())
    assert [0, 1] == [sweeper.sweep({NUMBER: HERE}) for _ in range(2)]
    assert [] == trial.flows()


STALE = Frames(IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"), 40000, 80)


@pytest.mark.privileged
def test_a_flow_without_a_socket_goes_in_the_second_sweep(trial: Trial) -> None:
    """One sweep without a socket may be too early, two are not."""
    sweeper = inspect(trial, 80)
    opened(trial, STALE)
    assert 0 == sweeper.sweep({NUMBER: HERE})
    assert 1 == len(trial.flows())
    assert 1 == sweeper.sweep({NUMBER: HERE})
    assert [] == trial.flows()


@pytest.mark.privileged
@pytest.mark.parametrize("sites", ({NUMBER: GONE}, {}, {NUMBER + 1: HERE}), ids=str)
def test_a_flow_of_an_unknown_namespace_stays(trial: Trial, sites: Mapping[int, Site]) -> None:
    """What cannot be asked, or was not, is no reason to delete."""
    sweeper = inspect(trial, 80)
    opened(trial, STALE)
    assert [0, 0, 0] == [sweeper.sweep(sites) for _ in range(3)]
    assert 1 == len(trial.flows())


@pytest.mark.privileged
def test_a_sweep_that_could_not_read_begins_anew(trial: Trial) -> None:
    """Two sweeps without a socket count only one after the other."""
    sweeper = inspect(trial, 80)
    opened(trial, STALE)
    each = (HERE, GONE, HERE, HERE)
    assert [0, 0, 0, 1] == [sweeper.sweep({NUMBER: site}) for site in each]


@pytest.mark.privileged
def test_forget_takes_flows_and_embryos_that_are_asked_for(trial: Trial) -> None:
    """Flows and embryos go by their keys, whatever their state, and others stay."""
    sweeper = inspect(trial, 80)
    for peer_port in (40000, 40001):
        opened(trial, Frames(STALE.client, STALE.server, peer_port, 80))
    for peer_port in (40002, 40003):
        half_open(trial, Frames(STALE.client, STALE.server, peer_port, 80))
    assert 2 == sweeper.forget(lambda key: key.peer_port % 2 == 0)
    left = [FlowKey.unpack(raw).peer_port for raw in trial.flows() + embryos(trial)]
    assert [40001, 40003] == left
