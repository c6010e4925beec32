# SPDX-License-Identifier: Apache-2.0
"""Make the kernel enforce what is desired, and keep it so.

Tables and policies are written beside those in use, then each endpoint is
switched by one value; programs are attached last, when all that they need is
there. An endpoint has programs and a number for each direction in which some
policy selects it: an open one keeps its devices as they are.
"""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from bpfast import abi
from bpfast.abi import DenyMode, Direction, EventMode, MapNumber
from bpfast.controller import takeover
from bpfast.controller.change import Change
from bpfast.controller.desired import Desired, Entries, inspected_ports, install, port_entries
from bpfast.controller.sweep import FlowKey, Sweeper
from bpfast.controller.ways import Way, check_directions, enforced, is_in_the_way, policy_of
from bpfast.errors import Failure, LimitExceeded
from bpfast.kernel.attach import (
    Attachment,
    Pinned,
    attach,
    detach,
    directory_name,
    mend,
    pin_directories,
    pinned_endpoints,
    renew,
)
from bpfast.kernel.program import Programs
from bpfast.kernel.site import Hook, Site, devices
from bpfast.kernel.state import EndpointConfig, State, new_mark
from bpfast.log import Event, logger
from bpfast.policy.rules import RuleSet
from bpfast.standalone.endpoints import Endpoint


@dataclass(frozen=True, slots=True)
class Modes:
    """What every policed endpoint has in common."""

    hook: Hook
    deny: DenyMode
    events: EventMode
    timing: bool


@dataclass(frozen=True, slots=True)
class Policed:
    """An endpoint with programs for one direction; ``entries`` are what the kernel enforces for it."""

    endpoint: Endpoint
    site: Site
    directory: Path
    mark: int
    entries: Entries = field(default_factory=dict)
    is_foreign: bool = False
    """Its links still have programs of another version, whose policies are not in our maps."""

    @property
    def way(self) -> Way:
        """Whose connections these are."""
        return Way(self.endpoint.full_name, self.site.direction)


def _is_of(number: int, key: FlowKey) -> bool:
    return key.endpoint == number


def _log_attached(name: str, site: Site) -> None:
    direction = site.direction.name.lower()
    logger().info(Event.ATTACHED, endpoint=name, hook=site.hook.value, direction=direction)


def _mended(name: str, directory: Path) -> list[str]:
    """Look after a guard that no link holds (kernels without tcx); return what is to be said."""
    try:
        if not mend(directory):
            return []
    except Failure as error:
        return [f"endpoint {name!r} has no guard: {error}"]
    return [f"endpoint {name!r}: its guard was taken off or overtaken from outside; it is in its place again"]


