# SPDX-License-Identifier: Apache-2.0
"""``bpf/lib/packet.h`` on packets that are named for what they are."""

import struct

import hypothesis
import pytest
from hypothesis import strategies

from bpfast.abi import Reason
from tests.bpf import frames
from tests.bpf.frames import ethernet, extension, fragment6, icmp, ipv4, ipv6, jumbo, tcp, udp
from tests.bpf.host import Fault, Host, Kind, Parsed

NOP_OPTIONS = b"\1\1\1\1"
REFUSED = {
    "three VLAN tags": (
        ethernet(ipv4(tcp()), tags=(frames.VLAN,) * 3),
        Reason.VLAN_DEPTH,
    ),
    "three VLAN tags, two of them QinQ": (
        ethernet(ipv4(tcp()), tags=(frames.QINQ, frames.QINQ, frames.VLAN)),
        Reason.VLAN_DEPTH,
    ),
    "three VLAN tags around ARP": (
        ethernet(bytes(28), frames.ARP, tags=(frames.VLAN,) * 3),
        Reason.VLAN_DEPTH,
    ),
    "no header at all": (ethernet(b""), Reason.BAD_PACKET),
    "IPv4 in a frame of IPv6": (ethernet(ipv4(tcp(bytes(40))), frames.IPV6), Reason.BAD_PACKET),
    "IPv6 in a frame of IPv4": (ethernet(ipv6(tcp())), Reason.BAD_PACKET),
    "IPv4, version 5": (ethernet(ipv4(tcp(), version=5)), Reason.BAD_PACKET),
    "IPv4, no header length": (ethernet(ipv4(tcp(), length=0)), Reason.BAD_PACKET),
    "IPv4, header of 16 bytes": (ethernet(ipv4(tcp(), length=4)), Reason.BAD_PACKET),
    "IPv4, header longer than all": (ethernet(ipv4(b"", length=15)), Reason.BAD_PACKET),
    "IPv4, total length zero": (ethernet(ipv4(tcp(), total=0)), Reason.BAD_PACKET),
    "IPv4, total length within the header": (ethernet(ipv4(tcp(), total=19)), Reason.BAD_PACKET),
    "IPv4, total length without TCP": (ethernet(ipv4(tcp(), total=20)), Reason.BAD_PACKET),
    "IPv4, total length within TCP's header": (ethernet(ipv4(tcp(), total=39)), Reason.BAD_PACKET),
    "IPv4, total length within TCP's options": (
        ethernet(ipv4(tcp(options=NOP_OPTIONS), total=43)),
        Reason.BAD_PACKET,
    ),
    "IPv4, total length behind the frame": (ethernet(ipv4(tcp(), total=41)), Reason.BAD_PACKET),
    "IPv4, longest total length": (ethernet(ipv4(tcp(), total=65535)), Reason.BAD_PACKET),
    "IPv4 TCP with IP options": (ethernet(ipv4(tcp(), options=NOP_OPTIONS)), Reason.IP_OPTIONS),
    "IPv4 TCP with the most IP options": (
        ethernet(ipv4(tcp(), options=NOP_OPTIONS * 10)),
        Reason.IP_OPTIONS,
    ),
    "IPv4 TCP, first fragment": (
        ethernet(ipv4(tcp(b"12345678"), fragment=frames.MORE_FRAGMENTS)),
        Reason.FRAGMENT,
    ),
    "IPv4 TCP, middle fragment": (
        ethernet(ipv4(bytes(8), fragment=frames.MORE_FRAGMENTS | 3)),
        Reason.FRAGMENT,
    ),
    "IPv4 TCP, last fragment": (ethernet(ipv4(bytes(8), fragment=3)), Reason.FRAGMENT),
    "IPv4 TCP, fragment at the largest offset": (
        ethernet(ipv4(bytes(8), fragment=0x1FFF)),
        Reason.FRAGMENT,
    ),
    "IPv4 TCP, fragment that overlaps the header": (
        ethernet(ipv4(tcp(), fragment=1)),
        Reason.FRAGMENT,
    ),
    "TCP, no data offset": (ethernet(ipv4(tcp(b"1234", offset=0))), Reason.BAD_PACKET),
    "TCP, header of 16 bytes": (ethernet(ipv4(tcp(b"1234", offset=4))), Reason.BAD_PACKET),
    "TCP, header longer than the segment": (ethernet(ipv4(tcp(b"123", offset=6))), Reason.BAD_PACKET),
    "TCP, longest header in a short segment": (ethernet(ipv4(tcp(offset=15))), Reason.BAD_PACKET),
    "TCP, header that reaches into padding": (
        ethernet(ipv4(tcp(offset=6))) + bytes(20),
        Reason.BAD_PACKET,
    ),
    "IPv4 UDP without a header": (ethernet(ipv4(b"", frames.UDP)), Reason.BAD_PACKET),
    "IPv4 UDP, header of seven bytes": (ethernet(ipv4(bytes(7), frames.UDP)), Reason.BAD_PACKET),
    "IPv4 UDP, header in padding": (ethernet(ipv4(b"", frames.UDP)) + bytes(26), Reason.BAD_PACKET),
    "IPv4 SCTP without a header": (ethernet(ipv4(b"", frames.SCTP)), Reason.BAD_PACKET),
    "IPv4 SCTP, header in padding": (ethernet(ipv4(b"", frames.SCTP)) + bytes(26), Reason.BAD_PACKET),
    "IPv4 ICMP without a type": (ethernet(ipv4(b"", frames.ICMP)), Reason.BAD_PACKET),
    "IPv4 ICMP, type in padding": (ethernet(ipv4(b"", frames.ICMP)) + bytes(26), Reason.BAD_PACKET),
    "IPv6, version 4": (ethernet(ipv6(tcp(), version=4), frames.IPV6), Reason.BAD_PACKET),
    "IPv6, length behind the frame": (ethernet(ipv6(tcp(), length=21), frames.IPV6), Reason.BAD_PACKET),
    "IPv6, longest length": (ethernet(ipv6(tcp(), length=65535), frames.IPV6), Reason.BAD_PACKET),
    "IPv6, length zero": (ethernet(ipv6(tcp(), length=0), frames.IPV6), Reason.BAD_PACKET),
    "IPv6, length within TCP's header": (
        ethernet(ipv6(tcp(), length=19), frames.IPV6),
        Reason.BAD_PACKET,
    ),
    "IPv6 without anything behind": (ethernet(ipv6(b""), frames.IPV6), Reason.BAD_PACKET),
    "IPv6, hop-by-hop options that are not there": (
        ethernet(ipv6(b"", frames.HOP_BY_HOP), frames.IPV6),
        Reason.BAD_PACKET,
    ),
    "IPv6, fragment without its header": (
        ethernet(ipv6(b"", frames.FRAGMENT6), frames.IPV6),
        Reason.BAD_PACKET,
    ),
    "IPv6 ICMPv6 behind sixteen bytes of hop-by-hop options": (
        ethernet(
            ipv6(b"\x3a\1\1\x0c" + bytes(12) + icmp(143), frames.HOP_BY_HOP),
            frames.IPV6,
        ),
        Reason.IPV6_EXTENSION,
    ),
    "IPv6 ICMPv6 behind hop-by-hop options, type in padding": (
        ethernet(ipv6(extension(frames.ICMP6, icmp(143)), frames.HOP_BY_HOP, length=8), frames.IPV6),
        Reason.BAD_PACKET,
    ),
    "IPv6 ICMPv6 behind hop-by-hop options that the length cuts": (
        ethernet(ipv6(extension(frames.ICMP6, icmp(143)), frames.HOP_BY_HOP, length=7), frames.IPV6),
        Reason.IPV6_EXTENSION,
    ),
    "IPv6 ICMPv6, type in padding": (
        ethernet(ipv6(b"", frames.ICMP6), frames.IPV6) + bytes(8),
        Reason.BAD_PACKET,
    ),
    "IPv6 UDP, header in padding": (
        ethernet(ipv6(b"", frames.UDP), frames.IPV6) + bytes(8),
        Reason.BAD_PACKET,
    ),
    "IPv6 TCP, header of 16 bytes": (
        ethernet(ipv6(tcp(b"1234", offset=4)), frames.IPV6),
        Reason.BAD_PACKET,
    ),
    "IPv6 TCP behind hop-by-hop options": (
        ethernet(ipv6(extension(frames.TCP, tcp()), frames.HOP_BY_HOP), frames.IPV6),
        Reason.IPV6_EXTENSION,
    ),
    "IPv6 UDP behind hop-by-hop options": (
        ethernet(ipv6(extension(frames.UDP, udp()), frames.HOP_BY_HOP), frames.IPV6),
        Reason.IPV6_EXTENSION,
    ),
    "IPv6 TCP behind destination options": (
        ethernet(ipv6(extension(frames.TCP, tcp()), frames.DESTINATION), frames.IPV6),
        Reason.IPV6_EXTENSION,
    ),
    "IPv6 TCP behind a routing header": (
        ethernet(ipv6(extension(frames.TCP, tcp()), frames.ROUTING), frames.IPV6),
        Reason.IPV6_EXTENSION,
    ),
    "IPv6 TCP behind two extension headers": (
        ethernet(
            ipv6(
                extension(frames.DESTINATION, extension(frames.TCP, tcp())),
                frames.HOP_BY_HOP,
            ),
            frames.IPV6,
        ),
        Reason.IPV6_EXTENSION,
    ),
    "IPv6 TCP, first fragment": (
        ethernet(ipv6(fragment6(frames.TCP, tcp()), frames.FRAGMENT6), frames.IPV6),
        Reason.FRAGMENT,
    ),
    "IPv6 TCP, last fragment": (
        ethernet(ipv6(fragment6(frames.TCP, bytes(8), offset=3, more=False), frames.FRAGMENT6), frames.IPV6),
        Reason.FRAGMENT,
    ),
    "IPv6 TCP, the only fragment": (
        ethernet(ipv6(fragment6(frames.TCP, tcp(), more=False), frames.FRAGMENT6), frames.IPV6),
        Reason.FRAGMENT,
    ),
    "IPv6, options in a fragment": (
        ethernet(ipv6(fragment6(frames.DESTINATION, bytes(8)), frames.FRAGMENT6), frames.IPV6),
        Reason.FRAGMENT,
    ),
    "IPv6 with the ICMP of IPv4": (
        ethernet(ipv6(icmp(8), frames.ICMP), frames.IPV6),
        Reason.IPV6_EXTENSION,
    ),
    "IPv6, a transport that nobody knows": (
        ethernet(ipv6(bytes(16), frames.GRE), frames.IPV6),
        Reason.IPV6_EXTENSION,
    ),
}
"""What is not understood, and why."""

