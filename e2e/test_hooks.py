# SPDX-License-Identifier: Apache-2.0
"""``run --hook``: what hangs where, what was there before, and the change from one hook to another."""

import contextlib
import os
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from bpfast.kernel import syscall
from bpfast.settings import WITHOUT_TCX_VARIABLE
from e2e.bpfast import BPFast
from e2e.curl import curl
from e2e.namespace import Namespace
from e2e.policies import allow, egress, get
from e2e.scene import Scene, open_connections, trusted
from e2e.servers import BLOCK, Nginx
from e2e.topology import Pod

OUT = egress(allow("/a"))
SKB, DRV = 1 << 1, 1 << 2


def xdp_program(namespace: Namespace, device: str) -> str:
    """Return what ``ip`` says of a device's XDP program: its mode, or nothing."""
    words = namespace.run("ip", "link", "show", device).stdout.split()
    return next((word for word in words if word.startswith("xdp")), "")


def answers(scene: Scene, web: Nginx, *paths: str) -> list[int]:
    """Ask for paths over new connections."""
    return [curl(scene.client, web.url + path, seconds=2).status for path in paths]


def hook_of(run: BPFast) -> set[tuple[str, str]]:
    """Return (hook, direction) of what the run says that it has attached."""
    lines = [line for line in run.errors.splitlines() if '"event": "attached"' in line]
    return {(word(line, "hook"), word(line, "direction")) for line in lines}


def word(line: str, key: str) -> str:
    """Return a value of a log line."""
    return line.split(f'"{key}": "')[1].split('"', maxsplit=1)[0]


@pytest.mark.parametrize(("hook", "mode"), (("xdp", "xdpgeneric"), ("tcx", "")))
def test_both_ends_of_the_veth(scene: Scene, web: Nginx, hook: str, mode: str) -> None:
    """The chain of each direction is where it belongs, by the hook that was asked for; then it is gone."""
    with scene.run(OUT, get("/a|/b"), options=["--hook", hook], endpoints=trusted(scene)) as run:
        assert [200, 403] == answers(scene, web, "/a", "/b")
        assert {(hook, "ingress"), (hook, "egress")} == hook_of(run)
        assert mode == xdp_program(scene.server.namespace, "eth0")
        assert mode == xdp_program(scene.host.namespace, scene.client.host_interface)
        assert "" == xdp_program(scene.client.namespace, "eth0")
    assert "" == xdp_program(scene.server.namespace, "eth0")
    assert 200 == curl(scene.client, f"{web.url}/b").status


@pytest.mark.parametrize("hook", ("tcx", "xdp-native"))
def test_without_tcx_there_is_xdp_only(scene: Scene, monkeypatch: pytest.MonkeyPatch, hook: str) -> None:
    """A hook that this kernel does not offer ends the run, by name."""
    monkeypatch.setenv(WITHOUT_TCX_VARIABLE, "1")
    attempt = scene.run(get("/a"), options=["--hook", hook])
    with pytest.raises(RuntimeError), attempt:
        pass
    assert f"--hook {hook} needs tcx, which Linux has from 6.6 on; valid here: xdp" in attempt.errors


class TestNative:
    """The pod's eth0 stands for a network card whose driver takes XDP."""

    def test_a_card_is_policed(self, scene: Scene, web: Nginx) -> None:
        """Requests are judged, an upload and a download arrive, nothing is left of the connections."""
        web.add_file("big", size=5 * BLOCK)
        scene.client.offload(tx=False)  # on a wire checksums are whole
        hooked = scene.run(get("/a|/files/big"), options=["--hook", "xdp-native"])
        with receiving(scene.server), hooked as run:
            assert "xdp" == xdp_program(scene.server.namespace, "eth0")
            assert [200, 403] == answers(scene, web, "/a", "/b")
            assert 0 == curl(scene.client, f"{web.url}/files/big", "--output", "/dev/null").code
            assert ["allow", "deny", "allow"] == [one["verdict"] for one in run.verdicts(3)]
            assert [] == open_connections(scene.server.namespace, scene.client.namespace)
        assert "" == xdp_program(scene.server.namespace, "eth0")

    def test_egress_is_refused(self, scene: Scene) -> None:
        """A card has no receive side for what leaves the host."""
        attempt = scene.run(OUT, options=["--hook", "xdp-native"], endpoints=trusted(scene))
        with pytest.raises(RuntimeError), attempt:
            pass
        assert 2 == attempt.code
        assert "egress rules cannot be enforced by --hook xdp-native" in attempt.errors


