# SPDX-License-Identifier: Apache-2.0
"""Attacks on the order of bytes: retransmissions, FINs, forged acknowledgements, two CPUs.

Each function makes one attack under a name of its own and returns that name;
it has succeeded when the server's log has the name.
"""

import mmap
import multiprocessing
import os
import random
import socket
import struct
import time
from dataclasses import dataclass, replace

from bpfast import abi
from bpfast.abi import MapNumber
from bpfast.kernel import syscall
from e2e.attacks.arena import ALLOWED, DATA, DENIED, WRONG, Arena, put, read_all, rest
from e2e.raw import FIRST_PORT, LAST_PORT, RawClient
from e2e.segments import NUMBERS, Flags, Segment, ethernet

FLOW_ACKED = 8
FLOW_SENT = 16


def fin_in_path(arena: Arena, *, alone: bool) -> str:
    """Cut a denied path and send FIN, with it or ``alone``: http.server takes it for HTTP/0.9."""
    name = arena.name()
    request = DENIED + f"/{name}".encode()
    with arena.raw() as client:
        client.connect()
        if alone:
            client.send(request)
            client.finish()
        else:
            client.send(request, flags=DATA | Flags.FIN)
        client.read(0.2)
        arena.forgets(client, timeout=0.5)
    return name


def fin_on_old_bytes(arena: Arena) -> str:
    """Cut a denied path, and once the server has it send it again with FIN behind it."""
    name = arena.name()
    request = DENIED + f"/{name}".encode()
    with arena.raw() as client:
        client.connect()
        put(client, 0, request)
        assert client.receive(want=lambda segment: segment.acknowledgement == client.sequence + len(request))
        client.send(request, flags=DATA | Flags.FIN)
        client.read(0.2)
    return name


def blind_fin(arena: Arena, apart: int) -> tuple[str, bytes]:
    """Send a FIN with wrong numbers into the head of an honest client; return the name and the answer."""
    name = arena.name()
    request = ALLOWED + rest(name)
    with arena.raw() as client:
        client.connect()
        client.send(request[:20])
        fin = client.segment(Flags.FIN | Flags.ACK, sequence=client.sequence + apart)
        client.send_segment(replace(fin, acknowledgement=(client.acknowledgement - 1000) % NUMBERS))
        client.receive(0.02)
        client.send(request[20:])
        return name, client.read(0.5).data


def early_answer(arena: Arena, length: int) -> str:
    """Send a denied request as the body of an allowed one that http.server answers without reading it."""
    name = arena.name()
    head = f"GET /public/page HTTP/1.1\r\nHost: server\r\nContent-Length: {length}\r\n\r\n"
    with arena.raw() as client:
        client.connect()
        client.send(head.encode())
        client.read(until=b"end of page\n")
        client.send(DENIED + rest(name))
        client.read(0.2)
    return name


def fin_in_head(arena: Arena) -> tuple[str, list[str]]:
    """Leave out the empty line at a head's end and send FIN; return the name and the server's sockets."""
    name = arena.name()
    with arena.raw() as client:
        client.connect()
        client.send(ALLOWED + rest(name)[:-2], flags=DATA | Flags.FIN)
        client.read(0.2)
        arena.forgets(client, timeout=0.5)
        return name, arena.sockets(client)


def other_old_part(arena: Arena) -> str:
    """Let ALLOWED die behind the chain, then send DENIED again in its place, with more behind it."""
    name = arena.name()
    with arena.raw() as client:
        client.connect()
        put(client, 0, ALLOWED, checksum=WRONG)
        put(client, 0, DENIED + rest(name))
        client.read(0.2)
    return name


def denied_new_part(arena: Arena) -> str:
    """Let the beginning die behind the chain, then send it again, equal, with a denied rest behind it."""
    name = arena.name()
    with arena.raw() as client:
        client.connect()
        put(client, 0, DENIED, checksum=WRONG)
        put(client, 0, DENIED + rest(name))
        client.read(0.2)
    return name


