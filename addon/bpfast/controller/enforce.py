# SPDX-License-Identifier: Apache-2.0
"""Make the kernel enforce what is desired, and keep it so.

Tables and policies are written beside those in use, then each endpoint is
switched by one value; programs are attached last, when all that they need is
there. Only endpoints that some policy selects have programs: an open one keeps
its device as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bpfast import abi
from bpfast.abi import DenyMode, EventMode
from bpfast.controller.desired import Desired, inspected_ports, install, port_entries
from bpfast.controller.read import place_of
from bpfast.errors import Failure, LimitExceeded
from bpfast.kernel.attach import (
    Attachment,
    Place,
    attach,
    detach,
    directory_name,
    host_index,
    pinned_endpoints,
    renew,
)
from bpfast.kernel.program import Programs
from bpfast.kernel.state import EndpointConfig, PortEntry, State, new_mark
from bpfast.log import Event, logger
from bpfast.policy.rules import RuleSet
from bpfast.standalone.endpoints import Endpoint


@dataclass(frozen=True, slots=True)
class Modes:
    """What every policed endpoint has in common."""

    deny: DenyMode
    events: EventMode
    timing: bool


@dataclass(slots=True)
class Policed:
    """An endpoint with programs; ``entries`` are what the kernel enforces for it."""

    endpoint: Endpoint
    place: Place
    directory: Path
    mark: int
    generation: int = 0
    entries: Mapping[tuple[int, int], PortEntry] = field(default_factory=dict)


def enforced(wanted: Desired) -> dict[str, tuple[Endpoint, Place]]:
    """Return the endpoints that need programs, by full name."""
    found = {}
    for endpoint in wanted.endpoints:
        place = place_of(endpoint)
        if place and wanted.lowered.endpoints[endpoint.full_name].enforced:
            found[endpoint.full_name] = (endpoint, place)
    return found


class Enforcer:
    """The kernel's side of one ``bpfast run``; ``root`` holds its pins."""

    def __init__(self, programs: Programs, state: State, root: Path, modes: Modes) -> None:
        """Keep what is needed; nothing is written yet."""
        self._programs = programs
        self._state = state
        self._root = root
        self._modes = modes
        self._policy_number = max(state.policy_numbers(), default=0)
        self._fresh = True
        self.policed: dict[int, Policed] = {}

    def namespaces(self) -> dict[int, str]:
        """Return endpoint number -> file of its network namespace."""
        return {number: policed.place.netns for number, policed in self.policed.items()}

    def take_over(self, wanted: Desired) -> None:
        """Go on with the links of an earlier run, under programs of today."""
        wanted_names = enforced(wanted)
        for number, name, directory in list(pinned_endpoints(self._root)):
            match = next(
                (e for e in wanted_names.values() if directory_name(number, e[0].full_name) == name), None
            )
            if match is None or not Attachment(number, directory).is_alive(match[1]):
                detach(directory)
                continue
            renew(self._programs, number, directory)
            generation, _policy, mark = self._state.read_endpoint(number)
            self.policed[number] = Policed(*match, directory, mark or new_mark(), generation)
        logger().info(Event.PINS_TAKEN_OVER, directory=str(self._root), endpoints=len(self.policed))

    def apply(self, wanted: Desired) -> dict[RuleSet, int]:
        """Enforce ``wanted``; return the index of each of its rule sets."""
        needed = enforced(wanted)
        for endpoint, place in needed.values():
            if self._number_of(endpoint) is None:
                host_index(place)  # say what is wrong before anything changes
        indices = install(wanted, self._state)
        self._drop_gone(needed)
        self._state.write_peers(wanted.identities)
        numbers = set()
        for endpoint, place in needed.values():
            number = self._number_of(endpoint) or self._new_number(endpoint, place)
            entries = port_entries(wanted.lowered.endpoints[endpoint.full_name], indices)
            numbers.add(self._switch(number, entries))
        for number, policed in self.policed.items():
            if not policed.directory.exists():
                attach(self._programs, number, policed.place, policed.directory)
                logger().info(Event.ATTACHED, endpoint=policed.endpoint.full_name, hook="xdp")
        self._state.drop_policies(numbers)
        self._state.retire(indices.values())
        self._fresh = False
        return indices

    def check(self) -> list[str]:
        """Attach anew where an interface was made anew; return what is not enforced and why."""
        complaints = []
        for number, policed in self.policed.items():
            if Attachment(number, policed.directory).is_alive(policed.place):
                continue
            try:
                detach(policed.directory)
                attach(self._programs, number, policed.place, policed.directory)
                logger().info(Event.ATTACHED, endpoint=policed.endpoint.full_name, hook="xdp")
            except Failure as error:
                complaints.append(f"endpoint {policed.endpoint.full_name!r} is not enforced: {error}")
        return complaints

    def _switch(self, number: int, entries: Mapping[tuple[int, int], PortEntry]) -> int:
        """Write an endpoint's policy beside the old one and switch; return its policy number."""
        policed = self.policed[number]
        if policed.entries == entries and policed.generation and not self._fresh:
            return self._state.read_endpoint(number)[1]
        self._policy_number += 1
        self._state.write_policy(self._policy_number, entries)
        policed.generation = policed.generation % 0xFFFFFFFF + 1
        policed.entries = entries
        config = EndpointConfig(
            enforced=True,
            timing=self._modes.timing,
            generation=policed.generation,
            policy=self._policy_number,
            deny_mode=self._modes.deny,
            event_mode=self._modes.events,
            mark=policed.mark,
            inspected=inspected_ports(entries),
        )
        self._state.write_endpoint(number, config)
        return self._policy_number

    def _number_of(self, endpoint: Endpoint) -> int | None:
        return next((n for n, p in self.policed.items() if p.endpoint.full_name == endpoint.full_name), None)

    def _new_number(self, endpoint: Endpoint, place: Place) -> int:
        number = next((n for n in range(1, abi.MAX_ENDPOINTS) if n not in self.policed), None)
        if number is None:
            what = "policed endpoints"
            raise LimitExceeded(what, abi.MAX_ENDPOINTS - 1)
        directory = self._root / directory_name(number, endpoint.full_name)
        self.policed[number] = Policed(endpoint, place, directory, new_mark())
        return number

    def _drop_gone(self, needed: Mapping[str, tuple[Endpoint, Place]]) -> None:
        """Detach endpoints that no policy selects any more, that are gone or live elsewhere now."""
        for number, policed in list(self.policed.items()):
            match = needed.get(policed.endpoint.full_name)
            if match and match[1] == policed.place:
                policed.endpoint = match[0]
                continue
            detach(policed.directory)
            self._state.clear_endpoint(number)
            del self.policed[number]
            logger().info(Event.DETACHED, endpoint=policed.endpoint.full_name)
