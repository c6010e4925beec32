# SPDX-License-Identifier: Apache-2.0
"""``python -m e2e.live SECONDS``: ten changes of the policy a second, under load; prints figures.

Policy number k lets everybody ask for /always, and for /even or /odd as k is;
/never is nobody's. It has k % SHAPES further rules, so that each is another
table and ``ready`` says which one is in force. What must not happen is counted
in ``Figures.wrong``; times are printed and never judged.
"""

import contextlib
import itertools
import json
import random
import sys
import tempfile
import threading
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bpfast import abi
from bpfast.abi import MapNumber
from bpfast.kernel import syscall
from e2e.bpfast import BPFast, pin_directory
from e2e.exchange import LOST, Exchange
from e2e.namespace import within
from e2e.policies import allow, entry, policy
from e2e.scene import Scene
from e2e.servers import Nginx
from e2e.topology import Topology

CHANGE_SECONDS = 0.1
SHAPES = 10
IDLE_CONNECTIONS = 20
POLL_SECONDS = 0.003
PAUSE_SECONDS = 0.002
ALLOWED, DENIED = 200, 403


def text(number: int) -> str:
    """Return policy number ``number``."""
    filler = [allow(f"/filler/{one}") for one in range(number % SHAPES)]
    return policy(entry(allow("/always"), allow(f"/{side(number)}"), *filler))


def side(number: int) -> str:
    """Return the path that only every other policy allows."""
    return "odd" if number % 2 else "even"


@dataclass(slots=True)
class Timeline:
    """Which policy may have been in force when: written at, enforced by."""

    written: list[float] = field(default_factory=list)
    enforced: dict[int, float] = field(default_factory=dict)
    _until: list[float] = field(default_factory=list)

    def allowed(self, path: str, began: float, ended: float) -> set[bool]:
        """Return the verdicts on ``path`` of all policies that may have been in force in that time.

        One may be in force from when it was written until a later one is known to be.
        """
        last = bisect_right(self.written, ended)
        first = bisect_left(self._untils(), began)
        return {path == side(number) for number in range(first, last)}

    def _untils(self) -> list[float]:
        """Return, for each policy, when a later one was known to be in force; it never goes back."""
        if len(self._until) != len(self.written):
            self._until = [float("inf")] * len(self.written)
            for number in reversed(range(len(self.written) - 1)):
                self._until[number] = min(
                    self._until[number + 1], self.enforced.get(number + 1, float("inf"))
                )
        return self._until

    def delays(self) -> list[float]:
        """Return, for each policy that was taken, the seconds from the change to its enforcement."""
        return sorted(at - self.written[number] for number, at in self.enforced.items() if number)


