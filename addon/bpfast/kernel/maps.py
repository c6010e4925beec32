# SPDX-License-Identifier: Apache-2.0
"""The maps of ``bpf/lib/maps.h``: their types, sizes and meanings, made or taken from pins.

Created here and not by bcc: its compile time grows with the size of every map
that the text declares. ``bpf/lib/maps.h`` says what each is for.
"""

import hashlib
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from bpfast import abi, settings
from bpfast.abi import MapNumber
from bpfast.kernel import syscall
from bpfast.kernel.compiler import text_digest


@dataclass(frozen=True, slots=True)
class MapShape:
    """Type, key size, value size (bytes), number of elements and creation flags."""

    map_type: int
    key: int
    value: int
    entries: int
    flags: int = 0


_FLOW_KEY = abi.SIZES["flow_key"]

SHAPES: Mapping[MapNumber, MapShape] = {
    MapNumber.ENDPOINTS: MapShape(syscall.MAP_ARRAY, 4, abi.SIZES["endpoint"], abi.MAX_ENDPOINTS),
    MapNumber.FLOWS: MapShape(
        syscall.MAP_HASH, _FLOW_KEY, abi.SIZES["flow"], abi.MAX_FLOWS, syscall.NO_PREALLOC
    ),
    MapNumber.EMBRYOS: MapShape(syscall.MAP_LRU_HASH, _FLOW_KEY, abi.SIZES["embryo"], abi.MAX_EMBRYOS),
    MapNumber.ENDED: MapShape(syscall.MAP_LRU_HASH, _FLOW_KEY, abi.SIZES["ended"], abi.MAX_ENDED),
    MapNumber.REPLIES: MapShape(syscall.MAP_LRU_HASH, abi.SIZES["reply_key"], 8, abi.MAX_REPLIES),
    MapNumber.PEERS: MapShape(
        syscall.MAP_LPM_TRIE, abi.SIZES["peer_key"], 4, abi.MAX_PEERS, syscall.NO_PREALLOC
    ),
    MapNumber.PORT_POLICIES: MapShape(
        syscall.MAP_LPM_TRIE,
        abi.SIZES["port_key"],
        abi.SIZES["port_policy"],
        abi.MAX_PORT_POLICIES,
        syscall.NO_PREALLOC,
    ),
    MapNumber.RULE_SETS: MapShape(syscall.MAP_ARRAY, 4, abi.SIZES["rule_set"], abi.MAX_RULE_SETS),
    MapNumber.TABLES: MapShape(syscall.MAP_ARRAY, 4, abi.TABLE_WORDS * 4, 1, syscall.MMAPABLE),
    MapNumber.CONTEXT: MapShape(syscall.MAP_PERCPU_ARRAY, 4, abi.CONTEXT_BYTES, 1),
    MapNumber.FRESH: MapShape(syscall.MAP_PERCPU_ARRAY, 4, abi.SIZES["flow"], 1),
    MapNumber.COPIES: MapShape(syscall.MAP_ARRAY, 4, abi.LARGE_COPY + abi.COPY_SLACK, abi.LARGE_SLOTS),
    MapNumber.COPIES_FREE: MapShape(syscall.MAP_QUEUE, 0, 4, abi.LARGE_SLOTS),
    MapNumber.EVENTS: MapShape(syscall.MAP_RINGBUF, 0, 0, abi.EVENT_RING_BYTES),
    MapNumber.REASONS: MapShape(syscall.MAP_PERCPU_ARRAY, 4, 8, abi.Reason.MAX),
    MapNumber.COUNTS: MapShape(syscall.MAP_PERCPU_ARRAY, 4, 8, abi.Count.MAX),
    MapNumber.RATES: MapShape(syscall.MAP_PERCPU_ARRAY, 4, abi.SIZES["rate"], 1),
    MapNumber.ANSWERS: MapShape(syscall.MAP_ARRAY, 4, abi.SIZES["answer"], abi.ANSWER_COUNT),
    MapNumber.CHAIN: MapShape(syscall.MAP_PROG_ARRAY, 4, 4, abi.Slot.MAX),
    MapNumber.CHAIN_TCX: MapShape(syscall.MAP_PROG_ARRAY, 4, 4, abi.Slot.MAX),
    MapNumber.NEXT: MapShape(syscall.MAP_PROG_ARRAY, 4, 4, abi.MAX_ENDPOINTS),
    MapNumber.SWEEP: MapShape(syscall.MAP_ARRAY, 4, abi.SIZES["sweep"], 1),
    MapNumber.MEMO: MapShape(syscall.MAP_PERCPU_ARRAY, 4, abi.SIZES["memo"], abi.MEMO_SLOTS),
}


