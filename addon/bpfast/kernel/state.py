# SPDX-License-Identifier: Apache-2.0
"""What user space tells the chain: endpoints, peers, port policies, rule sets.

Everything is written beside what is in use and switched by one number in the
endpoint's value: port policies stand under a policy number, table images at
their own place in one big array. Nothing that a packet may be using is
overwritten; a retired image's place is used again only after QUARANTINE.
"""

import ctypes
import mmap
import os
import struct
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bpfast import abi
from bpfast.abi import Direction, ImageWord, MapNumber, PortVerdict
from bpfast.errors import LimitExceeded
from bpfast.kernel import syscall
from bpfast.kernel.maps import Maps
from bpfast.kernel.prefixes import PeerPrefix, PeerTable, PortPrefix
from bpfast.tables.image import TableImage

QUARANTINE = 2.0
"""Seconds that the place of a retired image stays unused: far longer than any packet's way."""

_ENDPOINT = struct.Struct("=IIIIIIQ8192s")
_PORT_POLICY = struct.Struct("=II")
_RULE_SET = struct.Struct("=IIIIII")
_U32 = struct.Struct("=I")


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """``struct endpoint``: how an endpoint is policed. ``inspected`` are TCP port numbers."""

    enforced: bool
    timing: bool
    generation: int
    policy: int
    deny_mode: abi.DenyMode
    event_mode: abi.EventMode
    mark: int
    inspected: frozenset[int]
    direction: Direction = Direction.INGRESS

    def pack(self) -> bytes:
        """Return the value for the map ``endpoints``."""
        bitmap = bytearray(8192)
        for port in self.inspected:
            bitmap[port >> 3] |= 1 << (port & 7)
        flags = abi.EndpointFlag.ENFORCED if self.enforced else abi.EndpointFlag(0)
        if self.timing:
            flags |= abi.EndpointFlag.TIMING
        if self.direction is Direction.EGRESS:
            flags |= abi.EndpointFlag.EGRESS
        return _ENDPOINT.pack(
            flags, self.generation, self.deny_mode, self.event_mode, self.policy, 0, self.mark, bytes(bitmap)
        )


@dataclass(frozen=True, slots=True)
class PortEntry:
    """``struct port_policy``: a verdict and, to inspect, the index of a rule set."""

    verdict: PortVerdict
    rule_set: int = 0


@dataclass(frozen=True, slots=True)
class _Region:
    base: int
    size: int
    free_at: float


