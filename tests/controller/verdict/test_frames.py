# SPDX-License-Identifier: Apache-2.0
"""The frames of ``verdict`` are what a real client would send, by another reader than the kernel."""

from ipaddress import ip_address

import pytest

from bpfast.kernel.frames import ACK, PSH, Frames
from e2e.ipv6 import ETHERTYPE_IPV6, decode
from e2e.segments import ETHERTYPE_IPV4, tcp_checksum

ENDS = {
    4: ("192.0.2.1", "192.0.2.2", ETHERTYPE_IPV4),
    6: ("2001:db8::1", "2001:db8::2", ETHERTYPE_IPV6),
}


@pytest.mark.parametrize("family", ENDS)
@pytest.mark.parametrize("data", (b"", b"GET", b"GET " * 362))
def test_a_frame_says_what_it_should(family: int, data: bytes) -> None:
    """Addresses, ports, numbers and payload are as asked for, of the right family, checksums right."""
    client, server, ethertype = ENDS[family]
    frames = Frames(ip_address(client), ip_address(server), 1234, 80)
    for frame, source, destination in (
        (frames.from_client(7, 9, ACK | PSH, data), client, server),
        (frames.from_server(7, 9, ACK | PSH, data), server, client),
    ):
        assert ethertype == int.from_bytes(frame[12:14], "big")
        found = decode(frame[14:])
        assert found is not None
        packet, segment = found
        assert (source, destination) == (packet.source, packet.destination)
        assert (7, 9, ACK | PSH, data) == (
            segment.sequence, segment.acknowledgement, segment.flags, segment.payload,
        )  # fmt: skip
        assert {1234, 80} == {segment.source_port, segment.destination_port}
        assert 0 == tcp_checksum(source, destination, packet.payload)
        assert len(frame) == frames.tcp_at + 20 + len(data)
