# SPDX-License-Identifier: Apache-2.0
"""The harness itself: pods that reach each other, and nothing left behind."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.curl import curl, curl_all
from e2e.namespace import NAMESPACES, Namespace, add_namespace, within
from e2e.servers import Apache, Nginx, PythonServer, Server
from e2e.topology import Pod, Topology, sweep

CODE = """\
import sys, time
from e2e.servers import Nginx
from e2e.topology import Topology

with Topology("client", "server") as topology, Nginx(topology["server"]) as nginx:
    print(topology.host.name, nginx.pid, nginx.directory, flush=True)
    {end}
"""


def namespaces(prefix: str) -> list[str]:
    """Return the network namespaces whose names begin like this."""
    return sorted(path.name for path in NAMESPACES.glob(f"{prefix}*"))


@pytest.mark.parametrize("kind", (Nginx, Apache, PythonServer))
def test_each_server_answers_through_the_pods(kind: type[Server], client: Pod, server: Pod) -> None:
    """Each server starts in its pod, sends a file to the other pod and logs that one request."""
    with kind(server) as running:
        running.add_file("page", size=100_000)
        answer = curl(client, f"{running.url}/files/page", "--output", "/dev/null")

        assert answer.status == 200
        assert [(200, "GET /files/page HTTP/1.1")] == [
            (line.status, line.request) for line in running.requests_since(0, expected=1)
        ]


def test_curl_tells_what_it_saw(client: Pod, nginx: Nginx) -> None:
    """Status, head and body are apart, and the path goes out as it is written."""
    answer = curl(client, f"{nginx.url}/a/../b")

    assert (200, "nginx: GET /a/../b", 0, 1) == (
        answer.status,
        answer.body.strip(),
        answer.code,
        answer.connections,
    )
    assert "Content-Length: " in answer.head


def test_curl_uses_a_connection_again(client: Pod, nginx: Nginx) -> None:
    """Two URLs go over one connection, each with its own answer."""
    answers = curl_all(client, [f"{nginx.url}/1", f"{nginx.url}/2"])

    assert ["nginx: GET /1\n", "nginx: GET /2\n"] == [answer.body for answer in answers]
    assert [1, 0] == [answer.connections for answer in answers]


def test_curl_says_why_there_is_no_answer(client: Pod, server: Pod) -> None:
    """A port where nobody listens is status 0 and curl's exit code 7."""
    answer = curl(client, f"http://{server.address}:81/")

    assert (0, 7) == (answer.status, answer.code)
    assert "connect" in answer.error


def test_open_connections_are_seen(client: Pod, nginx: Nginx) -> None:
    """Both pods show an open connection, and nobody shows one that was never there."""
    before = client.namespace.connections() + nginx.pod.namespace.connections()
    with client.namespace.connect(nginx.pod.address, nginx.port):
        during = client.namespace.connections() + nginx.pod.namespace.connections()

    assert before == []
    assert [row.split()[0] for row in during] == ["ESTAB", "ESTAB"]


def test_nginx_takes_uploads(client: Pod, nginx: Nginx, tmp_path: Path) -> None:
    """A PUT below /files/ arrives byte by byte."""
    content = os.urandom(300_000)
    (tmp_path / "upload").write_bytes(content)

    answer = curl(client, f"{nginx.url}/files/upload", "--upload-file", str(tmp_path / "upload"))

    assert answer.status == 201
    assert content == (nginx.root / "upload").read_bytes()


def test_pods_reach_each_other_by_ipv6(client: Pod, server: Pod, nginx: Nginx) -> None:
    """IPv6 is routed as IPv4 is."""
    assert curl(client, f"http://[{server.address6}]:{nginx.port}/").status == 200


def test_a_taken_port_is_refused(server: Pod, nginx: Nginx) -> None:
    """A second server on the same port would seem to answer; it is refused instead."""
    with pytest.raises(RuntimeError, match="port 80 is taken"), Apache(server, port=nginx.port):
        pass


def test_a_server_that_cannot_start_says_why(server: Pod) -> None:
    """What the server complains of is in the error."""
    with pytest.raises(RuntimeError, match="invalid port"), Nginx(server, port=99999):
        pass


