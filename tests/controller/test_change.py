# SPDX-License-Identifier: Apache-2.0
"""Which connections begin or cease to be inspected when policies or peers change."""

from ipaddress import IPv4Address, IPv4Network

import pytest

from bpfast import abi
from bpfast.abi import PortVerdict
from bpfast.controller.change import Change
from bpfast.controller.desired import Entries
from bpfast.controller.sweep import FlowKey
from bpfast.kernel.prefixes import TCP, PeerTable, PortPrefix, prefixes
from bpfast.kernel.state import PortEntry

ALLOW, DENY = PortEntry(PortVerdict.ALLOW), PortEntry(PortVerdict.DENY)
INSPECT, OTHER_RULES = PortEntry(PortVerdict.INSPECT, 3), PortEntry(PortVerdict.INSPECT, 4)
PEER = abi.pack_address(IPv4Address("10.0.0.1"))
LOCAL = abi.pack_address(IPv4Address("10.0.0.2"))
KNOWN = PeerTable.of({IPv4Address("10.0.0.1"): 7})
OTHER = PeerTable.of({IPv4Address("10.0.0.1"): 8})
NOBODY = PeerTable({})


def key(port: int = 80, peer: bytes = PEER, endpoint: int = 1) -> FlowKey:
    """Return the key of a connection."""
    return FlowKey(endpoint, 40000, port, peer, LOCAL)


def at(identity: int, port: int) -> PortPrefix:
    """Return the key of one TCP port, or of every other port for 0."""
    return PortPrefix.one(identity, port) if port else PortPrefix(identity)


def judged(
    before: Entries, after: Entries, *, peers: tuple[PeerTable, PeerTable] = (KNOWN, KNOWN)
) -> tuple[bool, bool]:
    """Return whether the connection becomes inspected, and whether it is no longer."""
    change = Change({1: before}, {1: after}, *peers)
    return change.becomes_inspected(key()), change.is_no_longer_inspected(key())


def test_the_peer_of_an_outgoing_connection_is_its_server() -> None:
    """On the way out the destination's identity decides, on the way in the source's."""
    inspects = {at(7, 0): INSPECT}
    server = FlowKey(1, 40000, 80, LOCAL, PEER)
    for outgoing, expected in ((frozenset({1}), True), (frozenset({2}), False)):
        change = Change({1: {}}, {1: inspects}, KNOWN, KNOWN, outgoing)
        assert expected == change.becomes_inspected(server)
        assert expected != change.becomes_inspected(key())


BEGINS, ENDS, STAYS = (True, False), (False, True), (False, False)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    (
        (ALLOW, INSPECT, BEGINS),
        (DENY, INSPECT, BEGINS),
        (INSPECT, ALLOW, ENDS),
        (INSPECT, DENY, ENDS),
        (INSPECT, INSPECT, STAYS),
        (INSPECT, OTHER_RULES, STAYS),
        (ALLOW, DENY, STAYS),
    ),
)
@pytest.mark.parametrize("port", (80, 0), ids=("named", "other ports"))
def test_the_verdict_for_the_port_decides(
    before: PortEntry, after: PortEntry, expected: tuple[bool, bool], port: int
) -> None:
    """A connection changes when its port's verdict, or that of all other ports, becomes or was inspect."""
    assert expected == judged({at(7, port): before}, {at(7, port): after})


def test_a_port_goes_before_other_ports() -> None:
    """What stands for every other port says nothing about a port that has its own entry."""
    assert STAYS == judged(
        {at(7, 80): ALLOW, PortPrefix(7): DENY}, {at(7, 80): ALLOW, PortPrefix(7): INSPECT}
    )
    assert BEGINS == judged({at(7, 80): ALLOW, PortPrefix(7): INSPECT}, {PortPrefix(7): INSPECT})
    assert ENDS == judged({at(7, 80): INSPECT, PortPrefix(7): DENY}, {PortPrefix(7): DENY})


def test_a_range_has_its_verdict_at_each_port() -> None:
    """A prefix of several ports stands for those, and for no other port and no other protocol."""
    (prefix,) = prefixes(7, TCP, 80, 83)
    (datagrams,) = prefixes(7, 17, 80, 83)
    assert BEGINS == judged({}, {prefix: INSPECT})
    assert STAYS == judged({}, {prefix._replace(port=84): INSPECT})
    assert STAYS == judged({}, {datagrams: INSPECT})
    assert STAYS == judged({}, {prefix: INSPECT, at(7, 80): ALLOW})


def test_a_network_is_known_by_its_longest_prefix() -> None:
    """An address is whose network it is in, the longest one, and its own before all."""
    entries = {at(7, 80): INSPECT, at(8, 80): ALLOW}
    wide, narrow = IPv4Network("10.0.0.0/8"), IPv4Network("10.0.0.0/30")
    inside = PeerTable.of({wide: 8, narrow: 7})
    assert STAYS == judged(entries, entries, peers=(inside, inside))
    assert ENDS == judged(entries, entries, peers=(inside, PeerTable.of({wide: 8})))
    assert BEGINS == judged(entries, entries, peers=(PeerTable.of({narrow: 8, wide: 7}), inside))


def test_entries_of_others_change_nothing() -> None:
    """Another identity, another port and another endpoint are not this connection's."""
    assert STAYS == judged({}, {at(8, 80): INSPECT, at(7, 81): INSPECT, at(0, 80): INSPECT})
    assert not Change({}, {2: {at(7, 80): INSPECT}}, KNOWN, KNOWN).becomes_inspected(key())


def test_an_endpoint_begins_and_ends_with_its_policy() -> None:
    """An endpoint that was not enforced inspects from now on, one that is no more did until now."""
    entries = {1: {at(7, 80): INSPECT}}
    assert Change({}, entries, KNOWN, KNOWN).becomes_inspected(key())
    assert Change(entries, {}, KNOWN, KNOWN).is_no_longer_inspected(key())


def test_a_peer_that_is_not_known_is_the_world() -> None:
    """An address without an identity is judged by the entries of the world."""
    entries = {at(abi.IDENTITY_WORLD, 80): INSPECT, at(7, 80): ALLOW}
    assert BEGINS == judged({}, entries, peers=(NOBODY, NOBODY))
    assert STAYS == judged({}, entries)


@pytest.mark.parametrize(
    ("peers", "expected"),
    (
        ((NOBODY, KNOWN), BEGINS),
        ((KNOWN, NOBODY), ENDS),
        ((OTHER, KNOWN), BEGINS),
        ((KNOWN, OTHER), ENDS),
        ((KNOWN, KNOWN), STAYS),
    ),
)
def test_an_address_that_changes_hands_changes_its_connections(
    peers: tuple[PeerTable, PeerTable], expected: tuple[bool, bool]
) -> None:
    """With the same entries, another identity behind the address is another verdict."""
    entries = {at(7, 80): INSPECT, at(8, 80): ALLOW, PortPrefix(abi.IDENTITY_WORLD): DENY}
    assert expected == judged(entries, entries, peers=peers)
