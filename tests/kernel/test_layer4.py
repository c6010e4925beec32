# SPDX-License-Identifier: Apache-2.0
"""HEADER's two tries: whose an address is, and what it may do at a protocol's port.

A policy that is decomposed wrongly, or a family that is mixed up, opens what
nobody has opened; each prefix is tried at its edges.
"""

import random
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

import pytest

from bpfast.abi import Direction, MapNumber, PortVerdict
from bpfast.kernel import syscall
from bpfast.kernel.prefixes import (
    Address,
    Network,
    PeerPrefix,
    PeerTable,
    PortPrefix,
    PortTable,
    prefixes,
)
from bpfast.kernel.state import PortEntry
from bpfast.kernel.trial import XDP_DROP
from bpfast.policy.rules import HttpRule, RuleSet
from e2e.segments import Segment, ethernet
from tests.kernel.packets import (
    ACK,
    CLIENT,
    CLIENT_MAC,
    SERVER,
    SERVER_MAC,
    SYN,
    Box,
    from_pod,
    get,
    to_pod,
)

ALLOW, DENY = PortEntry(PortVerdict.ALLOW), PortEntry(PortVerdict.DENY)
TCP, UDP, SCTP, ICMP, ICMPV6 = 6, 17, 132, 1, 58
ME = 77


@pytest.fixture
def me(box: Box) -> Iterator[Box]:
    """The box, with the client known as ME."""
    box.trial.state.write_peers(PeerTable.of({IPv4Address(CLIENT): ME}))
    yield box
    box.trial.state.write_peers(PeerTable({}))


def ports(source: int, destination: int) -> bytes:
    """Return what TCP, UDP and SCTP have in front, and some bytes behind."""
    return struct.pack("!HH", source, destination) + bytes(12)


def syn(port: int, source: str = CLIENT) -> bytes:
    """Return a SYN to a port of the pod."""
    segment = Segment(source_port=4000, destination_port=port, sequence=1, flags=SYN)
    return to_pod(segment.encode(source, SERVER), source=source)


def to_port(protocol: int, port: int) -> bytes:
    """Return the first packet of an exchange; for ICMP the port is the type."""
    if protocol == TCP:
        return syn(port)
    if protocol == ICMP:
        return to_pod(struct.pack("!BBHI", port, 0, 0, 0) + bytes(8), protocol=ICMP)
    return to_pod(ports(4000, port), protocol=protocol)


