# SPDX-License-Identifier: Apache-2.0
"""A TCP client that writes its own packets.

Frames leave through AF_PACKET, so neither the pod's routing nor its packet
filter touches them. What comes back for our port range is dropped before the
pod's own TCP can see it, which would answer with a reset.
"""

import itertools
import os
import random
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from e2e.ipv6 import ETHERTYPE_IPV6, Packet6, decode
from e2e.segments import ETHERTYPE_IPV4, NUMBERS, Flags, Packet, Segment, ethernet, tcp_checksum
from e2e.topology import Pod

FIRST_PORT = 20000
LAST_PORT = 29999
FRAME_BYTES = 1 << 17
RECEIVE_BUFFER = 1 << 24
SO_RCVBUFFORCE = 33  # the socket module does not know it
PACKET_OUTGOING = 4
TRIES = 10
RETRY_SECONDS = 0.3

_HIDDEN = f"""\
table inet bpfast-raw
delete table inet bpfast-raw
table inet bpfast-raw {{
    chain in {{
        type filter hook prerouting priority -300
        tcp dport {FIRST_PORT}-{LAST_PORT} drop
    }}
}}
"""

_ports = itertools.count(FIRST_PORT + os.getpid() * 97 % (LAST_PORT - FIRST_PORT) // 2)


@dataclass(frozen=True, slots=True)
class Received:
    """A packet from the server, and whether its TCP checksum is right.

    A checksum that is only partial (offload between two veths) counts as
    wrong: switch ``tx`` off to see what a wire would.
    """

    packet: Packet | Packet6
    segment: Segment
    checksum_right: bool


class RawClient:
    """One connection from ``pod`` to ``address``:``port``, made of raw packets.

    ``sequence`` is the next number we send, ``acknowledgement`` the next that
    we expect; tests may set both to whatever they like.
    """

    def __init__(self, pod: Pod, address: str, port: int = 80, *, source_port: int | None = None) -> None:
        """Open the packet socket and hide our ports from the pod's own TCP; the address says the family."""
        self.pod = pod
        self.address = address
        self.ethertype = ETHERTYPE_IPV6 if ":" in address else ETHERTYPE_IPV4
        self.port = port
        self.source_port = _next_port() if source_port is None else source_port
        if not FIRST_PORT <= self.source_port <= LAST_PORT:
            raise ValueError(f"source port {source_port!r}: one of {FIRST_PORT} to {LAST_PORT} is needed")
        self.initial = random.randrange(NUMBERS)
        self.sequence = self.initial
        self.acknowledgement = 0
        self._held: deque[Received] = deque()
        self._macs = (pod.mac, pod.host_mac)
        pod.namespace.run("nft", "-f", "-", text=_HIDDEN)
        self._socket = pod.namespace.open_socket(
            socket.AF_PACKET, socket.SOCK_RAW, socket.htons(self.ethertype)
        )
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        self._socket.bind(("eth0", self.ethertype))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the packet socket; nothing is said to the server."""
        self.close()

    def close(self) -> None:
        """Close the packet socket; nothing is said to the server."""
        self._socket.close()

    # ---- single packets ---------------------------------------------------

    def segment(self, flags: Flags, payload: bytes = b"", *, sequence: int | None = None) -> Segment:
        """Return the segment that an honest client would send now; ``dataclasses.replace`` bends it."""
        return Segment(
            source_port=self.source_port,
            destination_port=self.port,
            sequence=self.sequence if sequence is None else sequence % NUMBERS,
            acknowledgement=self.acknowledgement if flags & Flags.ACK else 0,
            flags=flags,
            payload=payload,
        )

    def packet(self, segment: Segment) -> Packet:
        """Return the IPv4 packet around a segment; ``dataclasses.replace`` bends it."""
        source = self.pod.address
        return Packet(source=source, destination=self.address, payload=segment.encode(source, self.address))

    def packet6(self, segment: Segment) -> Packet6:
        """Return the IPv6 packet around a segment; ``dataclasses.replace`` bends it."""
        source = self.pod.address6
        return Packet6(source=source, destination=self.address, payload=segment.encode(source, self.address))

    def around(self, segment: Segment) -> Packet | Packet6:
        """Return the packet around a segment, of the connection's family."""
        return self.packet6(segment) if self.ethertype == ETHERTYPE_IPV6 else self.packet(segment)

    def send_frame(self, frame: bytes) -> None:
        """Put any frame on the pod's ``eth0``."""
        self._socket.send(frame)

    def send_packet(self, packet: Packet | Packet6) -> None:
        """Send a packet to the host, as it is."""
        self.send_frame(ethernet(*self._macs, packet.encode(), ethertype=self.ethertype))

    def send_segment(self, segment: Segment) -> None:
        """Send a segment as it is; our numbers stay where they are."""
        self.send_packet(self.around(segment))

    def receive(
        self, timeout: float = 1.0, *, want: Callable[[Segment], bool] | None = None
    ) -> Received | None:
        """Return the next packet of this connection (that ``want`` likes); None after ``timeout`` seconds."""
        while self._held:
            held = self._held.popleft()
            if want is None or want(held.segment):
                return held
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                frame, address = self._socket.recvfrom(FRAME_BYTES)
            except TimeoutError:
                return None
            received = None if address[2] == PACKET_OUTGOING else self._of_ours(frame[14:])
            if received is not None and (want is None or want(received.segment)):
                return received
        return None

    def _of_ours(self, data: bytes) -> Received | None:
        decoded = decode(data)
        if decoded is None:
            return None
        packet, segment = decoded
        ours = (self.address, self.port, self.source_port)
        if (packet.source, segment.source_port, segment.destination_port) != ours:
            return None
        right = tcp_checksum(packet.source, packet.destination, packet.payload) == 0
        return Received(packet, segment, right)

    # ---- an honest client ---------------------------------------------------

    def connect(self, *, options: bytes = b"\x02\x04\x05\xb4") -> Received:
        """Make the handshake (with a maximum segment size of 1,460); return the SYN-ACK."""
        answer = self.syn(options=options)
        self.acknowledgement = answer.segment.end
        self.send_segment(self.segment(Flags.ACK))
        return answer

    def syn(self, *, options: bytes = b"\x02\x04\x05\xb4") -> Received:
        """Send a SYN and return the SYN-ACK, which is not yet acknowledged."""
        self.send_segment(replace(self.segment(Flags.SYN), options=options))
        self.sequence = (self.sequence + 1) % NUMBERS
        answer = self.receive(want=lambda segment: Flags.SYN | Flags.ACK in segment.flags)
        if answer is None:
            raise TimeoutError(f"no SYN-ACK from {self.address}:{self.port}")
        return answer

    def send(self, payload: bytes, *, flags: Flags = Flags.ACK | Flags.PSH) -> None:
        """Send one segment and move on."""
        segment = self.segment(flags, payload)
        self.send_segment(segment)
        self.sequence = segment.end

    def crumble(self, payload: bytes) -> None:
        """Send one byte a segment, again from the last acknowledged one where some were lost.

        Ends when all is acknowledged, or when the server sends anything of its
        own, which the next ``receive`` or ``read`` returns.
        """
        first, sent = self.sequence, 0
        self.sequence = (first + len(payload)) % NUMBERS
        for _ in range(TRIES):
            for place in range(sent, len(payload)):
                flags = Flags.ACK | Flags.PSH
                self.send_segment(self.segment(flags, payload[place : place + 1], sequence=first + place))
            while (received := self.receive(RETRY_SECONDS)) is not None:
                if received.segment.length or Flags.RST in received.segment.flags:
                    self._held.append(received)
                    return
                acknowledged = (received.segment.acknowledgement - first) % NUMBERS
                sent = max(sent, acknowledged) if acknowledged <= len(payload) else sent
                if sent == len(payload):
                    return
        raise TimeoutError(f"{sent} of {len(payload)} bytes are acknowledged after {TRIES} tries")

    def finish(self) -> None:
        """Send a FIN and move on."""
        self.send(b"", flags=Flags.FIN | Flags.ACK)

    def reset(self) -> None:
        """Send a RST with the right number."""
        self.send_segment(self.segment(Flags.RST | Flags.ACK))

    def read(self, timeout: float = 1.0, *, until: bytes | None = None) -> "Stream":
        """Take what the server sends, in order, and acknowledge it.

        Ends at a FIN (acknowledged too), a RST, once ``until`` has come, or
        after ``timeout`` seconds.
        """
        end = time.monotonic() + timeout
        data = bytearray()
        while (received := self.receive(end - time.monotonic())) is not None:
            segment = received.segment
            if Flags.RST in segment.flags:
                return Stream(bytes(data), finished=False, reset=True)
            fresh = segment.length and segment.sequence == self.acknowledgement
            if fresh:
                data += segment.payload
                self.acknowledgement = segment.end
            if segment.length:
                self.send_segment(self.segment(Flags.ACK))
            if fresh and Flags.FIN in segment.flags:
                return Stream(bytes(data), finished=True, reset=False)
            if until is not None and until in data:
                break
        return Stream(bytes(data), finished=False, reset=False)


@dataclass(frozen=True, slots=True)
class Stream:
    """What ``RawClient.read`` has got, and how it ended."""

    data: bytes
    finished: bool
    reset: bool


def _next_port() -> int:
    """Return a source port that this process has not used yet."""
    return FIRST_PORT + (next(_ports) - FIRST_PORT) % (LAST_PORT - FIRST_PORT + 1)
