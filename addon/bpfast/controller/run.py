# SPDX-License-Identifier: Apache-2.0
"""``bpfast run``: standalone mode. Files in, enforcement on, verdicts out.

One thread: it waits on the ring of events and, between two waits, looks at the
files once a second and at the attachments and flows once in SWEEP_SECONDS. A
change is compiled completely before anything is written; what cannot be read
leaves the last policy in force.
"""

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from bpfast import abi, settings
from bpfast.abi import DenyMode, EventMode
from bpfast.controller.desired import Desired, desired, inspected_ports, install, port_entries
from bpfast.controller.pins import held, open_maps, remove
from bpfast.controller.read import Stamp, place_of, read_all_endpoints, read_all_policies, stamp
from bpfast.controller.report import Reporter
from bpfast.controller.sweep import Sweeper
from bpfast.errors import BPFastError, LimitExceeded
from bpfast.kernel.attach import (
    Attachment,
    attach,
    detach,
    directory_name,
    host_index,
    pinned_endpoints,
    renew,
)
from bpfast.kernel.compiler import compiled
from bpfast.kernel.maps import Maps
from bpfast.kernel.netns import own_addresses
from bpfast.kernel.program import Programs
from bpfast.kernel.state import EndpointConfig, EventRing, PortEntry, State, new_mark
from bpfast.log import Event, logger
from bpfast.standalone.endpoints import Endpoint

POLL_MILLISECONDS = 100
LOOK_SECONDS = 1.0
SWEEP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Options:
    """What ``bpfast run`` was asked for."""

    endpoints: Path
    policies: tuple[Path, ...]
    deny: DenyMode = DenyMode.REPLY
    events: EventMode = EventMode.ALL
    default_deny: bool = False
    timing: bool = False
    keep: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """Every path whose change matters."""
        return (self.endpoints, *self.policies)


@dataclass(slots=True)
class _Policed:
    """An endpoint that has programs; ``entries`` are what the kernel enforces for it."""

    endpoint: Endpoint
    directory: Path
    mark: int
    generation: int = 0
    enforced: bool = False
    entries: Mapping[tuple[int, int], PortEntry] = field(default_factory=dict)


