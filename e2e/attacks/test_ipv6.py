# SPDX-License-Identifier: Apache-2.0
"""Attacks over IPv6: its own fragments and headers, and those of TCP that both families know."""

from collections.abc import Iterator

import pytest

from e2e.attacks import crafted, crafted6, streams
from e2e.attacks.arena import ALLOWED, DENIED, Arena, ground, policed, rest

OWN = (
    (crafted6.fragments, "fragment", 4),
    (crafted6.tiny_fragments, "fragment", 8),
    (crafted6.overlapping_fragments, "fragment", 2),
    (crafted6.atomic_fragment, "fragment", 1),
    (crafted6.options_then_fragments, "fragment", 2),
    (crafted6.hop_by_hop, "ipv6_extension", 2),
    (crafted6.destination_options, "ipv6_extension", 3),
    (crafted6.routing_header, "ipv6_extension", 1),
    (crafted6.rare_headers, "ipv6_extension", 3),
)
SHARED = (
    (crafted.urgent, "odd_flags"),
    (crafted.no_acknowledgement, "odd_flags"),
    (crafted.evicted, "bad_version"),
    (crafted.probes, "no_rule"),
    (crafted.pipelined, "unplaceable"),
    (crafted.huge_pipeline, "too_many_requests"),
    (crafted.after_close, "after_close"),
    (crafted.hole, "no_rule"),
)


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """The programs as they are, enforcing; attacked over IPv6."""
    with ground(tmp_path_factory.mktemp("arena6"), family=6) as made, policed(made) as enforcing:
        yield enforcing


def test_the_arena_is_of_ipv6(arena: Arena) -> None:
    """An honest request is served and logged, a denied one is not."""
    names = [arena.name(), arena.name()]
    answers = [arena.get(f"/public/{names[0]}"), arena.get(f"/secret/{names[1]}")]

    assert ":" in arena.pod.address
    assert [b"HTTP/1.1 404", b"HTTP/1.1 403"] == [answer[:12] for answer in answers]
    assert [1, 0] == [len(arena.log(name)) for name in names]


@pytest.mark.parametrize(("send", "reason", "least"), OWN, ids=[send.__name__ for send, *_more in OWN])
def test_headers_and_fragments_hide_no_request(
    arena: Arena, send: crafted.Send, reason: str, least: int
) -> None:
    """The denied request is not in the server's log, and each packet is counted for its reason."""
    with arena.counting() as counted:
        name = crafted.connected(arena, send)

    assert [] == arena.log(name)
    assert counted[reason] >= least


def test_false_jumbo_lengths_hide_no_request(arena: Arena) -> None:
    """A jumbo length in a small frame is dropped by the chain, or by a router before it."""
    assert [] == arena.log(crafted.connected(arena, crafted6.jumbo))


@pytest.mark.parametrize(("send", "reason"), SHARED, ids=[send.__name__ for send, _reason in SHARED])
def test_a_crafted_request_is_not_served(arena: Arena, send: crafted.Send, reason: str) -> None:
    """The denied request is not in the server's log, and the reason is counted."""
    with arena.counting() as counted:
        name = crafted.connected(arena, send)

    assert [] == arena.log(name)
    assert counted[reason] >= 1


def test_data_on_a_syn_is_dropped(arena: Arena) -> None:
    """Fast open or not, a SYN with data does not get to the server, and what follows is judged."""
    with arena.counting() as counted:
        name = crafted.syn_with_data(arena)

    assert [] == arena.log(name)
    assert (2, 1) == (counted["syn_data"], counted["no_rule"])


@pytest.mark.parametrize("tags", range(1, 5))
def test_vlan_tags_hide_nothing(arena: Arena, tags: int) -> None:
    """Up to two tags are looked through, more are dropped."""
    with arena.counting() as counted:
        name = crafted6.tagged(arena, tags)

    assert [] == arena.log(name)
    assert counted["no_rule" if tags <= 2 else "vlan_depth"] == 1


def test_false_lengths_are_dropped(arena: Arena) -> None:
    """Headers whose lengths disagree with the frame or with each other never pass."""
    with arena.counting() as counted:
        name = crafted6.false_lengths(arena)

    assert [] == arena.log(name)
    assert counted["bad_packet"] == 7


@pytest.mark.parametrize("before", (0, 11, 30))
def test_numbers_may_wrap_inside_a_request(arena: Arena, before: int) -> None:
    """2^32 inside a head changes no verdict: allowed is served once, denied never."""
    names = [crafted.wrapped(arena, start, before) for start in (ALLOWED, DENIED)]

    assert [1, 0] == [len(arena.log(name)) for name in names]


@pytest.mark.parametrize("seed", range(4))
def test_shuffled_pieces_never_add_up_to_what_is_denied(arena: Arena, seed: int) -> None:
    """Pieces of an allowed and a denied request in any order, some of which die behind the chain."""
    name = crafted.shuffled(arena, seed)

    assert [] == [line for line in arena.log(name) if not line.startswith(ALLOWED.decode())]


@pytest.mark.parametrize("apart", (-1_000_000, -1, 1, 1000))
def test_a_blind_fin_kills_nobody(arena: Arena, apart: int) -> None:
    """A FIN with wrong numbers is dropped, and the honest client in whose head it came is served."""
    name, answer = streams.blind_fin(arena, apart)

    assert answer.startswith(b"HTTP/1.1 404")
    assert len(arena.log(name)) == 1


@pytest.mark.parametrize("alone", (False, True))
def test_a_path_cut_by_fin_is_not_served(arena: Arena, alone: bool) -> None:
    """FIN inside a request line, with the bytes or behind them, becomes a reset of the server's side."""
    with arena.counting() as counted:
        name = streams.fin_in_path(arena, alone=alone)

    assert [] == arena.log(name)
    assert (1, 1) == (counted["fin_in_head"], counted["server_resets"])


def test_a_straddler_with_another_old_part_is_dropped(arena: Arena) -> None:
    """Bytes that died behind the chain cannot be exchanged for others."""
    with arena.counting() as counted:
        name = streams.other_old_part(arena)

    assert [] == arena.log(name)
    assert counted["changed_segment"] == 1


def test_nothing_passes_by_the_other_family(arena: Arena) -> None:
    """The pod has an address of IPv4, too: the client is no endpoint there, so nothing is open."""
    topology = arena.scene.topology
    topology.family = 4
    try:
        name = arena.name()
        with arena.counting() as counted, pytest.raises(OSError, match="timed out"):
            topology["client"].namespace.connect(topology["server"].address, 80, timeout=1).sendall(
                DENIED + rest(name)
            )
    finally:
        topology.family = 6

    assert [] == arena.log(name)
    assert counted["l4_denied"] >= 1