class State:
    """Typed writing of the maps that the chain reads."""

    def __init__(self, maps: Maps, *, quarantine: float = QUARANTINE) -> None:
        """Map the tables into memory and find out what rule sets are there already."""
        self._maps = maps
        self._quarantine = quarantine
        size = abi.TABLE_WORDS * 4
        self._memory = mmap.mmap(
            maps[MapNumber.TABLES], size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE
        )
        self._by_digest: dict[str, int] = {}
        self._regions: dict[int, _Region] = {}
        self._retired: list[_Region] = []
        self._serial = 0
        self._policies: dict[int, set[bytes]] = {}
        self._peers = PeerTable({})
        self._adopt()

    def close(self) -> None:
        """Give the mapped memory back."""
        self._memory.close()

    def _adopt(self) -> None:
        for index in range(abi.MAX_RULE_SETS):
            raw = syscall.map_lookup(self._maps[MapNumber.RULE_SETS], _U32.pack(index), _RULE_SET.size)
            base, serial, *_rest, retired = _RULE_SET.unpack(raw or bytes(_RULE_SET.size))
            # Requests may still be inside of one that is retired: its serial is not given again.
            self._serial = max(self._serial, serial, retired)
            if not serial:
                continue
            (words,) = _U32.unpack_from(self._memory, (base + ImageWord.SIZE) * 4)
            image = TableImage(self._memory[base * 4 : (base + words) * 4], ())
            self._by_digest[image.digest] = index
            self._regions[index] = _Region(base, words, 0.0)
        for raw in syscall.map_keys(self._maps[MapNumber.PORT_POLICIES], abi.SIZES["port_key"]):
            self._policies.setdefault(PortPrefix.unpack(raw)[0], set()).add(raw)
        peers = {}
        for raw in syscall.map_keys(self._maps[MapNumber.PEERS], abi.SIZES["peer_key"]):
            value = syscall.map_lookup(self._maps[MapNumber.PEERS], raw, 4)
            peers[PeerPrefix.unpack(raw)] = _U32.unpack(value)[0] if value else abi.IDENTITY_WORLD
        self._peers = PeerTable(peers)

    def install(self, image: TableImage) -> int:
        """Return the index of the rule set with this content, writing it when it is new."""
        known = self._by_digest.get(image.digest)
        if known is not None:
            return known
        index = next((n for n in range(abi.MAX_RULE_SETS) if n not in self._regions), None)
        if index is None:
            what = "rule sets"
            raise LimitExceeded(what, abi.MAX_RULE_SETS)
        words = image.words
        base = self._place(len(words))
        self._memory[base * 4 : (base + len(words)) * 4] = image.data
        self._serial += 1
        value = _RULE_SET.pack(
            base,
            self._serial,
            base + words[ImageWord.ROWS],
            (base + words[ImageWord.CLASSES]) * 4,
            words[ImageWord.START],
            0,
        )
        syscall.map_update(self._maps[MapNumber.RULE_SETS], _U32.pack(index), value)
        self._by_digest[image.digest] = index
        self._regions[index] = _Region(base, len(words), 0.0)
        return index

    def _place(self, words: int) -> int:
        """Return the first word of a free place, a multiple of ACTION_WORDS."""
        now = time.monotonic()
        self._retired = [region for region in self._retired if region.free_at > now]
        at = 0
        for region in sorted((*self._regions.values(), *self._retired), key=lambda region: region.base):
            if at + words <= region.base:
                break
            at = region.base + region.size
            at += -at % abi.ACTION_WORDS
        if at + words > abi.TABLE_WORDS:
            what = "words of tables (all rule sets together)"
            raise LimitExceeded(what, abi.TABLE_WORDS)
        return at

    def rule_sets(self) -> frozenset[int]:
        """Return the indices of the rule sets that are there."""
        return frozenset(self._regions)

    def retire(self, in_use: Iterable[int]) -> None:
        """Take away every rule set that is not in use; requests inside of one are reset."""
        keep = frozenset(in_use)
        for digest, index in list(self._by_digest.items()):
            if index in keep:
                continue
            write_serial_floor(self._maps, index, self._serial)
            del self._by_digest[digest]
            region = self._regions.pop(index)
            self._retired.append(_Region(region.base, region.size, time.monotonic() + self._quarantine))

    def write_policy(self, number: int, entries: Mapping[PortPrefix, PortEntry]) -> None:
        """Write port policies under a policy number that is new."""
        keys = self._policies.setdefault(number, set())
        for prefix, entry in entries.items():
            key = prefix.pack(number)
            syscall.map_update(
                self._maps[MapNumber.PORT_POLICIES], key, _PORT_POLICY.pack(entry.verdict, entry.rule_set)
            )
            keys.add(key)

    def drop_policies(self, in_use: Iterable[int]) -> None:
        """Delete port policies under every number that is not in use."""
        keep = frozenset(in_use)
        for number in [number for number in self._policies if number not in keep]:
            for key in self._policies.pop(number):
                syscall.map_delete(self._maps[MapNumber.PORT_POLICIES], key)

    def read_policy(self, number: int) -> dict[PortPrefix, PortEntry]:
        """Return the port policies under a number."""
        found = {}
        for key in self._policies.get(number, ()):
            value = syscall.map_lookup(self._maps[MapNumber.PORT_POLICIES], key, _PORT_POLICY.size)
            if value:
                verdict, rule_set = _PORT_POLICY.unpack(value)
                found[PortPrefix.unpack(key)[1]] = PortEntry(PortVerdict(verdict), rule_set)
        return found

    def peers(self) -> PeerTable:
        """Return the known peers."""
        return self._peers

    def policy_numbers(self) -> frozenset[int]:
        """Return the policy numbers that have entries."""
        return frozenset(self._policies)

    def write_peers(self, wanted: PeerTable) -> None:
        """Make these the known peers; all others are the world."""
        self.add_peers(wanted)
        self.drop_peers(wanted)

    def add_peers(self, wanted: PeerTable) -> None:
        """Write the peers that are new or have another identity; those that are gone stay for now."""
        known = dict(self._peers.identities)
        try:
            for prefix, identity in wanted.identities.items():
                if known.get(prefix) != identity:
                    syscall.map_update(self._maps[MapNumber.PEERS], prefix.pack(), _U32.pack(identity))
                    known[prefix] = identity
        finally:
            self._peers = PeerTable(known)  # what the kernel has, also when it is full

    def drop_peers(self, wanted: PeerTable) -> None:
        """Delete the peers that are not wanted any more."""
        known = self._peers.identities
        for prefix in known.keys() - wanted.identities.keys():
            syscall.map_delete(self._maps[MapNumber.PEERS], prefix.pack())
        self._peers = PeerTable({prefix: known[prefix] for prefix in known.keys() & wanted.identities.keys()})

    def write_endpoint(self, number: int, config: EndpointConfig) -> None:
        """Switch an endpoint to what was written before."""
        syscall.map_update(self._maps[MapNumber.ENDPOINTS], _U32.pack(number), config.pack())

    def clear_endpoint(self, number: int) -> None:
        """Let everything pass at an endpoint; its programs are going away."""
        syscall.map_update(self._maps[MapNumber.ENDPOINTS], _U32.pack(number), bytes(_ENDPOINT.size))

    def read_endpoint(self, number: int) -> tuple[int, int, int]:
        """Return (generation, policy number, mark) as the kernel has them."""
        raw = syscall.map_lookup(self._maps[MapNumber.ENDPOINTS], _U32.pack(number), _ENDPOINT.size)
        values = _ENDPOINT.unpack(raw or bytes(_ENDPOINT.size))
        return values[1], values[4], values[6]


