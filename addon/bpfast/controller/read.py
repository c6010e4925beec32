# SPDX-License-Identifier: Apache-2.0
"""The user's files -> checked input; and whether they have changed since."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bpfast.automata.syntax import parse
from bpfast.errors import BadInput, BPFastError, Failure, Fault
from bpfast.kernel.netns import entered, read_interface
from bpfast.kernel.site import Hook, Place, Site, devices
from bpfast.log import Event, logger
from bpfast.policy.reader import Policy, examine
from bpfast.standalone.endpoints import Endpoint, check_addresses, with_addresses
from bpfast.standalone.files import read_endpoints, read_texts

if TYPE_CHECKING:
    from bpfast.kernel.rtnetlink import Address

Stamp = tuple[tuple[str, int, int, int], ...]


def regex_fault(text: str) -> str | None:
    """Return why ``text`` is not a regex that the tables can take, or None."""
    try:
        parse(text)
    except BPFastError as error:
        return str(error)
    return None


def read_all_policies(paths: Sequence[Path]) -> tuple[Policy, ...]:
    """Read every policy file; BadInput has every fault of all of them.

    What is no policy and was not read is logged.
    """
    reading = examine(read_texts(paths), regex_fault)
    for each in reading.passed_over:
        logger().warning(
            Event.OBJECT_PASSED_OVER, file=each.source, line=each.line, kind=each.kind, name=each.name
        )
    if reading.faults:
        raise BadInput(reading.faults)
    return reading.policies


def place_of(endpoint: Endpoint) -> Place | None:
    """Return where an endpoint's programs go, or None when it is only a peer."""
    return Place(endpoint.netns.path, endpoint.interface) if endpoint.netns else None


def read_all_endpoints(
    path: Path, known: Sequence[Endpoint] = (), hook: Hook = Hook.XDP
) -> tuple[Endpoint, ...]:
    """Read the endpoints file and, where addresses are not given, the namespaces.

    An endpoint that is ``known``, with its addresses, may be out of sight: a pod
    that hides its interface must not keep the others from a new policy.
    """
    seen = {(endpoint.full_name, place_of(endpoint)): endpoint.addresses for endpoint in known}
    found: list[Endpoint] = []
    faults: list[Fault] = []
    for index, endpoint in enumerate(read_endpoints(path)):
        place = place_of(endpoint)
        if place is None:
            found.append(endpoint)
            continue
        try:
            field = "netns"
            with entered(place.netns):
                field = "interface"
            devices(Site(place, hook=hook))
            interface = read_interface(place.netns, place.interface)
        except Failure as error:
            if (endpoint.full_name, place) in seen:
                found.append(replace(endpoint, addresses=seen[endpoint.full_name, place]))
                continue
            faults.append(Fault(str(path), "", f"endpoints[{index}].{field}", str(error)))
            continue
        found.append(endpoint if endpoint.addresses else with_addresses(endpoint, interface.addresses))
    if faults:
        raise BadInput(faults)
    if known:
        found = _undisputed(found, known)
    check_addresses(found, str(path))
    return tuple(found)


def _undisputed(found: Sequence[Endpoint], known: Sequence[Endpoint]) -> list[Endpoint]:
    """Leave an address that was read of two pods to the one that the file gives it, or that had it before.

    A pod's root can add any address to its interface; that must neither take it
    from its owner nor keep all others from a new policy.
    """
    has = {(endpoint.full_name, address) for endpoint in found for address in endpoint.addresses}
    owners: dict[Address, str] = {}
    for endpoint in (*(one for one in found if one.addresses_given), *known, *found):
        for address in endpoint.addresses:
            if (endpoint.full_name, address) in has:
                owners.setdefault(address, endpoint.full_name)
    return [
        endpoint
        if endpoint.addresses_given
        else replace(
            endpoint,
            addresses=tuple(one for one in endpoint.addresses if owners[one] == endpoint.full_name),
        )
        for endpoint in found
    ]


def without_namespaces(path: Path) -> tuple[Endpoint, ...]:
    """Read the endpoints file for ``verdict``, which needs no namespace to be there."""
    return tuple(replace(endpoint, netns=None) for endpoint in read_endpoints(path))


def stamp(paths: Sequence[Path]) -> Stamp:
    """Return what changes when any of the files, or a file in any of the folders, changes."""
    found: list[tuple[str, int, int, int]] = []
    for path in paths:
        found.append(_stamp_of(str(path)))
        with contextlib.suppress(OSError), os.scandir(path) as inside:
            found += sorted(_stamp_of(file.path) for file in inside)
    return tuple(found)


def _stamp_of(file: str) -> tuple[str, int, int, int]:
    """Return a file's stamp, through links; zeros where there is no file."""
    try:
        seen = os.stat(file)  # noqa: PTH116 - asked 20 times a second, for each file of a folder
    except OSError:
        return file, 0, 0, 0
    return file, seen.st_mtime_ns, seen.st_size, seen.st_ino
