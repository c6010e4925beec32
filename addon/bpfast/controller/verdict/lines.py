# SPDX-License-Identifier: Apache-2.0
"""A line of JSON -> a stream or a whole scenario, or every fault of it by its place."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any, Final

from bpfast.controller.verdict.engine import Question
from bpfast.errors import BadInput, Fault
from bpfast.policy.document import shown
from bpfast.policy.meaning import Direction, Peer
from bpfast.policy.peers import ENTITIES, Address
from bpfast.standalone.endpoints import Endpoint, endpoints_of

STREAM_KEYS: Final = ("id", "segments")
SCENARIO_KEYS: Final = ("id", "policies", "endpoints", "direction", "endpoint", "peer", "port", "streams")
_SHAPE: Final = "{'id', 'segments': [base64, ...]}"
_MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Stream:
    """What the client of one connection sends; ``identity`` is the user's, of any JSON type."""

    identity: object
    segments: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One whole scenario; ``policies`` are texts."""

    identity: object
    policies: tuple[str, ...]
    endpoints: tuple[Endpoint, ...]
    question: Question
    streams: tuple[Stream, ...]


class _Faults:
    """Gathers what is wrong with one line."""

    def __init__(self, number: int) -> None:
        self.source = f"<stdin>:{number}"
        self.found: list[Fault] = []

    def add(self, path: str, message: str) -> None:
        self.found.append(Fault(self.source, "", path, message))

    def raise_if_any(self) -> None:
        if self.found:
            raise BadInput(self.found)


def _object(line: str, faults: _Faults, what: str) -> dict[str, Any]:
    """Return the JSON object on a line; raise BadInput for anything else."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        faults.add("", f"not a JSON line {what}: {error}")
    else:
        if isinstance(value, dict):
            return value
        faults.add("", f"an object is needed, {what}, not {shown(value)}")
    raise BadInput(faults.found)


def _check_keys(value: Mapping[str, Any], keys: tuple[str, ...], faults: _Faults, path: str = "") -> bool:
    before = len(faults.found)
    prefix = f"{path}." if path else ""
    for key in value:
        if key not in keys:
            faults.add(f"{prefix}{key}", f"unknown field; valid here: {', '.join(keys)}")
    for key in keys:
        if key not in value:
            faults.add(f"{prefix}{key}", "is required")
    return len(faults.found) == before


def read_stream(line: str, number: int) -> Stream:
    """Return the stream on input line ``number``; BadInput names the line and the place."""
    faults = _Faults(number)
    value = _object(line, faults, _SHAPE)
    _check_keys(value, STREAM_KEYS, faults)
    segments = _segments(value.get("segments", []), "segments", faults)
    faults.raise_if_any()
    return Stream(value["id"], segments)


def _segments(value: object, path: str, faults: _Faults) -> tuple[bytes, ...]:
    if not isinstance(value, list):
        faults.add(path, f"must be a list of base64 texts, not {shown(value)}")
        return ()
    found = []
    for number, text in enumerate(value):
        try:
            if not isinstance(text, str):
                raise TypeError(f"a text is needed, not {shown(text)}")  # noqa: TRY301 - one way out
            found.append(base64.b64decode(text, validate=True))
        except (ValueError, TypeError, binascii.Error) as error:
            faults.add(f"{path}[{number}]", f"is not base64: {error}")
    return tuple(found)


def read_scenario(line: str, number: int) -> Scenario:
    """Return the scenario on input line ``number``; BadInput has every fault of it."""
    faults = _Faults(number)
    value = _object(line, faults, f"with the keys {', '.join(SCENARIO_KEYS)}")
    if not _check_keys(value, SCENARIO_KEYS, faults):
        raise BadInput(faults.found)
    policies = _texts(value["policies"], faults)
    endpoints = _endpoints(value["endpoints"], faults)
    question = _question(value, endpoints, faults)
    streams = _streams(value["streams"], faults)
    faults.raise_if_any()
    return Scenario(value["id"], policies, endpoints, question, streams)


def _texts(value: object, faults: _Faults) -> tuple[str, ...]:
    if not isinstance(value, list):
        faults.add("policies", f"must be a list of texts, not {shown(value)}")
        return ()
    for number, text in enumerate(value):
        if not isinstance(text, str):
            faults.add(f"policies[{number}]", f"must be a text (YAML or JSON), not {shown(text)}")
    return tuple(text for text in value if isinstance(text, str))