ACCEPTED = {
    "ARP": (ethernet(bytes(28), frames.ARP), Kind.NOT_IP),
    "ARP with a VLAN tag": (ethernet(bytes(28), frames.ARP, tags=(frames.VLAN,)), Kind.NOT_IP),
    "a length in place of a type": (ethernet(bytes(46), 46), Kind.NOT_IP),
    "IPv4 UDP": (ethernet(ipv4(udp(), frames.UDP)), Kind.UDP),
    "IPv4 UDP with IP options": (ethernet(ipv4(udp(), frames.UDP, options=NOP_OPTIONS)), Kind.UDP),
    "IPv4 UDP, first fragment": (
        ethernet(ipv4(udp(bytes(8)), frames.UDP, fragment=frames.MORE_FRAGMENTS)),
        Kind.UDP,
    ),
    "IPv4 UDP, middle fragment": (
        ethernet(ipv4(bytes(8), frames.UDP, fragment=frames.MORE_FRAGMENTS | 2)),
        Kind.LATER_FRAGMENT,
    ),
    "IPv4 UDP, last fragment": (ethernet(ipv4(bytes(8), frames.UDP, fragment=2)), Kind.LATER_FRAGMENT),
    "IPv4 UDP, last fragment of one byte": (
        ethernet(ipv4(b"1", frames.UDP, fragment=2)),
        Kind.LATER_FRAGMENT,
    ),
    "IPv4 ICMP": (ethernet(ipv4(icmp(8), frames.ICMP)), Kind.ICMP),
    "IPv4 SCTP": (ethernet(ipv4(bytes(12), frames.SCTP)), Kind.SCTP),
    "IPv6 SCTP": (ethernet(ipv6(bytes(12), frames.SCTP), frames.IPV6), Kind.SCTP),
    "IPv4 GRE": (ethernet(ipv4(bytes(12), frames.GRE)), Kind.OTHER_IP),
    "IPv4 without a transport": (ethernet(ipv4(b"", frames.GRE)), Kind.OTHER_IP),
    "ICMPv6 in IPv4": (ethernet(ipv4(icmp(128), frames.ICMP6)), Kind.OTHER_IP),
    "IPv6 UDP": (ethernet(ipv6(udp(), frames.UDP), frames.IPV6), Kind.UDP),
    "IPv6 ICMPv6": (ethernet(ipv6(icmp(135), frames.ICMP6), frames.IPV6), Kind.ICMP),
    "IPv6 ICMPv6 behind hop-by-hop options": (
        ethernet(ipv6(extension(frames.ICMP6, icmp(143)), frames.HOP_BY_HOP), frames.IPV6),
        Kind.ICMP,
    ),
    "IPv6 UDP, first fragment": (
        ethernet(ipv6(fragment6(frames.UDP, udp()), frames.FRAGMENT6), frames.IPV6),
        Kind.UDP,
    ),
    "IPv6 ICMPv6, last fragment": (
        ethernet(
            ipv6(fragment6(frames.ICMP6, bytes(8), offset=1, more=False), frames.FRAGMENT6), frames.IPV6
        ),
        Kind.LATER_FRAGMENT,
    ),
}
"""What is none of TCP's, and what it is."""

