# SPDX-License-Identifier: Apache-2.0
"""``bpfast run``: what it reports, and how it denies."""

import re
import subprocess
import time
from collections.abc import Sequence

import pytest

from bpfast.abi import EVENTS_A_SECOND
from bpfast.settings import PIN_DIRECTORY_VARIABLE
from e2e.bpfast import Event
from e2e.curl import curl
from e2e.policies import allow, entry, get, policy
from e2e.raw import RawClient
from e2e.scene import Scene, open_connections
from e2e.segments import Flags
from e2e.servers import Nginx

FIELDS = {
    "event",
    "time",
    "endpoint",
    "direction",
    "peer",
    "peer_port",
    "port",
    "method",
    "path",
    "host",
    "verdict",
    "rule",
    "reason",
}
RULE = "default/p spec.ingress[0].toPorts[0].rules.http[0]"


def ask(scene: Scene, web: Nginx, *paths: str, words: Sequence[str] = ()) -> list[int]:
    """Ask for paths, each over a connection of its own; return the statuses."""
    return [curl(scene.client, web.url + path, *words, seconds=2).status for path in paths]


def facts(event: Event, *names: str) -> list[object]:
    """Return some fields of an event."""
    return [event[name] for name in names]


def test_verdicts_have_the_fields_that_tools_rely_on(scene: Scene, web: Nginx) -> None:
    """After ready, an allowed request names its rule, a denied one its reason; time is the wall clock's."""
    with scene.run(get("/open.*")) as run:
        first = run.events()[0]
        statuses = ask(scene, web, "/open?page=2", "/secret", words=("--header", "Host: shop.example"))
        allowed, denied = run.verdicts(2)

    assert {"event": "ready", "endpoints": 1, "rules": 1} == first
    assert [200, 403] == statuses
    assert FIELDS == allowed.keys() == denied.keys()
    names = ("endpoint", "direction", "peer", "method", "host")
    assert ["default/server", "ingress", "default/client", "GET", "shop.example"] == facts(allowed, *names)
    assert ["/open?page=2", "allow", RULE, "rule"] == facts(allowed, "path", "verdict", "rule", "reason")
    assert ["/secret", "deny", None, "no_rule"] == facts(denied, "path", "verdict", "rule", "reason")
    assert 1024 <= allowed["peer_port"] <= 65535
    assert abs(time.time() - denied["time"]) < 10


@pytest.mark.parametrize(("kind", "paths"), (("denied", ["/b"]), ("none", [])))
def test_events_are_those_that_were_asked_for(scene: Scene, web: Nginx, kind: str, paths: list[str]) -> None:
    """The denied ones or none, and no answers; requests are answered alike."""
    with scene.run(get("/a"), options=["--events", kind]) as run:
        statuses = ask(scene, web, "/a", "/b")
        run.stop()

    assert [200, 403] == statuses
    assert paths == [event["path"] for event in run.events("verdict")]
    assert run.events("response") == []
    assert run.events("lost") == []


def test_nanoseconds_are_measured_on_request(scene: Scene, web: Nginx) -> None:
    """With --timing a verdict says how long it took."""
    with scene.run(get("/a"), options=["--timing"]) as run:
        ask(scene, web, "/a")
        (event,) = run.verdicts(1)

    assert FIELDS | {"ns"} == event.keys()
    assert 0 < event["ns"] < 1e9


@pytest.mark.parametrize(("mode", "code"), (("reset", 56), ("drop", 28)))
def test_denials_can_be_resets_or_nothing(scene: Scene, web: Nginx, mode: str, code: int) -> None:
    """Where it would see a 403, curl sees a reset or nothing at all; the server has no request."""
    before = len(web.requests())
    with scene.run(get("/a"), options=["--deny", mode]) as run:
        allowed = curl(scene.client, f"{web.url}/a")
        denied = curl(scene.client, f"{web.url}/b", seconds=1)
        reasons = [event["reason"] for event in run.verdicts(2)]
        left = open_connections(scene.server.namespace, seconds=1)

    assert allowed.status == 200
    assert (0, code) == (denied.status, denied.code)
    assert ["rule", "no_rule"] == reasons
    assert ["GET /a HTTP/1.1"] == [logged.request for logged in web.requests_since(before, expected=1)]
    assert mode == "drop" or left == []


def test_a_flood_of_events_is_counted_not_reported(scene: Scene, web: Nginx) -> None:
    """Beyond the stated rate events are lost, their number is told, and none is unaccounted for."""
    with scene.run(get("/a")) as run:
        said = scene.client.namespace.run("wrk", "-t1", "-c32", "-d1s", f"{web.url}/a", timeout=20).stdout
        lost = run.wait_for(lambda event: event["event"] == "lost")["count"]
        counts = scene.counts()
        run.stop()
    reported = len(run.events("verdict")) + len(run.events("response"))
    responses = sum(count for name, count in counts.items() if name.startswith("responses_"))
    lost = sum(event["count"] for event in run.events("lost"))
    answered = re.search(r"(\d+) requests in", said)

    assert answered is not None
    assert int(answered[1]) > EVENTS_A_SECOND
    assert counts["requests_allowed"] + responses == reported + lost
    # A window is a second and a CPU; the second of wrk may touch two or three of them.
    assert reported <= 3 * 2 * EVENTS_A_SECOND


def test_stray_segments_are_reset(scene: Scene, web: Nginx) -> None:
    """Data and bare acknowledgements of a connection that was never there are answered by a reset."""
    answers = []
    with scene.run(get("/a")):
        for payload in (b"", b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"):
            with RawClient(scene.client, web.pod.address) as raw:
                raw.acknowledgement = 4711
                raw.send(payload, flags=Flags.ACK)
                answers.append(raw.receive(1))

    for answer in answers:
        assert answer is not None
        assert Flags.RST == answer.segment.flags
        assert answer.segment.sequence == 4711
        assert answer.checksum_right


def test_two_endpoints_with_the_same_rules_keep_their_names(scene: Scene, web: Nginx) -> None:
    """The table is stored once, but a verdict names the policy of its own endpoint."""
    other = policy(entry(allow("/a")), name="q", subject={"app": "other"})
    with Nginx(scene.topology["other"]) as second, scene.run(get("/a"), other) as run:
        ask(scene, web, "/a")
        ask(scene, second, "/a")
        names = {event["endpoint"]: event["rule"] for event in run.verdicts(2)}

    assert {"default/server": RULE, "default/other": RULE.replace("/p ", "/q ")} == names


def test_text_is_for_people(scene: Scene, web: Nginx) -> None:
    """Without --json a verdict is one readable line."""
    run = scene.run(get("/a"))
    command = [word for word in run.arguments if word != "--json"]
    environment = {PIN_DIRECTORY_VARIABLE: str(scene.pins)}
    with scene.topology.host.start(*command, stdout=subprocess.PIPE, environment=environment) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        ask(scene, web, "/b")
        lines.append(process.stdout.readline())
        process.terminate()

    assert b"ready: 1 endpoints, 1 HTTP rules\n" == lines[0]
    wanted = rb"[0-9:]{8} deny +default/client -> default/server:80 GET /b \(no_rule\)\n"
    assert re.fullmatch(wanted, lines[1])
    assert process.returncode == 0
