# SPDX-License-Identifier: Apache-2.0
"""Ethernet frames with IPv4 or IPv6 and TCP, for programs that run on made-up packets.

RFC 791, RFC 8200 and RFC 9293; checksums are whole.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
ETHERNET_BYTES = 14
_MACS = bytes.fromhex("020000000001020000000002")
_WINDOW = 64240

Address = IPv4Address | IPv6Address


def internet_sum(data: bytes) -> int:
    """Return the checksum of RFC 1071, inverted as it stands in a header."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@dataclass(frozen=True, slots=True)
class Frames:
    """Makes the frames of one connection, both ways; both addresses are of one family."""

    client: Address
    server: Address
    client_port: int
    server_port: int

    @property
    def tcp_at(self) -> int:
        """Where TCP begins in a frame."""
        return ETHERNET_BYTES + (20 if self.client.version == 4 else 40)  # noqa: PLR2004

    def end_of(self, frame: bytes) -> int:
        """Return where the IP packet in a frame ends: padding may follow."""
        at, before = (18, self.tcp_at) if self.client.version == 6 else (16, ETHERNET_BYTES)  # noqa: PLR2004
        return before + int.from_bytes(frame[at : at + 2], "big")

    def from_client(self, sequence: int, acknowledgement: int, flags: int, data: bytes = b"") -> bytes:
        """Return a frame to the server."""
        ends = (self.client, self.server, self.client_port, self.server_port)
        return _frame(ends, (sequence, acknowledgement, flags), data)

    def from_server(self, sequence: int, acknowledgement: int, flags: int, data: bytes = b"") -> bytes:
        """Return a frame to the client."""
        ends = (self.server, self.client, self.server_port, self.client_port)
        return _frame(ends, (sequence, acknowledgement, flags), data)


def _frame(ends: tuple[Address, Address, int, int], numbers: tuple[int, int, int], data: bytes) -> bytes:
    source, destination, source_port, destination_port = ends
    sequence, acknowledgement, flags = (number & 0xFFFFFFFF for number in numbers)
    tcp = struct.pack(
        "!HHIIBBHHH", source_port, destination_port, sequence, acknowledgement, 5 << 4, flags, _WINDOW, 0, 0
    )
    size = len(tcp) + len(data)
    pseudo = source.packed + destination.packed + struct.pack("!II", size, 6)
    tcp = tcp[:16] + struct.pack("!H", internet_sum(pseudo + tcp + data)) + tcp[18:]
    if source.version == 6:  # noqa: PLR2004 - IPv6
        ip = struct.pack("!IHBB", 6 << 28, size, 6, 64) + source.packed + destination.packed
        return _MACS + b"\x86\xdd" + ip + tcp + data
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + size, 0, 0x4000, 64, 6, 0)
    ip += source.packed + destination.packed
    ip = ip[:10] + struct.pack("!H", internet_sum(ip)) + ip[12:]
    return _MACS + b"\x08\x00" + ip + tcp + data
