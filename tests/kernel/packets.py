# SPDX-License-Identifier: Apache-2.0
"""Frames in words: a policed endpoint, and connections that play client and server to it.

A test asks for packets by what they mean (``connection.send(b"GET /")``); the
numbers, checksums and headers come from here and from ``e2e.segments``.
"""

import itertools
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from typing import Any

import pytest

from bpfast import abi
from bpfast.abi import DenyMode, EventMode, MapNumber, PortVerdict
from bpfast.events.response import ResponseEvent, decode_response, is_response
from bpfast.events.verdict import VerdictEvent, decode
from bpfast.kernel import hooks, syscall
from bpfast.kernel.maps import possible_cpus
from bpfast.kernel.prefixes import PortPrefix
from bpfast.kernel.state import EndpointConfig, PortEntry
from bpfast.kernel.trial import XDP_PASS, XDP_TX, Trial
from bpfast.policy.rules import HeaderMatch, HttpRule, RuleSet
from bpfast.tables.build import build
from e2e import ipv6, segments
from e2e.ipv6 import ETHERTYPE_IPV6, Packet6
from e2e.segments import NUMBERS, Flags, Packet, Segment, ethernet

CLIENT = "10.0.0.1"
SERVER = "10.0.0.2"
CLIENT6 = "fd00::1"
SERVER6 = "fd00::2"
CLIENT_MAC = "02:00:00:00:00:02"
SERVER_MAC = "02:00:00:00:00:01"
PORT = 80
MARK = 0x1122334455667788
LARGEST = 3000
"""Payload bytes a packet: PROG_TEST_RUN shows a program 3,520 bytes of a frame at most."""

HOOKS = ("xdp", "tcx") if hooks.tcx_offered() or os.geteuid() != 0 else ("xdp",)
"""The hooks that this kernel has; who is not root cannot ask, and sees every test skipped."""

both_families = pytest.mark.parametrize("family", (4, 6), ids=("IPv4", "IPv6"))
"""For tests and modules whose truths are the same: the box is of that family."""

xdp_only = pytest.mark.parametrize("hook", ("xdp",), indirect=True, scope="session")
"""For tests of what only XDP chains have."""
tcx_only = pytest.mark.parametrize("hook", ("tcx",), indirect=True, scope="session")

SYN, ACK, FIN, RST, PSH, URG = Flags.SYN, Flags.ACK, Flags.FIN, Flags.RST, Flags.PSH, Flags.URG

RULES = RuleSet(
    (
        HttpRule("public", method="GET|HEAD", path="/public.*"),
        HttpRule("upload", method="POST", path="/upload.*"),
        HttpRule("token", path="/admin", headers=(HeaderMatch("X-Token", "42"),)),
        HttpRule("ab", path="/ab"),
        HttpRule("cd", path="/cd"),
    )
)

_FLOW = struct.Struct("=6Q40s16IQ2IQ3Q5IHBB1032s4I264s")
_FLOW_FIELDS = (
    "claim", "acked", "sent", "server", "server_time", "due", "key", "expected", "client_acked",
    "client_fin",
    "generation", "rule_set", "stage", "answer", "answer_end", "resets", "sent_before", "copy_base",
    "copy_end", "large", "client_start", "tag", "blind", "asked_time", "asked_at", "furthest", "stage_time",
    "seen", "set", "length",
    "state", "candidates", "start", "requests", "serial", "lines", "flags", "phase", "copy",
    "log_first", "log_next", "log_end", "log_slot", "log",
)  # fmt: skip


def get(path: str = "/public", *lines: str, method: str = "GET") -> bytes:
    """Return a request head; ``lines`` are further header lines."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: a", *lines, "", ""]).encode()


def post(length: int, path: str = "/upload") -> bytes:
    """Return the head of a request with a body of this length."""
    return get(path, f"Content-Length: {length}", method="POST")


def response(body: bytes = b"", status: str = "200 OK") -> bytes:
    """Return what a server answers."""
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def padded_get(size: int) -> bytes:
    """Return an allowed request head of exactly ``size`` bytes."""
    plain = get("/public", "X: ")
    return get("/public", "X: " + "y" * (size - len(plain)))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a frame: the XDP action, the mark in front of it, the frame as it goes on.

    ``padding`` is what XDP leaves behind a frame that it has made (bpf/lib/frame_xdp.h);
    that of a frame that comes and goes as it is stays in it.
    """

    action: int
    mark: bytes
    frame: bytes
    padding: bytes = b""

    @property
    def passed(self) -> bool:
        """Whether it goes on to the pod."""
        return self.action == XDP_PASS

    @property
    def packet(self) -> Packet | Packet6:
        """Its IP header."""
        return _decoded(self.frame)[0]

    @property
    def segment(self) -> Segment:
        """Its TCP segment."""
        return _decoded(self.frame)[1]

    @property
    def payload(self) -> bytes:
        """Payload that the pod gets: empty when the frame does not pass."""
        return self.segment.payload if self.passed else b""

    @property
    def resets_client(self) -> bool:
        """Whether it is a reset that goes back to the client."""
        return self.action == XDP_TX and Flags.RST in self.segment.flags

    @property
    def resets_server(self) -> bool:
        """Whether it goes on as a reset, without payload."""
        return self.passed and Flags.RST in self.segment.flags and not self.segment.payload


