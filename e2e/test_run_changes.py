# SPDX-License-Identifier: Apache-2.0
"""Files that change while ``bpfast run`` enforces them."""

import contextlib
import http.client
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfast.controller.run import LOOK_SECONDS as ADDRESS_SECONDS
from e2e.bpfast import BPFast, Endpoint, write_endpoints
from e2e.curl import curl
from e2e.namespace import Namespace, add_namespace, within
from e2e.policies import entry, get, policy
from e2e.scene import Scene
from e2e.servers import Nginx
from e2e.topology import Pod

LOOK_SECONDS = 3
BROKEN = "kind: [\n"


@pytest.fixture(scope="module")
def running(scene: Scene, web: Nginx) -> Iterator[tuple[BPFast, Path]]:
    """One run and its policy file, for all tests that change it and then write it anew."""
    del web
    path = scene.write(get("/a"))
    with scene.run(path) as started:
        yield started, path


@pytest.fixture
def changing(running: tuple[BPFast, Path]) -> tuple[BPFast, Path]:
    """The run, with ``/a`` allowed when the test begins."""
    started, path = running
    put(started, path, get("/a"))
    return started, path


def put(started: BPFast, path: Path, text: str) -> None:
    """Write a policy in one step and wait until it is enforced."""
    if path.exists() and path.read_text() == text:
        return
    with started.taking_up():
        replace(path, text)


def replace(path: Path, text: str) -> None:
    """Change a file in one step: a reader sees the old one or the new one."""
    fresh = path.with_suffix(".fresh")
    fresh.write_text(text)
    fresh.replace(path)


def statuses(pod: Pod, web: Nginx, *paths: str) -> list[int]:
    """Ask for paths over new connections."""
    return [curl(pod, web.url + path, seconds=1).status for path in paths]


@contextlib.contextmanager
def kept(pod: Pod, web: Nginx) -> Iterator[http.client.HTTPConnection]:
    """Give an HTTP connection that is kept, and never opened again by itself."""
    connection = http.client.HTTPConnection(web.pod.address, web.port, timeout=3)
    connection.sock = pod.namespace.connect(web.pod.address, web.port)
    connection.auto_open = 0
    try:
        yield connection
    finally:
        connection.close()


def asked(connection: http.client.HTTPConnection, path: str) -> int:
    """Ask over the kept connection; return the status."""
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def test_a_change_is_picked_up_on_kept_connections(
    scene: Scene, web: Nginx, changing: tuple[BPFast, Path]
) -> None:
    """An idle connection survives the change, and its next requests are judged by the new policy."""
    started, path = changing
    with kept(scene.client, web) as connection:
        before = asked(connection, "/a")
        put(started, path, get("/b"))
        after = [asked(connection, "/b"), asked(connection, "/a")]

    assert (200, [200, 403]) == (before, after)
    assert [403, 200] == statuses(scene.client, web, "/a", "/b")


@pytest.mark.parametrize("what", ("broken", "gone"))
def test_the_last_policy_stays(scene: Scene, web: Nginx, changing: tuple[BPFast, Path], what: str) -> None:
    """A file that cannot be read, or that vanishes, changes nothing but is told; the next good one counts."""
    started, path = changing
    known = len(started.events("error"))
    if what == "broken":
        replace(path, BROKEN)
    else:
        path.unlink()
    assert within(LOOK_SECONDS, lambda: len(started.events("error")) > known)
    message = started.events("error")[-1]["message"]

    assert str(path) in message
    assert "stays in force" in message
    assert message in started.errors
    assert [200, 403] == statuses(scene.client, web, "/a", "/b")
    put(started, path, get("/b"))
    assert [403, 200] == statuses(scene.client, web, "/a", "/b")


def test_rules_go_and_come_under_a_connection(
    scene: Scene, web: Nginx, changing: tuple[BPFast, Path]
) -> None:
    """Without rules a kept connection goes on; what passed then was not seen, so new rules reset it."""
    started, path = changing
    with kept(scene.client, web) as connection:
        inspected = asked(connection, "/a")
        put(started, path, policy(entry(port=80)))
        unseen = asked(connection, "/b")
        put(started, path, get("/a"))
        with pytest.raises(ConnectionResetError):
            asked(connection, "/a")

    assert (200, 200) == (inspected, unseen)
    assert [200, 403] == statuses(scene.client, web, "/a", "/b")


def test_a_policy_that_selects_nobody_any_more_opens(
    scene: Scene, web: Nginx, changing: tuple[BPFast, Path]
) -> None:
    """By default an endpoint that no policy selects is open, kept connections included."""
    started, path = changing
    with kept(scene.client, web) as connection:
        before = asked(connection, "/a")
        put(started, path, get("/a").replace('"server"', '"nobody"'))
        after = asked(connection, "/b")

    assert (200, 200) == (before, after)
    assert [200] == statuses(scene.client, web, "/b")


def test_endpoints_come_and_go(scene: Scene, web: Nginx, changing: tuple[BPFast, Path]) -> None:
    """What leaves the endpoints file is open and unknown; what comes back is policed and known."""
    started, _path = changing
    entries = {name: scene.entry(name) for name in ("client", "server", "other")}
    with started.taking_up():
        write_endpoints(scene.endpoints, [entries["client"], entries["other"]])
    without_server = statuses(scene.client, web, "/a", "/b")
    with started.taking_up():
        write_endpoints(scene.endpoints, [entries["server"], entries["other"]])
    without_client = statuses(scene.client, web, "/a")
    with started.taking_up():
        write_endpoints(scene.endpoints, list(entries.values()))

    assert [200, 200] == without_server
    assert [0] == without_client
    assert [200, 403] == statuses(scene.client, web, "/a", "/b")


def test_broken_endpoints_change_nothing(scene: Scene, web: Nginx, changing: tuple[BPFast, Path]) -> None:
    """An endpoints file that cannot be read is told, and everything stays as it is."""
    started, _path = changing
    known = len(started.events("error"))
    good = scene.endpoints.read_text()
    replace(scene.endpoints, "endpoints: 7\n")
    told = within(LOOK_SECONDS, lambda: len(started.events("error")) > known)
    during = statuses(scene.client, web, "/a", "/b")
    with started.taking_up():
        replace(scene.endpoints, good)

    assert told
    assert "endpoints: must be a list" in started.events("error")[known]["message"]
    assert [200, 403] == during


def test_a_change_waits_for_a_pod_that_comes_later(
    scene: Scene, web: Nginx, changing: tuple[BPFast, Path]
) -> None:
    """A change that names a pod without a namespace is told once, and is taken when the pod has come."""
    started, path = changing
    known = len(started.events("error"))
    late = Namespace(f"{scene.client.namespace.name}-late")
    entries = [scene.entry(name) for name in ("client", "server", "other")]
    later = Endpoint(name="late", labels={"app": "late"}, netns=late.name)
    try:
        with started.taking_up():
            write_endpoints(scene.endpoints, [*entries, later])
            replace(path, get("/b"))
            assert within(LOOK_SECONDS, lambda: len(started.events("error")) > known)
            before = statuses(scene.client, web, "/a", "/b")
            time.sleep(2 * ADDRESS_SECONDS)
            told = [event["message"] for event in started.events("error")[known:]]
            add_namespace(late.name)
            late.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "host-late")
            late.run("ip", "link", "set", "host-late", "netns", scene.host.namespace.name)
        assert [403, 200] == statuses(scene.client, web, "/a", "/b")
    finally:
        write_endpoints(scene.endpoints, entries)
        late.delete()

    assert [200, 403] == before
    assert 1 == sum(late.name in message for message in told)
