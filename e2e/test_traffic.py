# SPDX-License-Identifier: Apache-2.0
"""Requests that three real servers get, and those that they never see."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from e2e.curl import Answer, curl, curl_all
from e2e.policies import allow, entry, policy
from e2e.raw import RawClient
from e2e.scene import Scene, open_connections
from e2e.servers import Apache, Nginx, PythonServer, Server
from e2e.topology import Pod, Topology

ROLE = {"role": "server"}
POLICY = policy(
    entry(
        allow("/files/open.*", method="GET|HEAD|POST|PUT"),
        allow("/files/token", headers=["X-Token: 42"]),
        allow("/files/asked", headers=["X-Asked"]),
        allow("/files/virtual", host=r"api\.example(:[0-9]+)?"),
        allow(r"/files/query\?page=[0-9]+"),
    ),
    subject=ROLE,
)
FILES = ("open", "open1", "token", "asked", "virtual", "query", "secret")
DENIED_HEAD = "HTTP/1.1 403 Forbidden\ncontent-length: 15\ncontent-type: text/plain\nconnection: close\n\n"
DENIED_BYTES = DENIED_HEAD.replace("\n", "\r\n").encode() + b"Access denied\r\n"
METHODS: Mapping[str, tuple[str, ...]] = {
    "GET": (),
    "HEAD": ("--head",),
    "POST": ("--data", "a=1"),
    "PUT": ("--request", "PUT", "--data", "a=1"),
}


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory, module_pins: Path) -> Iterator[Scene]:
    """A client and three pods for servers, all policed by one run."""
    with Topology("client", "nginx", "apache2", "python") as topology:
        labels = dict.fromkeys(("nginx", "apache2", "python"), ROLE)
        scene = Scene(topology, tmp_path_factory.mktemp("three"), module_pins, labels)
        with scene.run(POLICY):
            yield scene


@pytest.fixture(scope="module", params=(Nginx, Apache, PythonServer), ids=("nginx", "apache2", "python"))
def any_server(three: Scene, request: pytest.FixtureRequest) -> Iterator[Server]:
    """Each server in turn, with its files."""
    kind: type[Server] = request.param
    name = "python" if kind is PythonServer else kind.name
    with kind(three.topology[name]) as server:
        for file in FILES:
            (server.root / file).write_text(f"{file}\n")
        yield server


@pytest.fixture
def client(three: Scene) -> Pod:
    """The pod that asks."""
    return three.client


def requests_since(server: Server, before: int, *, expected: int = 0) -> list[str]:
    """Return the request lines that the server has logged after the first ``before``."""
    return [logged.request for logged in server.requests_since(before, expected=expected)]


def assert_denied(answer: Answer, *, body: str = "Access denied\n") -> None:
    """The answer is the whole of ours and nothing else, and curl has no complaint."""
    assert (403, 0, "") == (answer.status, answer.code, answer.error)
    assert DENIED_HEAD == answer.head
    assert body == answer.body


def assert_quiet(client: Pod, server: Server) -> None:
    """Neither side has a connection that is open or half open."""
    assert open_connections(client.namespace, server.pod.namespace) == []


@pytest.mark.parametrize("method", METHODS)
def test_allowed_methods_reach_the_server(client: Pod, any_server: Server, method: str) -> None:
    """The client sees the server's own answer, whatever that is, and the server logs the request."""
    before = len(any_server.requests())
    answer = curl(client, f"{any_server.url}/files/open", *METHODS[method])
    (logged,) = any_server.requests_since(before, expected=1)

    assert f"{method} /files/open HTTP/1.1" == logged.request
    assert logged.status == answer.status
    assert answer.status not in {0, 403}


@pytest.mark.parametrize("method", METHODS)
def test_denied_methods_do_not(client: Pod, any_server: Server, method: str) -> None:
    """The client sees our 403, without a body to HEAD; the server logs nothing; nothing stays open."""
    before = len(any_server.requests())
    answer = curl(client, f"{any_server.url}/files/secret", *METHODS[method])

    assert_denied(answer, body="" if method == "HEAD" else "Access denied\n")
    assert_quiet(client, any_server)
    assert requests_since(any_server, before) == []


def test_a_method_that_no_rule_has_is_denied(client: Pod, any_server: Server) -> None:
    """DELETE of a path that may be read is answered by 403."""
    assert_denied(curl(client, f"{any_server.url}/files/open", "--request", "DELETE"))