FLOW_MEANING = 2
"""Another number whenever what stands in a flow, a copy or a log means something else at the same size."""

TOLD_MEANING = 1
"""The same for what user space tells the chain."""


@dataclass(frozen=True, slots=True)
class Group:
    """Maps that refer to each other: another version takes all of them over, or none."""

    maps: tuple[MapNumber, ...]
    meaning: object


GROUPS: Sequence[Group] = (
    Group(
        (
            MapNumber.ENDPOINTS,
            MapNumber.PEERS,
            MapNumber.PORT_POLICIES,
            MapNumber.RULE_SETS,
            MapNumber.TABLES,
        ),
        (
            TOLD_MEANING,
            [abi.SIZES[name] for name in ("endpoint", "peer_key", "port_key", "port_policy", "rule_set")],
            [abi.IMAGE_VERSION, abi.IMAGE_HEADER_WORDS, abi.ACTION_WORDS, abi.CANDIDATE_WORDS],
            [[*map(repr, kind)] for kind in (abi.ImageWord, abi.ActionWord, abi.ActionOp, abi.SeenBit)],
            [[*map(repr, kind)] for kind in (abi.PortVerdict, abi.EndpointFlag, abi.DenyMode, abi.EventMode)],
        ),
    ),
    Group(
        (MapNumber.FLOWS, MapNumber.COPIES, MapNumber.COPIES_FREE),
        (
            FLOW_MEANING,
            [abi.SIZES[name] for name in ("flow_key", "flow", "head")],
            [abi.INLINE_COPY, abi.LARGE_COPY, abi.COPY_SLACK, abi.LOG_INLINE, abi.FLOW_PHASE_OFFSET],
            [[*map(repr, kind)] for kind in (abi.FlowStage, abi.Phase, abi.SeenBit)],
        ),
    ),
    Group((MapNumber.EMBRYOS,), FLOW_MEANING),
    Group((MapNumber.ENDED,), FLOW_MEANING),
    Group((MapNumber.REPLIES,), FLOW_MEANING),
    Group((MapNumber.EVENTS,), (abi.SIZES["event"], abi.SIZES["response"], [*map(repr, abi.Reason)])),
    Group((MapNumber.REASONS,), [*map(repr, abi.Reason)]),
    Group((MapNumber.COUNTS,), [*map(repr, abi.Count)]),
)
"""What is worth taking over. All other maps are each version's own: the chain, what its stages hand on."""


def _digest(what: object) -> str:
    return hashlib.sha256(repr(what).encode()).hexdigest()[:8]


def _map_layout(number: MapNumber) -> str:
    """Return the digest of all that a map's bytes mean; the same one in two versions: both can use it."""
    group = next((group for group in GROUPS if number in group.maps), Group((number,), None))
    return _digest((group.meaning, [SHAPES[each] for each in group.maps]))


def layout() -> str:
    """Return the name of this version's programs and maps.

    The version is for people; the digest is of every type and size and of the
    text, so that a change that nobody has numbered counts, too: stages of two
    versions never hand packets to each other.
    """
    maps = sorted((number, shape, _map_layout(number)) for number, shape in SHAPES.items())
    text = text_digest(settings.bpf_directory())
    return f"abi_{abi.ABI_VERSION}_{_digest((maps, sorted(abi.SIZES.items()), text))}"


def _name(number: MapNumber) -> str:
    return f"bpfast_{number.name.lower()}"[:15]


def pin_name(number: MapNumber) -> str:
    """Return the name of a map's pin, which says what its bytes mean."""
    return f"{_name(number)}_{_map_layout(number)}"


