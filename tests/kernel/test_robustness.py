# SPDX-License-Identifier: Apache-2.0
"""What must hold when something is missing, busy, changed or mere noise.

Each test fails when its defence is taken out: the denial behind every tail
call, the claim, the generation check, the serial of a rule set, the mark that
the guard asks for.
"""

import random
import time
from typing import Any

import pytest

from bpfast.abi import PortVerdict, Slot
from bpfast.kernel.prefixes import PortPrefix
from bpfast.kernel.program import STAGES
from bpfast.kernel.state import PortEntry
from bpfast.kernel.trial import TC_SHOT, TCX_CONTINUE, XDP_DROP, XDP_TX
from bpfast.policy.rules import HttpRule, RuleSet
from e2e.ipv6 import FRAGMENT
from e2e.segments import Flags, Segment, ethernet
from tests.kernel.packets import (
    ACK,
    CLIENT,
    CLIENT_MAC,
    FIN,
    PSH,
    RST,
    SERVER,
    SERVER_MAC,
    SYN,
    Box,
    Connection,
    Outcome,
    both_families,
    get,
    response,
    xdp_only,
)

DENIED = get("/secret")
CHUNKED = get("/upload", "Transfer-Encoding: chunked", method="POST") + b"1\r\na\r\n"
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58


def trigger(slot: Slot, connection: Connection) -> Outcome:
    """Send the packet that needs this stage, on a connection that is open."""
    if slot is Slot.HEADER:
        other = connection.box.connection()
        other.syn_ack()
        return other.send()
    if slot is Slot.PROVE:
        connection.send(get())
        return connection.at(0, get())
    if slot is Slot.CHUNK:
        return connection.send(CHUNKED)
    if slot is Slot.RECALL:
        connection.send(CHUNKED)
        return connection.at(0, CHUNKED)
    return connection.send(DENIED if slot is Slot.VERDICT else get())


@pytest.mark.parametrize("slot", STAGES)
def test_a_missed_tail_call_denies(box: Box, slot: Slot) -> None:
    """With any stage missing, what needs it is dropped and counted; put back, all is as before."""
    connection = box.connected()
    box.trial.empty(slot)
    try:
        outcome = trigger(slot, connection)
        assert XDP_DROP == outcome.action
        assert 1 == box.reasons["missed_tail_call"]
    finally:
        box.trial.refill(slot)
    box.connected().exchange()


@pytest.mark.parametrize("slot", STAGES)
def test_a_missed_tail_call_gives_the_flow_free(box: Box, slot: Slot) -> None:
    """A packet that is dropped for a missing stage leaves no claim behind: the next one is not busy."""
    connection = box.connected()
    box.trial.empty(slot)
    try:
        trigger(slot, connection)
    finally:
        box.trial.refill(slot)
    connection.raw(get())
    assert "flow_busy" not in box.reasons


@pytest.mark.parametrize("slot", STAGES)
def test_an_unpoliced_endpoint_needs_no_stage(box: Box, slot: Slot) -> None:
    """With a stage missing an endpoint that is not enforced still lets everything pass."""
    box.configure(enforced=False)
    box.trial.empty(slot)
    try:
        for data in (b"", get(), DENIED):
            assert box.connection().raw(data).passed
    finally:
        box.trial.refill(slot)
    assert {} == box.reasons


def test_a_busy_flow_drops(box: Box) -> None:
    """While another CPU is inside a flow its packets are dropped; afterwards they pass."""
    connection = box.connected()
    connection.poke(claim=1)
    assert XDP_DROP == connection.raw(get()).action
    assert XDP_DROP == connection.raw().action
    assert {"flow_busy": 2} == box.reasons
    connection.poke(claim=0)
    assert connection.send(get()).passed


def test_every_packet_gives_the_claim_back(box: Box) -> None:
    """After each kind of packet the flow is free."""
    connection = box.connected()
    kinds: tuple[tuple[bytes, dict[str, Any]], ...] = (
        (get()[:5], {}),
        (get()[:5], {"sequence": connection.first}),
        (b"x" * 5, {"sequence": connection.first}),
        (b"x", {"sequence": connection.first + 100}),
        (b"", {"acknowledgement": connection.server + 9}),
        (b"", {"flags": RST}),
        (b"x", {"flags": Flags.URG | ACK}),
    )
    for data, bend in kinds:
        connection.raw(data, **bend)
        flow = connection.flow
        assert flow is not None
        assert 0 == flow["claim"]


