# SPDX-License-Identifier: Apache-2.0
"""The raw client is an honest TCP client as long as nobody bends it."""

from dataclasses import replace

import pytest

from e2e.raw import LAST_PORT, RawClient
from e2e.segments import Flags, Packet, Segment, decode, internet_checksum
from e2e.servers import Nginx
from e2e.topology import Pod, Topology

REQUEST = b"GET /raw HTTP/1.1\r\nHost: server\r\n\r\n"
FACTS = {"source_port": 1, "destination_port": 2, "sequence": 7, "flags": Flags.ACK}


def segment(**changes: object) -> Segment:
    """Return a segment with defaults that do not matter."""
    return Segment(**{**FACTS, **changes})  # type: ignore[arg-type]


def test_a_request_in_single_bytes_is_answered(topology: Topology, client: Pod, nginx: Nginx) -> None:
    """Handshake, a byte a packet, answer and both FINs; connection tracking sees nothing odd."""
    topology.track_connections()
    with RawClient(client, nginx.pod.address) as raw:
        raw.connect()
        raw.crumble(REQUEST)
        answer = raw.read(until=b"GET /raw\n")
        raw.finish()
        end = raw.read()

    assert answer.data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert (True, False) == (end.finished, end.reset)
    assert ["GET /raw HTTP/1.1"] == [line.request for line in nginx.requests_since(0, expected=1)]
    assert topology.invalid_packets() == 0


def test_lost_bytes_are_sent_again(client: Pod, nginx: Nginx) -> None:
    """A server that drops most of what it gets has the whole request in the end."""
    rules = """\
table ip lossy {
    chain in {
        type filter hook input priority 0
        tcp dport 80 tcp flags & psh == psh numgen inc mod 3 < 2 drop
    }
}
"""
    nginx.pod.namespace.run("nft", "-f", "-", text=rules)
    with RawClient(client, nginx.pod.address) as raw:
        raw.connect()
        raw.crumble(REQUEST[:10])
        raw.send(b"")
        nginx.pod.namespace.run("nft", "delete", "table", "ip", "lossy")
        raw.crumble(REQUEST[10:])
        answer = raw.read(until=b"GET /raw\n")

    assert b"200 OK" in answer.data


def test_the_pod_itself_stays_silent(client: Pod, nginx: Nginx) -> None:
    """The pod's own TCP does not reset a connection that it knows nothing of."""
    with RawClient(client, nginx.pod.address) as raw:
        raw.connect()
        raw.send(REQUEST)
        raw.read(until=b"GET /raw\n")
        established = nginx.pod.namespace.run("ss", "-Htn", "state", "established").stdout
        raw.reset()

    assert f":{raw.source_port}" in established


def test_a_reset_ends_the_connection(client: Pod, nginx: Nginx) -> None:
    """After RST the server has no socket for us, and answers data with a RST."""
    with RawClient(client, nginx.pod.address) as raw:
        raw.connect()
        raw.reset()
        raw.send(REQUEST)
        answer = raw.read()

    assert answer.reset


def test_a_bent_checksum_is_bent(client: Pod, nginx: Nginx) -> None:
    """A segment with a wrong checksum gets no answer; the same with the right one does."""
    with RawClient(client, nginx.pod.address) as raw:
        raw.connect()
        whole = raw.segment(Flags.ACK | Flags.PSH, REQUEST)
        raw.send_segment(replace(whole, checksum=0x5555))
        silence = raw.read(0.3)
        raw.send_segment(whole)
        answer = raw.read(until=b"GET /raw\n")

    assert silence.data == b""
    assert b"200 OK" in answer.data


def test_checksums_are_right_over_a_real_link(client: Pod, server: Pod, nginx: Nginx) -> None:
    """With offload the server's checksums are partial; without it they are right."""
    found = []
    for offload in (True, False):
        server.offload(tx=offload)
        with RawClient(client, nginx.pod.address) as raw:
            found.append(raw.connect().checksum_right)
            raw.reset()

    assert [False, True] == found


def test_source_ports_outside_the_hidden_range_are_refused(client: Pod) -> None:
    """The pod would reset connections from any other port."""
    with pytest.raises(ValueError, match="20000 to 29999"):
        RawClient(client, "10.88.0.12", source_port=LAST_PORT + 1)


def test_what_is_encoded_is_decoded() -> None:
    """A packet with options survives, and both checksums are right."""
    sent = segment(payload=b"abc", options=b"\x01" * 4, urgent=3, flags=Flags.ACK | Flags.URG)
    encoded = Packet(
        source="10.0.0.1",
        destination="10.0.0.2",
        payload=sent.encode("10.0.0.1", "10.0.0.2"),
        options=b"\x01" * 8,
    ).encode()
    decoded = decode(encoded)

    assert decoded is not None
    assert sent == replace(decoded[1], checksum=None)
    assert (7, b"\x01" * 8) == (decoded[0].header_words, decoded[0].options)
    assert internet_checksum(encoded[:28]) == 0


@pytest.mark.parametrize("data", (b"", b"\x45" * 19, b"\x60" + bytes(39), b"\x45" + bytes(39)))
def test_what_is_not_tcp_is_nothing(data: bytes) -> None:
    """Short packets, IPv6 and other protocols decode to nothing."""
    assert decode(data) is None


@pytest.mark.parametrize(
    ("flags", "payload", "end"),
    (
        (Flags.ACK, b"", 7),
        (Flags.SYN, b"", 8),
        (Flags.ACK, b"abc", 10),
        (Flags.FIN | Flags.ACK, b"abc", 11),
    ),
)
def test_a_segment_knows_its_end(flags: Flags, payload: bytes, end: int) -> None:
    """Payload counts, and SYN and FIN count as one each."""
    assert end == segment(flags=flags, payload=payload).end


def test_numbers_wrap() -> None:
    """The number after the last is 0."""
    assert segment(sequence=(1 << 32) - 1, payload=b"a").end == 0


def test_options_must_be_padded() -> None:
    """Options of three bytes cannot be written in words of four."""
    with pytest.raises(ValueError, match="multiple of four"):
        segment(options=b"abc").encode("10.0.0.1", "10.0.0.2")
