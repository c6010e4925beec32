# SPDX-License-Identifier: Apache-2.0
"""What was inspected is what the server gets: in order, once, and whole."""

import pytest

from e2e.attacks import streams
from e2e.attacks.arena import Arena


def test_an_answered_connection_lets_nothing_more_through(arena: Arena) -> None:
    """Our 403 moves no number of the watcher's; what comes behind never passes, whatever it says."""
    with arena.counting() as counted:
        done = streams.own_answer(arena)

    assert [] == arena.log(done.name)
    assert done.before is not None
    assert done.before == done.after
    assert (1, 1) == (counted["no_rule"], counted["requests_denied"])
    assert counted["after_answer"] >= 1


def test_two_processors_in_one_flow_mix_nothing(arena: Arena) -> None:
    """Of two segments at once one is inspected and the other dropped as busy, or compared afterwards."""
    with arena.counting() as counted:
        name, races = streams.two_processors(arena, 1.5)

    assert [] == [line for line in arena.log(name) if "/secret" in line]
    assert races >= 48
    assert counted["flow_busy"] >= 1
    assert counted["changed_segment"] >= 1


@pytest.mark.parametrize("alone", (False, True))
def test_a_path_cut_by_fin_is_not_served(arena: Arena, alone: bool) -> None:
    """FIN inside a request line, with the bytes or behind them, becomes a reset of the server's side."""
    with arena.counting() as counted:
        name = streams.fin_in_path(arena, alone=alone)

    assert [] == arena.log(name)
    assert (1, 1) == (counted["fin_in_head"], counted["server_resets"])


def test_a_head_without_its_end_is_not_served(arena: Arena) -> None:
    """FIN in place of the empty line becomes a reset, and no socket is left on the server's side."""
    with arena.counting() as counted:
        name, sockets = streams.fin_in_head(arena)

    assert ([], []) == (sockets, arena.log(name))
    assert (1, 1) == (counted["fin_in_head"], counted["server_resets"])


def test_a_fin_behind_old_bytes_is_a_fin_in_a_head(arena: Arena) -> None:
    """The beginning of a head that comes again with FIN does not end the head."""
    assert [] == arena.log(streams.fin_on_old_bytes(arena))


@pytest.mark.parametrize("apart", (-1_000_000, -1000, -1, 1, 1000))
def test_a_blind_fin_kills_nobody(arena: Arena, apart: int) -> None:
    """A FIN with wrong numbers is dropped, and the honest client in whose head it came is served."""
    name, answer = streams.blind_fin(arena, apart)

    assert answer.startswith(b"HTTP/1.1 404")
    assert len(arena.log(name)) == 1


def test_an_honest_client_may_straddle(arena: Arena) -> None:
    """What was lost on both sides of the chain Linux sends again as one segment; it is proved and passed."""
    with arena.counting() as counted:
        name, answer = streams.honest_straddler(arena)

    assert answer.startswith(b"HTTP/1.1 404")
    assert len(arena.log(name)) == 1
    assert counted["proved"] >= 1


def test_a_straddler_with_another_old_part_is_dropped(arena: Arena) -> None:
    """Bytes that died behind the chain cannot be exchanged for others."""
    with arena.counting() as counted:
        name = streams.other_old_part(arena)

    assert [] == arena.log(name)
    assert counted["changed_segment"] == 1


def test_a_straddler_with_a_denied_new_part_is_denied(arena: Arena) -> None:
    """An equal old part does not take a denied new part with it."""
    with arena.counting() as counted:
        name = streams.denied_new_part(arena)

    assert [] == arena.log(name)
    assert (1, 1) == (counted["proved"], counted["no_rule"])


@pytest.mark.parametrize("width", (1, 3, 1000))
def test_two_allowed_requests_do_not_mix_to_a_third(arena: Arena, width: int) -> None:
    """``/ab`` and ``/cd`` are allowed, and ``/ad`` is not served, however the second one is cut."""
    with arena.counting() as counted:
        name = streams.mixed_old_parts(arena, width)

    assert [] == arena.log(name)
    assert counted["changed_segment"] >= 1


@pytest.mark.parametrize("length", (1000, 3_000_000_000, 1 << 32, 1 << 53))
def test_a_body_is_over_when_the_server_has_answered(arena: Arena, length: int) -> None:
    """http.server does not read the body and would take it for a request; after its answer none passes."""
    with arena.counting() as counted:
        name = streams.early_answer(arena, length)

    assert [] == arena.log(name)
    assert counted["early_answer"] == 1