SEGMENTS = {
    "plain": (ethernet(ipv4(tcp(b"GET"))), 14, 54),
    "one VLAN tag": (ethernet(ipv4(tcp(b"GET")), tags=(frames.VLAN,)), 18, 58),
    "one QinQ tag": (ethernet(ipv4(tcp(b"GET")), tags=(frames.QINQ,)), 18, 58),
    "two VLAN tags": (ethernet(ipv4(tcp(b"GET")), tags=(frames.QINQ, frames.VLAN)), 22, 62),
    "TCP options": (ethernet(ipv4(tcp(b"GET", options=NOP_OPTIONS * 3))), 14, 66),
    "the most TCP options": (ethernet(ipv4(tcp(b"GET", options=NOP_OPTIONS * 10))), 14, 94),
    "padding": (ethernet(ipv4(tcp(b"GET"))) + bytes(3), 14, 54),
    "more padding": (ethernet(ipv4(tcp(b"GET"))) + bytes(300), 14, 54),
    "neither fragment nor DF": (ethernet(ipv4(tcp(b"GET"), fragment=0)), 14, 54),
    "the reserved flag": (ethernet(ipv4(tcp(b"GET"), fragment=0x8000)), 14, 54),
}
"""IPv4 segments with three bytes of payload, where IP and the payload begin."""


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_is_refused(host: Host, name: str) -> None:
    """A packet that could mean something else to the server is refused, with the reason."""
    frame, reason = REFUSED[name]
    parsed = host.parse(frame)

    assert (Kind.REFUSED, reason) == (parsed.kind, parsed.reason)


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_not_tcp_has_a_kind(host: Host, name: str) -> None:
    """A sound packet that is not TCP is of its kind, without a reason."""
    frame, kind = ACCEPTED[name]
    parsed = host.parse(frame)

    assert (kind, Reason.NONE) == (parsed.kind, parsed.reason)