def _end_of_packet(frame: bytes) -> int:
    """Return how many bytes the frame has that its IP header counts (all, where that says 0)."""
    at = 12
    while frame[at : at + 2] in (b"\x81\x00", b"\x88\xa8"):
        at += 4
    kind, at = frame[at : at + 2], at + 2
    field, header = (at + 2, 0) if kind == b"\x08\x00" else (at + 4, 40)
    length = int.from_bytes(frame[field : field + 2], "big")
    return at + header + length if length else len(frame)


def _decoded(frame: bytes) -> tuple[Packet | Packet6, Segment]:
    at = 12
    while frame[at : at + 2] in (b"\x81\x00", b"\x88\xa8"):
        at += 4
    found = ipv6.decode(frame[at + 2 :])
    assert found is not None, frame.hex(" ")
    return found


def vlan_tagged(frame: bytes, *tags: int) -> bytes:
    """Put VLAN tags (ethertypes; the VLAN is 5) into a frame, the outermost first."""
    return frame[:12] + b"".join(struct.pack("!HH", tag, 5) for tag in tags) + frame[12:]


def to_pod(payload: bytes, **bend: Any) -> bytes:
    """Return a frame with an IPv4 packet from the client to the pod."""
    ends: dict[str, Any] = {"source": CLIENT, "destination": SERVER, "payload": payload}
    packet = Packet(**(ends | bend))
    return ethernet(CLIENT_MAC, SERVER_MAC, packet.encode())


def from_pod(payload: bytes, **bend: Any) -> bytes:
    """Return a frame with an IPv4 packet from the pod to the client."""
    ends: dict[str, Any] = {"source": SERVER, "destination": CLIENT, "payload": payload}
    packet = Packet(**(ends | bend))
    return ethernet(SERVER_MAC, CLIENT_MAC, packet.encode())


def to_pod6(payload: bytes, **bend: Any) -> bytes:
    """Return a frame with an IPv6 packet from the client to the pod."""
    ends: dict[str, Any] = {"source": CLIENT6, "destination": SERVER6, "payload": payload}
    packet = Packet6(**(ends | bend)).encode()
    return ethernet(CLIENT_MAC, SERVER_MAC, packet, ethertype=ETHERTYPE_IPV6)


def from_pod6(payload: bytes, **bend: Any) -> bytes:
    """Return a frame with an IPv6 packet from the pod to the client."""
    ends: dict[str, Any] = {"source": SERVER6, "destination": CLIENT6, "payload": payload}
    packet = Packet6(**(ends | bend)).encode()
    return ethernet(SERVER_MAC, CLIENT_MAC, packet, ethertype=ETHERTYPE_IPV6)


def checksums_right(frame: bytes) -> bool:
    """Whether all checksums of an untagged TCP frame are right, by RFC 1071 alone."""
    packet = frame[14:]
    if packet[0] >> 4 == 6:
        ends = [str(ip_address(packet[at : at + 16])) for at in (8, 24)]
        whole = int.from_bytes(packet[4:6], "big")
        return 0 == segments.tcp_checksum(ends[0], ends[1], packet[40 : 40 + whole])
    whole = int.from_bytes(packet[2:4], "big")
    size = (packet[0] & 15) * 4
    source, destination = str(ip_address(packet[12:16])), str(ip_address(packet[16:20]))
    header = segments.internet_checksum(packet[:size])
    return (0, 0) == (header, segments.tcp_checksum(source, destination, packet[size:whole]))


def pseudo_sum(source: str, destination: str, length: int) -> int:
    """Return the sum that stands in a TCP checksum field when the device is to finish it."""
    return ~segments.internet_checksum(segments.pseudo_header(source, destination, length)) & 0xFFFF


# Building takes longer than a test, and most tests have the same rules.
_built = cache(build)