def mixed_old_parts(arena: Arena, width: int) -> str:
    """Mix ``/ab`` and ``/cd``, both allowed, to ``/ad``: one dies behind the chain, one comes in pieces."""
    name = arena.name()
    first, second = (path + rest(name) for path in (b"GET /ab", b"GET /cd"))
    with arena.raw() as client:
        client.connect()
        put(client, 0, first, checksum=WRONG)
        put(client, 0, first[:6])
        for start in range(6, len(second), width):
            put(client, start, second[start : start + width])
        client.read(0.2)
    return name


_LOSS_BEFORE = """\
table ip loss {
    chain forward {
        type filter hook forward priority 0
        tcp dport 80 tcp flags & psh == psh numgen inc mod 1000 { 1, 2 } drop
    }
}
"""
_LOSS_BEHIND = """\
table ip loss {
    chain input {
        type filter hook input priority 0
        tcp dport 80 tcp flags & psh == psh numgen inc mod 1000 0 drop
    }
}
"""


def honest_straddler(arena: Arena) -> tuple[str, bytes]:
    """Lose an honest client's first segment behind the chain and the next before it; return name and answer.

    Linux then sends both again as one segment: partly old, partly new.
    """
    name = arena.name()
    host, server = arena.scene.topology.host, arena.pod.namespace
    host.run("nft", "-f", "-", text=_LOSS_BEFORE)
    server.run("nft", "-f", "-", text=_LOSS_BEHIND)
    try:
        with arena.client.namespace.connect(arena.pod.address, 80) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            whole = ALLOWED + rest(name)
            for part in (whole[:20], whole[20:30], whole[30:]):
                connection.sendall(part)
                time.sleep(0.01)
            return name, read_all(connection)
    finally:
        for namespace in (host, server):
            namespace.run("nft", "delete", "table", "ip", "loss")


def read_flow(arena: Arena, client: RawClient) -> tuple[int, int] | None:
    """Return what the watcher believes the server has acknowledged, from our first byte, and sent."""
    with arena.scene.maps() as maps:
        flows = maps[MapNumber.FLOWS]
        for key in syscall.map_keys(flows, abi.SIZES["flow_key"]):
            if key[4:6] == client.source_port.to_bytes(2, "big"):
                value = syscall.map_lookup(flows, key, abi.SIZES["flow"]) or bytes(abi.SIZES["flow"])
                acked, sent = (struct.unpack_from("=I", value, place)[0] for place in (FLOW_ACKED, FLOW_SENT))
                return (acked - client.initial - 1) % NUMBERS, sent
    return None


@dataclass(frozen=True, slots=True)
class Answered:
    """What an attack on an answered connection has left: the flow's numbers before and after our 403."""

    name: str
    before: tuple[int, int] | None
    after: tuple[int, int] | None


def own_answer(arena: Arena) -> Answered:
    """Get a 403, acknowledge it like the server's, and go on; forge acknowledgements too."""
    name = arena.name()
    with arena.raw() as client:
        client.connect()
        client.send_segment(client.segment(Flags.ACK))
        time.sleep(0.02)
        before = read_flow(arena, client)
        client.send(DENIED + rest(name))
        assert client.read().data.startswith(b"HTTP/1.1 403")
        time.sleep(0.02)
        after = read_flow(arena, client)
        for acknowledged in (0, -140, 1000, 1 << 31):
            for offset in (0, client.sequence - client.initial - 1):
                packet = client.segment(DATA, ALLOWED + rest(name), sequence=client.initial + 1 + offset)
                there = (client.acknowledgement + acknowledged) % NUMBERS
                client.send_segment(replace(packet, acknowledgement=there))
        client.read(0.2)
    return Answered(name, before, after)


# ---- two CPUs ---------------------------------------------------------------

BURST = 48
# Another process may have the second CPU for some slices of time.
PATIENT_SECONDS = 10
_FRAME_BYTES = 256
_STOP = 0xFFFFFFFF
_NUMBER = struct.Struct("=I")
_GO, _DONE, _FRAMES = 0, 64, 128  # where in the shared memory


