# SPDX-License-Identifier: Apache-2.0
"""What ``bpfast run`` leaves behind, on purpose or not, and who takes it over."""

import contextlib
import hashlib
import http.client
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bpfast import settings
from bpfast.controller.sweep import Sweeper
from bpfast.kernel.compiler import compiled
from bpfast.kernel.program import Programs
from bpfast.kernel.site import Place, Site
from bpfast.settings import PIN_DIRECTORY_VARIABLE
from e2e.bpfast import BPFast
from e2e.curl import curl
from e2e.namespace import within
from e2e.policies import get
from e2e.scene import Scene, open_connections
from e2e.servers import BLOCK, Apache, Nginx
from e2e.topology import Pod

DOWNLOAD_BYTES = 150 * BLOCK
DOWNLOAD_STEP = BLOCK // 4
# Slow enough to go on while the next run starts; the second half waits for it, however long that takes.
DOWNLOAD_PAUSE = 0.02
LONGEST_START = 60


def statuses(pod: Pod, web: Nginx, *paths: str) -> list[int]:
    """Ask for paths, each over a new connection."""
    return [curl(pod, web.url + path, seconds=1).status for path in paths]


def attached(scene: Scene) -> str:
    """Return what ``ip`` says about XDP on the server's interface."""
    return scene.server.namespace.run("ip", "-d", "link", "show", "eth0").stdout


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGINT))
def test_a_signal_detaches(scene: Scene, web: Nginx, number: signal.Signals) -> None:
    """After SIGTERM or Ctrl-C the exit code is 0, no program is attached and no pin is left."""
    with scene.run(get("/a")) as started:
        while_running = attached(scene)
        during = statuses(scene.client, web, "/b")
        started.process.send_signal(number)
        code = started.process.wait(15)

    assert "xdpgeneric" in while_running
    assert [403] == during
    assert code == 0
    assert "xdp" not in attached(scene)
    assert list(scene.pins.iterdir()) == []
    assert [200] == statuses(scene.client, web, "/b")


def test_output_that_cannot_be_written_opens_nothing(scene: Scene, web: Nginx) -> None:
    """A reader that is gone, or a full disk, ends the run; what was enforced stays and is taken over."""
    following = scene.run(get("/a"))
    environment = {PIN_DIRECTORY_VARIABLE: str(scene.pins)}
    process = scene.topology.host.start(*following.arguments, stdout=subprocess.PIPE, environment=environment)
    assert process.stdout is not None
    with process.stdout as output:
        output.readline()

    def has_ended() -> bool:
        statuses(scene.client, web, "/b")
        return process.poll() is not None

    assert within(10, has_ended)
    assert process.returncode == 1
    assert [200, 403] == statuses(scene.client, web, "/a", "/b")
    with following:
        assert [403] == statuses(scene.client, web, "/b")
    assert list(scene.pins.iterdir()) == []


def test_what_is_kept_goes_on_and_is_taken_over(scene: Scene, web: Nginx) -> None:
    """--keep leaves everything enforced; a later run with another policy and other options has its way."""
    with scene.run(get("/a"), options=["--keep"]) as first:
        pass
    between = statuses(scene.client, web, "/a", "/b")
    with scene.run(get("/b"), options=["--deny", "reset", "--events", "denied"]) as second:
        after = statuses(scene.client, web, "/a", "/b")
        second.stop()

    assert (0, 0) == (first.code, second.code)
    assert [200, 403] == between
    assert [0, 200] == after
    # Verdicts of the time between are still in the ring; those of the second run follow.
    assert ("/a", "deny") == (second.events("verdict")[-1]["path"], second.events("verdict")[-1]["verdict"])
    assert list(scene.pins.iterdir()) == []


def test_a_takeover_without_a_policy_opens(scene: Scene, web: Nginx) -> None:
    """What an earlier run enforced on an endpoint that is not selected any more ends with the takeover."""
    with scene.run(get("/a")) as first:
        first.kill()
    between = statuses(scene.client, web, "/b")
    with scene.run(get("/a").replace('"server"', '"nobody"')):
        after = statuses(scene.client, web, "/b")

    assert ([403], [200]) == (between, after)