@pytest.mark.parametrize("name", SEGMENTS)
def test_a_segment_is_read_whole(host: Host, name: str) -> None:
    """Of an IPv4 segment all is known: addresses, ports, numbers, flags and where the payload lies."""
    frame, l3, payload = SEGMENTS[name]

    assert host.parse(frame) == Parsed(
        kind=Kind.TCP,
        reason=Reason.NONE,
        version=4,
        protocol=frames.TCP,
        l3=l3,
        l4=l3 + 20,
        payload=payload,
        length=3,
        seq=frames.SEQ,
        ack=frames.ACK,
        flags=frames.PSH_ACK,
        icmp_type=0,
        source_port=frames.CLIENT_PORT,
        destination_port=frames.SERVER_PORT,
        source=frames.CLIENT,
        destination=frames.SERVER,
    )


def test_a_segment_without_payload_has_length_zero(host: Host) -> None:
    """Padding behind a bare segment is no payload."""
    parsed = host.parse(ethernet(ipv4(tcp())) + bytes(6))

    assert (Kind.TCP, 54, 0) == (parsed.kind, parsed.payload, parsed.length)


def test_a_segment_in_ipv6_is_read(host: Host) -> None:
    """Of an IPv6 segment addresses, ports and the payload's place are known; padding is no payload."""
    parsed = host.parse(ethernet(ipv6(tcp(b"GET")), frames.IPV6) + bytes(9))

    assert (Kind.TCP, 6, 74, 3) == (parsed.kind, parsed.version, parsed.payload, parsed.length)
    assert (frames.CLIENT6, frames.SERVER6) == (parsed.source, parsed.destination)
    assert (frames.CLIENT_PORT, frames.SERVER_PORT) == (parsed.source_port, parsed.destination_port)


