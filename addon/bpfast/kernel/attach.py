# SPDX-License-Identifier: Apache-2.0
"""Programs onto interfaces, by pinned links, and off again.

                     ingress rules            egress rules
    chain and guard  pod's eth0               host-side veth
    watcher          host-side veth           pod's eth0

The chain (ENTRY first) is generic XDP, guard and watcher are tcx; all on the
receive side. Without tcx the guard is a clsact filter and the watcher generic
XDP (``kernel.hooks`` asks, ``kernel.clsact`` does it).

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

from bpfast.abi import Direction
from bpfast.errors import Failure, KernelFailure
from bpfast.kernel import clsact, hooks, syscall
from bpfast.kernel.netns import entered, interface_name, read_interface
from bpfast.kernel.program import Programs

_CMD_LINK_CREATE = 28
_BEFORE = 1 << 3
_EBUSY = 16
_PARTS = ("watch", "chain", "guard")
_LINK_TYPE_XDP = 6


@dataclass(frozen=True, slots=True)
class Place:
    """Where an endpoint is: its namespace's file and its interface's name."""

    netns: str
    interface: str


@dataclass(frozen=True, slots=True)
class Site:
    """Where programs go: an endpoint's place, and the connections that they police."""

    place: Place
    direction: Direction = Direction.INGRESS

    @property
    def is_inside(self) -> bool:
        """Whether the chain is on the pod's own device; else it is on the host's side."""
        return self.direction is Direction.INGRESS

    def __str__(self) -> str:
        """Say where that is."""
        inside = f"{self.place.interface!r} in {self.place.netns!r}"
        return inside if self.is_inside else f"the host's side of {inside}"


