# SPDX-License-Identifier: Apache-2.0
"""ENTRY: which packets are ours, and which are too odd to be anybody's.

Without the checks of lengths, options, fragments and tags a request could be
put where the chain does not look and the pod does; without the tests of other
protocols a policed pod could not resolve names or would answer anybody.
"""

import struct

import pytest

from bpfast.abi import PortVerdict
from bpfast.kernel.prefixes import PeerTable, PortPrefix
from bpfast.kernel.state import PortEntry
from bpfast.kernel.trial import XDP_DROP, XDP_TX
from e2e.ipv6 import fragment_header, option_header
from e2e.segments import Flags, Segment, ethernet
from tests.kernel.packets import (
    ACK,
    CLIENT,
    CLIENT_MAC,
    FIN,
    MARK,
    RST,
    SERVER,
    SERVER_MAC,
    SYN,
    Box,
    both_families,
    checksums_right,
    from_pod,
    get,
    to_pod,
    to_pod6,
    vlan_tagged,
    xdp_only,
)

UDP, ICMP, SCTP = 17, 1, 132
VLAN, SERVICE_VLAN = 0x8100, 0x88A8
DENIED = get("/secret")


def datagram(source_port: int, destination_port: int, data: bytes = b"x") -> bytes:
    """Return a UDP datagram without a checksum."""
    return struct.pack("!HHHH", source_port, destination_port, 8 + len(data), 0) + data


def icmp(kind: int, code: int = 0) -> bytes:
    """Return an ICMP message."""
    return struct.pack("!BBHI", kind, code, 0, 0) + bytes(28)


def tcp(flags: Flags, *, peer_port: int, port: int, data: bytes = b"") -> bytes:
    """Return a TCP segment of the client that belongs to nothing."""
    segment = Segment(
        source_port=peer_port,
        destination_port=port,
        sequence=1,
        acknowledgement=2,
        flags=flags,
        payload=data,
    )
    return segment.encode(CLIENT, SERVER)


def ipv6(next_header: int, payload: bytes) -> bytes:
    """Return a frame with an IPv6 packet."""
    return to_pod6(payload, following=next_header)


STRANGE = {
    "request": to_pod(tcp(ACK, peer_port=9, port=80, data=DENIED)),
    "fragment": to_pod(tcp(ACK, peer_port=9, port=80), fragment=0x2000),
    "IP options": to_pod(tcp(ACK, peer_port=9, port=80), options=b"\1\1\1\1"),
    "three tags": vlan_tagged(to_pod(tcp(ACK, peer_port=9, port=80)), VLAN, VLAN, VLAN),
    "IPv6 request": to_pod6(tcp(ACK, peer_port=9, port=80, data=DENIED)),
    "IPv6 fragment": ipv6(44, fragment_header(6, offset=0, more=True) + tcp(ACK, peer_port=9, port=80)),
    "IPv6 extension": ipv6(60, option_header(6) + tcp(ACK, peer_port=9, port=80)),
    "truncated": to_pod(tcp(ACK, peer_port=9, port=80))[:40],
    "datagram": to_pod(datagram(9, 53), protocol=UDP),
    "echo request": to_pod(icmp(8), protocol=ICMP),
}


@pytest.mark.parametrize("name", STRANGE)
def test_an_unpoliced_endpoint_lets_everything_pass(box: Box, name: str) -> None:
    """Whatever arrives at an endpoint that is not enforced goes on as it came, and nothing is counted."""
    box.configure(enforced=False)
    outcome = box.receive(STRANGE[name])
    assert outcome.passed
    assert STRANGE[name] == outcome.frame
    assert {} == box.reasons


@pytest.mark.parametrize("name", STRANGE)
def test_the_same_frames_do_not_pass_when_policed(box: Box, name: str) -> None:
    """None of the frames that an unpoliced endpoint gets passes at a policed one."""
    assert not box.receive(STRANGE[name]).passed