BIG = bytes(70_000)
JUMBO = {
    "jumbo length": (jumbo(tcp(BIG)), 62, len(BIG)),
    "jumbo length and padding": (jumbo(tcp(BIG)) + bytes(9), 62, len(BIG)),
    "jumbo length before the end": (jumbo(tcp(BIG), length=66_000), 62, 66_000 - 8 - 20),
    "the least jumbo length": (jumbo(tcp(BIG), length=65_536), 62, 65_536 - 8 - 20),
    "no length at all": (ethernet(ipv6(tcp(BIG), length=0), frames.IPV6), 54, len(BIG)),
    "no length in IPv4": (ethernet(ipv4(tcp(BIG), total=0)), 34, len(BIG)),
}
"""BIG TCP: the frame, where TCP begins, and how much payload it has."""

NO_JUMBO = {
    "a length of 16 bits": (jumbo(tcp(BIG), length=65_535), Reason.BAD_PACKET),
    "a length of zero": (jumbo(tcp(BIG), length=0), Reason.BAD_PACKET),
    "a length behind the frame": (jumbo(tcp(BIG), length=8 + 20 + len(BIG) + 1), Reason.BAD_PACKET),
    "the longest length": (jumbo(tcp(BIG), length=0xFFFFFFFF), Reason.BAD_PACKET),
    "a small frame": (jumbo(tcp(b"GET"), length=66_000), Reason.BAD_PACKET),
    "two lengths": (jumbo(tcp(BIG), header=100), Reason.IPV6_EXTENSION),
    "another option": (jumbo(tcp(BIG), option=1), Reason.IPV6_EXTENSION),
    "more options": (jumbo(tcp(BIG), words=1), Reason.IPV6_EXTENSION),
    "UDP": (jumbo(udp(BIG[:65_000]) + BIG, following=frames.UDP), Reason.IPV6_EXTENSION),
    "UDP without options": (
        ethernet(ipv6(b"\0" * 70_000, frames.UDP, length=0), frames.IPV6),
        Reason.BAD_PACKET,
    ),
}


@pytest.mark.parametrize("name", JUMBO)
def test_a_segment_too_long_for_its_length_field_is_read(host: Host, name: str) -> None:
    """What Linux sends with BIG TCP is as long as the jumbo length or else the frame says."""
    frame, l4, length = JUMBO[name]
    parsed = host.parse(frame)

    assert (Kind.TCP, Reason.NONE, frames.TCP) == (parsed.kind, parsed.reason, parsed.protocol)
    assert (l4, l4 + 20, length) == (parsed.l4, parsed.payload, parsed.length)


@pytest.mark.parametrize("length", (20, 65_534, 65_535, 65_536, 70_000, 150_000))
def test_a_cut_segment_says_its_length_as_linux_would(host: Host, length: int) -> None:
    """IP's field has it, or 0 beside the jumbo length; options that are left over are padding."""
    big = length > 65_535
    options = struct.pack("!2I", *(host.call("jumbo_options", length, word) for word in (0, 1)))

    assert (0 if big else length) == host.call("length_field", length)
    assert bytes((frames.TCP, 0, 194 if big else 1, 4)) == options[:4]
    assert (length if big else 0) == int.from_bytes(options[4:], "big")


@pytest.mark.parametrize("name", NO_JUMBO)
def test_a_jumbo_length_that_lies_is_refused(host: Host, name: str) -> None:
    """Hop-by-hop options are passed over for a true jumbo length of TCP, and for nothing else."""
    frame, reason = NO_JUMBO[name]
    parsed = host.parse(frame)

    assert (Kind.REFUSED, reason) == (parsed.kind, parsed.reason)


@pytest.mark.parametrize(
    "packet",
    (
        ethernet(ipv4(udp(b"x"), frames.UDP)),
        ethernet(ipv6(udp(b"x"), frames.UDP), frames.IPV6),
    ),
    ids=("IPv4", "IPv6"),
)
def test_a_datagram_has_ports(host: Host, packet: bytes) -> None:
    """Of a UDP datagram the ports are known."""
    parsed = host.parse(packet)

    assert Kind.UDP == parsed.kind
    assert (frames.CLIENT_PORT, frames.SERVER_PORT) == (parsed.source_port, parsed.destination_port)


def test_a_later_fragment_has_no_ports(host: Host) -> None:
    """The first bytes of a later UDP fragment are payload, not ports."""
    parsed = host.parse(ethernet(ipv4(udp(), frames.UDP, fragment=2)))

    assert (0, 0) == (parsed.source_port, parsed.destination_port)


