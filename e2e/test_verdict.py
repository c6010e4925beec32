# SPDX-License-Identifier: Apache-2.0
"""``bpfast verdict``: streams in, what the real programs and the model say out."""

import base64
import json
import subprocess
from collections.abc import Sequence
from typing import Any

import pytest

from bpfast.abi import EVENTS_A_SECOND
from e2e.bpfast import COMMAND, Endpoint, write_endpoints
from e2e.policies import allow, entry, policy

Json = dict[str, Any]

HOST = b"Host: a\r\n"
OPEN = b"GET /open HTTP/1.1\r\n" + HOST + b"\r\n"
DENIED = b"GET /denied?x=1 HTTP/1.1\r\n" + HOST + b"\r\n"
POST = b"POST /post HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\n"
CHUNKED = b"POST /post HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
CLOSING = b"GET /open HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
RULE = "default/p spec.ingress[0].toPorts[0].rules.http[{}]"
POLICY = policy(
    entry(allow("/open"), allow("/post", method="POST"), allow("/big.*")),
    entry(port=8080),
    entry(allow("/world"), port=81, peer=None),
)
ENDPOINTS = (
    Endpoint(name="server", labels={"app": "server"}, addresses=["10.0.0.1"]),
    Endpoint(name="client", labels={"app": "client"}, netns="no-such-namespace", addresses=["10.0.0.2"]),
    Endpoint(name="other", labels={"app": "other"}, addresses=["10.0.0.3"]),
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options that name a policy and three endpoints, of which none has to exist."""
    directory = tmp_path_factory.mktemp("verdict")
    path = directory / "policy.yaml"
    path.write_text(POLICY)
    endpoints = write_endpoints(directory / "endpoints.yaml", ENDPOINTS)
    return ["--policy", str(path), "--endpoints", str(endpoints)]


def bpfast_verdict(*words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``bpfast verdict`` with these words and this input."""
    command = [str(COMMAND), "verdict", *words]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)


def judge(
    files: Sequence[str],
    *streams: Sequence[bytes],
    port: int = 80,
    peer: str = "default/client",
    engine: str = "kernel",
) -> list[Json]:
    """Return what is printed for streams, each a list of segments, with their numbers as ids."""
    lines = [
        json.dumps({"id": number, "segments": [base64.b64encode(part).decode() for part in stream]})
        for number, stream in enumerate(streams)
    ]
    words = ["--direction", "ingress", "--endpoint", "default/server", "--peer", peer, "--port", str(port)]
    words += ["--engine", engine]
    done = bpfast_verdict(*files, *words, text="".join(f"{line}\n" for line in lines))
    assert (0, "") == (done.returncode, done.stderr)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert list(range(len(streams))) == [answer.pop("id") for answer in answers]
    return answers


def one_request(verdict: str, method: str, path: str, **more: object) -> Json:
    """Return an entry of ``requests``."""
    return {"verdict": verdict, "method": method, "path": path, **more}


ALLOWED_OPEN = one_request("allow", "GET", "/open", rule=RULE.format(0), reason="rule")
ALLOWED_POST = one_request("allow", "POST", "/post", rule=RULE.format(1), reason="rule")
DENIED_GET = one_request("deny", "GET", "/denied?x=1", rule=None, reason="no_rule")

