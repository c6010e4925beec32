# SPDX-License-Identifier: Apache-2.0
"""The meaning of policies as numbers: identities, port policies, tables."""

import hashlib
from ipaddress import ip_address, ip_network

import pytest

from bpfast import abi
from bpfast.abi import PortVerdict
from bpfast.controller import desired
from bpfast.controller.desired import World, check_identities, identity_of, inspected_ports, port_entries
from bpfast.errors import Bug
from bpfast.kernel.prefixes import PortPrefix
from bpfast.kernel.state import PortEntry
from bpfast.policy.meaning import (
    HOST,
    WORLD,
    Allow,
    Deny,
    Direction,
    EndpointPolicy,
    Inspect,
    Peer,
    PeerKind,
    PeerPolicy,
    Segment,
)
from bpfast.policy.rules import HttpRule, RuleSet
from tests.controller.scenes import (
    CLIENT,
    CLIENT_ADDRESS,
    HOST_ADDRESS,
    INSPECT,
    STRANGER_ADDRESS,
    WEB,
    policy,
    wanted,
)

RULES = RuleSet((HttpRule("one", path="/one"),))
OTHER = RuleSet((HttpRule("two", path="/two"),))


def test_identities_are_the_same_in_the_next_process() -> None:
    """Numbers are made from names alone: SHA-256's first four bytes, host and world have their own."""
    assert (1, abi.IDENTITY_WORLD) == (identity_of(HOST), identity_of(WORLD))
    assert 1749340304 == identity_of(Peer.endpoint("default/client"))
    assert 2192813545 == identity_of(Peer.endpoint("default/web"))
    assert 2476310504 == identity_of(Peer.cidr("10.0.0.0/8"))


def test_an_endpoints_identity_is_none_of_the_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A digest that begins with zeros makes no host and no world of an endpoint."""

    class Zeros:
        """A digest of nothing but zeros."""

        def digest(self) -> bytes:
            """Return the zeros."""
            return bytes(32)

    monkeypatch.setattr(hashlib, "sha256", lambda _data: Zeros())
    assert 256 == identity_of(Peer.endpoint("default/client"))


def test_two_endpoints_with_one_identity_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two names whose numbers are the same are not treated as one: nothing is enforced, both are named."""
    monkeypatch.setattr(desired, "identity_of", lambda peer: 300 if peer.kind is PeerKind.ENDPOINT else 1)
    names = [Peer.endpoint("default/web"), Peer.endpoint("default/api")]
    with pytest.raises(Bug, match="'default/web' and 'default/api' have the same identity 300"):
        check_identities(names)
    with pytest.raises(Bug, match="have the same identity"):
        wanted(INSPECT)


def test_every_address_has_its_identity() -> None:
    """Endpoints' addresses have their endpoint's number, the node's are the host."""
    peers = wanted(INSPECT).peers
    assert identity_of(Peer.endpoint(CLIENT.full_name)) == peers.at(CLIENT_ADDRESS)
    assert 1 == peers.at(HOST_ADDRESS)
    assert abi.IDENTITY_WORLD == peers.at(STRANGER_ADDRESS)
    assert 4 == len(peers.identities)


def test_an_endpoints_address_is_not_the_hosts() -> None:
    """An address that the node has too belongs to the endpoint."""
    found = desired.desired(World((CLIENT,), (CLIENT_ADDRESS,)), (), only=())
    assert identity_of(Peer.endpoint(CLIENT.full_name)) == found.peers.at(CLIENT_ADDRESS)
    assert Peer.endpoint(CLIENT.full_name) == found.peer_at(CLIENT_ADDRESS)


NETWORKS = (("10.0.0.0/8", "198.51.100.0/24"), ("198.51.0.0/16",), ("10.0.0.1/32", "192.0.2.1/32"), ("::/0",))


@pytest.mark.parametrize("networks", NETWORKS, ids=" ".join)
@pytest.mark.parametrize(
    "text", ("10.0.0.1", "10.0.0.77", "192.0.2.1", "198.51.100.7", "198.51.7.7", "203.0.113.1", "2001:db8::1")
)
def test_the_kernels_peer_is_the_meanings(networks: tuple[str, ...], text: str) -> None:
    """Whose an address is: its endpoint's, else the node's, else the longest network's, else the world's."""
    found = wanted(from_networks(*networks))
    address = ip_address(text)
    named = [network for network in map(ip_network, networks) if address in network]
    expected = WORLD
    if named:
        expected = Peer.cidr(max(named, key=lambda network: network.prefixlen))
    elif networks == ("::/0",):
        expected = Peer.cidr("0.0.0.0/0")  # one whole family is named, so the other is known as well
    if address in {CLIENT_ADDRESS, HOST_ADDRESS}:
        expected = Peer.endpoint(CLIENT.full_name) if address == CLIENT_ADDRESS else HOST
    assert expected == found.peer_at(address)
    assert identity_of(expected) == found.peers.at(address)


