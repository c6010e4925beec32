# SPDX-License-Identifier: Apache-2.0
"""The pure headers of ``bpf/lib`` as Python functions: ``host.c`` built by ``make -C bpf host``.

What they read lies right in front of a page that nobody may touch, and undefined
behaviour traps: a wrong read ends the call with a ``Fault``, not the tests.
"""

import ctypes
import mmap
import signal
import subprocess
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Self

from bpfast import abi
from bpfast.abi import Reason, Verdict
from bpfast.tables.image import TableImage
from bpfast.tables.walk import Head

_PAGE = mmap.PAGESIZE
_READABLE = 64 * _PAGE


class Fault(AssertionError):
    """The C code read what it must not, or did what C does not define."""


class Kind(IntEnum):
    """``enum packet_kind``."""

    NOT_IP = 0
    TCP = 1
    UDP = 2
    ICMP = 3
    OTHER_IP = 4
    REFUSED = 5
    LATER_FRAGMENT = 6
    SCTP = 7


_NUMBERS = (
    *("version", "protocol", "l3", "l4", "payload", "length"),
    *("seq", "ack", "flags", "icmp_type", "source_port", "destination_port"),
)


class _Parsed(ctypes.Structure):
    _fields_ = (
        ("source", ctypes.c_ubyte * 16),
        ("destination", ctypes.c_ubyte * 16),
        *((name, ctypes.c_uint32) for name in ("kind", "reason", *_NUMBERS)),
    )


class _Walked(ctypes.Structure):
    _fields_ = (
        *(
            (name, ctypes.c_uint32)
            for name in (
                *("ended", "reason", "rule", "taken", "head_method", "close", "expect", "chunked"),
                *("state", "reserved"),
            )
        ),
        ("length", ctypes.c_uint64),
    )


@dataclass(frozen=True, slots=True)
class Parsed:
    """``struct packet`` and its kind; ports are in host order."""

    kind: Kind
    reason: Reason
    version: int
    protocol: int
    l3: int
    l4: int
    payload: int
    length: int
    seq: int
    ack: int
    flags: int
    icmp_type: int
    source_port: int
    destination_port: int
    source: IPv4Address | IPv6Address
    destination: IPv4Address | IPv6Address

    @classmethod
    def of(cls, raw: _Parsed) -> Self:
        """Return what the library wrote."""
        return cls(
            Kind(raw.kind),
            Reason(raw.reason),
            **{name: getattr(raw, name) for name in _NUMBERS},
            source=abi.unpack_address(bytes(raw.source)),
            destination=abi.unpack_address(bytes(raw.destination)),
        )


@dataclass(frozen=True, slots=True)
class Walked:
    """How far a head was walked, and what became of it if it is decided; ``state`` is pre-multiplied."""

    taken: int
    state: int
    head: Head | None


def _head(raw: _Walked) -> Head:
    """Return the outcome as the reference walker tells it."""
    if raw.reason:
        return Head(Verdict.DENY, Reason(raw.reason))
    return Head(
        Verdict.ALLOW,
        Reason.RULE,
        raw.rule,
        content_length=raw.length,
        close=bool(raw.close),
        expect=bool(raw.expect),
        head_method=bool(raw.head_method),
        chunked=bool(raw.chunked),
    )


class Guarded:
    """Memory that ends where a page begins that cannot be read."""

    def __init__(self) -> None:
        """Map the pages and close the last one."""
        self._map = mmap.mmap(-1, _READABLE + _PAGE)
        self._start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        libc = ctypes.CDLL(None, use_errno=True)
        closed = libc.mprotect(ctypes.c_void_p(self._start + _READABLE), ctypes.c_size_t(_PAGE), 0)
        assert closed == 0, ctypes.get_errno()

    def put(self, data: bytes) -> int:
        """Copy ``data`` to the very end; return its address."""
        assert len(data) <= _READABLE, len(data)
        self._map[_READABLE - len(data) : _READABLE] = data
        return self._start + _READABLE - len(data)


_UNSIGNED = (
    "host_bounded",
    "host_bounded_size",
    "host_later_of",
    "host_length_field",
    "host_jumbo_options",
    "host_status_class",
)


class Host:
    """The library, and a place for what it reads."""

    def __init__(self, library: Path) -> None:
        """Load the library."""
        self._library = ctypes.CDLL(str(library))
        self._guarded = Guarded()
        for name in _UNSIGNED:
            getattr(self._library, name).restype = ctypes.c_uint32

    def status(self, data: bytes) -> int:
        """Return what status_of() says of the first bytes of an answer."""
        found = ctypes.c_uint32()
        self._call("host_status", data, found)
        return found.value

    def _call(self, name: str, data: bytes, result: ctypes.Structure | ctypes.c_uint32) -> None:
        at = ctypes.c_void_p(self._guarded.put(data))
        number = getattr(self._library, name)(at, ctypes.c_uint32(len(data)), ctypes.byref(result))
        if number:
            raise Fault(signal.Signals(number).name)

    def parse(self, frame: bytes) -> Parsed:
        """Return what parse_packet() makes of a frame."""
        raw = _Parsed()
        self._call("host_parse", frame, raw)
        return Parsed.of(raw)

    def place(self, image: TableImage, base: int = 0) -> None:
        """Put an image at a word of the tables and stand before a head."""
        words = len(image.data) // 4
        placed = self._library.host_place(image.data, ctypes.c_uint32(words), ctypes.c_uint32(base))
        assert placed == 0, (words, base)
        self.begin()

    def begin(self) -> None:
        """Stand before the first byte of a head."""
        self._library.host_begin()

    def feed(self, data: bytes) -> Walked:
        """Walk on over ``data``, up to the end of one head."""
        raw = _Walked()
        self._call("host_feed", data, raw)
        return Walked(raw.taken, raw.state, _head(raw) if raw.ended else None)

    def begin_chunks(self) -> None:
        """Stand before the first byte of the chunked body of the head that was walked."""
        self._library.host_begin_chunks()

    def feed_chunks(self, data: bytes) -> tuple[int, bool, Reason]:
        """Walk on over ``data``; return how many bytes, whether the body is over, and its fault."""
        raw = _Walked()
        self._call("host_feed_chunks", data, raw)
        return raw.taken, bool(raw.ended), Reason(raw.reason)

    def read_behind(self, data: bytes, distance: int) -> None:
        """Read one byte ``distance`` behind the first of ``data``."""
        at = ctypes.c_void_p(self._guarded.put(data))
        number = self._library.host_read_behind(at, ctypes.c_uint32(distance))
        if number:
            raise Fault(signal.Signals(number).name)

    def call(self, name: str, *numbers: int) -> int:
        """Return what a function of numbers (u32) returns."""
        function = getattr(self._library, f"host_{name}")
        return int(function(*(ctypes.c_uint32(number) for number in numbers)))


def build(bpf: Path, folder: Path) -> Path:
    """Build the library in ``folder``; return its path."""
    words = ["make", "-s", "-C", str(bpf), "host", f"OUT={folder}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "libbpfast_host.so"
