# SPDX-License-Identifier: Apache-2.0
"""Which connections begin or cease to be inspected when policies or peers change."""

from ipaddress import IPv4Address

import pytest

from bpfast import abi
from bpfast.abi import PortVerdict
from bpfast.controller.enforce import Change, Entries
from bpfast.controller.sweep import FlowKey
from bpfast.kernel.state import PortEntry

ALLOW, DENY = PortEntry(PortVerdict.ALLOW), PortEntry(PortVerdict.DENY)
INSPECT, OTHER_RULES = PortEntry(PortVerdict.INSPECT, 3), PortEntry(PortVerdict.INSPECT, 4)
PEER = abi.pack_address(IPv4Address("10.0.0.1"))
LOCAL = abi.pack_address(IPv4Address("10.0.0.2"))
KNOWN = {PEER: 7}


def key(port: int = 80, peer: bytes = PEER, endpoint: int = 1) -> FlowKey:
    """Return the key of a connection."""
    return FlowKey(endpoint, 40000, port, peer, LOCAL)


def judged(
    before: Entries, after: Entries, *, peers: tuple[dict[bytes, int], dict[bytes, int]] = (KNOWN, KNOWN)
) -> tuple[bool, bool]:
    """Return whether the connection becomes inspected, and whether it is no longer."""
    change = Change({1: before}, {1: after}, *peers)
    return change.becomes_inspected(key()), change.is_no_longer_inspected(key())


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
    assert expected == judged({(7, port): before}, {(7, port): after})


def test_a_port_goes_before_other_ports() -> None:
    """What stands for every other port says nothing about a port that has its own entry."""
    assert STAYS == judged({(7, 80): ALLOW, (7, 0): DENY}, {(7, 80): ALLOW, (7, 0): INSPECT})
    assert BEGINS == judged({(7, 80): ALLOW, (7, 0): INSPECT}, {(7, 0): INSPECT})
    assert ENDS == judged({(7, 80): INSPECT, (7, 0): DENY}, {(7, 0): DENY})


def test_entries_of_others_change_nothing() -> None:
    """Another identity, another port and another endpoint are not this connection's."""
    assert STAYS == judged({}, {(8, 80): INSPECT, (7, 81): INSPECT, (0, 80): INSPECT})
    assert not Change({}, {2: {(7, 80): INSPECT}}, KNOWN, KNOWN).becomes_inspected(key())


def test_an_endpoint_begins_and_ends_with_its_policy() -> None:
    """An endpoint that was not enforced inspects from now on, one that is no more did until now."""
    entries = {1: {(7, 80): INSPECT}}
    assert Change({}, entries, KNOWN, KNOWN).becomes_inspected(key())
    assert Change(entries, {}, KNOWN, KNOWN).is_no_longer_inspected(key())


def test_a_peer_that_is_not_known_is_the_world() -> None:
    """An address without an identity is judged by the entries of the world."""
    entries = {(abi.IDENTITY_WORLD, 80): INSPECT, (7, 80): ALLOW}
    assert BEGINS == judged({}, entries, peers=({}, {}))
    assert STAYS == judged({}, entries)


@pytest.mark.parametrize(
    ("peers", "expected"),
    (
        (({}, KNOWN), BEGINS),
        ((KNOWN, {}), ENDS),
        (({PEER: 8}, KNOWN), BEGINS),
        ((KNOWN, {PEER: 8}), ENDS),
        ((KNOWN, KNOWN), STAYS),
    ),
)
def test_an_address_that_changes_hands_changes_its_connections(
    peers: tuple[dict[bytes, int], dict[bytes, int]], expected: tuple[bool, bool]
) -> None:
    """With the same entries, another identity behind the address is another verdict."""
    entries = {(7, 80): INSPECT, (8, 80): ALLOW, (abi.IDENTITY_WORLD, 0): DENY}
    assert expected == judged(entries, entries, peers=peers)