def test_a_change_of_hooks_leaves_no_gap(scene: Scene, web: Nginx) -> None:
    """While one hook takes over from the other, denied requests never reach the server."""
    before = len(web.requests())
    policy = get("/a")
    first = scene.run(policy, options=["--hook", "xdp"])
    with first, contextlib.ExitStack() as stack:
        probing = contextlib.ExitStack()
        asked = probing.enter_context(prober(scene, web))
        first.kill()
        with scene.run(policy, options=["--hook", "tcx", "--keep"]) as second:
            assert {("tcx", "ingress")} == hook_of(second)
            assert [200, 403] == answers(scene, web, "/a", "/b")
            assert "" == xdp_program(scene.server.namespace, "eth0")
        stack.enter_context(scene.run(policy, options=["--hook", "xdp"]))
        stack.push(probing)
        assert [200, 403] == answers(scene, web, "/a", "/b")
    assert asked.count > 0
    assert [] == [one for one in web.requests_since(before) if "denied" in one.request]


@dataclass(slots=True)
class Asked:
    """How often the prober has asked."""

    count: int = 0


@contextlib.contextmanager
def prober(scene: Scene, web: Nginx) -> Iterator[Asked]:
    """Ask for what is denied, over new connections, for the time of the block (a minute at most)."""
    asked, stop = Asked(), threading.Event()
    end = time.monotonic() + 60

    def ask() -> None:
        while not stop.is_set() and time.monotonic() < end:
            with (
                contextlib.suppress(OSError),
                scene.client.namespace.connect(web.pod.address, web.port) as one,
            ):
                one.sendall(b"GET /denied HTTP/1.1\r\nHost: a\r\n\r\n")
                asked.count += 1
                one.recv(100)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield asked
    finally:
        stop.set()
        thread.join()


class TestForeign:
    """Somebody's XDP program is on the device before us."""

    @pytest.fixture
    def counter(self, scene: Scene) -> Iterator["Counter"]:
        """A program on the server's eth0 that counts packets and passes them."""
        with counting(scene.server) as one:
            yield one

    def test_it_sees_what_passes_and_is_put_back(self, scene: Scene, web: Nginx, counter: "Counter") -> None:
        """It is called behind the chain for what that passes, and is alone again afterwards."""
        with scene.run(get("/a")):
            before = counter.value()
            assert [200, 403] == answers(scene, web, "/a", "/b")
            assert counter.value() > before
            assert counter.prog_id != prog_on(scene.server)
        assert counter.prog_id == prog_on(scene.server)
        before = counter.value()
        assert 200 == curl(scene.client, f"{web.url}/b").status
        assert counter.value() > before

    def test_it_outlives_a_crash(self, scene: Scene, web: Nginx, counter: "Counter") -> None:
        """After SIGKILL the next run keeps it behind the chain, and puts it back in the end."""
        first = scene.run(get("/a"))
        with first:
            first.kill()
        with scene.run(get("/a")):
            before = counter.value()
            assert [200, 403] == answers(scene, web, "/a", "/b")
            assert counter.value() > before
        assert counter.prog_id == prog_on(scene.server)

    def test_one_that_a_link_holds_is_refused_by_name(self, scene: Scene) -> None:
        """Nobody can take it off but its owner; it stays, and the run ends."""
        code = struct.pack("=BBhiBBhi", 0xB7, 0, 0, 2, 0x95, 0, 0, 0)
        fd = syscall.prog_load(syscall.PROG_TYPE_XDP, code, "somebodys", attach_type=syscall.ATTACH_XDP)
        index = index_of(scene.server)
        attempt = scene.run(get("/a"))
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, fd)
            with scene.server.namespace.entered():
                link = syscall.link_create(fd, index, syscall.ATTACH_XDP, SKB)
            stack.callback(os.close, link)
            with pytest.raises(RuntimeError), attempt:
                pass
            assert "has the XDP program 'somebodys'" in attempt.errors
            assert "which a link holds" in attempt.errors
            assert syscall.prog_id(fd) == prog_on(scene.server)


