# SPDX-License-Identifier: Apache-2.0
"""``bpfast run``: standalone mode. Files in, enforcement on, verdicts out.

One thread: it looks at the ring of events and at the files, 20 times a second,
at addresses once in LOOK_SECONDS, and at attachments and flows once in
SWEEP_SECONDS. A change is compiled completely before anything is written; what
cannot be read leaves the last policy in force.
"""

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from bpfast import settings
from bpfast.abi import DenyMode, EventMode
from bpfast.controller import takeover
from bpfast.controller.changes import Addresses, Files
from bpfast.controller.desired import Desired, World, desired
from bpfast.controller.enforce import Enforcer, Modes
from bpfast.controller.pins import held, open_maps, remove
from bpfast.controller.read import place_of, read_all_endpoints, read_all_policies
from bpfast.controller.report import Reporter
from bpfast.controller.staying import entries_that_stay
from bpfast.controller.sweep import Sweeper
from bpfast.controller.ways import check_directions, enforced
from bpfast.errors import BPFastError, Unsupported
from bpfast.kernel.compiler import compiled
from bpfast.kernel.hooks import tcx_offered
from bpfast.kernel.maps import Maps
from bpfast.kernel.netns import own_addresses
from bpfast.kernel.program import Programs
from bpfast.kernel.site import Hook, devices
from bpfast.kernel.state import EventRing, State
from bpfast.log import Event, logger
from bpfast.policy.meaning import Direction
from bpfast.standalone.endpoints import Endpoint

POLL_MILLISECONDS = 50
LOOK_SECONDS = 2.0
SWEEP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Options:
    """What ``bpfast run`` was asked for."""

    endpoints: Path
    policies: tuple[Path, ...]
    hook: Hook = Hook.XDP
    deny: DenyMode = DenyMode.REPLY
    events: EventMode = EventMode.ALL
    default_deny: bool = False
    timing: bool = False
    keep: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """Every path whose change matters."""
        return (self.endpoints, *self.policies)


def _untrusted(endpoints: Sequence[Endpoint]) -> frozenset[str]:
    """Return the endpoints whose egress cannot be held to HTTP rules: they may be able to craft packets."""
    return frozenset(endpoint.full_name for endpoint in endpoints if not endpoint.trusted_egress)


