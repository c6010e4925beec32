# SPDX-License-Identifier: Apache-2.0
"""Where policies let peers in: ranges, names, protocols, message types; and what a union of them is."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfast.policy.icmp import ICMP, ICMPV6
from bpfast.policy.meaning import WORLD, Allow, Deny, EndpointPolicy
from bpfast.policy.ports import SCTP, TCP, UDP
from tests.policy.policies import (
    CLIENT,
    GET,
    WEB,
    Object,
    at_web,
    from_web,
    lowered,
    peer,
    policy,
    port,
    rule,
    rule_names,
    word,
)


def entry(
    number: int | str, end: int | None = None, protocol: str | None = "TCP", **fields: object
) -> Object:
    """Return a ``toPorts`` entry with one port."""
    one: Object = {"port": str(number)}
    if end is not None:
        one["endPort"] = end
    if protocol is not None:
        one["protocol"] = protocol
    return {"ports": [one]} | fields


def opened(*entries: Object, protocol: int = TCP) -> list[tuple[int, int, str]]:
    """Return (first, last, word) for the world at one protocol."""
    web = at_web(policy(rule({"toPorts": list(entries)})))
    return [
        (each.first, each.last, word(each.verdict))
        for each in web.of(WORLD).segments
        if each.protocol == protocol
    ]


HTTP: Object = {"rules": {"http": [GET]}}


class TestRanges:
    """``endPort``."""

    def test_a_range_has_both_ends(self) -> None:
        """A range opens its first and its last port and none beside them."""
        web = at_web(policy(rule({"toPorts": [entry(4096, 8191)]})))

        assert ["deny", "allow", "allow", "deny"] == [
            word(web.verdict(WORLD, number)) for number in (4095, 4096, 8191, 8192)
        ]

    def test_a_range_may_have_rules(self) -> None:
        """Requests to every port of the range are held against the rules."""
        assert [(80, 90, "inspect")] == opened(entry(80, 90, **HTTP))

    def test_a_range_over_rules_cancels_them_where_they_overlap(self) -> None:
        """A port without rules inside of a range with rules is open, the rest is inspected."""
        assert [(80, 84, "inspect"), (85, 85, "allow"), (86, 90, "inspect")] == opened(
            entry(80, 90, **HTTP), entry(85)
        )

    def test_rules_of_overlapping_ranges_are_united(self) -> None:
        """Where two ranges overlap, the rules of both count, in file order."""
        web = at_web(policy(rule({"toPorts": [entry(80, 90, **HTTP), entry(85, 95, **HTTP)]})))

        assert [1, 2, 1] == [len(rule_names(web.verdict(WORLD, number))) for number in (84, 85, 95)]

    def test_neighbours_with_one_verdict_are_one_segment(self) -> None:
        """Ports side by side that are treated alike are listed together."""
        assert [(80, 82, "allow")] == opened(entry(80), entry(81, 82))

    def test_a_range_to_the_last_port(self) -> None:
        """65535 is the end of a range like any other."""
        assert [(60000, 65535, "allow")] == opened(entry(60000, 65535))

    def test_zero_is_every_port_of_the_protocol(self) -> None:
        """Port 0 opens all ports of TCP and none of UDP."""
        web = at_web(policy(rule({"toPorts": [entry(0)]})))

        assert Allow() == web.verdict(WORLD, 1, TCP)
        assert Deny() == web.verdict(WORLD, 1, UDP)

    def test_zero_cancels_rules(self) -> None:
        """Port 0 without rules opens the ports that have rules elsewhere."""
        assert [(0, 65535, "allow")] == opened(entry(80, **HTTP), entry(0))


class TestProtocols:
    """``protocol`` and ``icmps``."""

    def test_any_is_tcp_udp_and_sctp(self) -> None:
        """Without a protocol, or with ``ANY``, all three are opened, ICMP is not."""
        for protocol in (None, "ANY"):
            web = at_web(policy(rule({"toPorts": [entry(53, protocol=protocol)]})))

            assert [Allow()] * 3 == [web.verdict(WORLD, 53, each) for each in (TCP, UDP, SCTP)]
            assert Deny() == web.verdict(WORLD, 53, ICMP)

    @pytest.mark.parametrize(("protocol", "number"), (("TCP", TCP), ("UDP", UDP), ("SCTP", SCTP)))
    def test_a_protocol_is_itself_alone(self, protocol: str, number: int) -> None:
        """A port of one protocol opens no other one."""
        web = at_web(policy(rule({"toPorts": [entry(53, protocol=protocol)]})))

        assert {number} == {each for each in (TCP, UDP, SCTP) if web.verdict(WORLD, 53, each) == Allow()}

    def test_an_entry_without_ports_opens_every_protocol(self) -> None:
        """An L3-only entry lets everything through, ICMP too."""
        web = at_web(policy(rule({"fromEntities": ["world"]})))

        assert Allow() == web.verdict(WORLD, 8, ICMP)

    @pytest.mark.parametrize(
        ("field", "expected"),
        (
            ({"type": 8}, (ICMP, 8)),
            ({"type": 0}, (ICMP, 0)),
            ({"type": "EchoRequest"}, (ICMP, 8)),
            ({"family": "IPv4", "type": "8"}, (ICMP, 8)),
            ({"family": "IPv6", "type": "EchoRequest"}, (ICMPV6, 128)),
        ),
    )
    def test_message_types(self, field: Object, expected: tuple[int, int]) -> None:
        """``icmps`` opens one type of one family, to everybody if no peers are named."""
        web = at_web(policy(rule({"icmps": [{"fields": [field]}]})))
        protocol, number = expected

        assert Allow() == web.verdict(WORLD, number, protocol)
        assert Deny() == web.verdict(WORLD, number + 1, protocol)
        assert Deny() == web.verdict(WORLD, number, TCP)

    def test_rules_bind_tcp_alone(self) -> None:
        """HTTP rules at a port leave UDP at the same port closed."""
        web = at_web(policy(rule({"toPorts": [entry(80, **HTTP)]})))

        assert Deny() == web.verdict(WORLD, 80, UDP)


def names(web: EndpointPolicy, *numbers: int) -> list[str]:
    """Return the words for the client at some TCP ports."""
    return [word(web.verdict(peer(CLIENT), number)) for number in numbers]


class TestNames:
    """Ports by name."""

    def test_on_the_way_in_a_name_is_the_endpoints_own(self) -> None:
        """``http`` is 8080 at WEB, whatever it is elsewhere."""
        web = at_web(policy(rule({"toPorts": [entry("http", **HTTP)]})))

        assert ["inspect", "deny"] == names(web, 8080, 9090)

    def test_an_unknown_name_opens_nothing(self) -> None:
        """A name that the endpoint does not have stands for no port."""
        web = at_web(policy(rule({"toPorts": [entry("metrics")]})))

        assert () == web.of(WORLD).segments

    def test_a_name_belongs_to_a_protocol(self) -> None:
        """A TCP entry does not mean a UDP port of that name; ``ANY`` means whichever it is."""
        selector = {"matchLabels": {"app": "client"}}
        for protocol, expected in (("TCP", Deny()), ("UDP", Allow()), ("ANY", Allow())):
            one = policy(rule({"toPorts": [entry("dns", protocol=protocol)]}, endpointSelector=selector))

            assert expected == lowered(one).ingress["demo/client"].verdict(WORLD, 53, UDP)

    def test_names_do_not_depend_on_case(self) -> None:
        """``HTTP`` is ``http``."""
        assert "allow" == names(at_web(policy(rule({"toPorts": [entry("HTTP")]}))), 8080)[0]

    def test_on_the_way_out_a_name_must_mean_one_number(self) -> None:
        """Two endpoints that disagree about a name make it mean nothing."""
        one = policy(rule(ingress=[], egress=[{"toPorts": [entry("http")]}]))

        assert ["deny", "deny"] == names(from_web(one), 8080, 9090)

    def test_on_the_way_out_a_name_is_anybodys(self) -> None:
        """A name that one endpoint has means its number for every peer."""
        one = policy(rule(ingress=[], egress=[{"toPorts": [entry("dns", protocol="UDP")]}]))

        assert Allow() == from_web(one).verdict(peer(WEB), 53, UDP)


RANGES = st.lists(
    st.tuples(st.integers(1, 30), st.integers(0, 12), st.sampled_from(("open", "http", "deny"))), max_size=6
)


@given(RANGES)
def test_segments_say_what_each_port_means(ranges: list[tuple[int, int, str]]) -> None:
    """For each port the verdict is that of the entries that have it: denied, open, inspected, or closed."""
    entries = [entry(first, first + more, **(HTTP if kind == "http" else {})) for first, more, kind in ranges]
    allow = [each for each, (_, _, kind) in zip(entries, ranges, strict=True) if kind != "deny"]
    deny = [each for each, (_, _, kind) in zip(entries, ranges, strict=True) if kind == "deny"]
    web = at_web(
        policy(rule({"toPorts": allow}, {}, ingressDeny=[{"toPorts": deny}, {}]))
        if deny
        else policy(rule({"toPorts": allow}, {}))
    )
    for number in range(50):
        kinds = {kind for first, more, kind in ranges if first <= number <= first + more}
        expected = next((w for k, w in WORDS.items() if k in kinds), "deny")

        assert expected == word(web.verdict(WORLD, number))
    segments = web.of(WORLD).segments
    assert all(one.last < two.first for one, two in pairwise(segments))


WORDS = {"deny": "deny", "open": "allow", "http": "inspect"}


def test_ports_listed_many_times_are_cheap_to_unite() -> None:
    """Forty ports in each of forty entries are 1,600 spans of one peer."""
    entries = [port(1000 + n * 40, GET, ports=tuple(range(1001 + n * 40, 1040 + n * 40))) for n in range(40)]

    assert 40 == len(at_web(policy(rule({"toPorts": entries}))).of(WORLD).segments)
