# SPDX-License-Identifier: Apache-2.0
"""Keys of the kernel's longest-prefix maps: who has an address, what may be done on a port.

``bpf/lib/abi.h``: struct peer_key and struct port_key. The kernel finds the
longest prefix that fits; ``PortTable`` and ``PeerTable`` find the same here.
"""

import struct
from collections.abc import Iterator, Mapping
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final, Generic, NamedTuple, TypeVar

from bpfast import abi

TCP: Final = 6
PORTS: Final = 65536
PORT_BITS: Final = 16
PROTOCOL_BITS: Final = 8
EXACT_BITS: Final = PROTOCOL_BITS + PORT_BITS

_PORT_KEY = struct.Struct("=IIIB2sB")
_PEER_KEY = struct.Struct("=II16s")
_MAPPED_BITS = 96
_ADDRESS_BITS = 128

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Value = TypeVar("Value")
Where = TypeVar("Where", bound=Address | Network)


class PortPrefix(NamedTuple):
    """What an identity may do at some ports: the first ``bits`` of protocol (8 bits) and port (16) count.

    24 bits are one port of one protocol, 8 all of its ports, 0 everything.
    ``port`` is the lowest one meant; for ICMP it is the type.
    """

    identity: int
    protocol: int = 0
    port: int = 0
    bits: int = 0

    @classmethod
    def one(cls, identity: int, port: int, protocol: int = TCP) -> "PortPrefix":
        """Return the prefix of a single port."""
        return cls(identity, protocol, port, EXACT_BITS)

    @property
    def ports(self) -> range:
        """The ports that are meant, of the protocol or of all."""
        return range(self.port, self.port + (1 << min(PORT_BITS, EXACT_BITS - self.bits)))

    def pack(self, policy: int) -> bytes:
        """Return ``struct port_key`` under a policy number."""
        bits, port = abi.PORT_KEY_BITS_ALWAYS + self.bits, self.port.to_bytes(2, "big")
        return _PORT_KEY.pack(bits, policy, self.identity, self.protocol, port, 0)

    @classmethod
    def unpack(cls, raw: bytes) -> tuple[int, "PortPrefix"]:
        """Return policy number and prefix of a ``struct port_key``."""
        bits, policy, identity, protocol, port, _reserved = _PORT_KEY.unpack(raw)
        number = int.from_bytes(port, "big")
        return policy, cls(identity, protocol, number, bits - abi.PORT_KEY_BITS_ALWAYS)


def prefixes(identity: int, protocol: int, first: int, last: int) -> Iterator[PortPrefix]:
    """Yield the fewest prefixes that together mean the ports ``first`` to ``last`` of a protocol."""
    while first <= last:
        low = (first & -first).bit_length() - 1 if first else PORT_BITS
        size = min(low, (last - first + 1).bit_length() - 1)
        yield PortPrefix(identity, protocol, first, EXACT_BITS - size)
        first += 1 << size


class PortTable(Generic[Value]):
    """Port policies by prefix; ``at`` finds what the kernel finds."""

    def __init__(self, entries: Mapping[PortPrefix, Value]) -> None:
        """Keep the entries."""
        self._entries = entries

    def at(self, identity: int, protocol: int, port: int) -> Value | None:
        """Return the entry of the longest prefix, or None: denied."""
        for size in range(PORT_BITS + 1):
            prefix = PortPrefix(identity, protocol, port >> size << size, EXACT_BITS - size)
            if prefix in self._entries:
                return self._entries[prefix]
        return self._entries.get(PortPrefix(identity))


class PeerPrefix(NamedTuple):
    """A network: its family (4 or 6), address as in ``struct address``, and how many bits of that count."""

    family: int
    address: bytes
    bits: int

    @classmethod
    def of(cls, where: Address | Network) -> "PeerPrefix":
        """Return the prefix that means a network, or a single address."""
        network = ip_network(where)
        more = _MAPPED_BITS if isinstance(network, IPv4Network) else 0
        return cls(network.version, abi.pack_address(network.network_address), more + network.prefixlen)

    def pack(self) -> bytes:
        """Return ``struct peer_key``."""
        return _PEER_KEY.pack(abi.PEER_BITS_ALWAYS + self.bits, self.family, self.address)

    @classmethod
    def unpack(cls, raw: bytes) -> "PeerPrefix":
        """Return the prefix in a ``struct peer_key``."""
        bits, family, address = _PEER_KEY.unpack(raw)
        return cls(family, address, bits - abi.PEER_BITS_ALWAYS)


class PeerTable:
    """Identities by network; what is in none is the world. ``at`` finds what the kernel finds."""

    def __init__(self, identities: Mapping[PeerPrefix, int]) -> None:
        """Keep the identities."""
        self.identities = dict(identities)

    @classmethod
    def of(cls, known: Mapping[Where, int]) -> "PeerTable":
        """Return the table of addresses and networks; of equal prefixes the later one counts."""
        return cls({PeerPrefix.of(where): identity for where, identity in known.items()})

    @cached_property
    def _masks(self) -> dict[int, int]:
        """Bits -> mask, the longest first."""
        every = (1 << _ADDRESS_BITS) - 1
        lengths = sorted({prefix.bits for prefix in self.identities}, reverse=True)
        return {bits: every ^ ((1 << (_ADDRESS_BITS - bits)) - 1) for bits in lengths}

    def at(self, address: Address) -> int:
        """Return the identity of an address."""
        number = int.from_bytes(abi.pack_address(address), "big")
        for bits, mask in self._masks.items():
            packed = (number & mask).to_bytes(abi.ADDRESS_BYTES, "big")
            found = self.identities.get(PeerPrefix(address.version, packed, bits))
            if found is not None:
                return found
        return abi.IDENTITY_WORLD
