# SPDX-License-Identifier: Apache-2.0
"""What ``verdict`` takes and what it refuses, word for word and by its place."""

import json
from ipaddress import ip_address
from typing import Any

import pytest

from bpfast.controller.verdict.engine import Question
from bpfast.controller.verdict.lines import (
    Scenario,
    Stream,
    parse_peer,
    parse_question,
    read_scenario,
    read_stream,
)
from bpfast.errors import BadInput
from bpfast.policy.meaning import HOST, WORLD, Direction, Peer
from tests.controller.scenes import ENDPOINTS

Json = dict[str, Any]


def faults_of(line: str, *, scenario: bool = False) -> list[str]:
    """Return what is wrong with the third line of the input."""
    with pytest.raises(BadInput) as caught:
        (read_scenario if scenario else read_stream)(line, 3)
    return [str(fault) for fault in caught.value.faults]


@pytest.mark.parametrize("identity", ("a", 7, None, {"b": [1]}, [], True, 1.5), ids=str)
def test_a_stream(identity: object) -> None:
    """A line is an identity, of whatever type, and segments in base64."""
    line = json.dumps({"id": identity, "segments": ["R0VU", "", "IC8="]})
    assert Stream(identity, (b"GET", b"", b" /")) == read_stream(line, 3)


def test_a_stream_of_no_segments() -> None:
    """A connection on which nothing is said is a stream."""
    assert Stream(1, ()) == read_stream('{"segments": [], "id": 1}', 3)


SHAPE = "{'id', 'segments': [base64, ...]}"


@pytest.mark.parametrize(
    ("line", "faults"),
    (
        ("", [f"<stdin>:3: not a JSON line {SHAPE}: Expecting value: line 1 column 1 (char 0)"]),
        ("5", [f"<stdin>:3: an object is needed, {SHAPE}, not 5"]),
        ("null", [f"<stdin>:3: an object is needed, {SHAPE}, not null"]),
        ("{}", ["<stdin>:3: id: is required", "<stdin>:3: segments: is required"]),
        ('{"id": 1}', ["<stdin>:3: segments: is required"]),
        (
            '{"id": 1, "segments": [], "more": 2}',
            ["<stdin>:3: more: unknown field; valid here: id, segments"],
        ),
        (
            '{"id": 1, "segments": ["R0V", "", "R0 U"]}',
            [
                "<stdin>:3: segments[0]: is not base64: Incorrect padding",
                "<stdin>:3: segments[2]: is not base64: Only base64 data is allowed",
            ],
        ),
        (
            '{"id": 1, "segments": [5]}',
            ["<stdin>:3: segments[0]: is not base64: a text is needed, not 5"],
        ),
        (
            '{"id": 1, "segments": "R0VU"}',
            ["<stdin>:3: segments: must be a list of base64 texts, not 'R0VU'"],
        ),
    ),
)
def test_what_is_no_stream_is_refused(line: str, faults: list[str]) -> None:
    """A line that is no stream is refused with its number, the place and the reason; all faults at once."""
    assert faults == faults_of(line)


def test_json_that_is_nested_too_deeply_is_refused() -> None:
    """What makes the JSON reader give up is bad input like any other."""
    (fault,) = faults_of("[" * 100_000)
    assert fault.startswith(f"<stdin>:3: not a JSON line {SHAPE}: ")


@pytest.mark.parametrize(
    ("text", "peer"),
    (
        ("default/client", Peer.endpoint("default/client")),
        ("10.0.0.1", ip_address("10.0.0.1")),
        ("2001:db8::9", ip_address("2001:db8::9")),
        ("entity:world", WORLD),
        ("entity:host", HOST),
        ("entity:remote-node", Peer.entity("remote-node")),
    ),
)
def test_a_peer(text: str, peer: object) -> None:
    """A peer is an endpoint, an address whoever has it, or an entity."""
    assert peer == parse_peer(text, ENDPOINTS)


@pytest.mark.parametrize(
    "text", ("client", "default/nobody", "", "10.0.0.0/8", "world", "Entity:world", 5, None)
)
def test_what_is_no_peer_is_refused(text: object) -> None:
    """What names nobody is refused, with every endpoint that could be meant."""
    names = "default/api, default/client, default/web"
    with pytest.raises(ValueError, match=f"is no endpoint, address or entity:NAME; endpoints: {names}$"):
        parse_peer(text, ENDPOINTS)


