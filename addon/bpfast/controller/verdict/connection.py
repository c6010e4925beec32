# SPDX-License-Identifier: Apache-2.0
"""A made-up TCP connection through the real programs.

The client's frames are shown to the chain, the server's to the watcher; the
server acknowledges whatever passes, and answers as soon as a request is waiting
for that. Nothing leaves this process.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bpfast import abi
from bpfast.abi import Phase, Reason
from bpfast.abi import Verdict as KernelVerdict
from bpfast.controller.verdict.engine import Layer34
from bpfast.events.response import is_response
from bpfast.events.verdict import VerdictEvent, decode
from bpfast.kernel.frames import ACK, PSH, RST, SYN, Address, Frames
from bpfast.kernel.maps import counted_reasons
from bpfast.kernel.trial import MARK_BYTES, XDP_PASS, Trial
from bpfast.model.judgement import Judgement, Request, Verdict

MOST_BYTES = 1448
_TCP_FLAGS = 13
_CLIENT_START, _SERVER_START = 1_000_000, 5_000_000
_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
_WAITS = Reason.AWAITS_ANSWER.name.lower()
_UNFINISHED = (Phase.HEAD, Phase.BODY, Phase.FRAMING)

RuleNames = Mapping[int, tuple[str, ...]]
"""Index of a rule set -> the names of its rules."""


@dataclass(frozen=True, slots=True)
class Ends:
    """Addresses (of one family) and ports of a connection."""

    client: Address
    server: Address
    client_port: int
    server_port: int


class Connection:
    """One connection; ``open`` comes first."""

    def __init__(self, trial: Trial, ends: Ends, rules: RuleNames) -> None:
        """Take the ends; nothing is sent yet."""
        self._trial = trial
        self._rules = rules
        self._frames = Frames(ends.client, ends.server, ends.client_port, ends.server_port)
        self._key = struct.pack(
            "=I2s2s16s16s",
            trial.endpoint,
            ends.client_port.to_bytes(2, "big"),
            ends.server_port.to_bytes(2, "big"),
            abi.pack_address(ends.client),
            abi.pack_address(ends.server),
        )
        self._whole = b""  # what was sent says what a request is called, however it was cut
        self._passed = 0
        self._answered = 0
        self._requests: list[Request] = []

    def open(self) -> Layer34:
        """Do the handshake; return what layers 3 and 4 made of it."""
        trial, frames = self._trial, self._frames
        action, _frame = trial.receive(frames.from_client(_CLIENT_START - 1, 0, SYN))
        if action != XDP_PASS:
            trial.events()
            return "deny"
        trial.watch(frames.from_server(_SERVER_START - 1, _CLIENT_START, SYN | ACK))
        trial.receive(frames.from_client(_CLIENT_START, _SERVER_START, ACK))
        return "allow" if trial.flow(self._key) is None else "inspect"

    def send(self, segments: Sequence[bytes]) -> Judgement:
        """Send all segments and forget the connection; return what became of it."""
        self._whole = b"".join(segments)
        passed = all(self._send(segment) for segment in _cut(segments))
        verdict: Verdict = self._phase() if passed else "deny"
        self.forget()
        return Judgement(verdict, tuple(self._requests))

    def forget(self) -> None:
        """Take the connection out of the kernel's maps."""
        self._trial.sweep(self._key, force=True)

    def _phase(self) -> Verdict:
        flow = self._trial.flow(self._key)
        unfinished = flow is not None and flow[abi.FLOW_PHASE_OFFSET] in _UNFINISHED
        return "incomplete" if unfinished else "allow"

    def _send(self, segment: bytes) -> bool:
        """Send a segment, and again what the chain cut off; False when some of it was denied."""
        while segment:
            passed = self._send_once(segment)
            if passed is None and self._requests[-1].reason == _WAITS:
                self._requests.pop()
                self._answer()
                passed = self._send_once(segment)
            if passed is None:
                return False
            segment = segment[passed:]
        return True

    def _answer(self) -> None:
        """Let the server answer what has passed so far."""
        sequence, acked = _SERVER_START + self._answered, _CLIENT_START + self._passed
        self._trial.watch(self._frames.from_server(sequence, acked, ACK | PSH, _ANSWER))
        self._answered += len(_ANSWER)

    def _send_once(self, segment: bytes) -> int | None:
        """Return how many bytes of a segment passed, or None when it was denied."""
        server = _SERVER_START + self._answered
        sent = self._frames.from_client(_CLIENT_START + self._passed, server, ACK | PSH, segment)
        before = self._trial.maps.raw_reasons()
        self._trial.forget_rates()
        action, frame = self._trial.receive(sent)
        events = [decode(raw) for raw in self._trial.events() if not is_response(raw)]
        self._requests += [self._request(event) for event in events]
        if action != XDP_PASS or frame[MARK_BYTES + self._frames.tcp_at + _TCP_FLAGS] & RST:
            if not any(event.verdict is KernelVerdict.DENY for event in events):
                self._requests.append(self._unreported(before))
            return None
        passed = len(segment) - (len(sent) - self._frames.end_of(frame[MARK_BYTES:]))
        self._passed += passed
        self._trial.watch(self._frames.from_server(server, _CLIENT_START + self._passed, ACK))
        return passed

    def _request(self, event: VerdictEvent) -> Request:
        method, path = _request_line(self._whole[event.offset :])
        names = self._rules.get(event.rule_set, ())
        return Request(
            verdict="allow" if event.verdict is KernelVerdict.ALLOW else "deny",
            method=method,
            path=path,
            rule=None if event.rule is None else names[event.rule],
            reason=event.reason.name.lower(),
        )

    def _unreported(self, raw_before: bytes) -> Request:
        """Return the entry for bytes that are no request any more (after Connection: close)."""
        before, after = counted_reasons(raw_before), self._trial.maps.reasons()
        (reason, *_more) = [name for name, number in after.items() if number != before.get(name, 0)]
        return Request("deny", None, None, None, reason)


def _cut(segments: Sequence[bytes]) -> Iterator[bytes]:
    for segment in segments:
        for at in range(0, len(segment), MOST_BYTES):
            yield segment[at : at + MOST_BYTES]


def _request_line(raw: bytes) -> tuple[str | None, str | None]:
    """Return method and target as sent: what stands before the first and the second blank."""
    line = raw.split(b"\r\n", 1)[0]
    method, _blank, rest = line.partition(b" ")
    target = rest.partition(b" ")[0]
    return method.decode("latin-1") or None, target.decode("latin-1") or None