def write_serial_floor(maps: Maps, index: int, serial: int) -> None:
    """Say at an index where there is no rule set that serials so far were given already."""
    value = _RULE_SET.pack(0, 0, 0, 0, 0, serial)
    syscall.map_update(maps[MapNumber.RULE_SETS], _U32.pack(index), value)


def write_generation_floor(maps: Maps, generation: int) -> None:
    """Say at number 0, which is no endpoint's, that generations so far were given already."""
    value = _ENDPOINT.pack(0, generation, 0, 0, 0, 0, 0, bytes(8192))
    syscall.map_update(maps[MapNumber.ENDPOINTS], _U32.pack(0), value)


def new_mark() -> int:
    """Return what the chain leaves in a packet's metadata for the guard: not to be guessed."""
    return int.from_bytes(os.urandom(8), "little") | 1


_SAMPLE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class EventRing:
    """The ring of verdict events; poll() returns raw bytes, one element an event."""

    def __init__(self, maps: Maps) -> None:
        """Open the ring of these maps."""
        self._taken: list[bytes] = []
        self._callback = _SAMPLE(self._take)
        self._library = syscall.library()
        self._library.ring_buffer__new.restype = ctypes.c_void_p
        self._ring = self._library.ring_buffer__new(maps[MapNumber.EVENTS], self._callback, None, None)

    def _take(self, _context: object, data: int, size: int) -> int:
        self._taken.append(ctypes.string_at(data, size))
        return 0

    def poll(self, milliseconds: int) -> list[bytes]:
        """Return all events that are there, waiting so long first: the kernel wakes nobody."""
        if milliseconds:
            time.sleep(milliseconds / 1000)
        self._library.ring_buffer__consume(ctypes.c_void_p(self._ring))
        taken, self._taken = self._taken, []
        return taken

    def close(self) -> None:
        """Unmap the ring."""
        self._library.ring_buffer__free(ctypes.c_void_p(self._ring))