@dataclass(frozen=True, slots=True)
class Attachment:
    """The links of one endpoint number; ``directory`` holds their pins."""

    number: int
    directory: Path

    def is_alive(self) -> bool:
        """Tell whether every link is still on a device, wherever that is and whatever its name.

        The pod's root can rename the device and move it to another namespace, and
        put another one in its place; the links go with it, and must stay.
        """
        try:
            return all(_link_index(self.directory / f"link_{part}") for part in self._linked())
        except Failure:
            return False

    def _linked(self) -> tuple[str, ...]:
        """Return the parts that are held by links; a guard that is a filter is not (``mend``)."""
        return _PARTS[:2] if _filter_pin(self.directory) else _PARTS

    def is_at(self, site: Site) -> bool:
        """Tell whether the devices that the links are on are those that are in that place."""
        try:
            expected = tuple(device.index for device in _devices(site))
            return expected == tuple(
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


def directory_name(number: int, full_name: str, direction: Direction) -> str:
    """Return the pin directory of an endpoint; names may hold dots, which bpffs refuses."""
    name = hashlib.sha256(full_name.encode()).hexdigest()[:16]
    return f"endpoint_{number}_{name}_{direction.name.lower()}"


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


def _link_xdp(prog_fd: int, ifindex: int, where: str) -> int:
    try:
        return syscall.link_create(prog_fd, ifindex, syscall.ATTACH_XDP, syscall.XDP_FLAGS_SKB_MODE)
    except KernelFailure as error:
        if syscall.error_number(error) != _EBUSY:
            raise
        msg = (
            f"interface {where} already has an XDP program: "
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


def _devices(site: Site) -> tuple[clsact.Device, clsact.Device]:
    """Return the device of chain and guard, and that of the watcher."""
    pod, host = host_index(site.place)
    inside, outside = clsact.Device(site.place.netns, pod), clsact.Device(clsact.OWN, host)
    return (inside, outside) if site.is_inside else (outside, inside)


def attach(programs: Programs, number: int, site: Site, directory: Path) -> None:
    """Attach the three programs of an endpoint and pin their links; all or nothing."""
    forward, reverse = _devices(site)
    directory.mkdir(parents=True, exist_ok=True)
    try:
        _attach_watcher(programs, number, reverse, directory)
        _attach_chain(programs, number, forward, directory, where=str(site))
        if hooks.tcx_offered():
            _attach_guard(programs, number, forward, directory)
        else:
            _attach_filter(programs, number, forward, directory)
    except BaseException:
        detach(directory)
        raise


@contextlib.contextmanager
def _loaded(programs: Programs, name: str, number: int) -> Iterator[int]:
    """Give a program of its own for an endpoint for the time of a block; what it is under keeps it."""
    prog_fd = programs.load(name, number)
    try:
        yield prog_fd
    finally:
        os.close(prog_fd)


def _pin_link(link_fd: int, directory: Path, part: str) -> None:
    try:
        syscall.pin(link_fd, str(directory / f"link_{part}"))
    finally:
        os.close(link_fd)


def _attach_watcher(programs: Programs, number: int, device: clsact.Device, directory: Path) -> None:
    with _loaded(programs, hooks.watcher(), number) as prog_fd, entered(device.namespace):
        if hooks.tcx_offered():
            link_fd = _link_tcx(prog_fd, device.index)
        else:
            where = f"{interface_name(device.index)!r} (rules of both directions need tcx, Linux 6.6)"
            link_fd = _link_xdp(prog_fd, device.index, where)
        _pin_link(link_fd, directory, "watch")


def _attach_chain(
    programs: Programs, number: int, device: clsact.Device, directory: Path, *, where: str
) -> None:
    with _loaded(programs, "xdp/bpfast_entry", number) as prog_fd, entered(device.namespace):
        _pin_link(_link_xdp(prog_fd, device.index, where), directory, "chain")


def _attach_guard(programs: Programs, number: int, device: clsact.Device, directory: Path) -> None:
    with _loaded(programs, "tcx/bpfast_guard", number) as prog_fd, entered(device.namespace):
        _pin_link(_link_tcx(prog_fd, device.index), directory, "guard")


def _attach_filter(programs: Programs, number: int, device: clsact.Device, directory: Path) -> None:
    """Make the guard a clsact filter; its program is pinned first, so that it can be found."""
    inode = clsact.namespace_inode(device.namespace)
    with _loaded(programs, "tcx/bpfast_guard", number) as prog_fd:
        name = clsact.pin_name(inode, qdisc=clsact.add_qdisc(device))
        syscall.pin(prog_fd, str(directory / name))
        clsact.put(prog_fd, _filter_name(prog_fd), device)


def _filter_pin(directory: Path) -> Path | None:
    """Return the pin of a guard that is a filter, or None."""
    return next(directory.glob(clsact.PIN), None)


def _filter_name(prog_fd: int) -> str:
    """Return the name of a guard's filter: its program's id makes it one of a kind."""
    return f"bpfast_guard_{syscall.prog_id(prog_fd)}"


def _filter_device(directory: Path, pin: Path) -> clsact.Device | None:
    """Find the device of an endpoint by its chain, wherever it is now; None when it is gone."""
    fd = syscall.pinned(str(directory / "link_chain"))
    try:
        _type, prog_id, index = syscall.link_info(fd)
    finally:
        os.close(fd)
    inode, _qdisc = clsact.read_pin_name(pin.name)
    return clsact.find(index, prog_id, inode) if index else None


def mend(directory: Path) -> bool:
    """Put the guard's filter back where it is not the first any more; True when that was needed.

    Links need no such care: root inside of the pod can delete a filter, and
    can put one in front of it, but cannot take a link off.
    """
    pin = _filter_pin(directory)
    device = _filter_device(directory, pin) if pin else None
    if pin is None or device is None:
        return False
    prog_fd = syscall.pinned(str(pin))
    try:
        name = _filter_name(prog_fd)
        if clsact.is_first(name, device):
            return False
        clsact.take_off(device, qdisc=False)
        clsact.add_qdisc(device)
        clsact.put(prog_fd, name, device)
    finally:
        os.close(prog_fd)
    return True


def renew(programs: Programs, number: int, directory: Path) -> None:
    """Put newly loaded programs under the links of an endpoint, without a gap."""
    for part in _PARTS:
        if part == "guard" and _filter_pin(directory):
            _renew_filter(programs, number, directory)
            continue
        link_fd = syscall.pinned(str(directory / f"link_{part}"))
        prog_fd = programs.load(_program_under(part, link_fd), number)
        try:
            syscall.link_update(link_fd, prog_fd)
        finally:
            os.close(prog_fd)
            os.close(link_fd)


def _program_under(part: str, link_fd: int) -> str:
    if part != "watch":
        return {"chain": "xdp/bpfast_entry", "guard": "tcx/bpfast_guard"}[part]
    return "xdp/bpfast_watch" if syscall.link_info(link_fd)[0] == _LINK_TYPE_XDP else "tcx/bpfast_watch"


def _renew_filter(programs: Programs, number: int, directory: Path) -> None:
    pin = _filter_pin(directory)
    device = _filter_device(directory, pin) if pin else None
    if pin is None or device is None:
        return
    prog_fd = programs.load("tcx/bpfast_guard", number)
    try:
        # A crash in between leaves a filter that the pin does not know: mend() puts the pinned one there.
        clsact.put(prog_fd, _filter_name(prog_fd), device)
        following = directory / "next_guard"
        following.unlink(missing_ok=True)
        syscall.pin(prog_fd, str(following))
        following.replace(pin)
    finally:
        os.close(prog_fd)


def detach(directory: Path) -> None:
    """Take an endpoint's programs off, guard first, and its pins away."""
    _detach_filter(directory)
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
        for left in directory.iterdir():  # of a renewal that did not get to its end
            left.unlink()
        directory.rmdir()


def _detach_filter(directory: Path) -> None:
    pin = _filter_pin(directory)
    if pin is None:
        return
    device = _filter_device(directory, pin)
    if device is not None:
        _inode, qdisc = clsact.read_pin_name(pin.name)
        clsact.take_off(device, qdisc=qdisc)
    pin.unlink()