class Box:
    """One policed endpoint; its counters are seen as differences from the start of the test."""

    _ports = itertools.count(10000)
    _numbers = itertools.count(1)

    def __init__(self, trial: Trial, family: int = 4) -> None:
        """Start from no flows, full rates and the rules RULES on port 80; connections are of the family."""
        self.trial = trial
        self.family = family
        self.client, self.server = (CLIENT6, SERVER6) if family == 6 else (CLIENT, SERVER)
        self.tcp_at = 14 + (40 if family == 6 else 20)
        # A test run makes no packet for tcx whose IP header is not whole.
        self.least = self.tcp_at if trial.hook == "tcx" else 14
        self._reasons: Mapping[str, int] = {}
        self._counts: Mapping[str, int] = {}
        self.rule_set = self.install(RULES)
        self.generation = 0
        self.settings: dict[str, Any] = {}
        self.configure()
        self.forget_rates()
        trial.events()
        self._reasons = trial.maps.reasons()
        self._counts = trial.maps.counts()

    def install(self, rules: RuleSet) -> int:
        """Return the index of these rules' table in the kernel."""
        made = _built(rules)
        assert made.refused == ()
        return self.trial.state.install(made.image)

    def configure(self, entries: Mapping[PortPrefix, PortEntry] | None = None, **changes: Any) -> None:
        """Switch to a new generation: port policies (default: inspect 80, else deny) and settings."""
        plain = {
            PortPrefix.one(0, PORT): PortEntry(PortVerdict.INSPECT, self.rule_set),
            PortPrefix(0): PortEntry(PortVerdict.DENY),
        }
        number = next(Box._numbers)
        self.trial.state.write_policy(number, plain if entries is None else entries)
        defaults: dict[str, Any] = {
            "enforced": True,
            "timing": False,
            "deny_mode": DenyMode.REPLY,
            "event_mode": EventMode.ALL,
            "mark": MARK,
            "inspected": frozenset({PORT}),
        }
        self.settings = defaults | self.settings | changes
        self.generation = number
        config = EndpointConfig(generation=number, policy=number, **self.settings)
        self.trial.state.write_endpoint(self.trial.endpoint, config)

    def to_pod(self, segment: Segment) -> bytes:
        """Return a frame of the client with this segment."""
        raw = segment.encode(self.client, self.server)
        return to_pod6(raw) if self.family == 6 else to_pod(raw)

    def from_pod(self, segment: Segment) -> bytes:
        """Return a frame of the pod with this segment."""
        raw = segment.encode(self.server, self.client)
        return from_pod6(raw) if self.family == 6 else from_pod(raw)

    def forget_rates(self) -> None:
        """Begin every CPU's token window anew."""
        size = abi.SIZES["rate"] * possible_cpus()
        syscall.map_update(self.trial.maps[MapNumber.RATES], bytes(4), bytes(size))

    def receive(self, frame: bytes) -> Outcome:
        """Let a frame arrive."""
        action, after = self.trial.receive(frame)
        marked = after.startswith(struct.pack("=Q", self.settings["mark"]))
        mark, after = (after[:8], after[8:]) if marked else (b"", after)
        end = len(after) if len(after) == len(frame) else _end_of_packet(after)
        return Outcome(action, mark, after[:end], after[end:])

    @property
    def reasons(self) -> dict[str, int]:
        """Reasons counted in this test."""
        now = self.trial.maps.reasons()
        return {
            name: n - self._reasons.get(name, 0) for name, n in now.items() if n > self._reasons.get(name, 0)
        }

    @property
    def counts(self) -> dict[str, int]:
        """What else was counted in this test, without the zeros."""
        now = self.trial.maps.counts()
        return {
            name: n - self._counts.get(name, 0) for name, n in now.items() if n > self._counts.get(name, 0)
        }

    def events(self) -> list[VerdictEvent]:
        """Return the verdicts since the last time; answers since then are lost."""
        return self.all_events()[0]

    def responses(self) -> list[ResponseEvent]:
        """Return the answers since the last time; verdicts since then are lost."""
        return self.all_events()[1]

    def all_events(self) -> tuple[list[VerdictEvent], list[ResponseEvent]]:
        """Return the verdicts and the answers since the last time."""
        raw = self.trial.events()
        verdicts = [decode(one) for one in raw if not is_response(one)]
        return verdicts, [decode_response(one) for one in raw if is_response(one)]

    def connection(self, **start: Any) -> "Connection":
        """Return a connection of its own that has not begun."""
        return Connection(self, **({"peer_port": next(Box._ports)} | start))

    def connected(self, **start: Any) -> "Connection":
        """Return a connection with its handshake done."""
        connection = self.connection(**start)
        connection.handshake()
        return connection