def _follow(shared: mmap.mmap, client: RawClient) -> None:
    """Send frame after frame on the second CPU, each when its number is called; in a process of its own."""
    os.sched_setaffinity(0, {1})
    called = 0
    while True:
        (number,) = _NUMBER.unpack_from(shared, _GO)
        if number == called:
            continue
        if number == _STOP:
            return
        at = _FRAMES + number % BURST * _FRAME_BYTES
        (length,) = _NUMBER.unpack_from(shared, at)
        frame = shared[at + _NUMBER.size : at + _NUMBER.size + length]
        for _ in range(number % 7):
            pass
        client.send_frame(frame)
        called = number
        _NUMBER.pack_into(shared, _DONE, called)


@dataclass(slots=True)
class _Race:
    """Two frames at once, one from this process, one from the other."""

    client: RawClient
    shared: mmap.mmap
    number: int = 0

    def burst(self, long: bytes, short: bytes) -> None:
        """Open BURST connections and race the two payloads on each; then reset them."""
        frames: list[bytes] = []
        resets: list[Segment] = []
        macs = (self.client.pod.mac, self.client.pod.host_mac)
        while len(frames) < BURST:
            renew(self.client)
            try:
                self.client.connect()
            except TimeoutError:  # both CPUs are busy
                continue
            at = _FRAMES + (self.number + 1 + len(frames)) % BURST * _FRAME_BYTES
            frames.append(self._frame(macs, long))
            other = self._frame(macs, short)
            self.shared[at : at + _NUMBER.size + len(other)] = _NUMBER.pack(len(other)) + other
            ends = (self.client.sequence + len(payload) for payload in (long, short))
            resets += [self.client.segment(Flags.RST, sequence=end) for end in ends]
        for frame in frames:
            self._both(frame)
        for segment in resets:
            self.client.send_segment(segment)

    def _frame(self, macs: tuple[str, str], payload: bytes) -> bytes:
        return ethernet(*macs, self.client.packet(self.client.segment(DATA, payload)).encode())

    def _both(self, frame: bytes) -> None:
        self.number += 1
        _NUMBER.pack_into(self.shared, _GO, self.number)
        for _ in range(self.number % 5):
            pass
        self.client.send_frame(frame)
        end = time.monotonic() + PATIENT_SECONDS
        while _NUMBER.unpack_from(self.shared, _DONE)[0] != self.number:
            if time.monotonic() > end:
                raise TimeoutError(f"the second CPU did not send frame {self.number}")


def renew(client: RawClient) -> None:
    """Make the client another one: next port, other numbers."""
    client.source_port = FIRST_PORT + (client.source_port + 1 - FIRST_PORT) % (LAST_PORT - FIRST_PORT)
    client.initial = client.sequence = random.randrange(NUMBERS)
    client.acknowledgement = 0


def two_processors(arena: Arena, seconds: float) -> tuple[str, int]:
    """Race a long head that is allowed against the short beginning of a denied one; return name and races.

    While one CPU walks over the long head, the other reads the same flow: a
    chain that lets both in passes both, and the server puts DENIED before the
    rest of the other.
    """
    name = arena.name()
    lines = "".join(f"X-{number}: {'x' * 6}\r\n" for number in range(10, 99))
    long = ALLOWED + f"/{name} HTTP/1.1\r\nHost: server\r\n{lines}\r\n".encode()
    fork = multiprocessing.get_context("fork")
    before = os.sched_getaffinity(0)
    with arena.raw() as client, mmap.mmap(-1, _FRAMES + BURST * _FRAME_BYTES) as shared:
        race = _Race(client, shared)
        follower = fork.Process(target=_follow, args=(shared, client))
        follower.start()
        os.sched_setaffinity(0, {0})
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                race.burst(long, DENIED)
        finally:
            os.sched_setaffinity(0, before)
            _NUMBER.pack_into(shared, _GO, _STOP)
            follower.join()
        return name, race.number
