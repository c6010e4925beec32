# SPDX-License-Identifier: Apache-2.0
"""A port begins or ceases to be inspected while a connection is somewhere inside of a request."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.bpfast import BPFast
from e2e.exchange import LOST, Exchange
from e2e.policies import allow, entry, policy
from e2e.scene import Scene
from e2e.servers import Nginx

INSPECT = policy(entry(allow("/a"), allow("/files/.*", method="PUT")))
ALLOW = policy(entry())
SAME_AND_MORE = policy(entry(allow("/a"), allow("/b"), allow("/files/.*", method="PUT")))
OK, DENIED, WRITTEN = 200, 403, (201, 204)

PUT = b"PUT /files/x HTTP/1.1\r\nHost: pod\r\n"
# Where a connection stands, and what ends the request that it is in.
STATES = {
    "idle": (b"", b""),
    "head": (b"GET /a HTTP/1.1\r\nHo", b"st: pod\r\n\r\n"),
    "body": (PUT + b"Content-Length: 10\r\n\r\n12345", b"67890"),
    "chunk": (PUT + b"Transfer-Encoding: chunked\r\n\r\nA\r\n12345", b"67890\r\n0\r\n\r\n"),
    "chunk size": (PUT + b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0", b"5\r\n12345\r\n0\r\n\r\n"),
}


@pytest.fixture(scope="module")
def running(scene: Scene, web: Nginx) -> Iterator[tuple[BPFast, Path]]:
    """One run and its policy file."""
    del web
    path = scene.write(INSPECT)
    with scene.run(path) as started:
        yield started, path


def put(running: tuple[BPFast, Path], text: str) -> None:
    """Write a policy and wait until it is enforced."""
    started, path = running
    if path.read_text() != text:
        with started.taking_up():
            fresh = path.with_suffix(".fresh")
            fresh.write_text(text)
            fresh.replace(path)


@pytest.fixture(params=STATES)
def state(request: pytest.FixtureRequest) -> tuple[bytes, bytes]:
    """What a connection has sent of a request, and the rest."""
    return STATES[request.param]


def begun(scene: Scene, web: Nginx, state: tuple[bytes, bytes]) -> Exchange:
    """Return a connection with one whole request behind it and another one begun."""
    connection = Exchange(scene.client.namespace.connect(web.pod.address, web.port, timeout=3))
    assert connection.ask("/a") == OK
    connection.send_bytes(state[0])
    time.sleep(0.05)
    return connection


def ended(connection: Exchange, state: tuple[bytes, bytes]) -> int | None:
    """Send the rest of the request; return the status, LOST, or None where there was none."""
    if not state[1]:
        return None
    connection.send_bytes(state[1])
    return connection.answer()


def test_what_is_no_longer_inspected_goes_on(
    scene: Scene, web: Nginx, running: tuple[BPFast, Path], state: tuple[bytes, bytes]
) -> None:
    """Wherever a connection stands, its request ends well, and the next one is nobody's business."""
    put(running, INSPECT)
    connection = begun(scene, web, state)
    put(running, ALLOW)
    answer, after = ended(connection, state), connection.ask("/b")
    connection.close()

    assert answer in (None, OK, *WRITTEN)
    assert OK == after


def test_what_becomes_inspected_is_reset(
    scene: Scene, web: Nginx, running: tuple[BPFast, Path], state: tuple[bytes, bytes]
) -> None:
    """What passed was not seen, so a connection is reset by what it says next; the reset is counted."""
    put(running, ALLOW)
    connection = begun(scene, web, state)
    before = web.requests()
    put(running, INSPECT)
    counted, reasons = scene.counts()["client_resets"], scene.reasons().get("no_flow", 0)
    answer = ended(connection, state)
    after = connection.ask("/a")
    resets, no_flow = scene.counts()["client_resets"] - counted, scene.reasons()["no_flow"] - reasons
    connection.close()

    assert answer in (None, LOST)
    assert LOST == after
    assert resets >= 1
    assert no_flow >= 1
    assert before == web.requests()


def test_other_rules_reset_a_head_and_nothing_else(
    scene: Scene, web: Nginx, running: tuple[BPFast, Path], state: tuple[bytes, bytes]
) -> None:
    """A body goes on to its end and the next request is judged by the new rules; a head is reset."""
    put(running, INSPECT)
    connection = begun(scene, web, state)
    stale = scene.reasons().get("stale_table", 0)
    put(running, SAME_AND_MORE)
    answer, after = ended(connection, state), connection.ask("/b")
    reset = scene.reasons().get("stale_table", 0) - stale
    connection.close()

    in_head = state is STATES["head"]
    assert (answer == LOST) is in_head
    assert (LOST if in_head else OK) == after
    assert int(in_head) == reset