def _endpoints(value: object, faults: _Faults) -> tuple[Endpoint, ...]:
    """Return the endpoints of a scenario; no namespace has to be there."""
    try:
        return tuple(replace(endpoint, netns=None) for endpoint in endpoints_of(value, faults.source))
    except BadInput as error:
        faults.found += error.faults
        return ()


def _question(value: Mapping[str, Any], endpoints: tuple[Endpoint, ...], faults: _Faults) -> Question:
    direction = value["direction"]
    valid = [each.value for each in Direction]
    if direction not in valid:
        faults.add("direction", f"{shown(direction)} is not valid; valid: {', '.join(valid)}")
        direction = valid[0]
    port = value["port"]
    if type(port) is not int or not 0 < port <= _MAX_PORT:
        faults.add("port", f"{shown(port)} is no port: a number from 1 to {_MAX_PORT} is needed")
        port = 1
    endpoint = value["endpoint"]
    peer: Peer | Address = Peer.endpoint("")
    if endpoints:  # else what is wrong with them is said already
        _check_endpoint(endpoint, endpoints, faults)
        peer = _peer(value["peer"], endpoints, faults)
    return Question(Direction(direction), str(endpoint), peer, port)


def _check_endpoint(name: object, endpoints: tuple[Endpoint, ...], faults: _Faults) -> None:
    if name not in {endpoint.full_name for endpoint in endpoints}:
        faults.add("endpoint", _no_endpoint(name, endpoints))


def _no_endpoint(name: object, endpoints: tuple[Endpoint, ...]) -> str:
    valid = ", ".join(sorted(endpoint.full_name for endpoint in endpoints)) or "none"
    return f"{shown(name)} is none of the endpoints; valid: {valid}"


def _peer(text: object, endpoints: tuple[Endpoint, ...], faults: _Faults) -> Peer | Address:
    try:
        return parse_peer(text, endpoints)
    except ValueError as error:
        faults.add("peer", str(error))
        return Peer.endpoint("")


def parse_peer(text: object, endpoints: tuple[Endpoint, ...]) -> Peer | Address:
    """Return what ``NS/NAME``, an address or ``entity:NAME`` means; raise ValueError for anything else."""
    if isinstance(text, str):
        if any(endpoint.full_name == text for endpoint in endpoints):
            return Peer.endpoint(text)
        peer = Peer.entity(text.removeprefix("entity:"))
        if text.startswith("entity:") and peer in ENTITIES:
            return peer
        if text.startswith("entity:"):
            valid = ", ".join(map(str, ENTITIES))
            raise ValueError(f"{shown(text)} is not one peer; valid: {valid}")
        try:
            return ip_address(text)
        except ValueError:
            pass
    names = ", ".join(sorted(endpoint.full_name for endpoint in endpoints)) or "none"
    raise ValueError(f"{shown(text)} is no endpoint, address or entity:NAME; endpoints: {names}")


def parse_question(
    endpoints: tuple[Endpoint, ...], *, direction: str, endpoint: str, peer: str, port: int
) -> Question:
    """Return the question of a command line; BadInput names the options that are wrong."""
    faults = []
    if endpoint not in {each.full_name for each in endpoints}:
        faults.append(Fault("--endpoint", "", "", _no_endpoint(endpoint, endpoints)))
    try:
        found = parse_peer(peer, endpoints)
    except ValueError as error:
        faults.append(Fault("--peer", "", "", str(error)))
    if faults:
        raise BadInput(faults)
    return Question(Direction(direction), endpoint, found, port)


def _streams(value: object, faults: _Faults) -> tuple[Stream, ...]:
    if not isinstance(value, list):
        faults.add("streams", f"must be a list of objects {_SHAPE}, not {shown(value)}")
        return ()
    found = []
    for number, stream in enumerate(value):
        path = f"streams[{number}]"
        if not isinstance(stream, dict):
            faults.add(path, f"must be an object {_SHAPE}, not {shown(stream)}")
        elif _check_keys(stream, STREAM_KEYS, faults, path):
            segments = _segments(stream["segments"], f"{path}.segments", faults)
            found.append(Stream(stream["id"], segments))
    return tuple(found)
