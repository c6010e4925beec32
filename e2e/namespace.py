# SPDX-License-Identifier: Apache-2.0
"""One network namespace: commands, processes and sockets inside it.

Commands enter with ``nsenter --net``, not with ``ip netns exec``: the latter
mounts a new /sys and thereby hides /sys/fs/bpf.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

CLONE_NEWNET = 0x40000000
NAMESPACES = Path("/var/run/netns")
PATIENCE = float(os.environ.get("BPFAST_TEST_PATIENCE", "1"))
"""Multiplies every time limit: an emulated machine (tools/test-vm) is slow."""

_libc = ctypes.CDLL(None, use_errno=True)


def run(
    arguments: Sequence[str], *, check: bool = True, timeout: float = 60, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command, its output as text; with ``check`` a failure shows its stderr."""
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=timeout, input=text, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(
            f"{' '.join(arguments)!r} ended with {done.returncode}: {(done.stderr or done.stdout).strip()!r}"
        )
    return done


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace that ``ip netns`` knows by ``name``."""

    name: str

    @property
    def path(self) -> Path:
        """The file that keeps it alive."""
        return NAMESPACES / self.name

    def command(self, *arguments: str) -> list[str]:
        """Return the command line that runs ``arguments`` inside."""
        return ["nsenter", f"--net={self.path}", "--", *arguments]

    def run(
        self, *arguments: str, check: bool = True, timeout: float = 60, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside and wait for its end."""
        return run(self.command(*arguments), check=check, timeout=timeout, text=text)

    def start(
        self,
        *arguments: str,
        stdout: IO[bytes] | int = subprocess.DEVNULL,
        stderr: IO[bytes] | int = subprocess.DEVNULL,
        environment: dict[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a command inside and return at once.

        nsenter replaces itself by the command, so the process returned is the
        command itself and signals reach it. It leads a process group of its
        own: Ctrl-C on the terminal reaches us alone, and we end it in order.
        """
        return subprocess.Popen(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=None if environment is None else {**os.environ, **environment},
            process_group=0,
        )

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Put the calling thread into the namespace for the time of the block."""
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(self.path, os.O_RDONLY)
        try:
            _set_namespace(there)
            try:
                yield
            finally:
                _set_namespace(here)
        finally:
            os.close(there)
            os.close(here)

    def open_socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Return a socket that belongs to the namespace for all its life."""
        with self.entered():
            return socket.socket(family, kind, protocol)

    def connect(self, address: str, port: int, *, timeout: float = 5) -> socket.socket:
        """Return a TCP connection that starts inside the namespace."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        connection = self.open_socket(family, socket.SOCK_STREAM)
        connection.settimeout(timeout * PATIENCE)
        try:
            connection.connect((address, port))
        except BaseException:
            connection.close()
            raise
        return connection

    def sysctl(self, **values: int) -> None:
        """Set sysctls; dots of the key are written as two underscores."""
        settings = [f"{key.replace('__', '.')}={value}" for key, value in values.items()]
        self.run("sysctl", "-qw", *settings)

    def connections(self) -> list[str]:
        """Return the TCP sockets inside that are not listening, as ``STATE LOCAL PEER``."""
        rows = [
            line.split()
            for line in self.run("ss", "--tcp", "--all", "--numeric", "--no-header").stdout.splitlines()
        ]
        return [f"{row[0]} {row[3]} {row[4]}" for row in rows if row[0] != "LISTEN"]

    def processes(self) -> list[int]:
        """Return the ids of the processes that live inside."""
        return [int(pid) for pid in run(["ip", "netns", "pids", self.name]).stdout.split()]

    def delete(self) -> None:
        """End the processes inside, which are all ours, and take the namespace away."""
        if not self.path.exists():
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            if within(2, lambda: not self.processes()):
                break
        run(["ip", "netns", "delete", self.name])


def add_namespace(name: str) -> Namespace:
    """Make a namespace with its loopback interface up."""
    run(["ip", "netns", "add", name])
    run(["ip", "-n", name, "link", "set", "lo", "up"])
    return Namespace(name)


def _set_namespace(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Wait until ``condition()`` is true; False when it still is not after ``seconds``."""
    end = time.monotonic() + seconds * PATIENCE
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