@pytest.mark.parametrize("ethertype", (0x0806, 0x88CC, 0x0842))
def test_what_is_not_ip_passes(box: Box, ethertype: int) -> None:
    """ARP and other link-layer protocols pass unchanged, without any policy asked."""
    frame = ethernet(CLIENT_MAC, SERVER_MAC, bytes(46), ethertype=ethertype)
    outcome = box.receive(frame)
    assert outcome.passed
    assert frame == outcome.frame
    assert {} == box.reasons


@xdp_only
def test_what_passes_carries_the_mark(box: Box) -> None:
    """A policed packet that passes has the endpoint's mark in its metadata; a dropped one goes nowhere."""
    connection = box.connection()
    outcome = connection.syn()
    assert outcome.passed
    assert struct.pack("=Q", MARK) == outcome.mark


@pytest.mark.parametrize("fragment", (0x2000, 0x0001, 0x2001, 0x1FFF, 0x6000))
@pytest.mark.parametrize("port", (80, 81))
def test_tcp_fragments_are_dropped_before_the_port_is_known(box: Box, fragment: int, port: int) -> None:
    """A TCP fragment, first or later, is dropped with its reason whatever port it seems to have."""
    outcome = box.receive(to_pod(tcp(SYN, peer_port=9, port=port), fragment=fragment))
    assert XDP_DROP == outcome.action
    assert {"fragment": 1} == box.reasons


def test_fragments_to_an_allowed_port_are_dropped_too(box: Box) -> None:
    """L4 permission for every port makes no fragment pass: a fragment has no port."""
    box.configure(
        {
            PortPrefix.one(0, 80): PortEntry(PortVerdict.INSPECT, box.rule_set),
            PortPrefix(0): PortEntry(PortVerdict.ALLOW),
        }
    )
    assert XDP_DROP == box.receive(to_pod(tcp(SYN, peer_port=9, port=81), fragment=0x2000)).action
    assert {"fragment": 1} == box.reasons


@pytest.mark.parametrize("options", (b"\1\1\1\1", b"\x07\x07\x04" + bytes(4) + b"\0", b"\x94\x04\0\0"))
def test_ip_options_are_denied(box: Box, options: bytes) -> None:
    """A packet with IP options never passes to an inspected port, in a flow or without."""
    connection = box.connected()
    frame = to_pod(
        Segment(
            source_port=connection.peer_port,
            destination_port=80,
            sequence=connection.client,
            acknowledgement=connection.server,
            flags=ACK,
            payload=get(),
        ).encode(CLIENT, SERVER),
        options=options,
    )
    assert XDP_DROP == box.receive(frame).action
    assert {"ip_options": 1} == box.reasons
    assert connection.send(get()).passed


@both_families
@pytest.mark.parametrize("tags", ((VLAN,), (SERVICE_VLAN,), (SERVICE_VLAN, VLAN), (VLAN, VLAN)))
def test_one_and_two_vlan_tags_are_inspected_alike(box: Box, tags: tuple[int, ...]) -> None:
    """Inside one or two VLAN tags an allowed request passes and a denied one gets the 403, tagged alike."""
    connection = box.connected(tags=tags)
    connection.exchange()
    outcome = connection.send(DENIED)
    assert XDP_TX == outcome.action
    assert b"HTTP/1.1 403 Forbidden" == outcome.segment.payload[:22]
    assert vlan_tagged(outcome.frame[:12] + bytes(4), *tags)[12:-4] == outcome.frame[12 : 12 + 4 * len(tags)]


def test_three_vlan_tags_are_dropped(box: Box) -> None:
    """A third VLAN tag is one too many: dropped before anything else is read."""
    frame = vlan_tagged(to_pod(tcp(SYN, peer_port=9, port=80)), SERVICE_VLAN, VLAN, VLAN)
    assert XDP_DROP == box.receive(frame).action
    assert {"vlan_depth": 1} == box.reasons


@pytest.mark.parametrize("size", (20, 33, 34, 40, 53))
def test_truncated_packets_are_dropped(box: Box, size: int) -> None:
    """A frame that ends inside its IP or TCP header never passes."""
    size = max(size, box.least)
    assert XDP_DROP == box.receive(to_pod(tcp(SYN, peer_port=9, port=80))[:size]).action
    assert {"bad_packet": 1} == box.reasons


