# SPDX-License-Identifier: Apache-2.0
"""``bpfast verdict --engine kernel``: streams of bytes through the real programs.

Each stream is one TCP connection: its handshake is made up, its segments are
shown to the chain as frames, the server acknowledges whatever passes. Nothing
is attached and nothing leaves this process.
"""

import base64
import binascii
import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from typing import Any, TextIO

from bpfast import abi, settings
from bpfast.abi import DenyMode, EventMode, Phase, Verdict
from bpfast.controller.desired import Desired, identity_of, install, port_entries
from bpfast.errors import BadInput, Fault, Unsupported
from bpfast.events.verdict import VerdictEvent, decode
from bpfast.kernel.compiler import compiled
from bpfast.kernel.frames import ACK, PSH, RST, SYN, Frames
from bpfast.kernel.state import EndpointConfig
from bpfast.kernel.trial import MARK_BYTES, XDP_PASS, Trial
from bpfast.policy.meaning import HOST, WORLD, Allow, Deny, Peer

MOST_BYTES = 1448
_TCP_FLAGS = 14 + 20 + 13
_CLIENT, _SERVER = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
_CLIENT_START, _SERVER_START = 1_000_000, 5_000_000
_ENTITIES = {"host": HOST, "world": WORLD}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """Who talks to whom: an enforced endpoint (ns/name), the peer and the port."""

    endpoint: str
    peer: Peer
    port: int


def parse_peer(text: str, wanted: Desired) -> Peer:
    """Return the peer that ``NS/NAME``, an address or ``entity:NAME`` names."""
    names = {endpoint.full_name for endpoint in wanted.endpoints}
    if text in names:
        return Peer.endpoint(text)
    if text.startswith("entity:"):
        entity = _ENTITIES.get(text.removeprefix("entity:"))
        if entity is None:
            valid = ", ".join(f"entity:{name}" for name in _ENTITIES)
            raise BadInput([Fault("--peer", "", "", f"{text!r} is not supported yet; valid: {valid}")])
        return entity
    try:
        address = ip_address(text)
    except ValueError:
        valid = ", ".join(sorted(names)) or "none in the endpoints file"
        message = f"{text!r} is no endpoint, address or entity:NAME; endpoints: {valid}"
        raise BadInput([Fault("--peer", "", "", message)]) from None
    for endpoint in wanted.endpoints:
        if address in endpoint.addresses:
            return Peer.endpoint(endpoint.full_name)
    return WORLD


class Judge:
    """One endpoint's policy in a Trial of its own; judges stream after stream."""

    def __init__(self, wanted: Desired, subject: Subject) -> None:
        """Load everything; the verdict on layers 3 and 4 is known from now on."""
        if subject.endpoint not in wanted.lowered.endpoints:
            valid = ", ".join(sorted(wanted.lowered.endpoints)) or "none"
            message = f"{subject.endpoint!r} is not in the endpoints file; valid: {valid}"
            raise BadInput([Fault("--endpoint", "", "", message)])
        policy = wanted.lowered.endpoints[subject.endpoint]
        verdict = policy.verdict(subject.peer, subject.port)
        self.l34 = (
            "allow" if isinstance(verdict, Allow) else "deny" if isinstance(verdict, Deny) else "inspect"
        )
        self._port = subject.port
        self._next_port = 1024
        self._rules: dict[int, tuple[str, ...]] = {}
        self._trial: Trial | None = None
        if self.l34 == "inspect":
            self._trial = self._prepare(wanted, subject)

    def _prepare(self, wanted: Desired, subject: Subject) -> Trial:
        trial = Trial(compiled(settings.bpf_directory(), settings.cache_directory()))
        policy = wanted.lowered.endpoints[subject.endpoint]
        indices = install(wanted, trial.state)
        self._rules = {index: wanted.images[rules].rules for rules, index in indices.items()}
        trial.state.write_policy(1, port_entries(policy, indices))
        trial.state.write_peers({_CLIENT: identity_of(subject.peer)})
        trial.state.write_endpoint(
            trial.endpoint,
            EndpointConfig(
                enforced=True,
                timing=False,
                generation=1,
                policy=1,
                deny_mode=DenyMode.DROP,
                event_mode=EventMode.ALL,
                mark=1,
                inspected=frozenset({subject.port}),
            ),
        )
        return trial

    def close(self) -> None:
        """Give the programs and maps back."""
        if self._trial:
            self._trial.close()

    def judge(self, identity: object, segments: list[bytes]) -> Json:
        """Return the answer line for one stream."""
        if self._trial is None:
            return {"id": identity, "verdict": self.l34, "requests": []}
        self._next_port = self._next_port % 60000 + 1024
        stream = _Stream(self._trial, self._next_port, self._port, self._rules)
        return {"id": identity, **stream.run(segments)}