@dataclass(frozen=True, slots=True)
class Counter:
    """A foreign program: its number, and the map in which it counts."""

    prog_id: int
    map_fd: int

    def value(self) -> int:
        """Return how many packets it has seen."""
        raw = syscall.map_lookup(self.map_fd, bytes(4), 8)
        return int.from_bytes(raw or b"", "little")


def index_of(pod: Pod) -> int:
    """Return the number of a pod's eth0."""
    return int(pod.namespace.run("ip", "-o", "link", "show", "eth0").stdout.split(":")[0])


def prog_on(pod: Pod) -> int:
    """Return the number of the XDP program on a pod's eth0, or 0."""
    words = pod.namespace.run("ip", "link", "show", "eth0").stdout.split()
    return int(words[words.index("prog/xdp") + 2]) if "prog/xdp" in words else 0


@contextlib.contextmanager
def receiving(pod: Pod) -> Iterator[None]:
    """Let a pod's eth0 send by XDP: the other end of a veth takes that only if it has a program, too."""
    code = struct.pack("=BBhiBBhi", 0xB7, 0, 0, 2, 0x95, 0, 0, 0)
    fd = syscall.prog_load(syscall.PROG_TYPE_XDP, code, "receiving", attach_type=syscall.ATTACH_XDP)
    name = pod.host_interface
    index = int(pod.host.run("ip", "-o", "link", "show", name).stdout.split(":")[0])
    try:
        with pod.host.entered():
            syscall.xdp_attach(index, fd, DRV)
        yield
    finally:
        with pod.host.entered():
            syscall.xdp_detach(index, DRV)
        os.close(fd)


@contextlib.contextmanager
def counting(pod: Pod) -> Iterator[Counter]:
    """Attach a program that counts to a pod's eth0, by netlink, for the time of the block."""
    map_fd = syscall.map_create(syscall.MAP_ARRAY, "seen", key=4, value=8, entries=1)
    code = b"".join(
        struct.pack("=BBhi", opcode, registers, offset, immediate)
        for opcode, registers, offset, immediate in (
            (0x62, 0x0A, -4, 0),  # *(u32 *)(r10 - 4) = 0
            (0x18, 0x11, 0, map_fd),  # r1 = map
            (0x00, 0x00, 0, 0),
            (0xBF, 0xA2, 0, 0),  # r2 = r10
            (0x07, 0x02, 0, -4),  # r2 -= 4
            (0x85, 0x00, 0, 1),  # call bpf_map_lookup_elem
            (0x15, 0x00, 2, 0),  # if r0 == 0 goto exit
            (0xB7, 0x01, 0, 1),  # r1 = 1
            (0xDB, 0x10, 0, 0),  # *(u64 *)r0 += r1
            (0xB7, 0x00, 0, 2),  # r0 = XDP_PASS
            (0x95, 0x00, 0, 0),
        )
    )
    fd = syscall.prog_load(syscall.PROG_TYPE_XDP, code, "counting", attach_type=syscall.ATTACH_XDP)
    index = index_of(pod)
    try:
        with pod.namespace.entered():
            syscall.xdp_attach(index, fd, SKB)
        yield Counter(syscall.prog_id(fd), map_fd)
    finally:
        with pod.namespace.entered(), contextlib.suppress(Exception):
            syscall.xdp_detach(index, SKB)
        os.close(fd)
        os.close(map_fd)
