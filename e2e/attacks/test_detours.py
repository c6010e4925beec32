# SPDX-License-Identifier: Apache-2.0
"""There is no way around the chain, for a client with NET_ADMIN or for the pod's own root."""

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest

from bpfast.controller.run import SWEEP_SECONDS
from e2e.attacks import detours
from e2e.attacks.arena import Arena, PatientServer, ground, policed
from e2e.namespace import add_namespace
from e2e.redirect import redirect_peer
from e2e.topology import Pod

Change = Callable[[Pod], contextlib.AbstractContextManager[None]]


@pytest.fixture(scope="module")
def own_arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """An arena whose pod may be taken apart."""
    with ground(tmp_path_factory.mktemp("own")) as made, policed(made) as enforcing:
        yield enforcing


def assert_enforced(arena: Arena) -> None:
    """Assert that a denied path is answered by us and that an allowed one is served."""
    denied, allowed = arena.name(), arena.name()
    answers = [arena.get(f"/secret/{denied}"), arena.get(f"/public/{allowed}")]
    assert [b"HTTP/1.1 403", b"HTTP/1.1 404"] == [answer[:12] for answer in answers]
    assert ([], 1) == (arena.log(denied), len(arena.log(allowed)))


@pytest.mark.parametrize("means", tuple(detours.DETOURS))
def test_redirected_packets_are_judged_behind_a_router(arena: Arena, means: str) -> None:
    """The host's routing makes a redirected packet an ordinary one again: the chain denies the request."""
    with arena.counting() as counted:
        name = detours.redirected(arena, means, peer=False)

    assert [] == arena.log(name)
    assert counted.get("no_rule", 0) + counted.get("no_mark", 0) >= 1


@pytest.mark.parametrize("means", tuple(detours.DETOURS))
def test_redirected_packets_are_stopped_by_the_guard(arena: Arena, means: str) -> None:
    """Redirected by the client and by bpf_redirect_peer they skip generic XDP, and so carry no mark."""
    with arena.counting() as counted:
        name = detours.redirected(arena, means, peer=True)

    assert [] == arena.log(name)
    assert counted["no_mark"] >= 1


def test_redirect_peer_alone_is_inspected(arena: Arena) -> None:
    """What the host hands to the pod's interface passes the chain there."""
    with redirect_peer(arena.client, arena.pod), arena.counting() as counted:
        assert_enforced(arena)

    assert (0, 1) == (counted.get("no_mark", 0), counted["no_rule"])


def test_the_pods_root_cannot_detach(own_arena: Arena) -> None:
    """``ip link set eth0 xdp off`` is refused or without effect in every mode."""
    said = detours.detach(own_arena.pod)

    assert any("Can't replace active BPF XDP link" in text for text in said)
    assert_enforced(own_arena)


@pytest.mark.parametrize("change", detours.CHANGES)
def test_the_pods_root_cannot_turn_it_off(own_arena: Arena, change: Change) -> None:
    """Whatever root does to the interface, denied stays denied, during it and after."""
    with change(own_arena.pod):
        assert_enforced(own_arena)
    assert_enforced(own_arena)


def test_what_the_pods_root_does_outlasts_the_agents_look(own_arena: Arena) -> None:
    """A renamed interface stays policed: the agent that does not find it takes nothing off."""
    with detours.renamed(own_arena.pod):
        time.sleep(SWEEP_SECONDS + 1)
        assert_enforced(own_arena)
    assert_enforced(own_arena)


def test_the_pods_root_cannot_move_it_away(own_arena: Arena) -> None:
    """In another namespace the interface is policed as before, and so it is when it comes back."""
    pod = own_arena.pod
    other = add_namespace(f"{pod.namespace.name}-2")
    try:
        away = Pod(pod.name, other, pod.host, pod.address, pod.address6)
        detours.move(pod, away)
        with PatientServer(away) as server:
            name = own_arena.name()
            answers = [own_arena.get(f"/secret/{name}"), own_arena.get("/public/there")]
            served = [line.request for line in server.requests()]
        detours.move(away, pod)
        assert_enforced(own_arena)
    finally:
        other.delete()

    assert [b"HTTP/1.1 403", b"HTTP/1.1 404"] == [answer[:12] for answer in answers]
    assert ["GET /public/there HTTP/1.1"] == served
