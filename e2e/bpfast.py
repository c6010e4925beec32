# SPDX-License-Identifier: Apache-2.0
"""``bpfast run`` as a user starts it: a process, its events, its end.

It runs inside the host namespace of a topology. Pins stand in a directory of
their own, so that two runs on one machine do not meet.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from bpfast.settings import PIN_DIRECTORY_VARIABLE
from e2e.namespace import PATIENCE, Namespace, run, within
from e2e.topology import Pod, is_dead

COMMAND = Path(sys.executable).with_name("bpfast")
BPF_FILE_SYSTEM = Path("/sys/fs/bpf")
READY_SECONDS = 60
STOP_SECONDS = 15
HOOK = os.environ.get("BPFAST_TEST_HOOK", "")
"""What ``run`` is told to attach by where a test does not say: xdp or tcx."""
EVENT_SECONDS = 5

Event = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An entry of the endpoints file."""

    name: str
    namespace: str = "default"
    labels: dict[str, str] = field(default_factory=dict)
    netns: str | None = None
    interface: str = "eth0"
    addresses: list[str] | None = None
    ports: dict[str, int | str] | None = None
    namespace_labels: dict[str, str] | None = None
    service_account: str | None = None
    trusted_egress: bool | None = None


def endpoint(pod: Pod, *, namespace: str = "default", **labels: str) -> Endpoint:
    """Return the entry for a pod; without labels it gets ``app: NAME``."""
    return Endpoint(
        name=pod.name, namespace=namespace, labels=labels or {"app": pod.name}, netns=pod.namespace.name
    )


def write_endpoints(path: Path, endpoints: Sequence[Endpoint]) -> Path:
    """Write the endpoints file, in JSON, which is YAML; what is None is left out."""
    entries = [
        {key: value for key, value in asdict(entry).items() if value is not None} for entry in endpoints
    ]
    replacement = path.with_suffix(".new")
    replacement.write_text(json.dumps({"endpoints": entries}, indent=2) + "\n")
    # A reader sees the old file or the new one, never half of it.
    return replacement.replace(path)


def mount_bpf_file_system() -> None:
    """Mount /sys/fs/bpf where nobody has done so (containers)."""
    if not os.path.ismount(BPF_FILE_SYSTEM):
        run(["mount", "-t", "bpf", "bpf", str(BPF_FILE_SYSTEM)])


@contextlib.contextmanager
def pin_directory() -> Iterator[Path]:
    """Give a directory for pins, and take all pins in it away in the end; those of dead runs too."""
    mount_bpf_file_system()
    for left in BPF_FILE_SYSTEM.glob("bpfast-*-*"):
        if is_dead(left.name):
            _unpin(left)
    directory = Path(tempfile.mkdtemp(prefix=f"bpfast-{os.getpid()}-", dir=BPF_FILE_SYSTEM))
    try:
        yield directory
    finally:
        _unpin(directory)


def _unpin(directory: Path) -> None:
    # Links go first, so that nothing stays attached that has lost its tables.
    pins = [path for path in directory.rglob("*") if not path.is_dir()]
    for path in sorted(pins, key=lambda path: "link" not in path.name):
        path.unlink()
    shutil.rmtree(directory)


class BPFast:
    """``bpfast run`` for the time of a ``with`` block, which begins when it is enforcing.

    ``options`` are further words of the command line (``"--timing"``). The
    block ends with SIGTERM; ``code`` is then the exit code. ``kill()`` ends it
    like a crash: pins stay, and another BPFast with the same ``pins`` takes
    over.
    """

    def __init__(
        self,
        host: Namespace,
        pins: Path,
        *,
        endpoints: Path,
        policies: Sequence[Path],
        options: Sequence[str] = (),
    ) -> None:
        """Take the command line; nothing runs before the block begins."""
        self._host = host
        self._environment = {PIN_DIRECTORY_VARIABLE: str(pins)}
        words = [word for path in policies for word in ("--policy", str(path))]
        if HOOK and "--hook" not in options:
            words += ["--hook", HOOK]
        self.arguments = [str(COMMAND), "run", "--endpoints", str(endpoints), *words, "--json", *options]
        self.code: int | None = None
        self._events: list[Event] = []
        self._arrived = threading.Condition()
        self._closed = False
        self._errors = os.memfd_create("bpfast-errors")
        self._last_errors = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Start it and wait until it says that it is ready."""
        self._process = self._host.start(
            *self.arguments, stdout=subprocess.PIPE, stderr=self._errors, environment=self._environment
        )
        self._reader = threading.Thread(target=self._read, name="bpfast-events")
        self._reader.start()
        try:
            self.wait_for(lambda event: event["event"] == "ready", timeout=READY_SECONDS)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that runs."""
        if self._process is None:
            raise RuntimeError("bpfast is not running")
        return self._process

    @property
    def errors(self) -> str:
        """All that it has written to stderr."""
        if self.code is not None:
            return self._last_errors
        size = os.fstat(self._errors).st_size
        return os.pread(self._errors, size, 0).decode(errors="replace")

    def events(self, kind: str | None = None) -> list[Event]:
        """Return the events so far, or those of one kind."""
        with self._arrived:
            return [event for event in self._events if kind in (None, event["event"])]

    def verdicts(self, count: int, *, timeout: float = EVENT_SECONDS) -> list[Event]:
        """Wait until at least ``count`` verdicts have come, and return all of them."""
        within(timeout, lambda: len(self.events("verdict")) >= count)
        verdicts = self.events("verdict")
        if len(verdicts) < count:
            raise TimeoutError(f"{len(verdicts)} verdicts, expected {count}; stderr: {self.errors!r}")
        return verdicts

    def wait_for(self, wanted: Callable[[Event], bool], *, timeout: float = EVENT_SECONDS) -> Event:
        """Return the first event that ``wanted`` likes, past or to come."""

        def found() -> Event | None:
            return next(filter(wanted, self._events), None)

        with self._arrived:
            self._arrived.wait_for(lambda: found() is not None or self._closed, timeout * PATIENCE)
            event = found()
        if event is None:
            raise RuntimeError(f"bpfast did not report what was expected; stderr: {self.errors!r}")
        return event

    @contextlib.contextmanager
    def taking_up(self) -> Iterator[None]:
        """Change a file in the block; it ends when bpfast says that it is ready anew."""
        before = len(self.events("ready"))
        yield
        if not within(EVENT_SECONDS, lambda: len(self.events("ready")) > before):
            raise TimeoutError(f"bpfast did not take up the change; stderr: {self.errors!r}")

    def stop(self) -> int:
        """End it with SIGTERM and return its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """End it with SIGKILL, as a crash would."""
        return self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        if self.code is not None:
            return self.code
        process = self.process
        process.send_signal(number)
        try:
            code = process.wait(STOP_SECONDS * PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if self._reader is not None:
            self._reader.join()
        self._last_errors = self.errors
        os.close(self._errors)
        self.code = code
        return code

    def _read(self) -> None:
        """Collect the lines of stdout; runs in a thread until stdout is closed."""
        output = self.process.stdout
        if output is None:
            raise RuntimeError("stdout is not a pipe")
        with output:
            for line in output:
                event = json.loads(line)
                with self._arrived:
                    self._events.append(event)
                    self._arrived.notify_all()
        with self._arrived:
            self._closed = True
            self._arrived.notify_all()