def download(scene: Scene, web: Nginx, path: str, taken_over: threading.Event) -> str:
    """Return the SHA-256 of a file; the first half is read slowly, the other one after the takeover."""
    digest, read = hashlib.sha256(), 0
    with scene.client.namespace.connect(scene.server.address, web.port, timeout=30) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: server\r\n\r\n".encode())
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        while piece := answer.read(DOWNLOAD_STEP):
            digest.update(piece)
            read += len(piece)
            taken_over.wait(DOWNLOAD_PAUSE if read < DOWNLOAD_BYTES // 2 else LONGEST_START)
    return digest.hexdigest()


def test_downloads_survive_crash_and_takeover(scene: Scene, web: Nginx) -> None:
    """A download in flight is whole after SIGKILL and a takeover; requests are judged all the time."""
    content = web.add_file("big", size=DOWNLOAD_BYTES)
    policy = get("/files/big")
    taken_over = threading.Event()
    with ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as stack, scene.run(policy) as first:
        stack.callback(taken_over.set)
        loading = pool.submit(download, scene, web, "/files/big", taken_over)
        assert within(5, lambda: open_connections(scene.client.namespace, seconds=0) != [])
        first.kill()
        killed = statuses(scene.client, web, "/b")
        with scene.run(policy):
            in_flight = not loading.done()
            after = statuses(scene.client, web, "/b")
            taken_over.set()
            found = loading.result(30)

    assert -signal.SIGKILL == first.code
    assert in_flight
    assert ([403], [403]) == (killed, after)
    assert hashlib.sha256(content.read_bytes()).hexdigest() == found
    assert open_connections(scene.client.namespace, scene.server.namespace) == []


def test_pins_have_one_user(scene: Scene, web: Nginx) -> None:
    """A second run with the same pins is refused by name, and the first one goes on."""
    with scene.run(get("/a")) as first:
        done = subprocess.run(
            scene.topology.host.command("env", f"{PIN_DIRECTORY_VARIABLE}={scene.pins}", *first.arguments),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        still = statuses(scene.client, web, "/a", "/b")

    message = f"another bpfast uses the pins in {str(scene.pins)!r}; stop it, or set BPFAST_PIN_DIRECTORY"
    assert done.returncode == 1
    assert message == done.stderr.splitlines()[-1]
    assert done.stdout == ""
    assert [200, 403] == still


def test_a_change_during_the_start_is_not_missed(scene: Scene, web: Nginx) -> None:
    """A policy that is changed after it was read and before all is enforced is read again."""
    path = scene.write(get("/a"))
    started = scene.run(path)
    with ThreadPoolExecutor(1) as pool:
        changed = pool.submit(change_when_loaded, started, path)
        with started:
            assert changed.result(10)
            assert within(5, lambda: len(started.events("ready")) == 2)
            after = statuses(scene.client, web, "/a", "/b")

    assert [403, 200] == after


def change_when_loaded(started: BPFast, path: Path) -> bool:
    """Write another policy as soon as the first one was read; False when it was ready before that."""
    if not within(10, lambda: "policy_loaded" in started.errors):
        return False
    early = started.events("ready") == []
    path.write_text(get("/b"))
    return early


def test_an_interface_made_anew_is_policed_again(scene: Scene) -> None:
    """When the pod's veth pair is replaced, its programs are attached to the new one within seconds."""
    pod = scene.topology["other"]
    with Nginx(pod) as server, scene.run(get("/a").replace('"server"', '"other"')) as started:
        before = statuses(scene.client, server, "/b")
        scene.topology.link_anew(pod)
        assert within(12, lambda: statuses(scene.client, server, "/b") == [403])
        after = statuses(scene.client, server, "/a", "/b")

    assert [403] == before
    assert [200, 403] == after
    assert started.code == 0


def test_dual_stack_servers_keep_their_connections(scene: Scene) -> None:
    """A server that listens on [::] has its IPv4 connections elsewhere in /proc; the sweeper knows them."""
    code = compiled(settings.bpf_directory(), settings.cache_directory())
    pod = scene.topology["other"]
    with Apache(pod) as apache, scene.run(get("/a").replace('"server"', '"other"')), scene.maps() as maps:
        connection = http.client.HTTPConnection("pod", timeout=3)
        connection.sock = scene.client.namespace.connect(pod.address, apache.port)
        connection.auto_open = 0
        answers = [ask_over(connection)]
        sweeper = Sweeper(maps, Programs(code, maps))
        # Whoever has no socket in two sweeps is gone.
        swept = [sweeper.sweep({1: Site(Place(str(pod.namespace.path), "eth0"))}) for _ in range(3)]
        answers.append(ask_over(connection))
        connection.close()

    assert [0, 0, 0] == swept
    assert [200, 200] == answers


def ask_over(connection: http.client.HTTPConnection) -> int:
    """Ask for what is allowed; return the status."""
    connection.request("GET", "/a")
    answer = connection.getresponse()
    answer.read()
    return answer.status


def test_pins_of_another_layout_are_taken_away(scene: Scene) -> None:
    """Maps of another layout mean nothing to us: their directory goes, and all starts afresh."""
    other = scene.pins / "abi_0_00000000"
    other.mkdir()
    with scene.run(get("/a")):
        assert not other.exists()