def test_a_new_generation_with_the_same_rules_goes_on(box: Box) -> None:
    """A policy change that leaves the rules as they are disturbs no request, not even one half read."""
    connection = box.connected()
    assert connection.send(get()[:10]).passed
    box.configure()
    assert connection.send(get()[10:]).passed
    assert {} == box.reasons
    connection.serve(response())
    connection.send()
    assert XDP_TX == connection.send(DENIED).action


def test_new_rules_hold_from_the_next_request_on(box: Box) -> None:
    """After a change of rules the next request of an open connection is judged by the new ones."""
    connection = box.connected()
    connection.exchange()
    other = box.install(RuleSet((HttpRule("other", path="/secret"),)))
    box.configure({PortPrefix.one(0, 80): PortEntry(PortVerdict.INSPECT, other)})
    connection.exchange(DENIED)
    assert XDP_TX == connection.send(get()).action


def test_new_rules_inside_a_request_pass_nothing_that_they_deny(box: Box) -> None:
    """A request half read when the rules change ends by the old table or in a reset, never in confusion."""
    connection = box.connected()
    assert connection.send(b"GET /pub").passed
    other = box.install(RuleSet((HttpRule("other", path="/secret"),)))
    box.configure({PortPrefix.one(0, 80): PortEntry(PortVerdict.INSPECT, other)})
    outcome = connection.send(b"lic HTTP/1.1\r\nHost: a\r\n\r\n")
    assert bool(outcome.payload) == (not box.reasons)
    assert b"" == connection.send(get()).payload


def test_changed_to_deny_resets(box: Box) -> None:
    """When L4 no longer allows the peer, its next packet resets the connection; nothing of it passes."""
    connection = box.connected()
    connection.exchange()
    box.configure({PortPrefix(0): PortEntry(PortVerdict.DENY)})
    outcomes = [connection.raw(get()) for _ in range(3)]
    assert b"" == b"".join(outcome.payload for outcome in outcomes)
    assert any(outcome.resets_server for outcome in outcomes)
    assert any(outcome.resets_client for outcome in outcomes)
    assert box.reasons["l4_denied"] >= 1


def test_changed_to_allow_goes_on_uninspected(box: Box) -> None:
    """When L4 allows all of the port, an open connection goes on, whatever it asks for."""
    connection = box.connected()
    assert connection.send(get()[:10]).passed
    box.configure({PortPrefix.one(0, 80): PortEntry(PortVerdict.ALLOW)})
    assert connection.send(b"anything at all\r\n").passed
    assert connection.send(DENIED).passed
    connection.serve(response())
    assert connection.send().passed


def test_allow_to_inspect_in_mid_connection_is_a_reset(box: Box) -> None:
    """A connection that began uninspected has no known state: once inspected it is reset, and counted."""
    box.configure({PortPrefix.one(0, 80): PortEntry(PortVerdict.ALLOW)})
    connection = box.connected()
    connection.exchange()
    box.configure()
    outcome = connection.raw(get())
    assert outcome.resets_client or outcome.resets_server
    assert b"" == outcome.payload
    assert {"now_inspected"} == set(box.reasons) or {"no_flow"} == set(box.reasons)


def test_allow_to_inspect_does_not_take_the_next_bytes_for_the_first(box: Box) -> None:
    """Nor does the embryo that such a connection may have left make its later bytes a first request."""
    box.configure({PortPrefix.one(0, 80): PortEntry(PortVerdict.ALLOW)})
    connection = box.connected()
    connection.send(b"GET /sec")
    box.configure()
    assert b"" == connection.at(0, get()).payload or connection.flow is not None
    assert b"" == connection.send(b"ret HTTP/1.1\r\nHost: a\r\n\r\n").payload


def test_a_rule_set_that_is_gone_inside_a_request(box: Box) -> None:
    """When the table of a half-read request is taken away, the request is not finished: stale_table."""
    connection = box.connected()
    assert connection.send(get()[:10]).passed
    box.trial.state.retire(())
    outcome = connection.send(get()[10:])
    assert b"" == outcome.payload
    assert 1 == box.reasons["stale_table"]


def test_a_rule_set_replaced_in_place_inside_a_request(box: Box) -> None:
    """Another table under the same index is not the one the request began with: stale_table."""
    connection = box.connected()
    assert connection.send(b"GET /pub").passed
    box.trial.state.retire(())
    index = box.install(RuleSet((HttpRule("all"),)))
    assert box.rule_set == index
    box.configure({PortPrefix.one(0, 80): PortEntry(PortVerdict.INSPECT, index)})
    assert b"" == connection.send(b"lic HTTP/1.1\r\nHost: a\r\n\r\n").payload
    assert 1 == box.reasons["stale_table"]