def test_a_packet_shorter_than_it_says_is_dropped(box: Box) -> None:
    """A total length behind the frame's end never passes: bytes that we cannot see."""
    frame = to_pod(tcp(SYN, peer_port=9, port=80), total_length=41)
    assert XDP_DROP == box.receive(frame).action
    assert {"bad_packet": 1} == box.reasons


@pytest.mark.parametrize("doff", (0, 4, 6, 15))
def test_a_tcp_header_length_that_lies_is_dropped(box: Box, doff: int) -> None:
    """A data offset below five words or behind the packet's end is dropped."""
    segment = bytearray(tcp(SYN, peer_port=9, port=80))
    segment[12] = doff << 4
    assert XDP_DROP == box.receive(to_pod(bytes(segment))).action
    assert {"bad_packet": 1} == box.reasons


@both_families
def test_the_data_offset_is_honoured(box: Box) -> None:
    """Payload begins behind the TCP options: a request hidden in their place is no request."""
    connection = box.connected(options=b"\1\1\1\1\1\1\1\1")
    assert connection.send(get()).passed
    connection.serve(response_bytes())
    assert connection.send().passed
    assert XDP_TX == connection.send(DENIED).action


def response_bytes() -> bytes:
    """Return a short answer."""
    return b"HTTP/1.1 204 No Content\r\n\r\n"


@both_families
def test_padding_is_no_payload(box: Box) -> None:
    """Bytes behind the IP total length are Ethernet padding: ignored, whatever they look like."""
    connection = box.connected()
    assert box.receive(connection.client_frame() + DENIED).passed
    assert box.receive(connection.client_frame() + bytes(6)).passed
    assert {} == box.reasons
    assert connection.send(get()).passed


def test_a_request_cut_by_the_total_length_is_judged_by_it(box: Box) -> None:
    """Only bytes inside the total length are inspected; what follows must come again and is judged then."""
    connection = box.connected()
    whole = get("/public")
    segment = Segment(
        source_port=connection.peer_port,
        destination_port=80,
        sequence=connection.client,
        acknowledgement=connection.server,
        flags=ACK,
        payload=whole,
    ).encode(CLIENT, SERVER)
    frame = to_pod(segment, total_length=40 + 7)
    assert box.receive(frame).passed
    assert XDP_TX == connection.at(7, b"x" + whole[8:]).action


def test_a_total_length_of_zero_hides_nothing(box: Box) -> None:
    """A denied request in a packet with total length zero (BIG TCP) never passes."""
    connection = box.connected()
    frame = bytearray(connection.client_frame(DENIED))
    frame[16:18] = bytes(2)
    assert not box.receive(bytes(frame)).passed


@pytest.mark.parametrize("extension", (0, 43, 44, 60, 51, 50, 135, 139, 140, 253, 254))
@pytest.mark.parametrize("flags", (SYN, ACK, RST))
def test_ipv6_extension_headers_hide_no_tcp(box: Box, extension: int, flags: Flags) -> None:
    """TCP behind an extension header of IPv6 does not pass, whatever header that is."""
    header = bytes((6, 0)) + bytes(6)
    assert XDP_DROP == box.receive(ipv6(extension, header + tcp(flags, peer_port=9, port=80))).action
    assert {"fragment" if extension == 44 else "ipv6_extension": 1} == box.reasons


@pytest.mark.parametrize("offset", (0, 8, 48))
@pytest.mark.parametrize("inner", (6, 60, 0, 44, 50))
def test_ipv6_fragments_hide_no_tcp(box: Box, inner: int, offset: int) -> None:
    """A fragment, first or later, passes only if it says itself that it is of UDP or ICMPv6."""
    fragment = fragment_header(inner, offset=offset, more=True) + tcp(SYN, peer_port=9, port=80)
    assert XDP_DROP == box.receive(ipv6(44, fragment)).action
    assert {"fragment": 1} == box.reasons