class Runner:
    """One ``bpfast run``; ``run`` returns when a signal came."""

    def __init__(self, options: Options, reporter: Reporter) -> None:
        """Keep the options; nothing is read or loaded yet."""
        self._options = options
        self._reporter = reporter
        self._stopping = 0
        self._last: Desired | None = None
        self._refused = ""
        self._waits_for_endpoints = False

    def run(self) -> None:
        """Enforce until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        if self._options.hook is not Hook.XDP and not tcx_offered():
            message = (
                f"--hook {self._options.hook.value} needs tcx, which Linux has from 6.6 on; valid here: xdp"
            )
            raise Unsupported(message)
        files = Files(self._options.files)
        wanted = self._read()
        ways = enforced(wanted, self._options.hook)
        check_directions(ways)
        for _endpoint, site in ways.values():
            devices(site)  # say what is wrong before anything is loaded
        with held(settings.pin_directory()):
            maps, root, taken_over = open_maps(settings.pin_directory())
            try:
                self._enforce(maps, root, wanted, files, taken_over=taken_over)
            except BaseException:
                # What is enforced stays, as after SIGKILL: a full disk must not open every pod.
                if taken_over or self._last:
                    logger().error(Event.PINS_KEPT, directory=str(root))
                else:
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
        known = self._last.endpoints if self._last else ()
        self._waits_for_endpoints = True
        endpoints = read_all_endpoints(self._options.endpoints, known, self._options.hook)
        self._waits_for_endpoints = False
        policies = read_all_policies(self._options.policies)
        attached = [endpoint for endpoint in endpoints if place_of(endpoint)]
        wanted = desired(
            World(endpoints, tuple(own_addresses())),
            policies,
            only={endpoint.full_name for endpoint in attached},
            untrusted=_untrusted(attached),
            default_deny=self._options.default_deny,
        )
        milliseconds = round((time.perf_counter() - started) * 1000, 1)
        logger().info(
            Event.POLICY_LOADED, policies=len(policies), rules=wanted.rules, milliseconds=milliseconds
        )
        for refusal in wanted.refused:
            logger().warning(Event.RULE_REFUSED, rule=refusal.rule, reason=refusal.reason)
        return wanted

    def _enforce(self, maps: Maps, root: Path, wanted: Desired, files: Files, *, taken_over: bool) -> None:
        programs = Programs(compiled(settings.bpf_directory(), settings.cache_directory()), maps)
        for text in {self._options.hook.text, *takeover.texts(root)}:
            programs.fill_chain(text)
        state, ring = State(maps), EventRing(maps)
        modes = Modes(self._options.hook, self._options.deny, self._options.events, self._options.timing)
        sweeper = Sweeper(maps, programs)
        enforcer = Enforcer(programs, state, sweeper, root=root, modes=modes)
        try:
            if taken_over:
                ring.poll(0)  # what was decided while nobody looked is nobody's news
                enforcer.take_over(wanted)
            self._apply(enforcer, wanted)
            self._loop(enforcer, ring, sweeper, files)
        finally:
            ring.close()
            state.close()

    def _apply(self, enforcer: Enforcer, wanted: Desired) -> None:
        indices = enforcer.apply(wanted)
        self._last = wanted
        endpoints = {number: policed.endpoint for number, policed in enforcer.policed.items()}
        self._reporter.learn(wanted, indices, endpoints)
        self._warn(wanted)
        names = {endpoint.full_name for endpoint in endpoints.values()}
        logger().info(Event.READY, endpoints=len(names), rules=wanted.rules)
        self._reporter.ready(endpoints=len(names), rules=wanted.rules)

    def _warn(self, wanted: Desired) -> None:
        """Name the entries that open nothing here."""
        attached = [endpoint for endpoint in wanted.endpoints if place_of(endpoint)]
        subjects = [endpoint.subject() for endpoint in attached]
        for direction in Direction:
            for found in entries_that_stay(
                wanted.policies, subjects, direction, untrusted=_untrusted(attached)
            ):
                self._reporter.warning(found.policy, found.path, f"opens nothing here: {found.reason}")

    def _reload(self, enforcer: Enforcer) -> None:
        try:
            self._apply(enforcer, self._read())
        except BPFastError as error:
            # The last policy stays in force; the user sees every fault, once for each change.
            if str(error) != self._refused:
                logger().error(Event.INPUT_REFUSED, faults=str(error).splitlines())
                self._reporter.error(f"the last policy stays in force: {error}")
            self._refused = str(error)
        else:
            self._refused = ""

    def _loop(self, enforcer: Enforcer, ring: EventRing, sweeper: Sweeper, files: Files) -> None:
        addresses = Addresses()
        looked = swept = time.monotonic()
        while not self._stopping:
            self._reporter.events(ring.poll(POLL_MILLISECONDS))
            now = time.monotonic()
            if files.have_changed():
                paths = ", ".join(str(path) for path in self._options.files)
                logger().info(Event.FILE_CHANGED, path=paths)
                self._refused = ""
                self._reload(enforcer)
            if now - looked >= LOOK_SECONDS:
                looked = now
                self._reporter.lost(sweeper.lost_events())
                if self._waits_for_endpoints:
                    self._reload(enforcer)  # a pod may have come since then
                elif self._last and addresses.differ(self._last.world):
                    logger().info(Event.ADDRESSES_CHANGED)
                    self._reload(enforcer)
            if now - swept >= SWEEP_SECONDS:
                swept = now
                sweeper.sweep(enforcer.sites())
                for complaint in enforcer.check():
                    self._reporter.error(complaint)
        self._reporter.events(ring.poll(0))
        self._reporter.lost(sweeper.lost_events())
        logger().info(Event.STOPPING, signal=signal.Signals(self._stopping).name)