class Runner:
    """The state of one ``bpfast run``; ``run`` returns when a signal came."""

    def __init__(self, options: Options, reporter: Reporter) -> None:
        """Keep the options; nothing is read or loaded yet."""
        self._options = options
        self._reporter = reporter
        self._policed: dict[int, _Policed] = {}
        self._policy_number = 0
        self._wanted: Desired | None = None
        self._stopping = 0

    def run(self) -> None:
        """Enforce until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        pins = settings.pin_directory()
        wanted = self._read()
        for endpoint in wanted.endpoints:
            place = place_of(endpoint)
            if place:
                host_index(place)  # before anything is loaded: say what is wrong
        with held(pins):
            maps, root, taken_over = open_maps(pins)
            try:
                self._enforce(maps, root, wanted, taken_over=taken_over)
            except BaseException:
                if not taken_over:
                    remove(root)
                raise
            if self._options.keep:
                logger().info(Event.PINS_KEPT, directory=str(root))
            else:
                remove(root)
            maps.close()

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._stopping = number

    def _read(self) -> Desired:
        started = time.perf_counter()
        endpoints = read_all_endpoints(self._options.endpoints)
        policies = read_all_policies(self._options.policies)
        wanted = desired(endpoints, policies, own_addresses(), default_deny=self._options.default_deny)
        milliseconds = round((time.perf_counter() - started) * 1000, 1)
        logger().info(
            Event.POLICY_LOADED, policies=len(policies), rules=wanted.rules, milliseconds=milliseconds
        )
        for refusal in wanted.refused:
            logger().warning(Event.RULE_REFUSED, rule=refusal.rule, reason=refusal.reason)
        return wanted

    def _enforce(self, maps: Maps, root: Path, wanted: Desired, *, taken_over: bool) -> None:
        state, ring = State(maps), EventRing(maps)
        programs = Programs(compiled(settings.bpf_directory(), settings.cache_directory()), maps)
        programs.fill_chain()
        self._policy_number = max(state.policy_numbers(), default=0)
        if taken_over:
            self._take_over(programs, state, root, wanted)
        self._apply(programs, state, root, wanted)
        self._ready()
        try:
            self._loop(ring, Sweeper(maps, programs), lambda: self._reload(programs, state, root))
        finally:
            ring.close()
            state.close()

    def _take_over(self, programs: Programs, state: State, root: Path, wanted: Desired) -> None:
        """Go on with the links of an earlier run, under programs of today."""
        names = {endpoint.full_name: endpoint for endpoint in wanted.endpoints}
        kept = 0
        for number, name, directory in list(pinned_endpoints(root)):
            endpoint = next((e for e in names.values() if directory_name(number, e.full_name) == name), None)
            place = place_of(endpoint) if endpoint else None
            if endpoint is None or place is None or not _is_whole(number, directory, endpoint):
                detach(directory)
                continue
            renew(programs, number, directory)
            generation, _policy, mark = state.read_endpoint(number)
            self._policed[number] = _Policed(endpoint, directory, mark or new_mark(), generation)
            kept += 1
        logger().info(Event.PINS_TAKEN_OVER, directory=str(root), endpoints=kept)

    def _apply(self, programs: Programs, state: State, root: Path, wanted: Desired) -> None:
        """Make the kernel enforce ``wanted``: tables, policies, peers, then the switch."""
        indices = install(wanted, state)
        self._drop_gone(state, wanted)
        state.write_peers(wanted.identities)
        numbers: dict[int, int] = {}
        for endpoint in wanted.endpoints:
            if endpoint.netns is None:
                continue
            policy = wanted.lowered.endpoints[endpoint.full_name]
            number = self._number_of(endpoint) or self._new_number(endpoint, root)
            entries = port_entries(policy, indices)
            numbers[number] = self._switch(state, number, entries, enforced=policy.enforced)
        for number, policed in self._policed.items():
            place = place_of(policed.endpoint)
            if place and not policed.directory.exists():
                attach(programs, number, place, policed.directory)
                logger().info(Event.ATTACHED, endpoint=policed.endpoint.full_name, hook="xdp")
        state.drop_policies(numbers.values())
        state.retire(indices.values())
        self._wanted = wanted
        self._reporter.learn(wanted, indices, {n: p.endpoint for n, p in self._policed.items()})

    def _switch(
        self, state: State, number: int, entries: Mapping[tuple[int, int], PortEntry], *, enforced: bool
    ) -> int:
        """Write an endpoint's policy beside the old one and switch; return its policy number."""
        policed = self._policed[number]
        if policed.entries == entries and policed.enforced == enforced and policed.generation:
            return state.read_endpoint(number)[1]
        self._policy_number += 1
        state.write_policy(self._policy_number, entries)
        policed.generation = policed.generation % 0xFFFFFFFF + 1
        policed.entries, policed.enforced = entries, enforced
        config = EndpointConfig(
            enforced=enforced,
            timing=self._options.timing,
            generation=policed.generation,
            policy=self._policy_number,
            deny_mode=self._options.deny,
            event_mode=self._options.events,
            mark=policed.mark,
            inspected=inspected_ports(entries),
        )
        state.write_endpoint(number, config)
        return self._policy_number

    def _number_of(self, endpoint: Endpoint) -> int | None:
        return next((n for n, p in self._policed.items() if p.endpoint.full_name == endpoint.full_name), None)

    def _new_number(self, endpoint: Endpoint, root: Path) -> int:
        number = next((n for n in range(1, abi.MAX_ENDPOINTS) if n not in self._policed), None)
        if number is None:
            what = "policed endpoints"
            raise LimitExceeded(what, abi.MAX_ENDPOINTS - 1)
        directory = root / directory_name(number, endpoint.full_name)
        self._policed[number] = _Policed(endpoint, directory, new_mark())
        return number

    def _drop_gone(self, state: State, wanted: Desired) -> None:
        """Detach endpoints that are no longer there, or that live in another namespace now."""
        there = {e.full_name: place_of(e) for e in wanted.endpoints}
        for number, policed in list(self._policed.items()):
            if there.get(policed.endpoint.full_name) == place_of(policed.endpoint):
                continue
            detach(policed.directory)
            state.clear_endpoint(number)
            del self._policed[number]
            logger().info(Event.DETACHED, endpoint=policed.endpoint.full_name)

    def _reload(self, programs: Programs, state: State, root: Path) -> None:
        try:
            wanted = self._read()
            self._apply(programs, state, root, wanted)
        except BPFastError as error:
            # The last policy stays in force; the user sees every fault.
            logger().error(Event.INPUT_REFUSED, faults=str(error).splitlines())
            self._reporter.error(str(error))
            return
        self._ready()

    def _ready(self) -> None:
        rules = self._wanted.rules if self._wanted else 0
        logger().info(Event.READY, endpoints=len(self._policed), rules=rules)
        self._reporter.ready(endpoints=len(self._policed), rules=rules)

    def _loop(self, ring: EventRing, sweeper: Sweeper, reload: Callable[[], None]) -> None:
        seen = stamp(self._options.files)
        looked = swept = time.monotonic()
        while not self._stopping:
            self._reporter.verdicts(ring.poll(POLL_MILLISECONDS))
            now = time.monotonic()
            if now - looked >= LOOK_SECONDS:
                looked = now
                self._reporter.lost(sweeper.lost_events())
                seen = self._look(seen, reload)
            if now - swept >= SWEEP_SECONDS:
                swept = now
                sweeper.sweep(
                    {n: p.endpoint.netns.path for n, p in self._policed.items() if p.endpoint.netns}
                )
                self._check_attachments()
        self._reporter.verdicts(ring.poll(0))
        self._reporter.lost(sweeper.lost_events())
        logger().info(Event.STOPPING, signal=signal.Signals(self._stopping).name)

    def _look(self, seen: Stamp, reload: Callable[[], None]) -> Stamp:
        now = stamp(self._options.files)
        if now != seen:
            logger().info(Event.FILE_CHANGED, path=", ".join(str(path) for path in self._options.files))
            reload()
        return now

    def _check_attachments(self) -> None:
        """Say so when an endpoint has lost its programs: its interface or namespace was made anew."""
        for number, policed in self._policed.items():
            if not _is_whole(number, policed.directory, policed.endpoint):
                msg = f"endpoint {policed.endpoint.full_name!r} is not enforced: its interface has gone"
                self._reporter.error(msg)


def _is_whole(number: int, directory: Path, endpoint: Endpoint) -> bool:
    place = place_of(endpoint)
    return place is not None and Attachment(number, directory, 0, 0).is_alive(place)