CASES: tuple[tuple[str, bytes, str, list[Json]], ...] = (
    ("nothing", b"", "allow", []),
    ("allowed", OPEN, "allow", [ALLOWED_OPEN]),
    ("denied", DENIED, "deny", [DENIED_GET]),
    ("two", OPEN + OPEN, "allow", [ALLOWED_OPEN, ALLOWED_OPEN]),
    ("half a line", b"GET /op", "incomplete", []),
    ("half a head", OPEN[:-2], "incomplete", []),
    ("one and a half", OPEN + OPEN[:9], "incomplete", [ALLOWED_OPEN]),
    ("body missing", POST, "incomplete", [ALLOWED_POST]),
    ("half a body", POST + b"12345", "incomplete", [ALLOWED_POST]),
    ("body", POST + b"1234567890", "allow", [ALLOWED_POST]),
    ("body and more", POST + b"1234567890" + OPEN, "allow", [ALLOWED_POST, ALLOWED_OPEN]),
    ("body like a request", POST + b"GET /denied" + OPEN, "deny", [ALLOWED_POST]),
    ("nothing after a denial", OPEN + DENIED + OPEN, "deny", [ALLOWED_OPEN, DENIED_GET]),
    ("chunked", CHUNKED, "allow", [ALLOWED_POST]),
    (
        "chunked with a trailer",
        CHUNKED[:-2] + b"X: y\r\n\r\n",
        "deny",
        [ALLOWED_POST, one_request("deny", "POST", "/post", rule=None, reason="chunk_trailer")],
    ),
    ("closing", CLOSING, "allow", [ALLOWED_OPEN]),
    ("no method", b"G\x00T / HTTP/1.1\r\n", "deny", []),
)


LONG_PATH = "/big" + "b" * 3000 + "?q=" + "c" * 3000
BIG = b"GET /big HTTP/1.1\r\nHost: a\r\nCookie: "
MANY = EVENTS_A_SECOND + 500
MORE: list[tuple[str, list[bytes]]] = [
    ("after closing", [CLOSING + OPEN]),
    ("after closing", [CLOSING, OPEN]),
    ("big", [BIG + b"c" * 50_000 + b"\r\n\r\n"]),
    ("big", [BIG + b"c" * 62_000 + b"\r\n\r\n"]),
    ("long", [f"GET {LONG_PATH} HTTP/1.1\r\nHost: a\r\n\r\n".encode()]),
    ("many", [OPEN * MANY]),
]


def cuts(stream: bytes) -> list[list[bytes]]:
    """Return a stream whole, in single bytes, and in two halves at many places."""
    singles = [stream[at : at + 1] for at in range(len(stream))]
    return [[stream], singles, *([stream[:at], stream[at:]] for at in range(1, len(stream), 5))]


@pytest.fixture(scope="module", params=("kernel", "model"))
def answers(files: list[str], request: pytest.FixtureRequest) -> dict[str, list[Json]]:
    """The answers for every cut of every case, and for some more streams, all from one process an engine."""
    streams = [(name, cut) for name, stream, _verdict, _requests in CASES for cut in cuts(stream)]
    streams += MORE
    found: dict[str, list[Json]] = {}
    judged = judge(files, *(cut for _name, cut in streams), engine=request.param)
    for (name, _cut), answer in zip(streams, judged, strict=True):
        found.setdefault(name, []).append(answer)
    return found


@pytest.mark.parametrize(
    ("name", "verdict", "requests"), [(name, verdict, requests) for name, _, verdict, requests in CASES]
)
def test_cuts_change_nothing(
    answers: dict[str, list[Json]], name: str, verdict: str, requests: list[Json]
) -> None:
    """However a stream is cut into segments, verdict and requests are the same."""
    for answer in answers[name]:
        assert verdict == answer["verdict"]
        assert requests == answer["requests"][: len(requests)]
        assert answer == answers[name][0]


def test_what_follows_a_closing_request_is_denied(answers: dict[str, list[Json]]) -> None:
    """After Connection: close no payload passes, in the same segment or a later one."""
    whole, later = answers["after closing"]

    assert ("deny", "deny") == (whole["verdict"], later["verdict"])
    assert ALLOWED_OPEN == whole["requests"][0]
    assert "after_close" == whole["requests"][1]["reason"]
    assert whole == later


def test_big_heads_are_cut_as_on_a_wire(answers: dict[str, list[Json]]) -> None:
    """A head of 50 KB in one piece is judged like one of a few bytes, and one over 60 KiB is denied."""
    allowed, denied = answers["big"]

    assert "allow" == allowed["verdict"]
    assert ["head_too_large"] == [each["reason"] for each in denied["requests"]]


def test_a_long_path_is_printed_whole(answers: dict[str, list[Json]]) -> None:
    """The path is as sent, query included, however long it is."""
    (answer,) = answers["long"]
    expected = one_request("allow", "GET", LONG_PATH, rule=RULE.format(2), reason="rule")

    assert [expected] == answer["requests"]


