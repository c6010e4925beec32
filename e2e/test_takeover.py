# SPDX-License-Identifier: Apache-2.0
"""A run takes over from another version of bpfast, under traffic."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from e2e.bpfast import BPFast
from e2e.exchange import LOST, Exchange
from e2e.namespace import within
from e2e.policies import allow, entry, get, policy
from e2e.scene import Scene
from e2e.servers import Nginx
from e2e.version import (
    OTHER_FLOWS,
    OTHER_TABLES,
    SAME_LAYOUT,
    Patches,
    make_version,
    of_version,
    version_directories,
)

VERSIONS = {"same layout": SAME_LAYOUT, "other tables": OTHER_TABLES, "other flows": OTHER_FLOWS}
POLICY = policy(entry(allow("/a"), allow("/files/.*", method="PUT")))
ALLOWED, DENIED = 200, 403
WRITTEN = (201, 204)
PAUSE_SECONDS = 0.005
BODY_BYTES = 20000
HALF_A_HEAD = b"GET /a HTTP/1.1\r\nHo"
OTHER_HALF = b"st: pod\r\n\r\n"


@pytest.fixture(params=VERSIONS, ids=lambda name: name.replace(" ", "-"))
def patches(request: pytest.FixtureRequest) -> Patches:
    """What makes the other version another."""
    return VERSIONS[request.param]


@pytest.fixture
def other(patches: Patches, tmp_path: Path) -> Path:
    """The other version."""
    return make_version(tmp_path, patches)


class Prober:
    """Sends denied requests all the time, over new connections and behind allowed requests."""

    def __init__(self, scene: Scene, web: Nginx) -> None:
        """Begin when the block does."""
        self._scene = scene
        self._web = web
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._probe, args=(kept,)) for kept in (False, True)]
        self.seen: Counter[int] = Counter()

    def __enter__(self) -> Self:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _probe(self, kept: bool) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError), opened(self._scene, self._web) as connection:
                if kept:
                    connection.ask("/a")
                self.seen[connection.ask("/never")] += 1
            time.sleep(PAUSE_SECONDS)


@contextlib.contextmanager
def opened(scene: Scene, web: Nginx) -> Iterator[Exchange]:
    """Give a connection."""
    connection = Exchange(scene.client.namespace.connect(web.pod.address, web.port, timeout=4))
    try:
        yield connection
    finally:
        connection.close()


def paths(web: Nginx) -> Counter[str]:
    """Return how often the server was asked for what."""
    return Counter(line.request.split()[1] for line in web.requests())


def test_a_takeover_leaves_no_gap(scene: Scene, web: Nginx, other: Path, patches: Patches) -> None:
    """No denied request arrives; idle connections go on where flows can be carried, else are reset."""
    carried = patches is not OTHER_FLOWS
    first, second = of_version(scene.run(POLICY), other), scene.run(POLICY)
    with first, contextlib.ExitStack() as stack:
        never = paths(web)["/never"]
        connections = [stack.enter_context(opened(scene, web)) for _ in range(4)]
        idle, head, body, unused = connections
        before = [connection.ask("/a") for connection in (idle, head, body)]
        head.send_bytes(HALF_A_HEAD)
        put = f"PUT /files/x HTTP/1.1\r\nHost: pod\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
        body.send_bytes(put.encode() + bytes(BODY_BYTES // 2))
        time.sleep(0.2)
        old = version_directories(scene.pins)
        first.kill()
        with contextlib.ExitStack() as running:
            with Prober(scene, web) as prober:
                running.enter_context(second)
            new = version_directories(scene.pins)
            answers = [idle.ask("/a"), idle.ask("/never"), unused.ask("/a")]
            head.send_bytes(OTHER_HALF)
            body.send_bytes(bytes(BODY_BYTES // 2))
            rest = [head.answer(), body.answer()]

    assert [ALLOWED] * 3 == before
    assert (1, 1, []) == (len(old), len(new), [name for name in old if name in new])
    assert "pins_taken_over" in second.errors
    assert ([ALLOWED, DENIED] if carried else [LOST, LOST]) == answers[:2]
    assert (ALLOWED if carried else LOST) == answers[2]
    assert rest[0] in (ALLOWED, LOST)
    assert rest[1] in (WRITTEN if carried else (LOST,))
    assert prober.seen[DENIED] > 0
    assert (0, never) == (prober.seen[ALLOWED], paths(web)["/never"])
    assert (0, []) == (second.code, version_directories(scene.pins))


def test_a_takeover_with_another_policy(scene: Scene, web: Nginx, other_tables: Path) -> None:
    """The new policy is in force for connections of before, and half a head follows no table but its own."""
    with (
        of_version(scene.run(get("/a")), other_tables) as first,
        opened(scene, web) as idle,
        opened(scene, web) as half,
    ):
        before = (idle.ask("/a"), half.ask("/a"))
        half.send_bytes(HALF_A_HEAD)
        time.sleep(0.1)
        first.kill()
        with scene.run(get("/b")):
            half.send_bytes(OTHER_HALF)
            rest = half.answer()
            after = (idle.ask("/b"), idle.ask("/a"))

    assert (ALLOWED, ALLOWED) == before
    assert LOST == rest
    assert (ALLOWED, DENIED) == after


@pytest.fixture
def other_tables(tmp_path: Path) -> Path:
    """Another version with another layout of tables."""
    return make_version(tmp_path, OTHER_TABLES)


def test_what_was_kept_is_taken_back(scene: Scene, web: Nginx, other_tables: Path) -> None:
    """An older version takes over from a newer one in the same way; --keep leaves the same as a crash."""
    never = paths(web)["/never"]
    with scene.run(POLICY, options=["--keep"]) as newer, opened(scene, web) as idle:
        before = idle.ask("/a")
        newer.stop()
        with contextlib.ExitStack() as running:
            with Prober(scene, web) as prober:
                older = running.enter_context(of_version(scene.run(POLICY), other_tables))
            during = len(version_directories(scene.pins))
            after = idle.ask("/a")

    assert (ALLOWED, ALLOWED, 1) == (before, after, during)
    assert (0, never) == (prober.seen[ALLOWED], paths(web)["/never"])
    assert (0, 0) == (newer.code, older.code)


def test_who_is_not_policed_any_more_is_released(scene: Scene, web: Nginx, other_tables: Path) -> None:
    """What another version enforced on an endpoint that no policy selects now ends with the takeover."""
    with of_version(scene.run(POLICY), other_tables) as first:
        first.kill()
        with opened(scene, web) as between:
            denied = between.ask("/b")
        with scene.run(POLICY.replace('"server"', '"nobody"')), opened(scene, web) as after:
            allowed = after.ask("/b")
            left = version_directories(scene.pins)

    assert (DENIED, ALLOWED) == (denied, allowed)
    assert 1 == len(left)


def cut_off(scene: Scene, run: BPFast) -> None:
    """Start a run and kill it as soon as it has made a directory of its own."""
    before = version_directories(scene.pins)

    def kill() -> None:
        if within(20, lambda: version_directories(scene.pins) != before):
            run.process.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    with contextlib.suppress(RuntimeError), run:
        pass
    thread.join()


def test_a_takeover_that_is_cut_off_is_gone_on_with(scene: Scene, web: Nginx, other_tables: Path) -> None:
    """Whoever is killed in the middle of a takeover leaves all enforced, and the next one ends it."""
    never = paths(web)["/never"]
    with of_version(scene.run(POLICY), other_tables) as first, opened(scene, web) as idle:
        before = idle.ask("/a")
        first.kill()
        with contextlib.ExitStack() as running:
            with Prober(scene, web) as prober:
                cut_off(scene, scene.run(POLICY))
                between = version_directories(scene.pins)
                third = running.enter_context(scene.run(POLICY))
            after = (idle.ask("/a"), idle.ask("/b"))
            left = version_directories(scene.pins)

    assert (ALLOWED, 2) == (before, len(between))
    assert (ALLOWED, DENIED) == after
    assert 1 == len(left)
    assert (0, never) == (prober.seen[ALLOWED], paths(web)["/never"])
    assert third.code == 0
