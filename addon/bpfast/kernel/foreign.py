# SPDX-License-Identifier: Apache-2.0
"""An XDP program that was on a device before ours: kept behind the chain, put back in the end.

A device has one XDP program. One that stands there by netlink (``ip link set
dev DEVICE xdpgeneric``) is called behind the chain, for what the chain passes
(map ``next``), and is attached again when ours is gone. From its detaching to
our attaching, and back, the device has no XDP program for some microseconds.
One that a link holds cannot be taken off, so it is refused by name.

Its program is pinned, before it is detached, under a name that says how it was
attached and in which namespace:

    foreign_skb_INODE_INDEX     generic XDP
    foreign_drv_INODE_INDEX     native XDP
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute

from bpfast.errors import Failure, KernelFailure
from bpfast.kernel import syscall
from bpfast.kernel.clsact import Device, namespace_inode, namespaces
from bpfast.kernel.netns import entered
from bpfast.kernel.program import Programs

PIN = "foreign_*"
_PIN_NAME = re.compile(r"foreign_(skb|drv)_(\d+)_(\d+)")
# <linux/if_link.h>: XDP_ATTACHED_DRV and _SKB as pyroute2 calls them, and XDP_FLAGS_* for each.
_MODES = {"xdp": "drv", "xdpgeneric": "skb"}
_FLAGS = {"skb": 1 << 1, "drv": 1 << 2}
_LINK_TYPE_XDP = 6


@dataclass(frozen=True, slots=True)
class Foreign:
    """A program that is on a device: its number, and how it is attached."""

    prog_id: int
    mode: str


def found(device: Device) -> Foreign | None:
    """Return the XDP program of a device, or None."""
    with entered(device.namespace), IPRoute() as netlink:
        (link,) = netlink.get_links(device.index)
    xdp = link.get_attr("IFLA_XDP")
    number = int(xdp.get_attr("IFLA_XDP_PROG_ID") or 0) if xdp else 0
    if not number:
        return None
    mode = _MODES.get(xdp.get_attr("IFLA_XDP_ATTACHED"))
    if mode is None:
        msg = (
            f"interface {device.index} has several XDP programs, or one in its hardware: take them off first"
        )
        raise Failure(msg)
    return Foreign(number, mode)


@contextlib.contextmanager
def behind(programs: Programs, number: int, device: Device, directory: Path, where: str) -> Iterator[None]:
    """Give the device for the time of the block, whose program is then behind endpoint ``number``'s chain.

    Where the block fails the program is back in its place. ``where`` names the
    device in messages.
    """
    programs.clear_next(number)
    foreign = found(device)
    if foreign is None:
        yield
        return
    fd = syscall.prog_fd_by_id(foreign.prog_id)
    try:
        _check_no_link(foreign, fd, where)
        programs.set_next(number, fd)
        inode = namespace_inode(device.namespace)
        pin = directory / f"foreign_{foreign.mode}_{inode}_{device.index}"
        syscall.pin(fd, str(pin))
        with entered(device.namespace):
            syscall.xdp_detach(device.index, _FLAGS[foreign.mode])
        try:
            yield
        except BaseException:
            _put(fd, device, foreign.mode)
            pin.unlink()
            raise
    finally:
        os.close(fd)


def _check_no_link(foreign: Foreign, fd: int, where: str) -> None:
    if foreign.prog_id in {prog_id for kind, prog_id, _index in syscall.links() if kind == _LINK_TYPE_XDP}:
        msg = (
            f"{where} has the XDP program {syscall.prog_name(fd)!r} (id {foreign.prog_id}), which a link "
            "holds: end the process or remove the pin that holds it, then start again"
        )
        raise Failure(msg)


def _put(fd: int, device: Device, mode: str) -> None:
    with entered(device.namespace):
        syscall.xdp_attach(device.index, fd, _FLAGS[mode])


def pinned(directory: Path) -> Path | None:
    """Return the pin of the program that an endpoint's chain is in front of, or None."""
    return next(directory.glob(PIN), None)


def inode_of(pin: Path) -> int:
    """Return the inode of the namespace in which the program was found."""
    return int(_parsed(pin)[2])


def old_device(pin: Path) -> Device | None:
    """Return the device on which the program was found, if its namespace is still there."""
    match = _parsed(pin)
    inode, index = int(match[2]), int(match[3])
    path = next(namespaces(inode), None)
    if path is None or namespace_inode(path) != inode:
        return None
    return Device(path, index)


def _parsed(pin: Path) -> re.Match[str]:
    match = _PIN_NAME.fullmatch(pin.name)
    if match is None:
        msg = f"pin {pin.name!r} is none of ours: expected foreign_skb_INODE_INDEX or foreign_drv_..."
        raise Failure(msg)
    return match


def restore(pin: Path, device: Device | None) -> None:
    """Attach the program again as it was, where its device is still there; its pin goes."""
    if device is not None:
        fd = syscall.pinned(str(pin))
        try:
            # Somebody else may have been faster: then the device is theirs.
            with contextlib.suppress(KernelFailure):
                _put(fd, device, _parsed(pin)[1])
        finally:
            os.close(fd)
    pin.unlink()


def keep_behind(programs: Programs, number: int, directory: Path) -> None:
    """Put the program behind the chain of other maps, at a takeover."""
    pin = pinned(directory)
    programs.clear_next(number)
    if pin is None:
        return
    fd = syscall.pinned(str(pin))
    try:
        programs.set_next(number, fd)
    finally:
        os.close(fd)
