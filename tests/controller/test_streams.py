# SPDX-License-Identifier: Apache-2.0
"""What ``verdict`` takes and what it refuses, word for word."""

import json

import pytest

from bpfast.controller.streams import parse_peer, read_stream, refuse_direction
from bpfast.errors import BadInput, Unsupported
from bpfast.policy.meaning import HOST, WORLD, Peer
from tests.controller.scenes import INSPECT, wanted

WANTED = wanted(INSPECT)


def fault_of(line: str) -> str:
    """Return what is wrong with the third line of the input."""
    with pytest.raises(BadInput) as caught:
        read_stream(line, 3)
    (fault,) = caught.value.faults
    return str(fault)


@pytest.mark.parametrize("identity", ("a", 7, None, {"b": [1]}), ids=str)
def test_a_stream(identity: object) -> None:
    """A line is an identity, whatever it is, and segments in base64."""
    line = json.dumps({"id": identity, "segments": ["R0VU", "", "IC8="]})
    assert (identity, [b"GET", b"", b" /"]) == read_stream(line, 3)


def test_a_stream_of_no_segments() -> None:
    """A connection on which nothing is said is a stream."""
    assert (1, []) == read_stream('{"segments": [], "id": 1}', 3)


@pytest.mark.parametrize(
    ("line", "keys"),
    (
        ('{"id": 1}', "['id']"),
        ("{}", "[]"),
        ('{"segments": []}', "['segments']"),
        ('{"id": 1, "segments": [], "more": 2}', "['id', 'more', 'segments']"),
    ),
)
def test_other_keys_are_refused(line: str, keys: str) -> None:
    """An object with other keys is refused, and its keys are shown."""
    expected = f"<stdin>:3: an object with the keys 'id' and 'segments' is needed, not {keys}"
    assert expected == fault_of(line)


SHAPE = "<stdin>:3: not a JSON line {'id', 'segments': [base64, ...]}: "


@pytest.mark.parametrize(
    ("line", "error"),
    (
        ("", "Expecting value: line 1 column 1 (char 0)"),
        ("{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("5", "'int' object is not iterable"),
        ("null", "'NoneType' object is not iterable"),
        ('{"id": 1, "segments": ["R0V"]}', "Incorrect padding"),
        ('{"id": 1, "segments": ["R0 U"]}', "Only base64 data is allowed"),
        ('{"id": 1, "segments": ["\u00e9"]}', "string argument should contain only ASCII characters"),
    ),
)
def test_what_is_no_stream_is_refused(line: str, error: str) -> None:
    """A line that is no stream is refused with its number, the shape that is needed and the reason."""
    assert SHAPE + error == fault_of(line)


@pytest.mark.parametrize("segments", ('""', "5", '{"R0VU": 5}', "null"))
def test_segments_are_a_list(segments: str) -> None:
    """Nothing but a list is taken for segments: a text or an object would be read as something else."""
    line = f'{{"id": 1, "segments": {segments}}}'

    assert "'segments' is a list of base64 texts" in fault_of(line)


def test_json_that_is_nested_too_deeply_is_refused() -> None:
    """What makes the JSON reader give up is bad input like any other."""
    assert fault_of("[" * 100_000).startswith(SHAPE)


@pytest.mark.parametrize(
    "line", ('{"id": 1, "segments": [5]}', '["id", "segments"]', '{"id": 1, "segments": [null]}')
)
def test_wrong_types_are_refused(line: str) -> None:
    """What is neither text nor an object in its place is refused, not read as something else."""
    assert fault_of(line).startswith(SHAPE)


@pytest.mark.parametrize(
    ("text", "peer"),
    (
        ("default/client", Peer.endpoint("default/client")),
        ("10.0.0.1", Peer.endpoint("default/client")),
        ("192.0.2.9", WORLD),
        ("2001:db8::9", WORLD),
        ("entity:world", WORLD),
        ("entity:host", HOST),
    ),
)
def test_a_peer(text: str, peer: Peer) -> None:
    """A peer is an endpoint, by name or address, an entity, or the world."""
    assert peer == parse_peer(text, WANTED)


def peer_fault(text: str) -> str:
    """Return why this is no peer."""
    with pytest.raises(BadInput) as caught:
        parse_peer(text, WANTED)
    (fault,) = caught.value.faults
    return str(fault)


@pytest.mark.parametrize("text", ("client", "default/nobody", "", "10.0.0.0/8", "world", "Entity:world"))
def test_what_is_no_peer_is_refused(text: str) -> None:
    """What names nobody is refused, with every endpoint that could be meant."""
    expected = (
        f"--peer: {text!r} is no endpoint, address or entity:NAME; "
        "endpoints: default/api, default/client, default/web"
    )
    assert expected == peer_fault(text)


@pytest.mark.parametrize("text", ("entity:cluster", "entity:", "entity:World"))
def test_other_entities_are_refused(text: str) -> None:
    """An entity that is not known here is refused, with those that are."""
    expected = f"--peer: {text!r} is not supported yet; valid: entity:host, entity:world"
    assert expected == peer_fault(text)


def test_only_ingress_is_judged() -> None:
    """The other direction is refused by name."""
    refuse_direction("ingress")
    with pytest.raises(Unsupported) as caught:
        refuse_direction("egress")
    assert "--direction egress is not supported yet; valid: ingress" == str(caught.value)
