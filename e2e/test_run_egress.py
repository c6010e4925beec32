# SPDX-License-Identifier: Apache-2.0
"""``bpfast run`` on the way out of a pod: chain and guard on the host's side, watcher on eth0."""

import contextlib
from collections.abc import Iterator

import pytest

from e2e.bpfast import BPFast, Event
from e2e.curl import curl, curl_all
from e2e.namespace import within
from e2e.policies import allow, egress, entry, policy
from e2e.scene import Scene, open_connections, trusted
from e2e.servers import BLOCK, Nginx

DOWNLOAD = 20 * BLOCK
UPLOAD = 5 * BLOCK
OUT = egress(allow("/both"), allow("/out"), allow("/files/.*", method="GET|PUT"))
INTO = policy(entry(allow("/both"), allow("/in"), allow("/files/.*", method="GET|PUT")))


@pytest.fixture(scope="module")
def both(scene: Scene, web: Nginx) -> Iterator[BPFast]:
    """The client's way out and the server's way in are policed by different rules."""
    (web.root / "large").write_bytes(bytes(range(256)) * (DOWNLOAD // 256))
    with scene.run(OUT, INTO, endpoints=trusted(scene)) as running:
        yield running


@pytest.mark.parametrize(("path", "status"), (("/both", 200), ("/out", 403), ("/in", 403), ("/no", 403)))
def test_a_request_passes_where_both_ends_allow_it(
    both: BPFast, scene: Scene, web: Nginx, path: str, status: int
) -> None:
    """Rules on the client's way out and on the server's way in both count; a denial is one 403."""
    del both
    before = len(web.requests())
    answer = curl(scene.client, web.url + path)
    assert (status, 0) == (answer.status, answer.code)
    passed = status == 200
    found = web.requests_since(before, expected=int(passed))
    assert [f"GET {path} HTTP/1.1"] * passed == [one.request for one in found]


def test_verdicts_name_the_direction(both: BPFast, scene: Scene, web: Nginx) -> None:
    """The event of the way out says egress, and its peer is the server."""
    curl(scene.client, f"{web.url}/out", "--header", "Host: named")

    def found(direction: str) -> list[Event]:
        events = both.events("verdict")
        return [one for one in events if one["host"] == "named" and one["direction"] == direction]

    assert within(5, lambda: bool(found("egress") and found("ingress")))
    out, into = found("egress"), found("ingress")
    assert [("default/client", "default/server", 80, "allow")] == [
        (one["endpoint"], one["peer"], one["peer_port"], one["verdict"]) for one in out
    ]
    assert ["default/out spec.egress[0].toPorts[0].rules.http[1]"] == [one["rule"] for one in out]
    assert [("default/server", "default/client", "deny")] == [
        (one["endpoint"], one["peer"], one["verdict"]) for one in into
    ]


def test_many_requests_on_one_connection(both: BPFast, scene: Scene, web: Nginx) -> None:
    """A connection is kept as long as all requests are allowed."""
    del both
    answers = curl_all(scene.client, [f"{web.url}/both"] * 20)
    assert [200] * 20 == [one.status for one in answers]
    assert 1 == sum(one.connections for one in answers)


def test_bulk_both_ways(both: BPFast, scene: Scene, web: Nginx) -> None:
    """A download and an upload arrive whole."""
    del both
    copy = web.directory / "copy"
    answer = curl(scene.client, f"{web.url}/files/large", "--no-include", "--output", str(copy))
    assert 0 == answer.code
    assert (web.root / "large").read_bytes() == copy.read_bytes()
    body = web.directory / "sent"
    body.write_bytes(b"upload--" * (UPLOAD // 8))
    answer = curl(scene.client, f"{web.url}/files/up", "--upload-file", str(body))
    assert 201 == answer.status
    assert body.read_bytes() == (web.root / "up").read_bytes()


def test_what_egress_does_not_allow_does_not_leave(both: BPFast, scene: Scene) -> None:
    """Another port of the same server is denied by the client's own policy, whatever listens there."""
    del both
    before = scene.reasons().get("l4_denied", 0)
    with (
        contextlib.suppress(TimeoutError),
        scene.client.namespace.connect(scene.server.address, 8081, timeout=0.5),
    ):
        pytest.fail("a connection that no rule allows was opened")
    assert scene.reasons().get("l4_denied", 0) > before


def test_answers_leave_a_pod_whose_way_out_is_policed(both: BPFast, scene: Scene) -> None:
    """Who may connect to the pod gets its answers: egress rules are about connections that it opens."""
    del both
    with Nginx(scene.client) as own:
        assert [200] == [curl(scene.topology["other"], f"{own.url}/any").status]
        with scene.host.namespace.connect(scene.client.address, 80):
            pass


def test_nothing_is_left_of_the_connections(both: BPFast, scene: Scene) -> None:
    """When the clients are gone there are neither connections nor flows."""
    del both
    assert [] == open_connections(scene.client.namespace, scene.server.namespace)
    assert within(30, lambda: scene.flows() == 0)
