# SPDX-License-Identifier: Apache-2.0
"""Kernels without tcx: the guard is a clsact filter, the watcher a generic XDP program.

Where the kernel has tcx it is not asked for it (BPFAST_WITHOUT_TCX), so that
the same tests hold on Linux 6.1 (``make test-vm``) and on a newer one.
"""

import time
from collections.abc import Iterator

import pytest

from bpfast.controller.run import SWEEP_SECONDS
from bpfast.settings import WITHOUT_TCX_VARIABLE
from e2e.attacks import detours
from e2e.attacks.arena import Arena, ground, policed
from e2e.bpfast import BPFast
from e2e.curl import curl
from e2e.namespace import within
from e2e.policies import get
from e2e.scene import Scene
from e2e.servers import Nginx
from e2e.topology import Pod

ALL = ["protocol", "all", "u32", "match", "u32", "0", "0", "flowid", "1:1"]
"""A filter of ``tc`` that takes every packet."""


@pytest.fixture(scope="module", autouse=True)
def without_tcx() -> Iterator[None]:
    """Let every ``bpfast run`` of this module do without tcx."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(WITHOUT_TCX_VARIABLE, "1")
        yield


@pytest.fixture(scope="module")
def detour_arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """An arena to walk around in."""
    with ground(tmp_path_factory.mktemp("detours")) as made, policed(made) as enforcing:
        yield enforcing


def statuses(scene: Scene, web: Nginx, *paths: str) -> list[int]:
    """Ask for paths, each over a new connection."""
    return [curl(scene.client, web.url + path, seconds=5).status for path in paths]


def filters(pod: Pod) -> str:
    """Return the filters of a pod's interface."""
    return pod.namespace.run("tc", "filter", "show", "dev", "eth0", "ingress").stdout


def qdiscs(pod: Pod) -> str:
    """Return the queueing disciplines of a pod's interface."""
    return pod.namespace.run("tc", "qdisc", "show", "dev", "eth0").stdout


def watcher(scene: Scene) -> str:
    """Return what ``ip`` says about the host's side of the server's veth pair."""
    return scene.topology.host.run("ip", "-d", "link", "show", scene.server.host_interface).stdout


def guards(pod: Pod) -> int:
    """Return how many guards there are."""
    return filters(pod).count("bpfast_guard_")


def in_place_again(run: BPFast, pod: Pod) -> bool:
    """Wait until the agent has looked, said what it has mended, and the guard is there."""
    said = within(2 * SWEEP_SECONDS, lambda: "it is in its place again" in run.errors)
    return said and guards(pod) == 1


def test_requests_are_judged_and_nothing_is_left(scene: Scene, web: Nginx) -> None:
    """An allowed request is served, a denied one gets its 403; afterwards both interfaces are as before."""
    with scene.run(get("/a")) as run:
        during = statuses(scene, web, "/a", "/b")
        verdicts = [event["verdict"] for event in run.verdicts(2)]
        shown = (guards(scene.server), "clsact" in qdiscs(scene.server), "xdpgeneric" in watcher(scene))
        run.stop()

    assert [200, 403] == during
    assert ["allow", "deny"] == verdicts
    assert (1, True, True) == shown
    assert (0, False, False) == (
        guards(scene.server),
        "clsact" in qdiscs(scene.server),
        "xdp" in watcher(scene),
    )
    assert [200, 200] == statuses(scene, web, "/a", "/b")
    assert [] == list(scene.pins.iterdir())


def test_a_crash_takes_nothing_away_and_a_later_run_takes_over(scene: Scene, web: Nginx) -> None:
    """After SIGKILL requests are judged as before; the next run renews the guard, and takes it off."""
    with scene.run(get("/a")) as first:
        old = filters(scene.server)
        first.kill()
    between = statuses(scene, web, "/a", "/b")
    kept = filters(scene.server)
    with scene.run(get("/b")) as second:
        after = statuses(scene, web, "/a", "/b")
        new = filters(scene.server)
        second.stop()

    assert [200, 403] == between
    assert [403, 200] == after
    assert old == kept
    assert old != new
    assert (1, 0) == (new.count("bpfast_guard_"), guards(scene.server))
    assert [] == list(scene.pins.iterdir())


def test_what_others_have_put_there_stays(scene: Scene, web: Nginx) -> None:
    """A clsact qdisc that was there before, and its filters, outlive the guard."""
    namespace = scene.server.namespace
    namespace.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
    try:
        namespace.run("tc", "filter", "add", "dev", "eth0", "ingress", "prio", "7", *ALL)
        with scene.run(get("/a")) as run:
            during = statuses(scene, web, "/a", "/b")
            run.stop()
        left = filters(scene.server)
    finally:
        namespace.run("tc", "qdisc", "delete", "dev", "eth0", "clsact")

    assert [200, 403] == during
    assert "pref 7 u32" in left
    assert "bpfast_guard" not in left


def test_a_guard_that_was_deleted_comes_back(scene: Scene, web: Nginx) -> None:
    """Root in the pod can delete the qdisc; requests are judged on, and the guard is put back, aloud."""
    with scene.run(get("/a")) as run:
        scene.server.namespace.run("tc", "qdisc", "delete", "dev", "eth0", "clsact")
        without = statuses(scene, web, "/a", "/b")
        back = in_place_again(run, scene.server)
        after = statuses(scene, web, "/a", "/b")
        run.stop()

    assert [200, 403] == without == after
    assert back
    assert 0 == guards(scene.server)


def test_a_guard_that_was_overtaken_comes_first_again(scene: Scene) -> None:
    """A filter of the same priority is asked before the guard, until the agent looks."""
    accept = ["bpf", "bytecode", "1,6 0 0 4294967295,", "flowid", "1:1"]
    with scene.run(get("/a")) as run:
        scene.server.namespace.run(
            "tc", "filter", "add", "dev", "eth0", "ingress", "prio", "1", "protocol", "all", *accept
        )
        overtaken = filters(scene.server)
        back = in_place_again(run, scene.server)
        mended = filters(scene.server)
        scene.server.namespace.run("tc", "filter", "delete", "dev", "eth0", "ingress")
        run.stop()

    def guard_is_first(listed: str) -> bool:
        handles = [line for line in listed.splitlines() if " handle " in line]
        return "bpfast_guard_" in handles[0]

    assert not guard_is_first(overtaken)
    assert back
    assert guard_is_first(mended)


def test_it_is_found_under_another_name(scene: Scene, web: Nginx) -> None:
    """A guard on an interface that was renamed is taken off in the end."""
    with scene.run(get("/a")) as run, detours.renamed(scene.server):
        time.sleep(SWEEP_SECONDS + 1)
        during = statuses(scene, web, "/b")
        run.stop()

    assert [403] == during
    assert 0 == guards(scene.server)


@pytest.mark.parametrize("means", tuple(detours.DETOURS))
def test_redirected_packets_are_stopped_by_the_guard(detour_arena: Arena, means: str) -> None:
    """Redirected by the client and by bpf_redirect_peer they skip generic XDP, and so carry no mark."""
    with detour_arena.counting() as counted:
        name = detours.redirected(detour_arena, means, peer=True)

    assert [] == detour_arena.log(name)
    assert counted["no_mark"] >= 1