@pytest.mark.parametrize("protocol", (TCP, UDP, SCTP))
@pytest.mark.parametrize(
    ("first", "last"), ((80, 80), (81, 94), (1000, 2023), (0, 1), (65535, 65535), (32767, 32769), (1, 65534))
)
def test_a_range_opens_its_ports_and_no_other(me: Box, protocol: int, first: int, last: int) -> None:
    """Inside of a range packets pass, beside it they are dropped."""
    entries = dict.fromkeys(prefixes(ME, protocol, first, last), ALLOW)
    me.configure({PortPrefix(ME): DENY, **entries}, inspected=frozenset())
    for port in {first, last, (first + last) // 2}:
        assert me.receive(to_port(protocol, port)).passed, port
    for port in {first - 1, last + 1} & set(range(65536)):
        assert XDP_DROP == me.receive(to_port(protocol, port)).action, port


@pytest.mark.parametrize("protocol", (TCP, UDP, SCTP))
def test_a_protocol_is_only_itself(me: Box, protocol: int) -> None:
    """All ports of one protocol are open, and none of another."""
    me.configure({PortPrefix(ME, protocol, 0, 8): ALLOW}, inspected=frozenset())
    for other in (TCP, UDP, SCTP):
        assert (other == protocol) == me.receive(to_port(other, 5000)).passed


def test_a_longer_prefix_closes_what_a_shorter_one_opens(me: Box) -> None:
    """One port of a range may be closed, and one port of a closed range be open."""
    (wide,) = prefixes(ME, TCP, 8000, 8063)
    (narrow,) = prefixes(ME, TCP, 8016, 8031)
    me.configure({PortPrefix(ME): ALLOW, wide: DENY, narrow: ALLOW, PortPrefix.one(ME, 8020): DENY})
    found = {port: me.receive(syn(port)).passed for port in (7999, 8000, 8015, 8016, 8020, 8031, 8032, 8064)}
    assert {
        7999: True, 8000: False, 8015: False, 8016: True, 8020: False, 8031: True, 8032: False, 8064: True,
    } == found  # fmt: skip


@pytest.mark.parametrize(("kind", "passes"), ((8, True), (13, False), (0, True), (3, True)))
def test_icmp_is_allowed_by_its_type(me: Box, kind: int, passes: bool) -> None:
    """An echo request passes where its type is allowed; answers and errors pass anyway, others do not."""
    me.configure({PortPrefix(ME): DENY, PortPrefix.one(ME, 8, ICMP): ALLOW})
    assert passes == me.receive(to_port(ICMP, kind)).passed


def test_an_icmp_type_is_no_port(me: Box) -> None:
    """What is allowed for the echo request is not allowed at port 8 of another protocol."""
    me.configure({PortPrefix.one(ME, 8, ICMP): ALLOW}, inspected=frozenset())
    for protocol in (TCP, UDP, SCTP):
        assert not me.receive(to_port(protocol, 8)).passed


def test_icmp_for_ipv6_is_a_protocol_of_its_own(box: Box) -> None:
    """Type 128 of ICMPv6 is allowed by its own entry only."""
    head = struct.pack("!IHBB", 6 << 28, 8, ICMPV6, 64) + bytes(15) + b"\1" + bytes(15) + b"\2"
    echo = ethernet(CLIENT_MAC, SERVER_MAC, head + bytes((128, 0)) + bytes(6), ethertype=0x86DD)
    box.configure({PortPrefix.one(0, 128, ICMP): ALLOW})
    assert not box.receive(echo).passed
    box.configure({PortPrefix.one(0, 128, ICMPV6): ALLOW})
    assert box.receive(echo).passed


def test_replies_to_the_pods_own_sctp_pass(me: Box) -> None:
    """After the watcher has seen the pod's own SCTP packet its answer passes, and only that."""
    me.configure({PortPrefix(ME): DENY})
    answer = to_pod(ports(3868, 43230), protocol=SCTP)
    assert not me.receive(answer).passed
    me.trial.watch(from_pod(ports(43230, 3868), protocol=SCTP))
    assert me.receive(answer).passed
    assert not me.receive(to_pod(ports(3869, 43230), protocol=SCTP)).passed
    assert not me.receive(to_pod(ports(3868, 43230), protocol=UDP)).passed


def test_a_server_takes_no_place_for_its_answers(me: Box) -> None:
    """What may come in anyway is not remembered as a reply: when it is closed it is closed."""
    me.configure({PortPrefix.one(ME, 53, UDP): ALLOW})
    me.trial.watch(from_pod(ports(53, 43231), protocol=UDP))
    me.configure({PortPrefix(ME): DENY})
    assert not me.receive(to_pod(ports(43231, 53), protocol=UDP)).passed
    me.trial.watch(from_pod(ports(53, 43231), protocol=UDP))
    assert me.receive(to_pod(ports(43231, 53), protocol=UDP)).passed


def test_another_policy_and_another_identity_are_not_asked(me: Box) -> None:
    """Entries under other numbers open nothing, whatever their prefix."""
    me.configure({PortPrefix(ME): DENY, PortPrefix(ME + 1): ALLOW, PortPrefix.one(ME + 1, 90): ALLOW})
    me.trial.state.write_policy(me.generation + 100000, {PortPrefix.one(ME, 90): ALLOW})
    assert not me.receive(syn(90)).passed


NETWORKS: dict[Address | Network, int] = {
    IPv4Network("10.0.0.0/8"): 1000,
    IPv4Network("10.0.0.0/24"): 1001,
    IPv4Address("10.0.0.9"): 1002,
    IPv6Network("::/0"): 1003,
    IPv6Network("fd00::/8"): 1004,
}


@pytest.mark.parametrize(
    ("source", "identity"),
    (("10.0.0.1", 1001), ("10.0.0.9", 1002), ("10.0.1.0", 1000), ("11.0.0.0", 0), ("9.255.255.255", 0)),
)
def test_an_address_is_of_the_longest_network(box: Box, source: str, identity: int) -> None:
    """The longest network decides; IPv6's whole family is none of an IPv4 address."""
    box.trial.state.write_peers(PeerTable.of(NETWORKS))
    try:
        for known in (*NETWORKS.values(), 0):
            box.configure({PortPrefix.one(known, 90): ALLOW}, inspected=frozenset())
            assert (known == identity) == box.receive(syn(90, source)).passed
    finally:
        box.trial.state.write_peers(PeerTable({}))


@pytest.mark.parametrize(
    ("source", "identity"), (("fd00::7", 1004), ("2001:db8::1", 1003), ("::ffff:10.0.0.9", 1003))
)
def test_ipv6_has_networks_of_its_own(box: Box, source: str, identity: int) -> None:
    """An IPv6 source is found among IPv6 networks, even one that looks like an IPv4 address."""
    head = struct.pack("!IHBB", 6 << 28, 16, UDP, 64) + IPv6Address(source).packed + bytes(15) + b"\2"
    datagram = struct.pack("!HHHH", 9, 90, 16, 0) + bytes(8)
    frame = ethernet(CLIENT_MAC, SERVER_MAC, head + datagram, ethertype=0x86DD)
    box.trial.state.write_peers(PeerTable.of(NETWORKS))
    try:
        for known in (*NETWORKS.values(), 0):
            box.configure({PortPrefix.one(known, 90, UDP): ALLOW}, inspected=frozenset())
            assert (known == identity) == box.receive(frame).passed
    finally:
        box.trial.state.write_peers(PeerTable({}))


def test_a_peer_of_a_network_is_inspected(box: Box) -> None:
    """An HTTP rule holds for a whole network, in the chain and in the watcher."""
    box.trial.state.write_peers(PeerTable.of({ip_network("10.0.0.0/8"): ME}))
    try:
        entries = dict.fromkeys(prefixes(ME, TCP, 80, 81), PortEntry(PortVerdict.INSPECT, box.rule_set))
        box.configure(entries, inspected=frozenset({80, 81}))
        connection = box.connected(port=81)
        connection.exchange()
        assert not connection.send(get("/secret")).passed
    finally:
        box.trial.state.write_peers(PeerTable({}))


def test_python_finds_what_the_kernel_finds(box: Box) -> None:
    """PortTable and PeerTable agree with the kernel's tries on random tables, at random places."""
    chance = random.Random(4)
    for number in range(500_000, 500_020):
        entries = {}
        for _ in range(chance.randrange(1, 12)):
            first = chance.randrange(65536)
            last = min(65535, first + chance.choice((0, 1, 15, 1000)))
            for prefix in prefixes(chance.randrange(2), chance.choice((TCP, UDP)), first, last):
                entries[prefix] = PortEntry(PortVerdict.ALLOW, chance.randrange(1000))
        if chance.random() < 0.5:
            entries[PortPrefix(0)] = PortEntry(PortVerdict.DENY)
        box.trial.state.write_policy(number, entries)
        table, edges = PortTable(entries), [prefix.port for prefix in entries]
        for _ in range(100):
            place = (chance.randrange(2), chance.choice((TCP, UDP)), chance.choice((*edges, 7)))
            key = PortPrefix(*place, 24).pack(number)
            raw = syscall.map_lookup(box.trial.maps[MapNumber.PORT_POLICIES], key, 8)
            found = table.at(*place)
            expected = None if found is None else struct.pack("=II", found.verdict, found.rule_set)
            assert expected == raw


@pytest.mark.parametrize("version", (4, 6))
def test_python_knows_the_peers_that_the_kernel_knows(box: Box, version: int) -> None:
    """PeerTable.at() is the kernel's look-up, for both families in one table."""
    chance = random.Random(version)
    bits = 32 if version == 4 else 128
    for _ in range(20):
        known = dict(NETWORKS)
        for number in range(20):
            network = ip_network(
                (chance.getrandbits(4) << (bits - 4), chance.randrange(1, bits)), strict=False
            )
            known[network] = number + 1
        table = PeerTable.of(known)
        box.trial.state.write_peers(table)
        for _ in range(50):
            address = type(ip_network("::/0" if version == 6 else "0.0.0.0/0").network_address)(
                chance.getrandbits(4) << (bits - 4) | chance.getrandbits(8)
            )
            raw = syscall.map_lookup(box.trial.maps[MapNumber.PEERS], PeerPrefix.of(address).pack(), 4)
            assert table.at(address) == (struct.unpack("=I", raw)[0] if raw else 0)
    box.trial.state.write_peers(PeerTable({}))
    assert [] == list(syscall.map_keys(box.trial.maps[MapNumber.PEERS], 24))


def test_the_peers_of_an_earlier_run_are_read_back(me: Box) -> None:
    """Another State over the same maps knows the same peers and policies."""
    from bpfast.kernel.state import State  # noqa: PLC0415

    me.configure({PortPrefix(ME): DENY, PortPrefix(ME, UDP, 0, 8): ALLOW})
    other = State(me.trial.maps)
    assert {PeerPrefix.of(IPv4Address(CLIENT)): ME} == other.peers().identities
    assert me.trial.state.read_policy(me.generation) == other.read_policy(me.generation)
    other.close()


# ---- the other direction: the endpoint is the client


def test_of_a_connection_out_the_server_is_the_peer(box: Box) -> None:
    """With the direction turned the destination's identity decides, in the chain and in the watcher."""
    rules = box.install(RuleSet((HttpRule("out", path="/out"),)))
    box.trial.state.write_peers(PeerTable.of({IPv4Address(SERVER): ME, IPv4Address(CLIENT): ME + 1}))
    try:
        box.configure(
            {PortPrefix.one(ME, 80): PortEntry(PortVerdict.INSPECT, rules)}, direction=Direction.EGRESS
        )
        connection = box.connected()
        connection.exchange(get("/out"))
        assert not connection.send(get("/public")).passed
        peers = {(str(event.peer), event.direction) for event in box.events()}
        assert {(SERVER, Direction.EGRESS)} == peers
        box.configure(
            {PortPrefix.one(ME, 80): PortEntry(PortVerdict.INSPECT, rules)}, direction=Direction.INGRESS
        )
        assert not box.connection().syn().passed
    finally:
        box.trial.state.write_peers(PeerTable({}))


def test_events_of_connections_in_name_the_client(box: Box) -> None:
    """Without a word about the direction the peer is who connects."""
    box.connected().send(get("/secret"))
    assert [(CLIENT, Direction.INGRESS)] == [(str(event.peer), event.direction) for event in box.events()]


def test_an_endpoint_out_gets_answers_from_no_one_else(box: Box) -> None:
    """What the pod sends on a connection that it did not open is judged as sent to that peer."""
    box.trial.state.write_peers(PeerTable.of({IPv4Address(SERVER): ME}))
    try:
        box.configure({PortPrefix.one(ME, 81): ALLOW}, direction=Direction.EGRESS)
        assert box.connection(port=81).syn().passed
        segment = Segment(
            source_port=81, destination_port=4000, sequence=1, acknowledgement=2, flags=SYN | ACK
        )
        assert not box.receive(to_pod(segment.encode(CLIENT, SERVER))).passed
    finally:
        box.trial.state.write_peers(PeerTable({}))
