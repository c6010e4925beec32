# SPDX-License-Identifier: Apache-2.0
"""The meaning of policies as numbers: identities, port policies, tables."""

import hashlib

import pytest

from bpfast import abi
from bpfast.abi import PortVerdict
from bpfast.controller import desired
from bpfast.controller.desired import identity_of, inspected_ports, port_entries
from bpfast.errors import Bug
from bpfast.kernel.state import PortEntry
from bpfast.policy.meaning import (
    HOST,
    WORLD,
    Allow,
    Deny,
    EndpointPolicy,
    Inspect,
    Peer,
    PeerKind,
    PeerPolicy,
)
from bpfast.policy.rules import HttpRule, RuleSet
from tests.controller.scenes import CLIENT, CLIENT_ADDRESS, HOST_ADDRESS, INSPECT, WEB, policy, wanted

RULES = RuleSet((HttpRule("one", path="/one"),))
OTHER = RuleSet((HttpRule("two", path="/two"),))


def test_identities_are_the_same_in_the_next_process() -> None:
    """Numbers are made from names alone: SHA-256's first four bytes, host and world have their own."""
    assert (1, abi.IDENTITY_WORLD) == (identity_of(HOST), identity_of(WORLD))
    assert 1749340304 == identity_of(Peer.endpoint("default/client"))
    assert 2192813545 == identity_of(Peer.endpoint("default/web"))


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
    monkeypatch.setattr(desired, "identity_of", lambda _peer: 300)
    with pytest.raises(Bug, match="endpoints 'default/web' and 'default/api' have the same identity 300"):
        wanted(INSPECT)


def test_every_address_has_its_identity() -> None:
    """Endpoints' addresses have their endpoint's number, the node's are the host."""
    identities = wanted(INSPECT).identities
    assert identity_of(Peer.endpoint(CLIENT.full_name)) == identities[CLIENT_ADDRESS]
    assert 1 == identities[HOST_ADDRESS]
    assert 4 == len(identities)


def test_an_endpoints_address_is_not_the_hosts() -> None:
    """An address that the node has too belongs to the endpoint."""
    found = desired.desired([CLIENT], (), (CLIENT_ADDRESS,), default_deny=False)
    assert {CLIENT_ADDRESS: identity_of(Peer.endpoint(CLIENT.full_name))} == found.identities


def test_port_entries_say_what_the_policy_says() -> None:
    """Each peer has an entry for its other ports and one for each of its own, with the rule set's index."""
    peers = {
        HOST: PeerPolicy(Allow()),
        WORLD: PeerPolicy(Deny(), {80: Inspect(RULES), 443: Allow()}),
        Peer.endpoint("default/client"): PeerPolicy(Inspect(OTHER), {22: Deny()}),
    }
    client = identity_of(Peer.endpoint("default/client"))
    entries = port_entries(EndpointPolicy(enforced=True, peers=peers), {RULES: 5, OTHER: 6})
    expected = {
        (1, 0): PortEntry(PortVerdict.ALLOW),
        (0, 0): PortEntry(PortVerdict.DENY),
        (0, 80): PortEntry(PortVerdict.INSPECT, 5),
        (0, 443): PortEntry(PortVerdict.ALLOW),
        (client, 0): PortEntry(PortVerdict.INSPECT, 6),
        (client, 22): PortEntry(PortVerdict.DENY),
    }
    assert expected == entries
    assert {80, 0} == inspected_ports(entries)


def test_port_entries_do_not_change_by_themselves() -> None:
    """The same files give the same entries: nothing is switched for nothing."""
    made = []
    for _ in range(2):
        found = wanted(INSPECT, policy("web", port=443))
        indices = dict.fromkeys(found.images, 3)
        made.append(port_entries(found.lowered.endpoints[WEB.full_name], indices))
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