def test_policing_begins_in_mid_connection(box: Box) -> None:
    """A connection from before enforcement has no flow: its next packet is reset, not passed."""
    box.configure(enforced=False)
    connection = box.connected()
    box.configure(enforced=True)
    assert b"" == connection.send(get()[3:]).payload


def test_the_sweeper_leaves_live_flows_alone(box: Box) -> None:
    """Idle alone is no reason: the sweeper deletes no open flow unless it is forced to."""
    connection = box.connected()
    connection.exchange()
    assert not box.trial.sweep(connection.key)
    connection.serve(flags=FIN | ACK)
    assert not box.trial.sweep(connection.key)
    assert [connection.key] == box.trial.flows()
    assert box.trial.sweep(connection.key, force=True)
    assert connection.flow is None
    assert 1 == box.counts["flows_ended"]
    assert not box.trial.sweep(connection.key, force=True)


def test_the_sweeper_deletes_what_the_server_left(box: Box) -> None:
    """120 s after the server's last packet once it has sent its FIN, a flow goes; not a second earlier."""
    connection = box.connected()
    connection.exchange()
    connection.serve(flags=FIN | ACK)
    now = time.monotonic_ns()
    connection.poke(server_time=now - abi_constant("SERVER_FIN_NS") + 2_000_000_000)
    assert not box.trial.sweep(connection.key)
    connection.poke(server_time=now - abi_constant("SERVER_FIN_NS") - 1)
    assert box.trial.sweep(connection.key)
    assert b"" == connection.send(get()).payload


def test_the_sweeper_deletes_answered_flows(box: Box) -> None:
    """60 s after our answer an answered flow goes; not a second earlier."""
    connection = box.connected()
    connection.send(DENIED)
    now = time.monotonic_ns()
    connection.poke(stage_time=now - abi_constant("ANSWERED_NS") + 2_000_000_000)
    assert not box.trial.sweep(connection.key)
    connection.poke(stage_time=now - abi_constant("ANSWERED_NS") - 1)
    assert box.trial.sweep(connection.key)


def test_the_sweeper_does_not_touch_a_busy_flow(box: Box) -> None:
    """A flow that another CPU is inside of is not deleted under it."""
    connection = box.connected()
    connection.serve(flags=FIN | ACK)
    connection.poke(server_time=1, claim=1)
    assert not box.trial.sweep(connection.key)
    connection.poke(claim=0)


def abi_constant(name: str) -> int:
    """Return a time of ``bpf/lib/abi.h`` in nanoseconds."""
    return {"SERVER_FIN_NS": 120_000_000_000, "ANSWERED_NS": 60_000_000_000}[name]


@both_families
@xdp_only
def test_the_guard_drops_what_has_no_mark(box: Box) -> None:
    """An IP packet that has not been through the chain is dropped behind it, and counted."""
    frame = box.connected().client_frame()
    assert TC_SHOT == box.trial.guard(frame)
    assert {"no_mark": 1} == box.reasons
    assert TC_SHOT == box.trial.guard(frame[:12] + b"\x86\xdd" + frame[14:])


@xdp_only
def test_the_guard_passes_what_the_chain_does_not_police(box: Box) -> None:
    """ARP passes the guard, and everything does at an endpoint that is not enforced."""
    arp = ethernet(CLIENT_MAC, SERVER_MAC, bytes(46), ethertype=0x0806)
    assert TCX_CONTINUE == box.trial.guard(arp)
    box.configure(enforced=False)
    assert TCX_CONTINUE == box.trial.guard(box.connection().client_frame(DENIED))
    assert {} == box.reasons


def test_the_watcher_lets_everything_go(box: Box) -> None:
    """The watcher only watches: whatever the pod sends goes on."""
    connection = box.connected()
    for flags in (SYN | ACK, ACK, RST, FIN | ACK, Flags(0), Flags(255)):
        assert TCX_CONTINUE == connection.watch(b"x", flags=flags)
    assert TCX_CONTINUE == box.trial.watch(ethernet(SERVER_MAC, CLIENT_MAC, bytes(46), ethertype=0x0806))
    assert TCX_CONTINUE == box.trial.watch(ethernet(SERVER_MAC, CLIENT_MAC, b"\x45" + bytes(21)))


def test_the_watcher_reads_past_ip_options(box: Box) -> None:
    """Linux echoes a record-route option in its SYN-ACK: the watcher finds the TCP header behind it."""
    from tests.kernel.packets import from_pod  # noqa: PLC0415

    connection = box.connection()
    syn_ack = Segment(
        source_port=80,
        destination_port=connection.peer_port,
        sequence=connection.first_server - 1,
        acknowledgement=connection.first,
        flags=SYN | ACK,
    )
    box.trial.watch(from_pod(syn_ack.encode(SERVER, CLIENT), options=b"\x07\x07\x04" + bytes(4) + b"\0"))
    assert connection.send(get()).passed


