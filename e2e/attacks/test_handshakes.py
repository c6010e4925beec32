# SPDX-License-Identifier: Apache-2.0
"""Neither the birth nor the death of a connection lets a byte in that was not inspected."""

import pytest

from e2e.attacks import handshakes
from e2e.attacks.arena import Arena

COOKIES = {"net__ipv4__tcp_syncookies": 2}
SHORT_END = {"net__ipv4__tcp_fin_timeout": 1}


def test_a_second_syn_ack_after_the_data_changes_nothing(arena: Arena) -> None:
    """The head that began before it is judged as what it is, and its beginning cannot be changed."""
    with arena.counting() as counted:
        name = handshakes.repeated_syn_ack(arena)

    assert [] == arena.log(name)
    assert (1, 1) == (counted["no_rule"], counted["flows_born"])
    assert counted["changed_segment"] + counted.get("old_segment", 0) >= 1


@pytest.mark.parametrize("apart", (1, 1000, -1000, 1 << 31))
def test_a_second_syn_with_other_numbers_changes_nothing(arena: Arena, apart: int) -> None:
    """The server answers it with no SYN-ACK, so the flow stays the one that it was."""
    with arena.counting() as counted:
        name = handshakes.other_syn(arena, apart)

    assert [] == arena.log(name)
    assert (1, 1) == (counted["no_rule"], counted["flows_born"])


def test_a_reborn_connection_is_inspected_from_its_first_byte(arena: Arena) -> None:
    """A SYN-ACK of another incarnation takes the first byte out of the old flow's body."""
    with arena.counting() as counted:
        name = handshakes.reborn_in_a_body(arena, 0)

    assert [] == arena.log(name)
    assert (1, 2) == (counted["no_rule"], counted["flows_born"])


def test_the_old_flow_passes_nothing_to_a_reborn_connection(arena: Arena) -> None:
    """A segment that begins before the new connection's first byte is no body of the old one."""
    assert [] == arena.log(handshakes.reborn_in_a_body(arena, -5))


def test_the_old_flow_inspects_nothing_for_a_reborn_connection(arena: Arena) -> None:
    """A request hidden in the headers of an allowed one is not served to a connection that begins there."""
    assert [] == arena.log(handshakes.reborn_in_a_request(arena))


def test_connections_by_cookies_are_inspected(arena: Arena) -> None:
    """With SYN cookies for everybody an honest client gets what it may have, and nothing else."""
    denied, allowed = arena.name(), arena.name()
    with arena.sysctl(**COOKIES):
        answers = [arena.get(f"/secret/{denied}"), arena.get(f"/public/{allowed}")]

    assert [b"HTTP/1.1 403", b"HTTP/1.1 404"] == [answer[:12] for answer in answers]
    assert ([], 1) == (arena.log(denied), len(arena.log(allowed)))


def test_a_cookie_without_its_syn_ack_opens_nothing(arena: Arena) -> None:
    """An ACK that fits no embryo is answered by a reset; the server gets no socket by it."""
    with arena.sysctl(**COOKIES), arena.counting() as counted:
        name, sockets = handshakes.cookie_without_syn_ack(arena)

    assert ([], []) == (sockets, arena.log(name))
    assert (1, 1) == (counted["no_flow"], counted["client_resets"])


def test_a_cookie_opens_nothing_below_an_open_flow(arena: Arena) -> None:
    """A bare ACK below a flow's numbers opens no socket that later bytes could reach."""
    with arena.sysctl(**COOKIES):
        name = handshakes.cookie_through_an_open_flow(arena, -100)

    assert [] == arena.log(name)


def test_a_cookie_opens_nothing_beside_a_dead_handshake(arena: Arena) -> None:
    """A flow whose handshake never reached the server lends its numbers to no other."""
    with arena.sysctl(**COOKIES):
        name = handshakes.cookie_beside_a_dead_handshake(arena)

    assert [] == arena.log(name)


def test_a_cookie_opens_nothing_inside_a_body(arena: Arena) -> None:
    """A bare ACK in the middle of a body opens no socket that takes the body for a request."""
    with arena.sysctl(**COOKIES):
        name = handshakes.cookie_inside_a_body(arena)

    assert [] == arena.log(name)


def test_a_cookie_opens_nothing_inside_a_request(arena: Arena) -> None:
    """A request hidden in the headers of an allowed one is not served to a socket that begins there."""
    with arena.sysctl(**COOKIES):
        name = handshakes.cookie_inside_a_request(arena)

    assert [] == arena.log(name)


def test_a_silent_end_leaves_no_way_in(arena: Arena) -> None:
    """A FIN_WAIT2 that vanishes without a packet, and the old ACK and data again: payload is thrown away."""
    with arena.sysctl(**COOKIES, **SHORT_END), arena.counting() as counted:
        name = handshakes.silent_end(arena)

    assert [] == arena.log(name)
    # Which of them comes first is the chain's business; each alone keeps the payload out.
    assert sum(counted.get(reason, 0) for reason in ("after_server_fin", "old_segment", "no_flow")) >= 2
