# SPDX-License-Identifier: Apache-2.0
"""Status and time to first byte of real servers' answers, by hook, seen at both ends of the connection."""

import contextlib
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import ClassVar

import pytest

from e2e.bpfast import BPFast, Event
from e2e.curl import curl, curl_all
from e2e.namespace import within
from e2e.policies import allow, egress, entry, policy
from e2e.scene import Scene, trusted
from e2e.servers import Logged, Nginx, PythonServer, Server, status_and_request
from e2e.serving.with_sleep import SECONDS, WAYS

PROGRAM = Path(__file__).resolve().parent / "serving" / "with_sleep.py"
OLD = 8000
PORTS = {way: 8001 + number for number, way in enumerate(WAYS)}
ALL = (allow("/.*", method="GET|HEAD|PUT"),)
FIELDS = [
    "event", "time", "endpoint", "direction", "peer", "peer_port", "port", "method", "path",
    "status", "ttfb_ns",
]  # fmt: skip


class OldPython(PythonServer):
    """Python's http.server as it is by itself: HTTP/1.0."""

    def prepare(self) -> list[str]:
        """Return the command line without the protocol."""
        words = super().prepare()
        at = words.index("--protocol")
        return words[:at] + words[at + 2 :]


class Sleeping(Server):
    """A server of ``e2e/serving/with_sleep.py``; its name is what it does."""

    name: ClassVar[str] = "with_sleep"

    def __init__(self, scene: Scene, way: str) -> None:
        """Take what it is to do."""
        super().__init__(scene.server, port=PORTS[way])
        self._way = way

    def prepare(self) -> list[str]:
        """Return the command line."""
        return ["/usr/bin/python3", "-u", str(PROGRAM), str(self.port), self._way]

    def logged(self, line: str) -> Logged | None:
        """Read nothing: it has no log."""
        return status_and_request(line)


@pytest.fixture(scope="module")
def servers(scene: Scene, web: Nginx) -> Iterator[Nginx]:
    """All servers, each at its port; nginx is given."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(OldPython(scene.server, port=OLD))
        for way in WAYS:
            stack.enter_context(Sleeping(scene, way))
        yield web


@pytest.fixture(scope="module", params=("xdp", "tcx"))
def run(request: pytest.FixtureRequest, scene: Scene, servers: Nginx) -> Iterator[BPFast]:
    """Both ends are policed and allow everything."""
    ports = (servers.port, OLD, *PORTS.values())
    into = policy(*(entry(*ALL, port=port) for port in ports))
    out = [egress(*ALL, port=port).replace('"out"', f'"out-{port}"') for port in ports]
    with scene.run(into, *out, options=["--hook", request.param], endpoints=trusted(scene)) as running:
        yield running


def answers(run: BPFast, path: str, count: int = 1) -> tuple[list[Event], list[Event]]:
    """Wait for the answers to requests for a path: those of the server's end and of the client's."""

    def found(direction: str) -> list[Event]:
        events = run.events("response")
        return [one for one in events if one["path"] == path and one["direction"] == direction]

    assert within(5, lambda: len(found("ingress")) >= count <= len(found("egress"))), run.events("response")
    return found("ingress"), found("egress")


def test_the_fields_of_an_answer(run: BPFast, scene: Scene, servers: Nginx) -> None:
    """Both ends tell of the answer, each with its own names; the client's end waits at least as long."""
    curl(scene.client, f"{servers.url}/fields?of=it")
    (into,), (out,) = answers(run, "/fields?of=it")

    assert FIELDS == list(into) == list(out)
    assert ["response", "default/server", "default/client", 80, "GET", 200] == [
        into[name] for name in ("event", "endpoint", "peer", "port", "method", "status")
    ]
    assert ["default/client", "default/server", 80, 200] == [
        out[name] for name in ("endpoint", "peer", "peer_port", "status")
    ]
    assert 0 < into["ttfb_ns"] <= out["ttfb_ns"]


def test_statuses_of_nginx(run: BPFast, scene: Scene, servers: Nginx) -> None:
    """404, 304, answers to HEAD, behind 100 Continue and on kept connections have their statuses."""
    (servers.root / "page").write_text("page")
    (servers.root / "new").unlink(missing_ok=True)
    changed = formatdate((servers.root / "page").stat().st_mtime, usegmt=True)
    page = f"{servers.url}/files/page"
    curl(scene.client, f"{servers.url}/files/none")
    curl(scene.client, page, "--head")
    curl(scene.client, page, "--header", f"If-Modified-Since: {changed}")
    (servers.directory / "sent").write_text("sent")
    words = ("--upload-file", str(servers.directory / "sent"), "--header", "Expect: 100-continue")
    curl(scene.client, f"{servers.url}/files/new", *words)
    curl_all(scene.client, [f"{servers.url}/kept"] * 10)

    expected = {"/files/none": [404], "/files/page": [200, 304], "/files/new": [201], "/kept": [200] * 10}
    found = {path: answers(run, path, len(codes)) for path, codes in expected.items()}
    for end in (0, 1):
        assert expected == {path: [one["status"] for one in both[end]] for path, both in found.items()}
    assert ["HEAD", "GET"] == [one["method"] for one in found["/files/page"][0]]


def test_statuses_of_http_1_0(run: BPFast, scene: Scene, servers: Nginx) -> None:
    """A server of HTTP/1.0 has statuses, too."""
    del servers
    answer = curl(scene.client, f"{scene.server.url(OLD)}/not-there")
    into, out = answers(run, "/not-there")

    assert answer.body.startswith("HTTP/1.0 404 ")
    assert [404, 404] == [one["status"] for one in (*into, *out)]


@pytest.mark.parametrize("way", ("slow", "interim"))
def test_a_slow_server_shows(run: BPFast, scene: Scene, way: str) -> None:
    """The time to the first byte has in it what the server slept, also behind an interim response."""
    answer = curl(scene.client, f"{scene.server.url(PORTS[way])}/{way}")
    (into,), (out,) = answers(run, f"/{way}")

    assert 200 == answer.status == into["status"] == out["status"]
    assert SECONDS * 1e9 <= into["ttfb_ns"] <= out["ttfb_ns"]


def test_a_status_line_in_pieces(run: BPFast, scene: Scene) -> None:
    """A server that sends a byte at a time has a time to the first, and no status."""
    answer = curl(scene.client, f"{scene.server.url(PORTS['pieces'])}/pieces")
    (into,), (out,) = answers(run, "/pieces")

    assert 200 == answer.status
    assert [None, None] == [into["status"], out["status"]]