@pytest.mark.parametrize("kind", (0, 3, 8, 11, 255))
def test_icmp_has_a_type(host: Host, kind: int) -> None:
    """Of ICMP the type is known."""
    assert kind == host.parse(ethernet(ipv4(icmp(kind), frames.ICMP))).icmp_type


@pytest.mark.parametrize("kind", (1, 128, 129, 135))
def test_icmp6_has_a_type(host: Host, kind: int) -> None:
    """Of ICMPv6 the type is known."""
    assert kind == host.parse(ethernet(ipv6(icmp(kind), frames.ICMP6), frames.IPV6)).icmp_type


def test_an_echo_request_cannot_hide_its_type(host: Host) -> None:
    """ICMPv6 behind hop-by-hop options has its own type, an echo request that of one."""
    packet = ipv6(extension(frames.ICMP6, icmp(128)), frames.HOP_BY_HOP)
    parsed = host.parse(ethernet(packet, frames.IPV6))

    assert (Kind.ICMP, 128) == (parsed.kind, parsed.icmp_type)


def test_a_refused_segment_has_ports(host: Host) -> None:
    """TCP whose header is refused has its ports set."""
    parsed = host.parse(ethernet(ipv4(tcp(offset=4))))

    assert Kind.REFUSED == parsed.kind
    assert (frames.CLIENT_PORT, frames.SERVER_PORT) == (parsed.source_port, parsed.destination_port)


@pytest.mark.parametrize("name", SEGMENTS)
def test_a_cut_frame_is_refused(host: Host, name: str) -> None:
    """A segment cut anywhere is refused as truncated, and nothing behind the cut is read."""
    frame, _, payload = SEGMENTS[name]
    kinds = {(host.parse(frame[:size]).kind, host.parse(frame[:size]).reason) for size in range(payload + 3)}

    assert {(Kind.REFUSED, Reason.BAD_PACKET)} == kinds


@pytest.mark.parametrize("name", (*REFUSED, *ACCEPTED))
def test_nothing_behind_a_frame_is_read(host: Host, name: str) -> None:
    """Whatever a frame is, and wherever it is cut, the parser ends and stays inside."""
    frame, _ = REFUSED.get(name) or ACCEPTED[name]

    for size in range(len(frame) + 1):
        check(host.parse(frame[:size]), size)


def check(parsed: Parsed, size: int) -> None:
    """Assert what holds for every frame of ``size`` bytes."""
    assert (parsed.kind == Kind.REFUSED) == (parsed.reason != Reason.NONE)
    assert parsed.protocol == frames.TCP or parsed.flags == 0
    if parsed.kind == Kind.TCP:
        assert parsed.l3 in (14, 18, 22)
        assert parsed.l4 - parsed.l3 == (20 if parsed.version == 4 else 40)
        assert parsed.l4 + 20 <= parsed.payload <= parsed.payload + parsed.length <= size


WELL_FORMED = [frame for frame, _, _ in SEGMENTS.values()] + [frame for frame, _ in ACCEPTED.values()]
BYTE = strategies.integers(0, 255)


@strategies.composite
def bent_frames(draw: strategies.DrawFn) -> bytes:
    """Draw a sound frame with up to four bytes changed, cut or padded."""
    frame = bytearray(draw(strategies.sampled_from(WELL_FORMED)))
    for at, value in draw(strategies.lists(strategies.tuples(BYTE, BYTE), max_size=4)):
        frame[12 + at % (len(frame) - 12)] = value
    frame += draw(strategies.binary(max_size=60))
    return bytes(frame[: draw(strategies.integers(0, len(frame)))])


@hypothesis.settings(max_examples=400, deadline=None, database=None)
@hypothesis.given(frame=strategies.one_of(strategies.binary(max_size=200), bent_frames()))
def test_no_frame_leads_the_parser_astray(host: Host, frame: bytes) -> None:
    """Any bytes and any sound frame with bytes changed are parsed, without a read behind the end."""
    check(host.parse(frame), len(frame))


def test_a_read_behind_the_frame_is_caught(host: Host) -> None:
    """The net under these tests holds: the last byte can be read, the one behind it is a fault."""
    host.read_behind(b"frame", 4)
    with pytest.raises(Fault, match="SIGSEGV"):
        host.read_behind(b"frame", 5)
