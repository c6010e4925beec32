# SPDX-License-Identifier: Apache-2.0
"""Programs onto interfaces, by pinned links, and off again.

    pod's eth0, receive side       generic XDP: ENTRY and the chain; tcx: GUARD
    host-side veth, receive side   tcx: WATCH

The watcher comes first (a flow needs its SYN-ACK), then the chain, then the
guard, which drops what the chain has not marked. Every link is pinned as soon
as it is made; going down takes the opposite order. A pinned link outlives its
interface, so ``is_alive`` looks at the index, which is 0 once the interface is gone.
"""

import contextlib
import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bpfast.errors import Failure, KernelFailure
from bpfast.kernel import syscall
from bpfast.kernel.netns import entered, interface_name, read_interface
from bpfast.kernel.program import Programs

_CMD_LINK_CREATE = 28
_BEFORE = 1 << 3
_EBUSY = 16
_PARTS = ("watch", "chain", "guard")
_PROGRAM_OF = {"watch": "bpfast_watch", "chain": "bpfast_entry", "guard": "bpfast_guard"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where an endpoint's programs go: its namespace's file and its interface's name."""

    netns: str
    interface: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """The links of one endpoint; ``directory`` holds their pins."""

    number: int
    directory: Path
    pod_index: int = 0
    host_index: int = 0

    def is_alive(self) -> bool:
        """Tell whether every link is still on a device, wherever that is and whatever its name.

        The pod's root can rename the device and move it to another namespace, and
        put another one in its place; the links go with it, and must stay.
        """
        try:
            return all(_link_index(self.directory / f"link_{part}") for part in _PARTS)
        except Failure:
            return False

    def is_at(self, place: Place) -> bool:
        """Tell whether the device that the links are on is the one that is in that place."""
        try:
            return host_index(place) == tuple(
                _link_index(self.directory / f"link_{part}") for part in ("chain", "watch")
            )
        except Failure:
            return False


def _link_index(pin: Path) -> int:
    fd = syscall.pinned(str(pin))
    try:
        return syscall.link_info(fd)[2]
    finally:
        os.close(fd)


def directory_name(number: int, full_name: str) -> str:
    """Return the pin directory of an endpoint; names may hold dots, which bpffs refuses."""
    return f"endpoint_{number}_{hashlib.sha256(full_name.encode()).hexdigest()[:16]}"


def pinned_endpoints(root: Path) -> Iterator[tuple[int, str, Path]]:
    """Yield (number, directory name, directory) of every endpoint that has pins."""
    for directory in sorted(root.glob("endpoint_*_*")):
        yield int(directory.name.split("_")[1]), directory.name, directory


def _link_tcx(prog_fd: int, ifindex: int) -> int:
    """Attach at the head of the interface's tcx programs; libbpf 1.1 cannot say where."""
    attributes = struct.pack("=IIIIIIQ", prog_fd, ifindex, syscall.ATTACH_TCX_INGRESS, _BEFORE, 0, 0, 0)
    try:
        return syscall.bpf(_CMD_LINK_CREATE, attributes)
    except KernelFailure as error:
        msg = f"tcx cannot be attached to interface {ifindex} (Linux 6.6 or newer is needed): {error}"
        raise KernelFailure(msg) from error.__cause__


def _link_xdp(prog_fd: int, ifindex: int, place: Place) -> int:
    try:
        return syscall.link_create(prog_fd, ifindex, syscall.ATTACH_XDP, syscall.XDP_FLAGS_SKB_MODE)
    except KernelFailure as error:
        if syscall.error_number(error) != _EBUSY:
            raise
        msg = (
            f"interface {place.interface!r} in {place.netns!r} already has an XDP program: "
            "take it off first (`ip link set dev INTERFACE xdpgeneric off`, or remove its pinned link); "
            "running behind a foreign program is not supported yet"
        )
        raise KernelFailure(msg) from error


def host_index(place: Place) -> tuple[int, int]:
    """Return (pod's interface index, host-side index), or raise Failure saying what is wrong."""
    inside = read_interface(place.netns, place.interface)
    if inside.kind != "veth" or not inside.peer_index:
        msg = (
            f"interface {place.interface!r} in {place.netns!r} is of kind {inside.kind or 'unknown'!r}; "
            "valid: a veth whose other end is in the namespace that bpfast runs in"
        )
        raise Failure(msg)
    name = interface_name(inside.peer_index)
    if name is None or read_interface(None, name).peer_index != inside.index:
        msg = (
            f"the other end of {place.interface!r} in {place.netns!r} is not in this network namespace: "
            "run bpfast where the host side of the pods is"
        )
        raise Failure(msg)
    return inside.index, inside.peer_index


def attach(programs: Programs, number: int, place: Place, directory: Path) -> Attachment:
    """Attach the three programs of an endpoint and pin their links; all or nothing."""
    pod, host = host_index(place)
    directory.mkdir(parents=True, exist_ok=True)
    attachment = Attachment(number, directory, pod, host)
    try:
        for part in _PARTS:
            _attach_part(programs, attachment, part, place)
    except BaseException:
        detach(directory)
        raise
    return attachment


def _attach_part(programs: Programs, attachment: Attachment, part: str, place: Place) -> None:
    prog_fd = programs.load(_PROGRAM_OF[part], attachment.number)
    link_fd = -1
    try:
        if part == "watch":
            link_fd = _link_tcx(prog_fd, attachment.host_index)
        else:
            with entered(place.netns):
                index = attachment.pod_index
                link_fd = _link_xdp(prog_fd, index, place) if part == "chain" else _link_tcx(prog_fd, index)
        syscall.pin(link_fd, str(attachment.directory / f"link_{part}"))
    finally:
        os.close(prog_fd)
        if link_fd >= 0:
            os.close(link_fd)


def renew(programs: Programs, number: int, directory: Path) -> None:
    """Put newly loaded programs under the links of an endpoint, without a gap."""
    for part in _PARTS:
        link_fd = syscall.pinned(str(directory / f"link_{part}"))
        prog_fd = programs.load(_PROGRAM_OF[part], number)
        try:
            syscall.link_update(link_fd, prog_fd)
        finally:
            os.close(prog_fd)
            os.close(link_fd)


def detach(directory: Path) -> None:
    """Take an endpoint's programs off, guard first, and its pins away."""
    for part in reversed(_PARTS):
        pin = directory / f"link_{part}"
        if not pin.exists():
            continue
        fd = syscall.pinned(str(pin))
        try:
            with contextlib.suppress(KernelFailure):  # the interface may be gone already
                syscall.link_detach(fd)
        finally:
            os.close(fd)
        pin.unlink()
    if directory.exists():
        directory.rmdir()
