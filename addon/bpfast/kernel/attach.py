# SPDX-License-Identifier: Apache-2.0
"""Programs onto devices, by pinned links, and off again.

The watcher comes first (a flow needs its SYN-ACK), then the chain, then the
guard, which drops what the chain has not marked; with ``--hook tcx`` there is
no guard, since tcx sees every packet. Every link is pinned as soon as it is
made; going down takes the opposite order. A pinned link outlives its interface,
so ``is_alive`` looks at the index, which is 0 once the interface is gone.

Without tcx the guard is a clsact filter and the watcher generic XDP
(``kernel.hooks`` asks, ``kernel.clsact`` does it). ``kernel.site`` says which
devices these are.
"""

import contextlib
import hashlib
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bpfast.abi import Direction
from bpfast.errors import Failure, KernelFailure
from bpfast.kernel import clsact, foreign, hooks, syscall
from bpfast.kernel.clsact import Device
from bpfast.kernel.netns import entered, interface_name
from bpfast.kernel.program import Programs
from bpfast.kernel.site import Hook, Site, devices

_CMD_LINK_CREATE = 28
_BEFORE, _AFTER = 1 << 3, 1 << 4
_EBUSY = 16
_PARTS = ("watch", "chain", "guard")
_LINK_TYPE_XDP, _LINK_TYPE_TCX = 6, 11
_DIRECTORY = re.compile(r"endpoint_(\d+)_([0-9a-f]{16})_(ingress|egress)_(xdp|tcx|xdp-native)")


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
            return all(_link(self.directory, part)[2] for part in self._linked())
        except Failure:
            return False

    def _linked(self) -> tuple[str, ...]:
        """Return the parts that are held by links: not a guard that is a filter (``mend``), or not needed."""
        guarded = _link(self.directory, "chain")[0] == _LINK_TYPE_XDP
        return _PARTS if guarded and _filter_pin(self.directory) is None else _PARTS[:2]

    def is_at(self, site: Site) -> bool:
        """Tell whether the devices that the links are on are those that are in that place."""
        try:
            wanted = devices(site)
            expected = (wanted.forward.index, wanted.reverse.index)
            return expected == tuple(_link(self.directory, part)[2] for part in ("chain", "watch"))
        except Failure:
            return False


def _link(directory: Path, part: str) -> tuple[int, int, int]:
    """Return (link type, program id, interface index) of a part."""
    fd = syscall.pinned(str(directory / f"link_{part}"))
    try:
        return syscall.link_info(fd)
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class Pinned:
    """The pins of an endpoint: who it is, as far as the name of the directory says."""

    number: int
    digest: str
    direction: Direction
    hook: Hook
    directory: Path

    def is_of(self, full_name: str, direction: Direction) -> bool:
        """Tell whether these are the pins of that endpoint and direction."""
        return (self.digest, self.direction) == (_digest(full_name), direction)


def _digest(full_name: str) -> str:
    """Return an endpoint's name for the bpf file system, which refuses dots."""
    return hashlib.sha256(full_name.encode()).hexdigest()[:16]


def directory_name(number: int, full_name: str, direction: Direction, hook: Hook) -> str:
    """Return the name of an endpoint's directory of pins."""
    return f"endpoint_{number}_{_digest(full_name)}_{direction.name.lower()}_{hook.value}"


def pin_directories(root: Path) -> list[Path]:
    """Return the directories of pins of all endpoints, those of other versions too."""
    return sorted(root.glob("endpoint_*"))


def pinned_endpoints(root: Path) -> Iterator[Pinned]:
    """Yield the pins of every endpoint; what another version has named otherwise is left out."""
    for directory in pin_directories(root):
        match = _DIRECTORY.fullmatch(directory.name)
        if match:
            direction = Direction[match[3].upper()]
            yield Pinned(int(match[1]), match[2], direction, Hook(match[4]), directory)


def _link_tcx(prog_fd: int, ifindex: int, *, sending: bool = False, last: bool = False) -> int:
    """Attach at the head, or the end, of the interface's tcx programs; libbpf 1.1 cannot say where."""
    attach_type = syscall.ATTACH_TCX_EGRESS if sending else syscall.ATTACH_TCX_INGRESS
    attributes = struct.pack("=IIIIIIQ", prog_fd, ifindex, attach_type, _AFTER if last else _BEFORE, 0, 0, 0)
    try:
        return syscall.bpf(_CMD_LINK_CREATE, attributes)
    except KernelFailure as error:
        msg = f"tcx cannot be attached to interface {ifindex} (Linux 6.6 or newer is needed): {error}"
        raise KernelFailure(msg) from error.__cause__


def _link_xdp(prog_fd: int, ifindex: int, where: str, hook: Hook = Hook.XDP) -> int:
    flags = syscall.XDP_FLAGS_DRV_MODE if hook is Hook.NATIVE else syscall.XDP_FLAGS_SKB_MODE
    try:
        return syscall.link_create(prog_fd, ifindex, syscall.ATTACH_XDP, flags)
    except KernelFailure as error:
        if syscall.error_number(error) == _EBUSY:
            msg = f"{where} already has an XDP program that stays there"
            raise KernelFailure(msg) from error
        if hook is not Hook.NATIVE:
            raise
        msg = f"{where}: the driver does not take XDP programs ({error}); valid: --hook xdp, --hook tcx"
        raise KernelFailure(msg) from error


