# SPDX-License-Identifier: Apache-2.0
"""Crafted packets are denied, dropped or harmless, each for its own reason."""

import pytest

from e2e.attacks import crafted
from e2e.attacks.arena import ALLOWED, DENIED, Arena

IPV4 = (
    (crafted.fragments, "fragment"),
    (crafted.tiny_fragments, "fragment"),
    (crafted.no_operations, "ip_options"),
    (crafted.record_route, "ip_options"),
)
SENT = (
    (crafted.urgent, "odd_flags"),
    (crafted.no_acknowledgement, "odd_flags"),
    (crafted.evicted, "bad_version"),
    (crafted.probes, "no_rule"),
    (crafted.pipelined, "unplaceable"),
    (crafted.huge_pipeline, "too_many_requests"),
    (crafted.after_close, "after_close"),
    (crafted.with_close, "after_close"),
    (crafted.hole, "no_rule"),
)


@pytest.fixture(scope="module", params=("arena", "arena6"), ids=("IPv4", "IPv6"))
def either(request: pytest.FixtureRequest) -> Arena:
    """The arena of each family."""
    found: Arena = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize(("send", "reason"), IPV4, ids=[send.__name__ for send, _reason in IPV4])
def test_headers_and_fragments_hide_no_request(arena: Arena, send: crafted.Send, reason: str) -> None:
    """The denied request is not in the server's log, and the reason is counted."""
    with arena.counting() as counted:
        name = crafted.connected(arena, send)

    assert [] == arena.log(name)
    assert counted[reason] >= 1


@pytest.mark.parametrize(("send", "reason"), SENT, ids=[send.__name__ for send, _reason in SENT])
def test_a_crafted_request_is_not_served(either: Arena, send: crafted.Send, reason: str) -> None:
    """The denied request is not in the server's log, and the reason is counted."""
    with either.counting() as counted:
        name = crafted.connected(either, send)

    assert [] == either.log(name)
    assert counted[reason] >= 1


def test_data_on_a_syn_is_dropped(either: Arena) -> None:
    """Fast open or not, a SYN with data does not get to the server, and what follows is judged."""
    with either.counting() as counted:
        name = crafted.syn_with_data(either)

    assert [] == either.log(name)
    assert (2, 1) == (counted["syn_data"], counted["no_rule"])


@pytest.mark.parametrize("tags", range(1, 9))
def test_vlan_tags_hide_nothing(either: Arena, tags: int) -> None:
    """Up to two tags are looked through, more are dropped."""
    with either.counting() as counted:
        name = crafted.tagged(either, tags)

    assert [] == either.log(name)
    assert counted["no_rule" if tags <= 2 else "vlan_depth"] == 1


def test_false_lengths_are_dropped(arena: Arena) -> None:
    """Headers whose lengths disagree with the frame or with each other never pass."""
    with arena.counting() as counted:
        name = crafted.false_lengths(arena)

    assert [] == arena.log(name)
    assert counted["bad_packet"] == 6


def test_multipath_is_taken_off_a_syn(arena: Arena) -> None:
    """The server never sees MP_CAPABLE: in its place stand options that do nothing."""
    assert crafted.MSS + b"\x01" * 4 == crafted.multipath(arena)


@pytest.mark.parametrize("before", (0, 1, 5, 11, 30))
def test_numbers_may_wrap_inside_a_request(either: Arena, before: int) -> None:
    """2^32 inside a head changes no verdict: allowed is served once, denied never."""
    names = [crafted.wrapped(either, start, before) for start in (ALLOWED, DENIED)]

    assert [1, 0] == [len(either.log(name)) for name in names]


@pytest.mark.parametrize("seed", range(12))
def test_shuffled_pieces_never_add_up_to_what_is_denied(either: Arena, seed: int) -> None:
    """Pieces of an allowed and a denied request in any order, some of which die behind the chain."""
    name = crafted.shuffled(either, seed)

    assert [] == [line for line in either.log(name) if not line.startswith(ALLOWED.decode())]