class Maps:
    """File descriptors of all maps, by number; close() gives them back."""

    def __init__(self, fds: Mapping[MapNumber, int]) -> None:
        """Keep the descriptors; they are this object's from now on."""
        self.fds = dict(fds)

    @classmethod
    def create(cls, carried: Mapping[MapNumber, int] = MappingProxyType({})) -> "Maps":
        """Create every map, and fill what never changes; those ``carried`` are there already.

        Their descriptors are this object's from now on.
        """
        fds = dict(carried)
        try:
            for number, shape in SHAPES.items():
                if number in carried:
                    continue
                fds[number] = syscall.map_create(
                    shape.map_type,
                    _name(number),
                    key=shape.key,
                    value=shape.value,
                    entries=shape.entries,
                    flags=shape.flags,
                )
        except BaseException:
            for fd in fds.values():
                os.close(fd)
            raise
        maps = cls(fds)
        for slot in range(0 if MapNumber.COPIES_FREE in carried else abi.LARGE_SLOTS):
            syscall.map_update(fds[MapNumber.COPIES_FREE], None, struct.pack("=I", slot))
        for index, text in enumerate(abi.ANSWERS):
            syscall.map_update(fds[MapNumber.ANSWERS], struct.pack("=I", index), abi.pack_answer(text))
        return maps

    @classmethod
    def from_pins(cls, directory: Path) -> "Maps":
        """Open every map pinned in ``directory``."""
        return cls({number: syscall.pinned(str(directory / pin_name(number))) for number in SHAPES})

    @staticmethod
    def are_pinned(directory: Path) -> bool:
        """Tell whether every map is pinned in ``directory``."""
        return all((directory / pin_name(number)).exists() for number in SHAPES)

    def pin(self, directory: Path) -> None:
        """Pin every map in ``directory``."""
        for number, fd in self.fds.items():
            syscall.pin(fd, str(directory / pin_name(number)))

    def close(self) -> None:
        """Give the descriptors back; pins and programs keep the maps."""
        for fd in self.fds.values():
            os.close(fd)
        self.fds.clear()

    def __getitem__(self, number: MapNumber) -> int:
        """Return the descriptor of a map."""
        return self.fds[number]

    def per_cpu_sum(self, number: MapNumber, index: int) -> int:
        """Return the sum of a per-CPU u64 over all CPUs."""
        size = 8 * possible_cpus()
        value = syscall.map_lookup(self.fds[number], struct.pack("=I", index), size) or b""
        return sum(struct.unpack(f"={len(value) // 8}Q", value))

    def raw_reasons(self) -> bytes:
        """Return the counters of all reasons as the kernel holds them, for ``counted_reasons()``."""
        return syscall.map_values(self.fds[MapNumber.REASONS], abi.Reason.MAX, 8 * possible_cpus())

    def reasons(self) -> dict[str, int]:
        """Return how many packets each reason has taken, without the zeros."""
        return counted_reasons(self.raw_reasons())

    def counts(self) -> dict[str, int]:
        """Return what is counted beside the reasons."""
        raw = syscall.map_values(self.fds[MapNumber.COUNTS], abi.Count.MAX, 8 * possible_cpus())
        sums = _per_cpu_sums(raw)
        return {count.name.lower(): sums[count] for count in abi.Count if count is not abi.Count.MAX}


def counted_reasons(raw: bytes) -> dict[str, int]:
    """Return how many packets each reason has taken by these counters, without the zeros."""
    sums = _per_cpu_sums(raw)
    return {reason.name.lower(): sums[reason] for reason in abi.REASONS if sums[reason]}


def _per_cpu_sums(raw: bytes) -> list[int]:
    """Return the sum over all CPUs of each u64 of a per-CPU array."""
    words = struct.unpack(f"={len(raw) // 8}Q", raw)
    cpus = possible_cpus()
    return [sum(words[at : at + cpus]) for at in range(0, len(words), cpus)]


@cache
def possible_cpus() -> int:
    """Return how many CPUs a per-CPU value has room for (/sys/devices/system/cpu/possible)."""
    text = Path("/sys/devices/system/cpu/possible").read_text().strip()
    return int(text.rsplit("-", 1)[-1].rsplit(",", 1)[-1]) + 1