@dataclass(slots=True)
class Figures:
    """What happened: ``wrong`` has what must not, ``seen`` the rest."""

    wrong: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    delays: list[float] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return them for people."""
        rows = [f"{name:32} {count:>9,}" for name, count in sorted(self.seen.items())]
        rows += [f"WRONG {name:26} {count:>9,}" for name, count in sorted(self.wrong.items())]
        if self.delays:
            p50, p99 = (self.delays[int((len(self.delays) - 1) * part)] * 1000 for part in (0.5, 0.99))
            rows.append(f"{'change to enforcement, ms':32} p50 {p50:.0f}, p99 {p99:.0f}")
        return rows


class Load:
    """Clients, each a thread, that ask until ``stop``; the judgement comes afterwards."""

    def __init__(self, scene: Scene, web: Nginx) -> None:
        """Open what is to stay idle."""
        self._scene = scene
        self._web = web
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.wrong: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.judged: list[tuple[str, float, float, bool]] = []
        self._idle = [self._open() for _ in range(IDLE_CONNECTIONS)]
        for connection in self._idle:
            connection.ask("/always")

    def start(self) -> None:
        """Begin to ask."""
        clients = (self._keep, self._keep, self._pipeline, self._split, self._probe, self._probe_kept)
        for client in (*clients, self._depend, self._depend):
            thread = threading.Thread(target=self._guarded, args=(client,))
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End all, and ask once more over what was idle."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        for connection in self._idle:
            status = connection.ask("/always")
            self.seen["idle connections that live on"] += status == ALLOWED
            self.wrong["idle connections lost"] += status != ALLOWED
            connection.close()

    def _guarded(self, client: Callable[[], None]) -> None:
        try:
            client()
        except Exception as error:  # noqa: BLE001 - a client that ends early is a failure of the run
            self.wrong[f"client ended: {error!r}"] += 1

    def _open(self) -> Exchange:
        address, port = self._web.pod.address, self._web.port
        return Exchange(self._scene.client.namespace.connect(address, port))

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Exchange]:
        connection = self._open()
        try:
            yield connection
        finally:
            connection.close()

    def _keep(self) -> None:
        """Ask for what is always allowed, over one connection."""
        with self._opened() as connection:
            while not self._over.is_set():
                status = connection.ask("/always")
                self.seen["kept: allowed"] += status == ALLOWED
                if status != ALLOWED:
                    self.wrong[f"kept: {status}"] += 1
                    return
                time.sleep(PAUSE_SECONDS)

    def _pipeline(self) -> None:
        """Five such requests at once."""
        with self._opened() as connection:
            while not self._over.is_set():
                connection.send("/always", times=5)
                found = [connection.answer() for _ in range(5)]
                self.seen["pipelined: allowed"] += found.count(ALLOWED)
                if found != [ALLOWED] * 5:
                    self.wrong[f"pipelined: {found}"] += 1
                    return
                time.sleep(0.005)

    def _split(self) -> None:
        """Heads in two parts, with a change in between or not: they end, or are reset."""
        while not self._over.is_set():
            with self._opened() as connection:
                status = ALLOWED
                while status == ALLOWED and not self._over.is_set():
                    status = connection.ask("/always", pause=random.random() * CHANGE_SECONDS)
                    self.seen["cut heads: allowed"] += status == ALLOWED
                self.seen["cut heads: reset"] += status == LOST
                self.wrong["cut heads: denied"] += status not in (LOST, ALLOWED)

    def _probe(self) -> None:
        """Ask for what is never allowed; what the server sees of it is wrong."""
        while not self._over.is_set():
            with self._opened() as connection:
                status = connection.ask("/never")
            self.seen["never: denied"] += status == DENIED
            self.wrong["never: allowed"] += status == ALLOWED
            self.seen["never: reset"] += status == LOST
            time.sleep(PAUSE_SECONDS)

    def _probe_kept(self) -> None:
        """The same behind an allowed request, in one segment or the next."""
        for together in itertools.cycle((False, True)):
            if self._over.is_set():
                return
            with self._opened() as connection:
                connection.send("/always")
                first = ALLOWED if together else connection.answer()
                connection.send("/never")
                statuses = [connection.answer() for _ in range(1 + together)]
            self.wrong["never, kept: allowed"] += statuses[-1] == ALLOWED
            self.wrong["never, kept: first denied"] += first != ALLOWED
            self.seen["never, kept: not allowed"] += statuses[-1] != ALLOWED

    def _depend(self) -> None:
        """Ask for what depends on the policy; a verdict of none that was in force is wrong."""
        connection = self._open()
        while not self._over.is_set():
            path = random.choice(("even", "odd"))
            began = time.monotonic()
            status = connection.ask(f"/{path}")
            if status in (ALLOWED, DENIED):
                self.judged.append((path, began, time.monotonic(), status == ALLOWED))
            else:
                self.wrong[f"depending: {status}"] += 1
            if status != ALLOWED:
                connection.close()
                connection = self._open()
            time.sleep(PAUSE_SECONDS)
        connection.close()


def entries(scene: Scene) -> dict[str, int]:
    """Return how many entries the maps have that user space writes, and how many words their tables take."""
    with scene.maps() as maps:
        counted = {}
        for number, size in ((MapNumber.PEERS, "peer_key"), (MapNumber.PORT_POLICIES, "port_key")):
            counted[number.name.lower()] = len(list(syscall.map_keys(maps[number], abi.SIZES[size])))
        values = [
            syscall.map_lookup(maps[MapNumber.RULE_SETS], index.to_bytes(4, sys.byteorder), 24) or bytes(24)
            for index in range(abi.MAX_RULE_SETS)
        ]
        counted["rule_sets"] = sum(value[4:8] != bytes(4) for value in values)
        return counted


class Changes:
    """Writes one policy after the other, and learns when each was in force."""

    def __init__(self, started: BPFast, path: Path) -> None:
        """Policy 0 is in force."""
        self._started = started
        self._path = path
        self.timeline = Timeline([time.monotonic()], {0: time.monotonic()})
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def write(self, number: int) -> None:
        """Put a policy into the place of the one before."""
        fresh = self._path.with_suffix(".fresh")
        fresh.write_text(text(number))
        self.timeline.written.append(time.monotonic())
        fresh.replace(self._path)

    def close(self) -> None:
        """Wait until the last one is in force."""
        last = len(self.timeline.written) - 1
        within(5, lambda: last in self.timeline.enforced)
        self._over.set()
        self._thread.join()

    def _listen(self) -> None:
        known = len(self._started.events("ready"))
        while not self._over.wait(POLL_SECONDS):
            events = self._started.events("ready")
            for event in events[known:]:
                # The newest policy with so many rules that was written by now.
                last = len(self.timeline.written) - 1
                number = last - (last + 2 - event["rules"]) % SHAPES
                self.timeline.enforced.setdefault(number, time.monotonic())
            known = len(events)


def changed_under_load(scene: Scene, web: Nginx, seconds: float) -> Figures:
    """Change the policy for so many seconds and return what was seen."""
    path = scene.write(text(0))
    with scene.run(path, options=["--events", "none"]) as started:
        before = entries(scene)
        load, changes = Load(scene, web), Changes(started, path)
        load.start()
        end = time.monotonic() + seconds
        number = 0
        while time.monotonic() < end or number % SHAPES:
            number += 1
            changes.write(number)
            time.sleep(CHANGE_SECONDS)
        changes.close()
        load.stop()
        figures = Figures(load.wrong, load.seen, changes.timeline.delays())
        judge(figures, load, changes.timeline)
        after = entries(scene)
        figures.seen["errors reported"] += len(started.events("error"))
        figures.wrong["last change not in force"] += number not in changes.timeline.enforced
        figures.wrong[f"entries before {before}, after {after}"] += before != after
    logged = Counter(line.request.split()[1] for line in web.requests())
    figures.wrong["denied requests at the server"] += logged["/never"]
    figures.wrong += Counter()  # without the zeros
    return figures


def judge(figures: Figures, load: Load, timeline: Timeline) -> None:
    """Hold each verdict against the policies that may have been in force."""
    for path, began, ended, allowed in load.judged:
        possible = timeline.allowed(path, began, ended)
        figures.seen["depending: judged"] += 1
        figures.seen["depending: only one verdict possible"] += len(possible) == 1
        figures.wrong["depending: verdict of no policy in force"] += allowed not in possible
    figures.seen["changes"] = len(timeline.written) - 1
    figures.seen["changes overtaken by the next"] = len(timeline.written) - len(timeline.enforced)


def main() -> int:
    """Run for as long as the command line says."""
    seconds = float(sys.argv[1])
    with (
        pin_directory() as pins,
        Topology("client", "server") as topology,
        tempfile.TemporaryDirectory() as directory,
        Nginx(topology["server"]) as web,
    ):
        figures = changed_under_load(Scene(topology, Path(directory), pins), web, seconds)
    print("\n".join(figures.lines()))
    if "--json" in sys.argv:
        print(json.dumps({"seen": figures.seen, "wrong": figures.wrong}))
    return bool(figures.wrong)


if __name__ == "__main__":
    sys.exit(main())