@both_families
@pytest.mark.parametrize("seed", range(4))
def test_crafted_segments_never_pass_without_a_flow(box: Box, seed: int) -> None:
    """Of random TCP segments to an inspected port only bare SYNs and bare RSTs pass without a flow."""
    print(f"seed {seed}")  # noqa: T201 - shown when it fails
    generator = random.Random(seed)
    for _ in range(3000):
        flags = Flags(generator.choice((generator.randrange(256), int(ACK), int(SYN), int(PSH | ACK))))
        payload = generator.choice((b"", DENIED, get(), generator.randbytes(generator.randrange(1, 60))))
        segment = Segment(
            source_port=generator.randrange(60000, 60100),
            destination_port=80,
            sequence=generator.randrange(1 << 32),
            acknowledgement=generator.randrange(1 << 32),
            flags=flags,
            options=generator.randbytes(4 * generator.randrange(0, 10)),
            payload=payload,
        )
        outcome = box.receive(box.to_pod(segment))
        if not outcome.passed:
            continue
        assert b"" == outcome.segment.payload, segment
        kept = outcome.segment.flags & (SYN | ACK | FIN | RST | Flags.URG)
        assert kept in (SYN, RST, RST | ACK), segment
    assert [] == box.trial.flows()


@both_families
@pytest.mark.parametrize("seed", range(4))
def test_garbage_frames_never_bring_payload_to_the_port(box: Box, seed: int) -> None:
    """Frames with random bytes flipped anywhere behind the Ethernet header pass no request without a flow."""
    print(f"seed {seed}")  # noqa: T201 - shown when it fails
    generator = random.Random(1000 + seed)
    template = box.connection(peer_port=61000).client_frame(DENIED)
    for _ in range(3000):
        frame = bytearray(template)
        for _ in range(generator.randrange(1, 8)):
            frame[generator.randrange(14, box.tcp_at + 26)] = generator.randrange(256)
        kept = bytes(frame[: generator.choice((len(frame), generator.randrange(box.least, len(frame))))])
        outcome = box.receive(kept)
        assert not outcome.passed or has_no_ports(kept) or is_bare(outcome), kept.hex(" ")
    assert [] == box.trial.flows()


def has_no_ports(frame: bytes) -> bool:
    """Whether this is ICMP, or a later fragment of something else than TCP (useless without its first)."""
    if frame[12:14] == b"\x86\xdd":
        return ICMP6 in (frame[20], frame[54]) or (frame[20] == FRAGMENT and frame[54] == UDP)
    later = int.from_bytes(frame[20:22], "big") & 0x1FFF
    return frame[23] == ICMP or (frame[23] != TCP and later != 0)


def is_bare(outcome: Outcome) -> bool:
    """Whether this is a SYN or RST without payload."""
    return bool(outcome.segment.flags & (SYN | RST)) and not outcome.segment.payload


@pytest.mark.parametrize("seed", range(4))
def test_noise_around_an_honest_connection_neither_passes_nor_breaks_it(box: Box, seed: int) -> None:
    """Crafted packets beside an honest connection change none of its bytes and do not stop it."""
    print(f"seed {seed}")  # noqa: T201 - shown when it fails
    generator = random.Random(2000 + seed)
    connection = box.connected()
    server: dict[int, int] = {}
    for _ in range(40):
        request = get(f"/public/{generator.randrange(10**6)}")
        for start in range(0, len(request), 9):
            part = request[start : start + 9]
            for _ in range(6):
                noise = generator.choice((DENIED[:9], part[::-1], generator.randbytes(5)))
                offset = generator.choice((generator.randrange(-30, -9), 0, generator.randrange(1, 30)))
                bend = {
                    "sequence": connection.client + offset,
                    "flags": generator.choice((ACK, ACK | PSH, SYN, Flags(0), ACK | Flags.URG)),
                }
                if offset == 0:
                    bend["acknowledgement"] = connection.server + (1 << 29)
                passed = connection.raw(noise, **bend).payload
                for at, byte in enumerate(passed, connection.client + offset):
                    assert server[at] == byte, (noise, bend)
            outcome = connection.send(part)
            assert part == outcome.payload
            server.update(enumerate(part, connection.client - len(part)))
        connection.serve(response())
        assert connection.send().passed
    assert 40 == box.counts["requests_allowed"]
