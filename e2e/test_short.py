# SPDX-License-Identifier: Apache-2.0
"""A short run over all that a kernel without tcx has: both directions, of a pod each, and both families.

Run with BPFAST_WITHOUT_TCX where there is tcx, as ``test_without_tcx``.
"""

from collections.abc import Iterator

import pytest

from bpfast.settings import WITHOUT_TCX_VARIABLE
from e2e.bpfast import BPFast
from e2e.curl import curl, curl_all
from e2e.namespace import within
from e2e.policies import allow, egress, entry, policy
from e2e.scene import Scene, open_connections, trusted
from e2e.servers import BLOCK, Nginx

FILES = allow("/files/.*", method="GET|PUT")
OUT = egress(allow("/both"), allow("/out"), FILES)
INTO = policy(entry(allow("/both"), allow("/in"), FILES))
SIZE = 3 * BLOCK


@pytest.fixture(scope="module", autouse=True)
def enforced(scene: Scene, web: Nginx) -> Iterator[BPFast]:  # noqa: ARG001 - it has to run
    """The client's way out and the server's way in are policed by different rules, without tcx."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(WITHOUT_TCX_VARIABLE, "1")
        with scene.run(OUT, INTO, endpoints=trusted(scene)) as run:
            yield run


@pytest.fixture(params=(4, 6), ids=("IPv4", "IPv6"))
def url(request: pytest.FixtureRequest, scene: Scene) -> str:
    """What the client calls the server, in either family."""
    return f"http://[{scene.server.address6}]" if request.param == 6 else f"http://{scene.server.address}"


def test_a_request_passes_where_both_ends_allow_it(scene: Scene, web: Nginx, url: str) -> None:
    """Rules on the way out and on the way in both count: a denial is a 403, and the server sees nothing."""
    before = len(web.requests())
    statuses = [curl(scene.client, f"{url}/{path}").status for path in ("both", "out", "in", "no")]

    assert [200, 403, 403, 403] == statuses
    assert ["GET /both HTTP/1.1"] == [one.request for one in web.requests_since(before, expected=1)]


def test_a_kept_connection_ends_with_a_403(scene: Scene, url: str) -> None:
    """Ten allowed requests share a connection, and a denied one is the last of it."""
    answers = curl_all(scene.client, [*[f"{url}/both"] * 10, f"{url}/in", f"{url}/both"])

    assert [200] * 10 + [403, 200] == [one.status for one in answers]
    assert [1, *[0] * 10, 1] == [one.connections for one in answers]


@pytest.mark.parametrize("words", ((), ("--header", "Transfer-Encoding: chunked")), ids=("length", "chunked"))
def test_a_file_goes_there_and_back(scene: Scene, web: Nginx, url: str, words: tuple[str, ...]) -> None:
    """An upload arrives byte by byte, and so does a download of it."""
    sent, copy = web.directory / "sent", web.directory / "copy"
    sent.write_bytes(bytes(range(256)) * (SIZE // 256))
    (web.root / "up").unlink(missing_ok=True)
    status = curl(scene.client, f"{url}/files/up", "--upload-file", str(sent), *words, seconds=20).status
    arrived = (web.root / "up").read_bytes()
    code = curl(scene.client, f"{url}/files/up", "--no-include", "--output", str(copy), seconds=20).code

    assert (201, 0) == (status, code)
    assert sent.read_bytes() == arrived == copy.read_bytes()


def test_nothing_honest_lacks_the_mark(scene: Scene) -> None:
    """No packet of all these has been dropped by a guard, and no connection is left."""
    assert 0 == scene.reasons().get("no_mark", 0)
    assert [] == open_connections(scene.client.namespace, scene.server.namespace)
    assert within(30, lambda: scene.flows() == 0)


def test_verdicts_name_direction_and_peer(enforced: BPFast) -> None:
    """Of the way out and of the way in, in both families, as they were decided above."""
    found = {
        (one["direction"], one["endpoint"], one["peer"], one["path"], one["verdict"])
        for one in enforced.events("verdict")
        if one["path"] in ("/both", "/out", "/in")
    }

    client, server = "default/client", "default/server"
    assert {
        ("egress", client, server, "/both", "allow"),
        ("egress", client, server, "/out", "allow"),
        ("egress", client, server, "/in", "deny"),
        ("ingress", server, client, "/both", "allow"),
        ("ingress", server, client, "/out", "deny"),
    } == found
