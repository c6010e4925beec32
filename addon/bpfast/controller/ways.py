# SPDX-License-Identifier: Apache-2.0
"""Who is policed in which direction and where, and whether this kernel can do that."""

from collections.abc import Collection
from dataclasses import dataclass

from bpfast.abi import Direction
from bpfast.controller.desired import Desired
from bpfast.controller.read import place_of
from bpfast.errors import Unsupported
from bpfast.kernel.hooks import tcx_offered
from bpfast.kernel.site import Hook, Site
from bpfast.policy.meaning import Direction as PolicyDirection
from bpfast.policy.meaning import EndpointPolicy
from bpfast.standalone.endpoints import Endpoint


@dataclass(frozen=True, slots=True)
class Way:
    """The connections of an endpoint (``ns/name``) in one direction."""

    name: str
    direction: Direction


def enforced(wanted: Desired, hook: Hook) -> dict[Way, tuple[Endpoint, Site]]:
    """Return the endpoints and directions that need programs, and where."""
    found = {}
    for endpoint in wanted.endpoints:
        place = place_of(endpoint)
        for direction in Direction:
            way = Way(endpoint.full_name, direction)
            if place and policy_of(wanted, way).enforced:
                found[way] = (endpoint, Site(place, direction, hook))
    return found


def policy_of(wanted: Desired, way: Way) -> EndpointPolicy:
    """Return what is enforced for the connections of an endpoint in one direction."""
    return wanted.policy(way.name, PolicyDirection[way.direction.name])


def check_directions(ways: Collection[Way]) -> None:
    """Refuse endpoints that are policed in both directions where the kernel cannot do that.

    Without tcx the watcher is an XDP program too, on the device where the other
    direction's chain would be, and a device has one.
    """
    if tcx_offered():
        return
    names = sorted({way.name for way in ways if all(Way(way.name, each) in ways for each in Direction)})
    if names:
        which = f"endpoint{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))}"
        msg = (
            f"rules for both directions cannot be enforced for {which}: this kernel has no tcx (Linux 6.6); "
            "valid here: either ingress or egress rules for each endpoint, and --default allow"
        )
        raise Unsupported(msg)


def is_in_the_way(old: Site, new: Site) -> bool:
    """Tell whether what is at a site must go before programs can be attached at another.

    A device has one XDP program: with tcx the chain, without it the watcher of
    the other direction's chain, too.
    """
    if old.place != new.place or Hook.TCX in (old.hook, new.hook):
        return False
    return old.direction is new.direction or not tcx_offered()
