# SPDX-License-Identifier: Apache-2.0
"""What another version of bpfast has left in the pin directory, taken over without a gap.

    its maps     whose layout is ours stay in use, by both (``kernel.maps.GROUPS``)
    its links    get our programs one endpoint after the other, when all is
                 written that these need; until then its programs enforce
    its numbers  of policies and tables are not given again, so that no flow is
                 followed in a table that it did not begin with

Two places are the same in every version, so that they can be read in a map
that means nothing else to us: the generation, the second word of
``struct endpoint``, with the mark at byte 24; and the serial, the second word of
``struct rule_set``, with the greatest retired one in the last.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from bpfast.abi import MapNumber
from bpfast.errors import Failure
from bpfast.kernel import syscall
from bpfast.kernel.attach import pin_directories, pinned_endpoints
from bpfast.kernel.maps import GROUPS, Maps, pin_name
from bpfast.kernel.state import write_generation_floor, write_serial_floor

_SECOND_WORD = 4
_MARK = 24
_LOWEST = 24
"""A value that is shorter than this is none of ours."""


def made_from(roots: Sequence[Path]) -> Maps:
    """Return our maps, with what can be used of another version's.

    ``roots`` are the directories of other versions; where there is more than
    one, a takeover was cut off, and the one with the most endpoints is used.
    """
    source = max(roots, key=_endpoints, default=None)
    carried: dict[MapNumber, int] = {}
    if source is not None and _endpoints(source):
        for group in GROUPS:
            pins = {number: source / pin_name(number) for number in group.maps}
            if all(pin.exists() for pin in pins.values()):
                carried |= {number: syscall.pinned(str(pin)) for number, pin in pins.items()}
    maps = Maps.create(carried)
    if MapNumber.ENDPOINTS not in carried:
        generations = [_word(value, _SECOND_WORD) for root in roots for value in _values(root, "endpoint")]
        serials = [
            max(_word(value, _SECOND_WORD), _word(value, len(value) - 4))
            for root in roots
            for value in _values(root, "rule_set")
        ]
        write_generation_floor(maps, max(generations, default=0))
        write_serial_floor(maps, 0, max(serials, default=0))
    return maps


def others(pins: Path, root: Path) -> list[Path]:
    """Return the directories of other versions."""
    return sorted(other for other in pins.glob("abi_*") if other != root)


def texts(root: Path) -> frozenset[str]:
    """Return the hooks (``Hook.text``) of all endpoints that have pins, here or in another version's."""
    roots = (root, *others(root.parent, root))
    return frozenset(pinned.hook.text for each in roots for pinned in pinned_endpoints(each))


def uses_our_policies(root: Path, maps: Maps) -> bool:
    """Tell whether what another version enforces stands in our own maps."""
    return _number(_pin(root, "endpoint")) == syscall.map_info(maps[MapNumber.ENDPOINTS])[0]


def marks(root: Path) -> list[int]:
    """Return what another version's chain leaves for its guard, by endpoint number."""
    return [struct.unpack_from("=Q", value, _MARK)[0] for value in _values(root, "endpoint")]


def moved(directory: Path, root: Path) -> Path:
    """Move an endpoint's pins to ours, all at once; return where they are now.

    Whoever is killed before this leaves our programs under links that are
    pinned elsewhere: the next one finds them there and does it again.
    """
    there = root / directory.name
    directory.rename(there)
    return there


def clean_others(root: Path) -> None:
    """Take the maps of other versions away that have no endpoint any more."""
    for other in others(root.parent, root):
        if not _endpoints(other):
            for pin in other.iterdir():
                pin.unlink()
            other.rmdir()


def _endpoints(root: Path) -> int:
    return len(pin_directories(root))


def _pin(root: Path, name: str) -> Path:
    """Return the pin of another version's map; the kernel keeps 15 characters of its name."""
    found = next(root.glob(f"bpfast_{name}*"), None)
    if found is None:
        msg = f"{str(root)!r} has endpoints, but no map 'bpfast_{name}': detach them and take it away by hand"
        raise Failure(msg)
    return found


def _number(pin: Path) -> int:
    fd = syscall.pinned(str(pin))
    try:
        return syscall.map_info(fd)[0]
    finally:
        os.close(fd)


def _values(root: Path, name: str) -> Iterator[bytes]:
    """Yield the values of an array of another version, whatever their size."""
    pin = _pin(root, name)
    fd = syscall.pinned(str(pin))
    try:
        _id, size, entries = syscall.map_info(fd)
        if size < _LOWEST:
            msg = f"{str(pin)!r} has values of {size} bytes; expected {_LOWEST} or more: take it away by hand"
            raise Failure(msg)
        for index in range(entries):
            yield syscall.map_lookup(fd, struct.pack("=I", index), size) or bytes(size)
    finally:
        os.close(fd)


def _word(value: bytes, at: int) -> int:
    return int(struct.unpack_from("=I", value, at)[0])