def test_commands_run_inside_their_namespace(client: Pod) -> None:
    """A pod sees its own eth0 and nothing of the machine's."""
    listing = client.namespace.run("ip", "-o", "link", "show").stdout

    assert {"lo", "eth0"} == {line.split(": ")[1].split("@")[0] for line in listing.splitlines()}


def test_a_command_that_fails_shows_its_words(client: Pod) -> None:
    """The exception holds the command and its stderr."""
    with pytest.raises(RuntimeError, match="does not exist"):
        client.namespace.run("ip", "link", "show", "eth9")


def test_reverse_paths_are_checked(topology: Topology, client: Pod) -> None:
    """The host filters reverse paths strictly on the pods' interfaces."""
    path = f"net.ipv4.conf.{client.host_interface}.rp_filter"

    assert topology.host.run("sysctl", "-n", path).stdout.strip() == "1"


def test_offload_is_switched_at_both_ends(topology: Topology, client: Pod) -> None:
    """Transmit checksums are off on eth0 and on the host's side, says ethtool."""
    client.offload(tx=False)
    places = ((client.namespace, "eth0"), (topology.host, client.host_interface))
    shown = [place.run("ethtool", "-k", name).stdout for place, name in places]

    assert all("tx-checksumming: off" in text for text in shown)


def test_addresses_of_hardware_are_those_of_the_pair(client: Pod) -> None:
    """The two ends have addresses of their own."""
    assert client.mac != client.host_mac
    assert len(client.mac.split(":")) == len(client.host_mac.split(":")) == 6


def test_connection_tracking_drops_what_belongs_to_none(
    topology: Topology, client: Pod, nginx: Nginx
) -> None:
    """A request passes, and a stray segment is dropped and counted."""
    topology.track_connections()
    passed = curl(client, nginx.url).status
    before = topology.invalid_packets()
    with client.namespace.open_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        # Bare flags that no state machine has: a header of 20 bytes with FIN and SYN.
        raw.sendto(bytes.fromhex("4e2000500000000000000000500304000000000000"[:40]), (nginx.pod.address, 0))

    assert passed == 200
    assert within(2, lambda: topology.invalid_packets() > before)


@pytest.mark.parametrize(
    ("end", "code"),
    (
        ("pass", 0),
        ("raise ValueError", 1),
        ("time.sleep(60)", 128 + signal.SIGTERM),
        ("time.sleep(60)", -signal.SIGINT),
    ),
    ids=("normal", "exception", "SIGTERM", "SIGINT"),
)
def test_nothing_is_left_behind(repository: Path, end: str, code: int) -> None:
    """Namespaces, server and files go, however the block ends."""
    process = start(repository, CODE.format(end=end))
    with process:
        host, pid, directory = first_line(process)
        if "sleep" in end:
            process.send_signal(signal.SIGTERM if code > 0 else signal.SIGINT)

    assert code == process.returncode
    assert namespaces(host.removesuffix("host")) == []
    assert not Path("/proc", pid).exists()
    assert not Path(directory).exists()


def test_what_a_killed_run_leaves_is_swept(repository: Path) -> None:
    """After SIGKILL the next run takes the namespaces away, the processes in them and the files."""
    process = start(repository, CODE.format(end="time.sleep(60)"))
    with process:
        host, pid, directory = first_line(process)
        process.kill()
    left = namespaces(host.removesuffix("host"))
    swept = sweep()

    assert len(left) == 3
    assert not Path(directory).exists()
    assert set(left) <= set(swept)
    assert namespaces(host.removesuffix("host")) == []
    assert within(2, lambda: not Path("/proc", pid).exists())


def test_only_dead_runs_are_swept() -> None:
    """A namespace of a process that lives stays."""
    alive = add_namespace(f"bpfast-{os.getpid()}-0-alive")
    try:
        sweep()
        assert alive.path.exists()
    finally:
        alive.delete()


def test_a_namespace_that_is_gone_can_be_deleted() -> None:
    """Deleting twice is as good as once."""
    Namespace("bpfast-0-0-never").delete()


def start(repository: Path, code: str) -> subprocess.Popen[str]:
    """Start Python with code that prints one line; SIGINT counts even where tests run in the background."""
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    return subprocess.Popen(
        [sys.executable, "-c", f"{listening}\n{code}"],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def first_line(process: subprocess.Popen[str]) -> list[str]:
    """Return the words of the first line that it prints."""
    assert process.stdout is not None
    return process.stdout.readline().split()