def attach(programs: Programs, number: int, site: Site, directory: Path) -> None:
    """Attach the programs of an endpoint and pin their links; all or nothing."""
    where = devices(site)
    directory.mkdir(parents=True, exist_ok=True)
    try:
        _attach_watcher(programs, number, where.reverse, directory, site)
        _attach_chain(programs, number, where.forward, directory, site)
        if site.hook is Hook.TCX:
            return
        if hooks.tcx_offered():
            _attach_guard(programs, number, where.forward, directory)
        else:
            _attach_filter(programs, number, where.forward, directory)
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


def _attach_watcher(programs: Programs, number: int, device: Device, directory: Path, site: Site) -> None:
    """Attach the watcher: in the pod behind the rules of the way in, since what they refuse opens nothing."""
    sending, last = site.hook is Hook.NATIVE, not site.is_inside
    with _loaded(programs, hooks.watcher(), number) as prog_fd, entered(device.namespace):
        if hooks.tcx_offered():
            link_fd = _link_tcx(prog_fd, device.index, sending=sending, last=last)
        else:
            link_fd = _link_xdp(prog_fd, device.index, _watchers_place(device, site))
        _pin_link(link_fd, directory, "watch")


def _watchers_place(device: Device, site: Site) -> str:
    """Say where the watcher goes, and why: nobody expects XDP there."""
    name = interface_name(device.index)
    where = f"{name!r}, the host's side of {site.place}," if site.is_inside else str(site.place)
    return f"{where} is where the watcher goes, by XDP since this kernel has no tcx (Linux 6.6); it"


def _attach_chain(programs: Programs, number: int, device: Device, directory: Path, site: Site) -> None:
    with _loaded(programs, f"{site.hook.text}/bpfast_entry", number) as prog_fd:
        if site.hook is Hook.TCX:
            with entered(device.namespace):
                _pin_link(_link_tcx(prog_fd, device.index), directory, "chain")
            return
        with foreign.behind(programs, number, device, directory, str(site)), entered(device.namespace):
            _pin_link(_link_xdp(prog_fd, device.index, str(site), site.hook), directory, "chain")


def _attach_guard(programs: Programs, number: int, device: Device, directory: Path) -> None:
    with _loaded(programs, "tcx/bpfast_guard", number) as prog_fd, entered(device.namespace):
        _pin_link(_link_tcx(prog_fd, device.index), directory, "guard")


def _attach_filter(programs: Programs, number: int, device: Device, directory: Path) -> None:
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


def _chain_device(directory: Path, inode: int) -> Device | None:
    """Find the device of an endpoint by its chain, wherever it is now; None when it is gone."""
    _type, prog_id, index = _link(directory, "chain")
    return clsact.find(index, prog_id, inode) if index else None


def _filter_device(directory: Path, pin: Path) -> Device | None:
    return _chain_device(directory, clsact.read_pin_name(pin.name)[0])


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
    foreign.keep_behind(programs, number, directory)
    for part in _PARTS:
        if part == "guard" and _filter_pin(directory):
            _renew_filter(programs, number, directory)
            continue
        pin = directory / f"link_{part}"
        if part == "guard" and not pin.exists():
            continue  # tcx needs none
        link_fd = syscall.pinned(str(pin))
        try:
            with _loaded(programs, _program_under(part, link_fd), number) as prog_fd:
                syscall.link_update(link_fd, prog_fd)
        finally:
            os.close(link_fd)


def _program_under(part: str, link_fd: int) -> str:
    text = "xdp" if syscall.link_info(link_fd)[0] == _LINK_TYPE_XDP else "tcx"
    return f"{text}/bpfast_{'entry' if part == 'chain' else part}"


def _renew_filter(programs: Programs, number: int, directory: Path) -> None:
    pin = _filter_pin(directory)
    device = _filter_device(directory, pin) if pin else None
    if pin is None or device is None:
        return
    with _loaded(programs, "tcx/bpfast_guard", number) as prog_fd:
        # A crash in between leaves a filter that the pin does not know: mend() puts the pinned one there.
        clsact.put(prog_fd, _filter_name(prog_fd), device)
        following = directory / "next_guard"
        following.unlink(missing_ok=True)
        syscall.pin(prog_fd, str(following))
        following.replace(pin)


def detach(directory: Path) -> None:
    """Take an endpoint's programs off, guard first, and its pins away; put back who was there before."""
    _detach_filter(directory)
    left = foreign.pinned(directory)
    device = _foreign_device(directory, left) if left else None
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
    if left:
        foreign.restore(left, device)
    if directory.exists():
        for each in directory.iterdir():  # of a renewal that did not get to its end
            each.unlink()
        directory.rmdir()


def _foreign_device(directory: Path, pin: Path) -> Device | None:
    """Find the device that a foreign program was on: by the chain, or, after a crash, where it was."""
    if not (directory / "link_chain").exists():
        return foreign.old_device(pin)
    return _chain_device(directory, foreign.inode_of(pin))


def _detach_filter(directory: Path) -> None:
    pin = _filter_pin(directory)
    if pin is None:
        return
    device = _filter_device(directory, pin)
    if device is not None:
        _inode, qdisc = clsact.read_pin_name(pin.name)
        clsact.take_off(device, qdisc=qdisc)
    pin.unlink()