class Connection:
    """Both ends of one TCP connection, honest unless told otherwise.

    ``client`` and ``server`` are the numbers of the next byte of each side,
    ``first`` and ``first_server`` those of the first byte.
    """

    def __init__(
        self, box: Box, *, peer_port: int, client: int = 1000, server: int = 5000, **more: Any
    ) -> None:
        """Take initial sequence numbers; ``more``: port, options, tags."""
        self.box = box
        self.peer_port = peer_port
        self.port: int = more.get("port", PORT)
        self.options: bytes = more.get("options", b"")
        self.tags: tuple[int, ...] = more.get("tags", ())
        self.first = self.client = (client + 1) % NUMBERS
        self.first_server = self.server = (server + 1) % NUMBERS
        self.acked = self.first

    @property
    def key(self) -> bytes:
        """``struct flow_key``."""
        ports = struct.pack("!HH", self.peer_port, self.port)
        ends = b"".join(abi.pack_address(ip_address(end)) for end in (self.box.client, self.box.server))
        return struct.pack("=I", self.box.trial.endpoint) + ports + ends

    @property
    def flow(self) -> dict[str, Any] | None:
        """``struct flow`` by field, or None."""
        raw = self.box.trial.flow(self.key)
        return None if raw is None else dict(zip(_FLOW_FIELDS, _FLOW.unpack(raw), strict=True))

    def poke(self, **fields: int) -> None:
        """Write fields of the flow, as another CPU or a clock would."""
        flow = self.flow
        assert flow is not None
        raw = _FLOW.pack(*(flow | fields).values())
        syscall.map_update(self.box.trial.maps[MapNumber.FLOWS], self.key, raw)

    def client_frame(self, data: bytes = b"", **bend: Any) -> bytes:
        """Return a frame of the client; it acknowledges all that the server sent."""
        default: dict[str, Any] = {
            "source_port": self.peer_port,
            "destination_port": self.port,
            "sequence": self.client,
            "acknowledgement": self.server,
            "flags": ACK | PSH if data else ACK,
            "options": self.options,
            "payload": data,
        }
        frame = self.box.to_pod(Segment(**(default | bend)))
        return vlan_tagged(frame, *self.tags)

    def raw(self, data: bytes = b"", **bend: Any) -> Outcome:
        """Send one segment of the client without moving its numbers."""
        return self.box.receive(self.client_frame(data, **bend))

    def at(self, offset: int, data: bytes, **bend: Any) -> Outcome:
        """Send data at an offset of the client's stream without moving its numbers."""
        return self.raw(data, sequence=(self.first + offset) % NUMBERS, **bend)

    def send(self, data: bytes = b"", **bend: Any) -> Outcome:
        """Send the client's next bytes as one segment, and move on."""
        outcome = self.raw(data, **bend)
        fin = FIN in bend.get("flags", ACK)
        self.client = (self.client + len(data) + fin) % NUMBERS
        return outcome

    def pieces(self, data: bytes, size: int = 1, **bend: Any) -> Iterator[Outcome]:
        """Send data cut into pieces."""
        for start in range(0, len(data), size):
            yield self.send(data[start : start + size], **bend)

    def watch(self, data: bytes = b"", **bend: Any) -> int:
        """Send one segment of the server without moving its numbers."""
        default: dict[str, Any] = {
            "source_port": self.port,
            "destination_port": self.peer_port,
            "sequence": self.server,
            "acknowledgement": self.client,
            "flags": ACK | PSH if data else ACK,
            "options": self.options,
            "payload": data,
        }
        frame = self.box.from_pod(Segment(**(default | bend)))
        return self.box.trial.watch(vlan_tagged(frame, *self.tags))

    def serve(self, data: bytes = b"", **bend: Any) -> int:
        """Send the server's next bytes, acknowledging all that the client sent, and move on."""
        action = self.watch(data, **bend)
        fin = FIN in bend.get("flags", ACK)
        self.server = (self.server + len(data) + fin) % NUMBERS
        return action

    def syn(self, **bend: Any) -> Outcome:
        """Send the SYN."""
        return self.raw(sequence=self.first - 1, acknowledgement=0, **({"flags": SYN} | bend))

    def syn_ack(self, **bend: Any) -> int:
        """Send the SYN-ACK."""
        honest: dict[str, Any] = {
            "sequence": self.first_server - 1,
            "acknowledgement": self.first,
            "flags": SYN | ACK,
        }
        return self.watch(**(honest | bend))

    def handshake(self) -> None:
        """Open the connection; all of it must pass."""
        assert self.syn().passed
        self.syn_ack()
        assert self.send().passed

    def exchange(self, request: bytes | None = None, answer: bytes | None = None) -> None:
        """Send an allowed request, its answer and the client's acknowledgement."""
        assert self.send(get() if request is None else request).passed
        self.serve(response() if answer is None else answer)
        assert self.send().passed
