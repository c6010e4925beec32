# SPDX-License-Identifier: Apache-2.0
"""Where the programs of an endpoint go, on which devices and by which hook.

hook and rules       chain and guard   watcher
xdp, tcx: ingress    pod's eth0        host-side veth
xdp, tcx: egress     host-side veth    pod's eth0
xdp-native: ingress  the NIC           the NIC, sending side
"""

from dataclasses import dataclass
from enum import Enum

from bpfast.abi import Direction
from bpfast.errors import Failure, Unsupported
from bpfast.kernel.clsact import OWN, Device
from bpfast.kernel.netns import Interface, interface_name, read_interface


class Hook(Enum):
    """What the chain hangs on."""

    XDP = "xdp"
    """Generic XDP, with a guard behind it."""
    TCX = "tcx"
    NATIVE = "xdp-native"
    """XDP in the driver of a NIC, with a guard behind it."""

    @property
    def text(self) -> str:
        """The text whose programs make the chain (``kernel.compiler``)."""
        return "tcx" if self is Hook.TCX else "xdp"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an endpoint is: its namespace's file and its interface's name."""

    netns: str
    interface: str

    def __str__(self) -> str:
        """Say where that is."""
        return f"{self.interface!r} in {self.netns!r}"


@dataclass(frozen=True, slots=True)
class Site:
    """Where programs go: an endpoint's place, the connections that they police, the hook."""

    place: Place
    direction: Direction = Direction.INGRESS
    hook: Hook = Hook.XDP

    @property
    def is_inside(self) -> bool:
        """Whether the chain is on the endpoint's own device; else it is on the host's side."""
        return self.direction is Direction.INGRESS

    def __str__(self) -> str:
        """Say where that is."""
        return str(self.place) if self.is_inside else f"the host's side of {self.place}"


@dataclass(frozen=True, slots=True)
class Devices:
    """The device of chain and guard, and that of the watcher."""

    forward: Device
    reverse: Device


def devices(site: Site) -> Devices:
    """Return the devices of a site, or raise Failure saying what is wrong with it."""
    inside = read_interface(site.place.netns, site.place.interface)
    own = Device(site.place.netns, inside.index)
    if site.hook is Hook.NATIVE:
        if not site.is_inside:
            msg = f"egress rules cannot be enforced by --hook xdp-native (at {site.place}); valid: xdp, tcx"
            raise Unsupported(msg)
        return Devices(own, own)
    outside = Device(OWN, _host_index(site.place, inside))
    return Devices(own, outside) if site.is_inside else Devices(outside, own)


def _host_index(place: Place, inside: Interface) -> int:
    """Return the index of a veth's other end, which must be in the namespace of this process."""
    if inside.kind != "veth" or not inside.peer_index:
        msg = (
            f"interface {place.interface!r} in {place.netns!r} is of kind {inside.kind or 'unknown'!r}; "
            "valid: a veth whose other end is in the namespace that bpfast runs in "
            "(for a network card there is --hook xdp-native)"
        )
        raise Failure(msg)
    name = interface_name(inside.peer_index)
    if name is None or read_interface(None, name).peer_index != inside.index:
        msg = (
            f"the other end of {place.interface!r} in {place.netns!r} is not in this network namespace: "
            "run bpfast where the host side of the pods is"
        )
        raise Failure(msg)
    return inside.peer_index