def test_many_requests_lose_nothing(answers: dict[str, list[Json]]) -> None:
    """Requests may come faster than ``run`` may report them: here every one is listed."""
    (answer,) = answers["many"]

    assert "allow" == answer["verdict"]
    assert MANY == len(answer["requests"])


@pytest.mark.parametrize(
    ("port", "peer", "verdict"),
    (
        (80, "10.0.0.2", "deny"),
        (80, "entity:host", "allow"),
        (8080, "default/client", "allow"),
        (81, "192.0.2.77", "deny"),
    ),
)
def test_layer_4_decides_first(files: list[str], port: int, peer: str, verdict: str) -> None:
    """A port or peer that is allowed or denied as such needs no look at the stream."""
    (answer,) = judge(files, [DENIED], port=port, peer=peer)

    assert [answer] == judge(files, [DENIED], port=port, peer=peer, engine="model")
    inspected = (port, peer) in {(80, "10.0.0.2"), (81, "192.0.2.77")}
    assert verdict == answer["verdict"]
    assert inspected == bool(answer["requests"])


def test_an_endpoint_that_no_policy_selects_is_open(files: list[str]) -> None:
    """As in ``run`` with its default."""
    words = ["--endpoint", "default/other", "--peer", "default/client", "--port", "80"]
    line = json.dumps({"id": "x", "segments": [base64.b64encode(DENIED).decode()]})
    done = bpfast_verdict(*files, *words, text=line)

    assert {"id": "x", "verdict": "allow", "requests": []} == json.loads(done.stdout)


BROKEN = (
    ("nonsense", "not a JSON line {'id', 'segments': [base64, ...]}: "),
    ('{"id": 1}', "segments: is required"),
    ('{"id": 1, "segments": ["*"]}', "segments[0]: is not base64: "),
    ('{"id": 1, "segments": 7}', "segments: must be a list of base64 texts, not 7"),
)


def test_broken_lines_are_named(files: list[str]) -> None:
    """Lines that are no streams are named, with exit code 2; the lines between and behind them are judged."""
    needed = ["--endpoint", "default/server", "--peer", "default/client", "--port", "80"]
    lines = [each for number, (line, _message) in enumerate(BROKEN) for each in (line, "", whole(number))]
    done = bpfast_verdict(*files, *needed, text="\n".join(lines))
    faults = done.stderr.splitlines()

    assert done.returncode == 2
    assert len(BROKEN) == len(faults)
    for number, (_line, message) in enumerate(BROKEN):
        assert faults[number].startswith(f"<stdin>:{3 * number + 1}: {message}")
    assert [{"id": number, "verdict": "allow", "requests": []} for number in range(len(BROKEN))] == [
        json.loads(line) for line in done.stdout.splitlines()
    ]


def whole(number: int) -> str:
    """Return a line that is a stream of nothing."""
    return json.dumps({"id": number, "segments": []})


@pytest.mark.parametrize(
    ("words", "message"),
    (
        (
            ["--endpoint", "default/nobody", "--peer", "default/client", "--port", "80"],
            (
                "--endpoint: 'default/nobody' is none of the endpoints; "
                "valid: default/client, default/other, default/server\n"
            ),
        ),
        (
            ["--endpoint", "default/server", "--peer", "nobody", "--port", "80"],
            (
                "--peer: 'nobody' is no endpoint, address or entity:NAME; "
                "endpoints: default/client, default/other, default/server\n"
            ),
        ),
        (
            ["--endpoint", "default/server", "--peer", "entity:cluster", "--port", "80"],
            (
                "--peer: 'entity:cluster' is not one peer; valid: entity:host, entity:world, "
                "entity:remote-node, entity:health, entity:init, entity:unmanaged, entity:ingress, "
                "entity:kube-apiserver\n"
            ),
        ),
    ),
)
def test_unknown_names_are_refused(files: list[str], words: list[str], message: str) -> None:
    """The message has the name and those that would do."""
    done = bpfast_verdict(*files, *words)

    assert (2, message) == (done.returncode, done.stderr)
