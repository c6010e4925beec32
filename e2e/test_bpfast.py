# SPDX-License-Identifier: Apache-2.0
"""How the harness starts, hears and stops ``bpfast run``, tried on a stand-in."""

import os
import signal
import sys
from pathlib import Path

import pytest
import yaml

from e2e.bpfast import BPFast, Endpoint, endpoint, pin_directory, write_endpoints
from e2e.namespace import within
from e2e.topology import Pod, Topology

READY = 'print("{\\"event\\": \\"ready\\"}", flush=True);'
VERDICT = 'print("{\\"event\\": \\"verdict\\", \\"path\\": \\"/a\\"}", flush=True);'
WAIT = "import time; time.sleep(60)"
ENDS = "import signal,sys; signal.signal(15, lambda *_: sys.exit(0));"


def stand_in(topology: Topology, pins: Path, code: str) -> BPFast:
    """Return a BPFast that runs Python code in place of the command."""
    run = BPFast(topology.host, pins, endpoints=pins / "no", policies=[])
    run.arguments = [sys.executable, "-c", code]
    return run


def test_the_command_line_is_as_the_design_says(topology: Topology, pins: Path) -> None:
    """Endpoints, each policy, JSON and the options, in this order."""
    run = BPFast(
        topology.host,
        pins,
        endpoints=Path("e.yaml"),
        policies=[Path("a.yaml"), Path("b.yaml")],
        options=["--timing"],
    )
    words = "run --endpoints e.yaml --policy a.yaml --policy b.yaml --json --timing"

    assert words.split() == run.arguments[1:]
    assert Path(run.arguments[0]).name == "bpfast"


def test_events_are_collected_until_sigterm(topology: Topology, pins: Path) -> None:
    """The block begins when ready, verdicts can be waited for, and the exit code is kept."""
    with stand_in(topology, pins, ENDS + READY + VERDICT + WAIT) as run:
        verdicts = run.verdicts(1)

    assert ["/a"] == [verdict["path"] for verdict in verdicts]
    assert run.code == 0


def test_a_crash_is_a_crash(topology: Topology, pins: Path) -> None:
    """kill() ends it with SIGKILL."""
    with stand_in(topology, pins, ENDS + READY + WAIT) as run:
        run.kill()

    assert -signal.SIGKILL == run.code


def test_what_never_gets_ready_shows_its_words(topology: Topology, pins: Path) -> None:
    """A command that ends at once raises at once, with its stderr, and is gone."""
    run = stand_in(topology, pins, "import sys; sys.exit('no such hook')")

    with pytest.raises(RuntimeError, match="no such hook"), run:
        pass

    assert run.code == 1


def test_verdicts_that_do_not_come_are_missed(topology: Topology, pins: Path) -> None:
    """Waiting for more verdicts than there are ends with an error that counts them."""
    with (
        stand_in(topology, pins, READY + VERDICT + WAIT) as run,
        pytest.raises(TimeoutError, match="1 verdicts, expected 2"),
    ):
        run.verdicts(2, timeout=0.2)


def test_it_runs_in_the_host_and_keeps_the_mounts(topology: Topology, pins: Path) -> None:
    """The process is in the host namespace and still sees the pins."""
    code = READY + f"import os; assert os.path.isdir({str(pins)!r});" + WAIT
    with stand_in(topology, pins, code) as run:
        there = str(Path(f"/proc/{run.process.pid}/ns/net").readlink())
        inside = topology.host.run("readlink", "/proc/self/ns/net").stdout.strip()
        alive = not within(0.3, lambda: run.process.poll() is not None)

    assert inside == there
    assert alive


def test_pins_go_with_the_block() -> None:
    """The directory for pins is on the BPF file system, and gone afterwards with all in it."""
    with pin_directory() as directory:
        (directory / "below").mkdir()
        there = os.path.ismount("/sys/fs/bpf")

    assert there
    assert not directory.exists()


def test_pins_of_dead_runs_are_swept() -> None:
    """A directory that a dead process has left goes with the next run; that of a living one stays."""
    with pin_directory() as directory:
        dead = directory.with_name("bpfast-999999999-x")
        dead.mkdir()
        with pin_directory():
            left = (dead.exists(), directory.exists())

    assert left == (False, True)


def test_the_endpoints_file_is_yaml(client: Pod, tmp_path: Path) -> None:
    """What is not given is not written; a pod is named by its namespace."""
    path = write_endpoints(
        tmp_path / "e.yaml", [endpoint(client), Endpoint(name="x", addresses=["10.0.0.1"])]
    )

    assert yaml.safe_load(path.read_text()) == {
        "endpoints": [
            {
                "name": "client",
                "namespace": "default",
                "labels": {"app": "client"},
                "netns": client.namespace.name,
                "interface": "eth0",
            },
            {
                "name": "x",
                "namespace": "default",
                "labels": {},
                "interface": "eth0",
                "addresses": ["10.0.0.1"],
            },
        ]
    }