class Enforcer:
    """The kernel's side of one ``bpfast run``; ``root`` holds its pins."""

    def __init__(
        self, programs: Programs, state: State, sweeper: Sweeper, *, root: Path, modes: Modes
    ) -> None:
        """Keep what is needed; nothing is written yet."""
        self._programs = programs
        self._state = state
        self._sweeper = sweeper
        self._root = root
        self._modes = modes
        self._policy_number = max(state.policy_numbers(), default=0)
        # One count for all endpoints, never taken back: a flow's verdict is as old as it says.
        self._generation = max(state.read_endpoint(number)[0] for number in range(abi.MAX_ENDPOINTS))
        self._fresh = True
        self.policed: dict[int, Policed] = {}

    def sites(self) -> dict[int, Site]:
        """Return where each endpoint number is."""
        return {number: policed.site for number, policed in self.policed.items()}

    def take_over(self, wanted: Desired) -> None:
        """Go on with the links of an earlier run, under programs of today.

        Those of another hook stay until the wanted ones are attached (``apply``).
        Programs of another version whose policies are not in our maps stay until
        ours have something to enforce: until ``apply`` has switched their endpoint.
        """
        ways = enforced(wanted, self._modes.hook)
        for root in (self._root, *takeover.others(self._root.parent, self._root)):
            self._take_over_from(root, ways)
        logger().info(Event.PINS_TAKEN_OVER, directory=str(self._root), endpoints=len(self.policed))

    def _take_over_from(self, root: Path, ways: Mapping[Way, tuple[Endpoint, Site]]) -> None:
        are_ours = root == self._root or takeover.uses_our_policies(root, self._programs.maps)
        marks = takeover.marks(root)
        kept = {pinned.directory: pinned for pinned in pinned_endpoints(root)}
        for directory in pin_directories(root):
            found = self._found(kept[directory], ways) if directory in kept else None
            if found is None:
                detach(directory)
                if directory in kept:
                    self._forget(kept[directory].number)
                continue
            number = kept[directory].number
            entries = self._state.read_policy(self._state.read_endpoint(number)[1]) if are_ours else {}
            self.policed[number] = Policed(
                *found, directory, marks[number] or new_mark(), entries, is_foreign=not are_ours
            )
            if are_ours:
                self._renew(number)
        takeover.clean_others(self._root)

    @staticmethod
    def _found(pinned: Pinned, ways: Mapping[Way, tuple[Endpoint, Site]]) -> tuple[Endpoint, Site] | None:
        """Return whose pins these are and where its programs are; None when that is over."""
        if not Attachment(pinned.number, pinned.directory).is_alive():
            return None
        for way, (endpoint, site) in ways.items():
            if pinned.is_of(way.name, way.direction):
                return endpoint, replace(site, hook=pinned.hook)
        return None

    def _renew(self, number: int) -> None:
        """Put our programs under an endpoint's links, and its pins among ours."""
        policed = self.policed[number]
        renew(self._programs, number, policed.directory)
        directory = policed.directory
        if directory.parent != self._root:
            directory = takeover.moved(directory, self._root)
        self.policed[number] = replace(policed, directory=directory, is_foreign=False)

    def apply(self, wanted: Desired) -> dict[RuleSet, int]:
        """Enforce ``wanted``; return the index of each of its rule sets.

        New endpoints come first: where one cannot be attached, nothing else has
        changed yet. Where anything fails they go again, with their tables.
        """
        needed = enforced(wanted, self._modes.hook)
        check_directions(needed)
        new = {way: found for way, found in needed.items() if not self._is_policed(*found)}
        for _endpoint, site in new.values():
            devices(site)  # say what is wrong before anything changes
        begun: list[int] = []
        gone: list[Policed] = []
        try:
            indices = install(wanted, self._state)
            for way, (endpoint, site) in new.items():
                gone += self._make_room(site, needed)
                begun.append(self._begin(endpoint, site, port_entries(policy_of(wanted, way), indices)))
            change = self._change(needed, wanted, indices)
            moved = wanted.peers.identities != self._state.peers().identities
            numbers = self._prepare(change, wanted, anew=moved)
        except BaseException:
            self._go_back(begun, gone)
            raise
        # Nothing that can fail for want of room comes after this.
        self._drop_gone(needed)
        self._sweeper.forget(change.becomes_inspected)
        for number in self.policed:
            self._switch(number, numbers[number], change.after[number])
        # An identity that the new policies do not know is denied: old prefixes go last.
        self._state.drop_peers(wanted.peers)
        self._sweeper.forget(change.is_no_longer_inspected)
        self._state.drop_policies(numbers[number] for number in self.policed)
        self._state.retire(indices.values())
        takeover.clean_others(self._root)
        self._fresh = False
        return indices

    def _prepare(self, change: Change, wanted: Desired, *, anew: bool) -> dict[int, int]:
        """Write policies and peers beside those in use; return each endpoint's policy number.

        All of it or, where a map is full, nothing: then the old ones are as they
        were. An address that is new in a network has an identity that the old
        policies do not know: it is denied until they are switched.
        """
        in_use = {number: self._state.read_endpoint(number)[1] for number in self.policed}
        peers = self._state.peers()
        try:
            numbers = {
                number: self._write(number, entries, anew=anew) for number, entries in change.after.items()
            }
            self._state.add_peers(wanted.peers)
        except BaseException:
            self._state.drop_policies(in_use.values())
            self._state.drop_peers(peers)
            self._state.add_peers(peers)
            raise
        return numbers

    def _is_policed(self, endpoint: Endpoint, site: Site) -> bool:
        way = Way(endpoint.full_name, site.direction)
        return any((policed.way, policed.site) == (way, site) for policed in self.policed.values())

    def _rule_sets(self) -> set[int]:
        """Return the indices of the rule sets that any endpoint inspects by."""
        entries = (entry for policed in self.policed.values() for entry in policed.entries.values())
        return {entry.rule_set for entry in entries if entry.verdict == abi.PortVerdict.INSPECT}

    def _make_room(self, site: Site, needed: Mapping[Way, tuple[Endpoint, Site]]) -> list[Policed]:
        """Take off what has the place of new programs and would go anyway; return what that was.

        All else that is not needed any more goes later, when the new is there.
        """
        found = {
            number: policed
            for number, policed in self.policed.items()
            if not self._stays(policed, needed) and is_in_the_way(policed.site, site)
        }
        for number in found:
            self._end(number)
        return list(found.values())

    def _begin(self, endpoint: Endpoint, site: Site, entries: Entries) -> int:
        """Attach an endpoint that had no programs there, its policy before them; return its number.

        All or nothing.
        """
        number = self._new_number(endpoint, site)
        try:
            self._switch(number, self._write(number, entries, anew=True), entries)
            attach(self._programs, number, site, self.policed[number].directory)
        except BaseException:
            self._end(number)
            raise
        _log_attached(endpoint.full_name, site)
        return number

    def _go_back(self, begun: Iterable[int], gone: Iterable[Policed]) -> None:
        """Undo a change that has failed: what it has attached goes, and what it has taken off comes back."""
        for number in begun:
            self._end(number)
        for policed in gone:
            with contextlib.suppress(Failure):  # the change's own failure is the one to tell
                self._begin(policed.endpoint, policed.site, policed.entries)
        self._state.drop_policies(self._state.read_endpoint(number)[1] for number in self.policed)
        self._state.retire(self._rule_sets())

    def check(self) -> list[str]:
        """Attach anew where a device is gone; return what is not as it should be, and why.

        Programs that are on a living device are never taken off here, whatever
        stands in its place: the pod's root can rename, move and replace it.
        """
        complaints = []
        for number, policed in self.policed.items():
            name = policed.endpoint.full_name
            attachment = Attachment(number, policed.directory)
            if attachment.is_alive():
                if not attachment.is_at(policed.site):
                    complaints.append(
                        f"endpoint {name!r}: its device is not {policed.site} "
                        "any more; it stays enforced where it is"
                    )
                complaints += _mended(name, policed.directory)
                continue
            try:
                detach(policed.directory)
                attach(self._programs, number, policed.site, policed.directory)
                _log_attached(name, policed.site)
            except Failure as error:
                complaints.append(f"endpoint {name!r} is not enforced: {error}")
        return complaints

    def _change(
        self, needed: Mapping[Way, tuple[Endpoint, Site]], wanted: Desired, indices: Mapping[RuleSet, int]
    ) -> Change:
        """Return what becomes of every endpoint that has programs and keeps them."""
        kept = {number: policed for number, policed in self.policed.items() if self._stays(policed, needed)}
        after = {
            number: port_entries(policy_of(wanted, policed.way), indices) for number, policed in kept.items()
        }
        before = {number: policed.entries for number, policed in kept.items()}
        outgoing = frozenset(
            number for number, policed in kept.items() if policed.site.direction is Direction.EGRESS
        )
        unknown = frozenset(number for number, policed in kept.items() if policed.is_foreign)
        return Change(before, after, self._state.peers(), wanted.peers, outgoing, unknown)

    def _write(self, number: int, entries: Entries, *, anew: bool) -> int:
        """Write an endpoint's policy beside the old one; return its policy number.

        ``anew``: even the same entries are another verdict, peers have moved.
        """
        if self.policed[number].entries == entries and not anew and not self._fresh:
            return self._state.read_endpoint(number)[1]
        self._policy_number += 1
        self._state.write_policy(self._policy_number, entries)
        return self._policy_number

    def _switch(self, number: int, policy: int, entries: Entries) -> None:
        """Make an endpoint look at a policy that was written."""
        policed = self.policed[number]
        if policy == self._state.read_endpoint(number)[1] and not self._fresh:
            return
        self._generation += 1
        self.policed[number] = replace(policed, entries=entries)
        config = EndpointConfig(
            enforced=True,
            timing=self._modes.timing,
            generation=self._generation,
            policy=policy,
            deny_mode=self._modes.deny,
            event_mode=self._modes.events,
            mark=policed.mark,
            inspected=inspected_ports(entries),
            direction=policed.site.direction,
        )
        self._state.write_endpoint(number, config)
        if policed.is_foreign:
            # Half-open connections: nobody knows whether they were to be inspected.
            self._sweeper.forget(partial(_is_of, number), maps=(MapNumber.EMBRYOS,))
            self._renew(number)

    def _new_number(self, endpoint: Endpoint, site: Site) -> int:
        number = next((n for n in range(1, abi.MAX_ENDPOINTS) if n not in self.policed), None)
        if number is None:
            what = "policed endpoints (one that is policed in both directions counts twice)"
            raise LimitExceeded(what, abi.MAX_ENDPOINTS - 1)
        directory = self._root / directory_name(number, endpoint.full_name, site.direction, site.hook)
        self.policed[number] = Policed(endpoint, site, directory, new_mark())
        return number

    def _drop_gone(self, needed: Mapping[Way, tuple[Endpoint, Site]]) -> None:
        """Detach endpoints that no policy selects any more, that are gone or live elsewhere now."""
        for number, policed in list(self.policed.items()):
            if self._stays(policed, needed):
                endpoint, _site = needed[policed.way]
                self.policed[number] = replace(policed, endpoint=endpoint)
                continue
            self._end(number)

    @staticmethod
    def _stays(policed: Policed, needed: Mapping[Way, tuple[Endpoint, Site]]) -> bool:
        """Return whether an endpoint keeps its programs."""
        match = needed.get(policed.way)
        return match is not None and match[1] == policed.site

    def _end(self, number: int) -> None:
        """Take an endpoint's programs off, and forget its connections."""
        policed = self.policed.pop(number)
        detach(policed.directory)
        self._forget(number)
        logger().info(
            Event.DETACHED, endpoint=policed.endpoint.full_name, direction=policed.site.direction.name.lower()
        )

    def _forget(self, number: int) -> None:
        """Forget what was enforced under a number, and its connections: another may get it."""
        self._state.clear_endpoint(number)
        self._sweeper.forget(partial(_is_of, number))
