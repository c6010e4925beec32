# SPDX-License-Identifier: Apache-2.0
"""The guard as a clsact filter: what a tcx link is, on kernels that have no tcx.

No link holds a filter. It stays on the interface until somebody deletes it, so
a crash of the agent takes nothing away; but then nobody would know where it is
either. So its program is pinned, before the filter is made, under a name that
says which namespace the interface was in:

    filter_guard_INODE           the namespace's inode
    filter_guard_INODE_qdisc     the same, and the clsact qdisc is ours, too

The interface may have been renamed or moved since. It is the one that carries
the chain's program, whose id nobody else has; INODE is where to look first.
Unlike a link a filter can be taken off by root inside of the pod: ``is_first``
is asked again and again, and ``put`` mends it.
"""

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from bpfast.errors import Failure, KernelFailure
from bpfast.kernel.netns import entered

PIN = "filter_guard_*"
_PIN_NAME = re.compile(r"filter_guard_(\d+)(_qdisc)?")
_NAMED = Path("/run/netns")
_PROCESSES = Path("/proc")
OWN = "/proc/thread-self/ns/net"
"""The file of the namespace that this process runs in: the host's."""
# <linux/pkt_sched.h>: TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS); <linux/if_ether.h>: ETH_P_ALL.
_INGRESS = 0xFFFFFFF2
_PROTOCOL = 3
# The first filter that is asked; its handle is ours by its name.
_PRIORITY = 1
_HANDLE = 1


@dataclass(frozen=True, slots=True)
class Device:
    """An interface: the file of the namespace that it is in now, and its index there."""

    namespace: str
    index: int


def namespace_inode(path: str) -> int:
    """Return the inode by which a network namespace is known."""
    try:
        return Path(path).stat().st_ino
    except OSError as error:
        msg = f"network namespace {path!r} cannot be opened: {error.strerror}"
        raise Failure(msg) from error


def pin_name(inode: int, *, qdisc: bool) -> str:
    """Return the name of the pin of a guard in that namespace; ``qdisc``: the qdisc is ours."""
    return f"filter_guard_{inode}" + ("_qdisc" if qdisc else "")


def read_pin_name(name: str) -> tuple[int, bool]:
    """Return (inode of the namespace, whether the qdisc is ours)."""
    match = _PIN_NAME.fullmatch(name)
    if match is None:
        msg = f"pin {name!r} is none of ours: expected filter_guard_INODE or filter_guard_INODE_qdisc"
        raise Failure(msg)
    return int(match[1]), bool(match[2])


def namespaces(first: int) -> Iterator[str]:
    """Yield a file of every network namespace that can be seen here, that of inode ``first`` first."""
    files: dict[int, str] = {}
    for path in (*sorted(_NAMED.glob("*")), Path(OWN), *_PROCESSES.glob("[0-9]*/ns/net")):
        try:
            inode = path.stat().st_ino
        except OSError:
            continue  # a process that has ended meanwhile
        if inode == first and first not in files:
            yield str(path)
        files.setdefault(inode, str(path))
    yield from (path for inode, path in files.items() if inode != first)


def find(index: int, prog_id: int, inode: int) -> Device | None:
    """Find the interface of that index that carries that XDP program, in ``inode`` or elsewhere."""
    for path in namespaces(inode):
        try:
            with entered(path), IPRoute() as netlink:
                if _xdp_program(netlink, index) == prog_id:
                    return Device(path, index)
        except Failure:
            continue  # a namespace that is gone meanwhile
    return None


def _xdp_program(netlink: IPRoute, index: int) -> int:
    """Return the id of an interface's XDP program, 0 where there is none."""
    try:
        (link,) = netlink.get_links(index)
    except NetlinkError:
        return 0
    xdp = link.get_attr("IFLA_XDP")
    return int(xdp.get_attr("IFLA_XDP_PROG_ID") or 0) if xdp else 0


def add_qdisc(device: Device) -> bool:
    """Make sure that there is a clsact qdisc; True when it was made here."""
    with entered(device.namespace), IPRoute() as netlink:
        try:
            netlink.tc("add", "clsact", device.index)
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise _refused("a clsact qdisc", device, error) from error
            return False
    return True


def put(prog_fd: int, name: str, device: Device) -> None:
    """Make the program the interface's first ingress filter, or put it under the one that is there."""
    with entered(device.namespace), IPRoute() as netlink:
        try:
            netlink.tc(
                "replace-filter",
                "bpf",
                device.index,
                parent=_INGRESS,
                prio=_PRIORITY,
                protocol=_PROTOCOL,
                handle=_HANDLE,
                fd=prog_fd,
                name=name,
                direct_action=True,
            )
        except NetlinkError as error:
            raise _refused("the guard's filter", device, error) from error


def is_first(name: str, device: Device) -> bool:
    """Tell whether the filter of that name is the first one that a packet meets."""
    try:
        with entered(device.namespace), IPRoute() as netlink:
            filters = list(netlink.get_filters(index=device.index, parent=_INGRESS))
    except NetlinkError:
        return False
    # The kernel dumps in the order in which it asks; a priority itself is shown as handle 0.
    first = next((each for each in filters if each["handle"]), None)
    if first is None or first.get_attr("TCA_KIND") != "bpf":
        return False
    return bool(first.get_attr("TCA_OPTIONS").get_attr("TCA_BPF_NAME") == name)


def take_off(device: Device, *, qdisc: bool) -> None:
    """Delete our filter, and the qdisc if that is ours and nobody else has put a filter there."""
    with entered(device.namespace), IPRoute() as netlink:
        try:
            netlink.tc(
                "del-filter",
                "bpf",
                device.index,
                parent=_INGRESS,
                prio=_PRIORITY,
                protocol=_PROTOCOL,
                handle=_HANDLE,
            )
            if qdisc and not _has_filters(netlink, device.index):
                netlink.tc("del", "clsact", device.index)
        except NetlinkError as error:
            if error.code not in (errno.ENOENT, errno.EINVAL, errno.ENODEV):
                raise _refused("taking the guard's filter off", device, error) from error


def _has_filters(netlink: IPRoute, index: int) -> bool:
    sides = (_INGRESS, _INGRESS + 1)  # TC_H_MIN_EGRESS
    return any(list(netlink.get_filters(index=index, parent=side)) for side in sides)


def _refused(what: str, device: Device, error: NetlinkError) -> KernelFailure:
    number = int(error.code)
    return KernelFailure(
        f"{what} on interface {device.index} in {device.namespace!r}: {os.strerror(number)} "
        "(a kernel with CONFIG_NET_CLS_ACT, sch_ingress and cls_bpf is needed)"
    )