def from_networks(*networks: str) -> dict[str, object]:
    """Return a policy that lets these networks into the server's port 80."""
    made = policy("web")
    rule = made["spec"]["ingress"][0]
    del rule["fromEndpoints"]
    rule["fromCIDR"] = list(networks)
    return made


def test_port_entries_say_what_the_policy_says() -> None:
    """Each peer has an entry for its other ports and one for each of its own, with the rule set's index."""
    peers = {
        HOST: PeerPolicy(Allow()),
        WORLD: PeerPolicy(Deny(), (Segment(6, 80, 80, Inspect(RULES)), Segment(6, 443, 443, Allow()))),
        Peer.endpoint("default/client"): PeerPolicy(
            Inspect(OTHER),
            (Segment(1, 8, 8, Allow()), Segment(6, 22, 22, Deny()), Segment(17, 0, 65535, Deny())),
        ),
    }
    client = identity_of(Peer.endpoint("default/client"))
    entries = port_entries(EndpointPolicy(enforced=True, peers=peers), {RULES: 5, OTHER: 6})
    expected = {
        PortPrefix(1): PortEntry(PortVerdict.ALLOW),
        PortPrefix(0): PortEntry(PortVerdict.DENY),
        PortPrefix.one(0, 80): PortEntry(PortVerdict.INSPECT, 5),
        PortPrefix.one(0, 443): PortEntry(PortVerdict.ALLOW),
        PortPrefix(client): PortEntry(PortVerdict.INSPECT, 6),
        PortPrefix.one(client, 8, 1): PortEntry(PortVerdict.ALLOW),
        PortPrefix.one(client, 22): PortEntry(PortVerdict.DENY),
        PortPrefix(client, 17, 0, 8): PortEntry(PortVerdict.DENY),
    }
    assert expected == entries


def test_a_range_becomes_prefixes() -> None:
    """Ports 80 to 90 are three prefixes; each of them is inspected, none beside them."""
    segments = (Segment(6, 80, 90, Inspect(RULES)), Segment(17, 100, 100, Allow()))
    entries = port_entries(
        EndpointPolicy(enforced=True, peers={WORLD: PeerPolicy(Deny(), segments)}), {RULES: 5}
    )
    inspect = PortEntry(PortVerdict.INSPECT, 5)
    expected = {
        PortPrefix(0): PortEntry(PortVerdict.DENY),
        PortPrefix(0, 6, 80, 21): inspect,
        PortPrefix(0, 6, 88, 23): inspect,
        PortPrefix.one(0, 90): inspect,
        PortPrefix.one(0, 100, 17): PortEntry(PortVerdict.ALLOW),
    }
    assert expected == entries
    assert frozenset(range(80, 91)) == inspected_ports(entries)


def test_everything_inspected_is_every_port() -> None:
    """A verdict for all other ports is one for each TCP port."""
    entries = {
        PortPrefix(7): PortEntry(PortVerdict.INSPECT),
        PortPrefix.one(7, 80): PortEntry(PortVerdict.DENY),
    }
    assert frozenset(range(65536)) == inspected_ports(entries)


def test_port_entries_do_not_change_by_themselves() -> None:
    """The same files give the same entries: nothing is switched for nothing."""
    made = []
    for _ in range(2):
        found = wanted(INSPECT, policy("web", port=443))
        indices = dict.fromkeys(found.images, 3)
        made.append(port_entries(found.policy(WEB.full_name, Direction.INGRESS), indices))
    assert made[0] == made[1]
    assert made[0]


def test_a_peer_without_a_number_is_a_bug() -> None:
    """An entity that the kernel cannot tell is not written as something else."""
    peers = {Peer(PeerKind.ENTITY, "cluster"): PeerPolicy(Allow())}
    with pytest.raises(Bug, match="peer 'entity:cluster' has no identity"):
        port_entries(EndpointPolicy(enforced=True, peers=peers), {})


def test_equal_rules_have_one_table() -> None:
    """Two endpoints with the same rules share a table; its rules are counted once."""
    get = {"method": "GET", "path": "/x"}
    found = wanted(policy("web", get, get), policy("api", {"method": "PUT"}))
    assert 2 == len(found.images)
    assert 3 == found.rules


def test_a_rule_that_no_table_can_take_is_named() -> None:
    """A rule that is refused is left out by name, the others stand."""
    found = wanted(policy("web", {"path": "/a{3000}"}, {"path": "/b"}))
    (refusal,) = found.refused
    assert "default/web-80 spec.ingress[0].toPorts[0].rules.http[0]" == refusal.rule
    assert "default/web-80 spec.ingress[0].toPorts[0].rules.http[1]" == refusal_free(found)
    assert refusal.reason


def refusal_free(found: desired.Desired) -> str:
    """Return the one rule that is in a table."""
    (image,) = found.images.values()
    (rule,) = image.rules
    return rule