@pytest.mark.parametrize("length", (0, 1, 65535, 65536, 70000, 0xFFFFFFFF))
def test_a_jumbo_length_hides_nothing_in_a_small_frame(box: Box, length: int) -> None:
    """Hop-by-hop options with a jumbo length pass only where the frame is as long as they say."""
    jumbo = struct.pack("!BBBBI", 6, 0, 194, 4, length)
    segment = tcp(SYN, peer_port=9, port=80)
    for said in (0, len(jumbo + segment)):
        outcome = box.receive(to_pod6(segment, following=0, extensions=jumbo, length=said))
        assert XDP_DROP == outcome.action
    assert 2 == sum(box.reasons.values())


def test_an_ipv6_packet_is_never_of_an_ipv4_connection(box: Box) -> None:
    """Addresses that only look like those of IPv4 do not make it the next segment of its connection."""
    connection = box.connected()
    before = connection.flow
    ends = {"source": f"::ffff:{CLIENT}", "destination": f"::ffff:{SERVER}"}
    segment = Segment(
        source_port=connection.peer_port,
        destination_port=80,
        sequence=connection.client,
        acknowledgement=connection.server,
        flags=ACK,
        payload=get(),
    )
    frame = to_pod6(segment.encode(*ends.values()), **ends)
    assert XDP_DROP == box.receive(frame).action
    assert {"bad_packet": 1} == box.reasons
    assert before == connection.flow
    assert connection.send(get()).passed


@pytest.mark.parametrize("kind", (133, 134, 135, 136))
def test_neighbour_discovery_passes(box: Box, kind: int) -> None:
    """Without neighbour discovery there is no IPv6 at all: it passes under default deny."""
    assert box.receive(ipv6(58, bytes((kind, 0)) + bytes(22))).passed


def test_other_tcp_ports_are_denied_by_default(box: Box) -> None:
    """A SYN to a port that no policy names is dropped and counted."""
    assert XDP_DROP == box.receive(to_pod(tcp(SYN, peer_port=9, port=81))).action
    assert {"l4_denied": 1} == box.reasons


@both_families
def test_ports_that_l4_allows_pass_without_a_flow(box: Box) -> None:
    """On an allowed port everything passes uninspected and no flow is made."""
    box.configure(
        {PortPrefix.one(0, 81): PortEntry(PortVerdict.ALLOW), PortPrefix(0): PortEntry(PortVerdict.DENY)}
    )
    connection = box.connected(port=81)
    assert connection.send(DENIED).passed
    assert connection.flow is None
    assert {} == box.reasons


def test_an_identity_has_policies_of_its_own(box: Box) -> None:
    """A known peer is judged by its identity's entries, not by those of the world."""
    from ipaddress import IPv4Address  # noqa: PLC0415

    box.trial.state.write_peers(PeerTable.of({IPv4Address(CLIENT): 7}))
    try:
        entries = {
            PortPrefix.one(0, 80): PortEntry(PortVerdict.INSPECT, box.rule_set),
            PortPrefix.one(7, 81): PortEntry(PortVerdict.ALLOW),
        }
        box.configure(entries)
        assert XDP_DROP == box.connection(port=80).syn().action or not box.connection().raw().passed
        assert box.connection(port=81).syn().passed
        box.trial.state.write_peers(PeerTable({}))
        assert XDP_DROP == box.connection(port=81).syn().action
    finally:
        box.trial.state.write_peers(PeerTable({}))


def test_replies_to_the_pods_own_connections_pass(box: Box) -> None:
    """After the watcher has seen the pod's own SYN, segments of that connection pass, and only of that."""
    port, peer_port = 43210, 443
    syn_ack = to_pod(tcp(SYN | ACK, peer_port=peer_port, port=port))
    assert XDP_DROP == box.receive(syn_ack).action
    own = Segment(source_port=port, destination_port=peer_port, sequence=1, flags=SYN)
    box.trial.watch(from_pod(own.encode(SERVER, CLIENT)))
    assert box.receive(syn_ack).passed
    assert box.receive(to_pod(tcp(ACK, peer_port=peer_port, port=port, data=b"x"))).passed
    assert XDP_DROP == box.receive(to_pod(tcp(ACK, peer_port=peer_port + 1, port=port))).action
    assert XDP_DROP == box.receive(to_pod(tcp(ACK, peer_port=peer_port, port=port + 1))).action