def test_kept_connections_end_with_a_403(client: Pod, any_server: Server) -> None:
    """Three allowed requests and a denied one share a connection; the next one opens another."""
    before = len(any_server.requests())
    paths = ("open", "open1", "open", "secret", "open")
    answers = curl_all(client, [f"{any_server.url}/files/{path}" for path in paths])

    assert [200, 200, 200, 403, 200] == [answer.status for answer in answers]
    assert [1, 0, 0, 0, 1] == [answer.connections for answer in answers]
    assert DENIED_HEAD == answers[3].head
    assert answers[3].body == "Access denied\n"
    assert ["open", "open1", "open", "open"] == [
        line.split()[1].rpartition("/")[2] for line in requests_since(any_server, before, expected=4)
    ]
    assert_quiet(client, any_server)


@pytest.mark.parametrize(
    ("target", "words", "status"),
    (
        ("token", ("--header", "X-Token: 42"), 200),
        ("token", ("--header", "x-token:42"), 200),
        ("token", ("--header", "X-Token: 41"), 403),
        ("token", (), 403),
        ("token", ("--header", "X-Token: 42", "--header", "X-Token: 42"), 403),
        ("asked", ("--header", "X-Asked: anything"), 200),
        ("asked", (), 403),
        ("virtual", ("--header", "Host: api.example"), 200),
        ("virtual", ("--header", "Host: api.example:8080"), 200),
        ("virtual", ("--header", "Host: apixexample"), 403),
        ("virtual", (), 403),
        ("query?page=12", (), 200),
        ("query?page=x", (), 403),
        ("query", (), 403),
        ("open?any=thing&at=all", (), 200),
        ("open/../secret", (), 403),
        ("%6fpen", (), 403),
    ),
)
def test_headers_hosts_and_queries_decide(
    client: Pod, any_server: Server, target: str, words: tuple[str, ...], status: int
) -> None:
    """A rule holds with all that it asks for, and not with less."""
    before = len(any_server.requests())
    answer = curl(client, f"{any_server.url}/files/{target}", *words)

    assert status == answer.status
    served = 1 if status == 200 else 0
    assert served == len(requests_since(any_server, before, expected=served))


def test_single_bytes_are_put_together(client: Pod, any_server: Server) -> None:
    """An allowed request of one byte a segment is served."""
    with RawClient(client, any_server.pod.address) as raw:
        raw.connect()
        raw.crumble(b"GET /files/open HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = raw.read(5)
        raw.finish()
        raw.read(0.2)

    assert b" 200 " in answer.data.split(b"\r\n")[0]
    assert_quiet(client, any_server)


def test_single_bytes_are_no_way_around(client: Pod, any_server: Server) -> None:
    """A denied request of one byte a segment gets the 403 byte for byte, and is served by nobody."""
    before = len(any_server.requests())
    with RawClient(client, any_server.pod.address) as raw:
        raw.connect()
        raw.crumble(b"GET /files/secret HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = raw.read(5)
        raw.finish()
        raw.read(0.2)

    assert DENIED_BYTES == answer.data
    assert (True, False) == (answer.finished, answer.reset)
    assert_quiet(client, any_server)
    served = [entry for entry in any_server.requests()[before:] if entry.status < 400]
    assert served == []


@pytest.mark.parametrize("kilobytes", (5, 20, 59))
@pytest.mark.parametrize(("path", "status"), (("open", 200), ("secret", 403)))
def test_big_heads_are_judged_whole(
    client: Pod, any_server: Server, path: str, status: int, kilobytes: int
) -> None:
    """A head with cookies of 5 to 59 KB, one frame to the kernel, is served or denied like a small one."""
    cookies = "Cookie: a=" + "c" * (kilobytes * 1000 - 10)
    answer = curl(client, f"{any_server.url}/files/{path}", "--header", cookies)

    assert (status, 0, "") == (answer.status, answer.code, answer.error)
    assert_quiet(client, any_server)


@pytest.mark.parametrize("kilobytes", (62, 70, 100))
def test_heads_over_the_limit_are_denied(client: Pod, any_server: Server, kilobytes: int) -> None:
    """60 KiB are the most, whatever the server would take."""
    before = len(any_server.requests())
    # Several lines: a server may have a limit a line that is lower than ours.
    cookies = [word for _ in range(kilobytes // 2) for word in ("--header", "Cookie: a=" + "c" * 2020)]
    answer = curl(client, f"{any_server.url}/files/open", *cookies)

    assert_denied(answer)
    assert_quiet(client, any_server)
    assert [entry for entry in any_server.requests()[before:] if entry.status < 400] == []


def test_no_flow_is_left(three: Scene, client: Pod, any_server: Server) -> None:
    """When all sockets are closed, nothing is followed any more."""
    curl(client, f"{any_server.url}/files/open")

    assert_quiet(client, any_server)
    assert three.flows() == 0
