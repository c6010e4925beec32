# SPDX-License-Identifier: Apache-2.0
"""Kernels without tcx: an endpoint is policed in one direction, since each end of its veth takes one program.

Run with BPFAST_WITHOUT_TCX where there is tcx, as ``test_without_tcx``.
"""

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfast.kernel import syscall
from bpfast.settings import WITHOUT_TCX_VARIABLE
from e2e.bpfast import BPFast
from e2e.curl import curl
from e2e.namespace import within
from e2e.policies import SERVER, allow, egress, entry, get, policy
from e2e.scene import Scene, trusted
from e2e.servers import Nginx
from e2e.topology import Pod

OTHER = {"app": "other"}
OTHERS = policy(entry(allow("/a")), name="others", subject=OTHER)
BOTH = f"{get('/a')}---\n{egress(allow('/a'), subject=SERVER, peer=OTHER)}"
"""Rules for what comes to the server, and for what it asks for."""
REFUSAL = "rules for both directions cannot be enforced for endpoint 'default/server'"


@pytest.fixture(scope="module", autouse=True)
def without_tcx() -> Iterator[None]:
    """Let every ``bpfast run`` of this module do without tcx."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(WITHOUT_TCX_VARIABLE, "1")
        yield


@pytest.fixture(scope="module")
def second_web(scene: Scene) -> Iterator[Nginx]:
    """A running nginx in the pod ``other``."""
    with Nginx(scene.topology["other"]) as running:
        yield running


def statuses(pod: Pod, web: Nginx, *paths: str) -> list[int]:
    """Ask for paths, each over a new connection; 0 is no answer."""
    return [curl(pod, web.url + path, seconds=5).status for path in paths]


def replace(path: Path, text: str) -> None:
    """Change a file in one step."""
    fresh = path.with_suffix(".fresh")
    fresh.write_text(text)
    fresh.replace(path)


def programs(pod: Pod) -> tuple[bool, bool]:
    """Tell whether there is an XDP program on the pod's end of its veth, and on the host's."""
    inside = pod.namespace.run("ip", "link", "show", "eth0").stdout
    outside = pod.host.run("ip", "link", "show", pod.host_interface).stdout
    return "xdpgeneric" in inside, "xdpgeneric" in outside


@contextlib.contextmanager
def passing(pod: Pod) -> Iterator[None]:
    """Attach a program that passes all to the host's side of a pod's veth, for the time of the block."""
    code = struct.pack("=BBhiBBhi", 0xB7, 0, 0, 2, 0x95, 0, 0, 0)
    fd = syscall.prog_load(syscall.PROG_TYPE_XDP, code, "somebodys", attach_type=syscall.ATTACH_XDP)
    try:
        with pod.host.entered():
            index = socket.if_nametoindex(pod.host_interface)
            syscall.xdp_attach(index, fd, syscall.XDP_FLAGS_SKB_MODE)
        yield
    finally:
        with pod.host.entered():
            syscall.xdp_detach(index, syscall.XDP_FLAGS_SKB_MODE)
        os.close(fd)


def refused(run: BPFast) -> bool:
    """Wait until the run says which endpoint it is about."""
    return within(5, lambda: REFUSAL in run.errors and "the last policy stays in force" in run.errors)


def test_a_start_with_both_is_refused_by_name(scene: Scene, web: Nginx) -> None:
    """The run ends with code 2 and names the endpoint, the reason and what is valid; nothing is attached."""
    attempt = scene.run(BOTH, OTHERS, endpoints=trusted(scene))
    with pytest.raises(RuntimeError), attempt:
        pass

    assert 2 == attempt.code
    assert REFUSAL in attempt.errors
    assert "Linux 6.6" in attempt.errors
    assert "valid here: " in attempt.errors
    assert (False, False) == programs(scene.server)
    assert [] == list(scene.pins.iterdir())
    assert [200, 200] == statuses(scene.client, web, "/a", "/b")


def test_default_deny_is_refused_by_name(scene: Scene) -> None:
    """--default deny closes every endpoint in both directions, so all of them are named."""
    attempt = scene.run(get("/a"), options=["--default", "deny"])
    with pytest.raises(RuntimeError), attempt:
        pass

    assert 2 == attempt.code
    assert "endpoints 'default/client', 'default/other', 'default/server'" in attempt.errors
    assert "--default allow" in attempt.errors


def test_a_refused_start_leaves_what_is_enforced(scene: Scene, web: Nginx) -> None:
    """What a crashed run has left stays enforced when the next one is refused."""
    with scene.run(get("/a")) as crashed:
        crashed.kill()
    with pytest.raises(RuntimeError), scene.run(BOTH, endpoints=trusted(scene)):
        pass
    between = statuses(scene.client, web, "/a", "/b")
    with scene.run(get("/b")):
        after = statuses(scene.client, web, "/a", "/b")

    assert [200, 403] == between
    assert [403, 200] == after


def test_a_change_to_both_is_refused_by_name(scene: Scene, web: Nginx, second_web: Nginx) -> None:
    """That endpoint and all others are policed as before, and the next change is taken up."""
    path = scene.write(get("/a"))
    with scene.run(path, OTHERS, endpoints=trusted(scene)) as run:
        replace(path, BOTH)
        said = refused(run)
        during = statuses(scene.client, web, "/a", "/b"), statuses(scene.client, second_web, "/a", "/b")
        with run.taking_up():
            replace(path, get("/b"))
        after = statuses(scene.client, web, "/a", "/b"), statuses(scene.client, second_web, "/a", "/b")

    assert said
    assert ([200, 403], [200, 403]) == during
    assert ([403, 200], [200, 403]) == after


def test_rules_may_change_their_direction(scene: Scene, web: Nginx, second_web: Nginx) -> None:
    """Chain and watcher change places: what comes in is open then, and what goes out is judged; and back."""
    out = egress(allow("/a"), subject=SERVER, peer=OTHER)
    path = scene.write(get("/a"))
    with scene.run(path, endpoints=trusted(scene)) as run:
        seen = []
        for text in (out, get("/a")):
            with run.taking_up():
                replace(path, text)
            seen.append(
                (
                    statuses(scene.client, web, "/a", "/b"),
                    statuses(scene.server, second_web, "/a", "/b"),
                    programs(scene.server),
                )
            )
        errors = run.errors

    assert "stays in force" not in errors
    assert [([200, 200], [200, 403], (True, True)), ([200, 403], [200, 200], (True, True))] == seen
    assert (False, False) == programs(scene.server)


def test_a_watchers_place_that_is_taken_is_named(scene: Scene, web: Nginx) -> None:
    """Somebody's XDP program on the host's side of the veth stays; the run ends and says where it is."""
    with passing(scene.server):
        attempt = scene.run(get("/a"))
        with pytest.raises(RuntimeError), attempt:
            pass
        there = programs(scene.server)

    assert 1 == attempt.code
    assert f"'{scene.server.host_interface}', the host's side of 'eth0' in " in attempt.errors
    assert "already has an XDP program" in attempt.errors
    assert (False, True) == there
    assert [200] == statuses(scene.client, web, "/b")