def test_replies_to_the_pods_own_datagrams_pass(box: Box) -> None:
    """After the watcher has seen the pod's own datagram its reply passes, and only that."""
    reply = to_pod(datagram(53, 43211), protocol=UDP)
    assert XDP_DROP == box.receive(reply).action
    box.trial.watch(from_pod(datagram(43211, 53), protocol=UDP))
    assert box.receive(reply).passed
    assert XDP_DROP == box.receive(to_pod(datagram(54, 43211), protocol=UDP)).action
    assert XDP_DROP == box.receive(to_pod(datagram(53, 43212), protocol=UDP)).action


def test_a_datagram_makes_no_tcp_pass(box: Box) -> None:
    """The pod's own datagram opens no TCP connection on the same ports."""
    box.trial.watch(from_pod(datagram(43213, 53), protocol=UDP))
    assert XDP_DROP == box.receive(to_pod(tcp(SYN, peer_port=53, port=43213))).action


def test_a_servers_answer_opens_no_reply(box: Box) -> None:
    """A SYN-ACK or RST of the pod is an answer: it lets nothing in on a denied port."""
    for flags in (SYN | ACK, RST, RST | ACK, ACK, FIN | ACK):
        own = Segment(source_port=43214, destination_port=5000, sequence=1, flags=flags)
        box.trial.watch(from_pod(own.encode(SERVER, CLIENT)))
    assert XDP_DROP == box.receive(to_pod(tcp(ACK, peer_port=5000, port=43214, data=b"x"))).action


def test_the_pods_own_syn_from_an_inspected_port_opens_it_to_nobody(box: Box) -> None:
    """A SYN that the pod sends from its inspected port does not let the peer send requests uninspected."""
    own = Segment(source_port=80, destination_port=5001, sequence=1, flags=SYN)
    box.trial.watch(from_pod(own.encode(SERVER, CLIENT)))
    assert not box.receive(to_pod(tcp(ACK, peer_port=5001, port=80, data=DENIED))).passed


@pytest.mark.parametrize(
    ("kind", "code", "expected"),
    ((8, 0, False), (13, 0, False), (3, 4, True), (3, 3, True), (11, 0, True), (12, 0, True)),
)
def test_icmp_errors_pass_and_requests_do_not(box: Box, kind: int, code: int, expected: bool) -> None:
    """Under default deny ICMP errors pass (path MTU needs them); echo and timestamp requests do not."""
    assert expected == box.receive(to_pod(icmp(kind, code), protocol=ICMP)).passed
    assert ({} if expected else {"l4_denied": 1}) == box.reasons


@pytest.mark.parametrize("protocol", (SCTP, 4, 41, 47, 50, 58))
def test_other_protocols_are_denied_by_default(box: Box, protocol: int) -> None:
    """SCTP, tunnels and ESP carry what we do not read: denied."""
    assert XDP_DROP == box.receive(to_pod(bytes(40), protocol=protocol)).action
    assert {"l4_denied": 1} == box.reasons


@pytest.mark.parametrize("port", (80, 81))
def test_tcp_rules_allow_no_datagrams(box: Box, port: int) -> None:
    """A port that TCP may use, inspected or not, is closed to UDP."""
    box.configure(
        {
            PortPrefix.one(0, 80): PortEntry(PortVerdict.INSPECT, box.rule_set),
            PortPrefix.one(0, 81): PortEntry(PortVerdict.ALLOW),
            PortPrefix(0): PortEntry(PortVerdict.DENY),
        }
    )
    assert XDP_DROP == box.receive(to_pod(datagram(9, port), protocol=UDP)).action


@both_families
@pytest.mark.parametrize("subtype", (0x00, 0x10))
def test_multipath_options_on_a_syn_become_nops(box: Box, subtype: int) -> None:
    """MP_CAPABLE and MP_JOIN are overwritten with NOPs, checksums kept right: no subflow hides bytes."""
    mptcp = bytes((30, 12, subtype)) + bytes(range(9))
    outcome = box.connection(options=b"\2\4\5\xb4" + mptcp).syn()
    assert outcome.passed
    assert b"\2\4\5\xb4" + b"\1" * 12 == outcome.segment.options
    assert checksums_right(outcome.frame)