@pytest.mark.parametrize("text", ("entity:cluster", "entity:all", "entity:", "entity:World"))
def test_what_is_not_one_entity_is_refused(text: str) -> None:
    """An entity that is several peers, or none, is refused with those that are one."""
    with pytest.raises(ValueError, match="is not one peer; valid: entity:host, entity:world, "):
        parse_peer(text, ENDPOINTS)


def test_a_question_of_the_command_line_names_its_options() -> None:
    """All options that are wrong are named at once."""
    with pytest.raises(BadInput) as caught:
        parse_question(ENDPOINTS, direction="ingress", endpoint="a", peer="b", port=80)
    assert ["--endpoint", "--peer"] == [fault.source for fault in caught.value.faults]


GOOD: Json = {
    "id": {"any": "thing"},
    "policies": ["kind: CiliumNetworkPolicy"],
    "endpoints": [
        {"name": "web", "addresses": ["10.0.0.1"]},
        {"name": "client", "netns": "there-is-none", "ports": {"http": 80}},
    ],
    "direction": "egress",
    "endpoint": "default/web",
    "peer": "192.0.2.7",
    "port": 80,
    "streams": [{"id": "s", "segments": ["R0VU"]}, {"id": None, "segments": []}],
}


def test_a_scenario() -> None:
    """A line holds everything; policies are texts, no namespace has to be there."""
    found = read_scenario(json.dumps(GOOD), 3)
    question = Question(Direction.EGRESS, "default/web", ip_address("192.0.2.7"), 80)
    streams = (Stream("s", (b"GET",)), Stream(None, ()))
    expected = Scenario({"any": "thing"}, ("kind: CiliumNetworkPolicy",), found.endpoints, question, streams)
    assert expected == found
    assert [("web", None), ("client", None)] == [(one.name, one.netns) for one in found.endpoints]


@pytest.mark.parametrize(
    ("change", "faults"),
    (
        ({"port": 0}, ["port: 0 is no port: a number from 1 to 65535 is needed"]),
        ({"port": "80"}, ["port: '80' is no port: a number from 1 to 65535 is needed"]),
        ({"port": True}, ["port: true is no port: a number from 1 to 65535 is needed"]),
        ({"direction": "in"}, ["direction: 'in' is not valid; valid: ingress, egress"]),
        ({"direction": ["ingress"]}, ["direction: a list is not valid; valid: ingress, egress"]),
        (
            {"endpoint": "default/db"},
            ["endpoint: 'default/db' is none of the endpoints; valid: default/client, default/web"],
        ),
        (
            {"peer": "nobody", "port": 70000},
            [
                "port: 70000 is no port: a number from 1 to 65535 is needed",
                (
                    "peer: 'nobody' is no endpoint, address or entity:NAME; "
                    "endpoints: default/client, default/web"
                ),
            ],
        ),
        ({"policies": "kind: X"}, ["policies: must be a list of texts, not 'kind: X'"]),
        ({"policies": ["a", {}]}, ["policies[1]: must be a text (YAML or JSON), not a mapping"]),
        ({"endpoints": []}, ["endpoints: must hold at least one entry"]),
        (
            {"endpoints": [{"name": "web", "addresses": ["10.0.0.1", "10.0.0.x"]}]},
            ["default/web: endpoints[0].addresses[1]: '10.0.0.x' is not an IP address"],
        ),
        ({"streams": {}}, [f"streams: must be a list of objects {SHAPE}, not a mapping"]),
        ({"streams": [[]]}, [f"streams[0]: must be an object {SHAPE}, not a list"]),
        (
            {"streams": [{"id": 1, "segments": []}, {"id": 1, "segments": ["?"]}]},
            ["streams[1].segments[0]: is not base64: Only base64 data is allowed"],
        ),
        ({"streams": [{"segments": []}]}, ["streams[0].id: is required"]),
        (
            {"note": 1},
            [
                (
                    "note: unknown field; valid here: "
                    "id, policies, endpoints, direction, endpoint, peer, port, streams"
                )
            ],
        ),
    ),
)
def test_what_is_wrong_with_a_scenario_is_named_by_its_place(change: Json, faults: list[str]) -> None:
    """Each fault has the line's number and the path of what is wrong."""
    line = json.dumps(GOOD | change)
    assert [f"<stdin>:3: {fault}" for fault in faults] == faults_of(line, scenario=True)


def test_all_that_is_missing_is_named() -> None:
    """An empty object misses every key."""
    assert [f"<stdin>:3: {key}: is required" for key in GOOD] == faults_of("{}", scenario=True)
