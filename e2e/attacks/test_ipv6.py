# SPDX-License-Identifier: Apache-2.0
"""Attacks over IPv6: its own fragments and headers, and FINs; ``test_crafted`` is of both families."""

import pytest

from e2e.attacks import crafted, crafted6, streams
from e2e.attacks.arena import DENIED, Arena, rest

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


@pytest.fixture(scope="module")
def arena(arena6: Arena) -> Arena:
    """The arena of IPv6."""
    return arena6


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


def test_false_lengths_are_dropped(arena: Arena) -> None:
    """Headers whose lengths disagree with the frame or with each other never pass."""
    with arena.counting() as counted:
        name = crafted6.false_lengths(arena)

    assert [] == arena.log(name)
    assert counted["bad_packet"] == 7


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
