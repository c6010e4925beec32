# SPDX-License-Identifier: Apache-2.0
"""Repeat one packet through the chain: each time the flow is first made what it was.

BPF_PROG_TEST_RUN repeats a program in the kernel, so what restores the flow has
to be a program, too: ``bench/first.c``. It is compiled as the chain is (bcc, in
a child process) and goes on into ENTRY, or into an empty program when its own
cost is asked for.
"""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bpfast import abi, settings
from bpfast.abi import MapNumber, Slot
from bpfast.kernel import syscall
from bpfast.kernel.program import STAGES
from bpfast.kernel.trial import XDP_PASS, Trial

PROGRAMS = ("bench_first", "bench_empty")
_TEXT = Path(__file__).with_name("first.c")
_CFLAGS = ("-D__LINUX_BPF_H__", "-Wall", "-I/usr/include")
_TIMEOUT = 120
_U32 = struct.Struct("=I")
_ZERO = _U32.pack(0)
_LETTERS = struct.Struct("=II")
_MANY = 10_000_019
"""More than the packets of a run, so that letters do not come again."""


def _compile(**fds: int) -> dict[str, bytes]:
    """Return the bytecode of PROGRAMS; map descriptors go into the text as numbers."""
    shim = settings.bpf_directory() / "shim"
    environment = dict(os.environ) | {
        "BCC_KERNEL_SOURCE": str(shim),
        "BCC_LINUX_VERSION_CODE": str(6 << 16 | 1 << 8),
    }
    command = [sys.executable, "-m", "bench.first", *(f"-DBENCH_{name}={fd}" for name, fd in fds.items())]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=_TIMEOUT, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{_TEXT.name} does not compile:\n{done.stderr[-4000:]}")
    return {name: bytes.fromhex(code) for name, code in json.loads(done.stdout.splitlines()[-1]).items()}


def _in_child(definitions: Sequence[str]) -> None:
    """Compile, and print the bytecode as the last line."""
    from bcc import BPF  # noqa: PLC0415 - 71 MB that only the child may hold

    machine = f"-I/usr/include/{os.uname().machine}-linux-gnu"
    flags = [*_CFLAGS, *definitions, machine, f"-I{settings.bpf_directory()}"]
    text = BPF(src_file=str(_TEXT).encode(), cflags=flags)
    print(json.dumps({name: text.dump_func(name.encode()).hex() for name in PROGRAMS}))


def _load_chain(trial: Trial) -> dict[Slot, int]:
    """Return a descriptor of each stage by its slot, and of ENTRY under Slot.MAX."""
    found = {slot: trial.programs.load(f"xdp/{name}") for slot, name in STAGES.items()}
    return found | {Slot.MAX: trial.programs.load("xdp/bpfast_entry", trial.endpoint)}


class Repeater:
    """The chain with a program in front of it that restores a flow."""

    def __init__(self, trial: Trial) -> None:
        """Compile and load what stands in front, and load every stage once more."""
        self._trial = trial
        self._kept = syscall.map_create(
            syscall.MAP_ARRAY, "bench_kept", key=4, value=abi.SIZES["flow"] + _LETTERS.size, entries=1
        )
        self._second = syscall.map_create(syscall.MAP_PROG_ARRAY, "bench_second", key=4, value=4, entries=1)
        code = _compile(KEPT=self._kept, FLOWS=trial.maps[MapNumber.FLOWS], SECOND=self._second)
        self._first, self.empty = (
            syscall.prog_load(syscall.PROG_TYPE_XDP, code[name], name, attach_type=syscall.ATTACH_XDP)
            for name in PROGRAMS
        )
        self._stages = _load_chain(trial)
        self._number = 0

    def close(self) -> None:
        """Give all descriptors back."""
        for fd in (self._kept, self._second, self._first, self.empty, *self._stages.values()):
            os.close(fd)

    def keep(self, flow: bytes | None, letters: int = 0) -> None:
        """Restore this flow from now on (None: the packet is of no flow).

        ``letters``: where eight letters stand in the frame that are others each time.
        """
        value = bytes(abi.SIZES["flow"]) if flow is None else flow
        self._number = (self._number + _MANY) % 2**32
        syscall.map_update(self._kept, _ZERO, value + _LETTERS.pack(letters, self._number))

    def alone(self, frame: bytes, repeat: int) -> int:
        """Return the nanoseconds of restoring the flow and of the tail call into an empty program."""
        syscall.map_update(self._second, _ZERO, _U32.pack(self.empty))
        return self._run(self._first, frame, repeat)

    def behind(self, program: int, frame: bytes, repeat: int) -> int:
        """Return the nanoseconds of the same with this program in the empty one's place."""
        syscall.map_update(self._second, _ZERO, _U32.pack(program))
        return self._run(self._first, frame, repeat)

    def chain(self, frame: bytes, repeat: int, stop: Slot | None = None) -> int:
        """Return the nanoseconds of the same and the chain up to the slot ``stop``."""
        syscall.map_update(self._second, _ZERO, _U32.pack(self._stages[Slot.MAX]))
        with self._emptied(stop):
            return self._run(self._first, frame, repeat)

    def nothing(self, frame: bytes, repeat: int) -> int:
        """Return the nanoseconds of an empty program by itself."""
        return self._run(self.empty, frame, repeat)

    @contextmanager
    def _emptied(self, slot: Slot | None) -> Iterator[None]:
        if slot is None:
            yield
            return
        chain = self._trial.maps[MapNumber.CHAIN]
        syscall.map_update(chain, _U32.pack(slot), _U32.pack(self.empty))
        try:
            yield
        finally:
            syscall.map_update(chain, _U32.pack(slot), _U32.pack(self._stages[slot]))

    @staticmethod
    def _run(program: int, frame: bytes, repeat: int) -> int:
        action, _after, nanoseconds = syscall.test_run(program, frame, repeat=repeat)
        if action != XDP_PASS:
            raise RuntimeError(f"the packet did not pass: XDP action {action!r}")
        return nanoseconds


if __name__ == "__main__":
    _in_child(sys.argv[1:])