class _Stream:
    """One made-up connection."""

    def __init__(self, trial: Trial, peer_port: int, port: int, rules: dict[int, tuple[str, ...]]) -> None:
        self._trial = trial
        self._rules = rules
        self._frames = Frames(_CLIENT, _SERVER, peer_port, port)
        self._key = struct.pack(
            "=I2s2s16s16s",
            trial.endpoint,
            peer_port.to_bytes(2, "big"),
            port.to_bytes(2, "big"),
            abi.pack_address(_CLIENT),
            abi.pack_address(_SERVER),
        )
        self._whole = b""  # the stream: what was sent says what a request is called, however it was cut
        self._bytes = b""
        self._requests: list[Json] = []

    def run(self, segments: list[bytes]) -> Json:
        trial, frames = self._trial, self._frames
        self._whole = b"".join(segments)
        trial.receive(frames.from_client(_CLIENT_START - 1, 0, SYN))
        trial.watch(frames.from_server(_SERVER_START - 1, _CLIENT_START, SYN | ACK))
        trial.receive(frames.from_client(_CLIENT_START, _SERVER_START, ACK))
        denied = False
        for segment in _cut(segments):
            if not self._send(segment):
                denied = True
                break
        verdict = "deny" if denied else "incomplete" if self._is_unfinished() else "allow"
        trial.sweep(self._key, force=True)
        return {"verdict": verdict, "requests": self._requests}

    def _send(self, segment: bytes) -> bool:
        """Send a segment, and again what the chain cut off; False when some of it was denied."""
        while segment:
            passed = self._send_once(segment)
            if passed is None:
                return False
            segment = segment[passed:]
        return True

    def _send_once(self, segment: bytes) -> int | None:
        """Return how many bytes of a segment passed, or None when it was denied."""
        sequence = _CLIENT_START + len(self._bytes)
        before = self._trial.maps.reasons()
        sent = self._frames.from_client(sequence, _SERVER_START, ACK | PSH, segment)
        self._trial.forget_rates()
        action, frame = self._trial.receive(sent)
        events = [decode(raw) for raw in self._trial.events()]
        self._requests += [self._request(event) for event in events]
        if action != XDP_PASS or frame[MARK_BYTES + _TCP_FLAGS] & RST:
            if not any(event.verdict is Verdict.DENY for event in events):
                self._requests.append(self._unreported(before))
            return None
        passed = len(segment) - (len(sent) - (len(frame) - MARK_BYTES))
        self._bytes += segment[:passed]
        end = _CLIENT_START + len(self._bytes)
        self._trial.watch(self._frames.from_server(_SERVER_START, end, ACK))
        return passed

    def _request(self, event: VerdictEvent) -> Json:
        method, path = _request_line(self._whole[event.offset :])
        names = self._rules.get(event.rule_set, ())
        return {
            "verdict": "allow" if event.verdict is Verdict.ALLOW else "deny",
            "method": method,
            "path": path,
            "rule": None if event.rule is None else names[event.rule],
            "reason": event.reason.name.lower(),
        }

    def _unreported(self, before: dict[str, int]) -> Json:
        """Return the entry for bytes that are no request any more (after Connection: close)."""
        after = self._trial.maps.reasons()
        (reason, *_more) = [name for name, number in after.items() if number != before.get(name, 0)]
        return {"verdict": "deny", "method": None, "path": None, "rule": None, "reason": reason}

    def _is_unfinished(self) -> bool:
        flow = self._trial.flow(self._key)
        if flow is None:
            return False
        return flow[abi.FLOW_PHASE_OFFSET] in (Phase.HEAD, Phase.BODY)


def _cut(segments: list[bytes]) -> Iterator[bytes]:
    for segment in segments:
        for at in range(0, len(segment), MOST_BYTES):
            yield segment[at : at + MOST_BYTES]


def _request_line(raw: bytes) -> tuple[str | None, str | None]:
    """Return method and target as sent: what stands before the first and the second blank."""
    line = raw.split(b"\r\n", 1)[0]
    method, _blank, rest = line.partition(b" ")
    target = rest.partition(b" ")[0]
    return method.decode("latin-1") or None, target.decode("latin-1") or None


def read_stream(line: str, number: int) -> tuple[object, list[bytes]]:
    """Return (id, segments) of one input line; BadInput names the line."""
    source = f"<stdin>:{number}"
    try:
        value = json.loads(line)
        if set(value) != {"id", "segments"}:
            message = f"an object with the keys 'id' and 'segments' is needed, not {sorted(value)!r}"
            raise BadInput([Fault(source, "", "", message)])
        if not isinstance(value["segments"], list):
            message = f"'segments' is a list of base64 texts, not {value['segments']!r}"
            raise BadInput([Fault(source, "", "", message)])
        return value["id"], [base64.b64decode(part, validate=True) for part in value["segments"]]
    except (ValueError, TypeError, binascii.Error, RecursionError) as error:
        message = f"not a JSON line {{'id', 'segments': [base64, ...]}}: {error}"
        raise BadInput([Fault(source, "", "", message)]) from error


def judge_lines(wanted: Desired, subject: Subject, lines: Iterable[str], out: TextIO) -> None:
    """Write a verdict for the stream in each line; a line that is no stream ends the run."""
    judge = Judge(wanted, subject)
    try:
        for number, line in enumerate(lines, 1):
            if line.strip():
                out.write(json.dumps(judge.judge(*read_stream(line, number))) + "\n")
                out.flush()
    finally:
        judge.close()


def refuse_direction(direction: str) -> None:
    """Refuse what is not supported yet, by name."""
    if direction != "ingress":
        message = f"--direction {direction} is not supported yet; valid: ingress"
        raise Unsupported(message)
