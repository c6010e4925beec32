# SPDX-License-Identifier: Apache-2.0
"""C texts -> bytecode of each program, in child processes that end.

A process that has imported bcc and compiled holds 120 MB for good, so the
compilation runs as ``python -m bpfast.kernel.compiler`` and only bytes come
back. They do not depend on the machine: maps and endpoints are placeholders
(``kernel.program`` fills them in), so a cache keyed by the text and by how it is compiled serves
every later start.

The same stages are compiled twice, once for each hook; a program is named
``HOOK/NAME`` from here on (``xdp/bpfast_entry``, ``tcx/bpfast_entry``).
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bpfast.errors import CompileFailure

_BOTH = (
    "bpfast_entry",
    "bpfast_flow",
    "bpfast_prove",
    "bpfast_recall",
    "bpfast_header",
    "bpfast_http",
    "bpfast_chunk",
    "bpfast_verdict",
    "bpfast_watch",
)
PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "xdp": (*_BOTH, "bpfast_sweep"),
    "tcx": (*_BOTH, "bpfast_guard"),
}
"""Hook -> the programs of its text."""
TEXTS: Mapping[str, str] = {"xdp": "bpfast.c", "tcx": "bpfast_tcx.c"}
_CFLAGS = ("-D__LINUX_BPF_H__", "-Wall", "-Wno-unused-function", "-I/usr/include")
_LINUX_VERSION = 6 << 16 | 1 << 8
_TIMEOUT = 120


def text_digest(directory: Path) -> str:
    """Return the SHA-256 of every file below ``directory`` that is part of the text."""
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*.[ch]")):
        digest.update(str(path.relative_to(directory)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _digest(directory: Path) -> str:
    """Return the SHA-256 of all that a compilation depends on: the text, and how it is compiled."""
    recipe = repr((text_digest(directory), PROGRAMS, _CFLAGS, _LINUX_VERSION))
    return hashlib.sha256(recipe.encode()).hexdigest()


def compiled(directory: Path, cache: Path) -> dict[str, bytes]:
    """Return the bytecode of each program of both texts in ``directory``, compiling when needed."""
    kept = cache / f"{_digest(directory)}.json"
    if not kept.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(_compile_both(directory, partial)))
        partial.replace(kept)
    return {name: bytes.fromhex(code) for name, code in json.loads(kept.read_text()).items()}


def _compile_both(directory: Path, beside: Path) -> dict[str, str]:
    """Compile the texts at the same time: each takes seconds."""
    with ThreadPoolExecutor(len(TEXTS)) as pool:
        parts = [
            pool.submit(_compile_in_child, directory, hook, beside.with_suffix(f"{beside.suffix}-{hook}"))
            for hook in TEXTS
        ]
    code: dict[str, str] = {}
    for part in parts:
        code |= part.result()
    return code


def _compile_in_child(directory: Path, hook: str, result: Path) -> dict[str, str]:
    environment = dict(os.environ)
    environment["BCC_KERNEL_SOURCE"] = str(directory / "shim")
    environment["BCC_LINUX_VERSION_CODE"] = str(_LINUX_VERSION)
    command = [sys.executable, "-m", "bpfast.kernel.compiler", str(directory), hook, str(result)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=_TIMEOUT, check=False
    )
    if done.returncode != 0:
        msg = f"the programs in {str(directory / TEXTS[hook])!r} do not compile:\n{done.stderr[-8000:]}"
        raise CompileFailure(msg)
    code: dict[str, str] = json.loads(result.read_text())
    result.unlink()
    return code


def _main(directory: Path, hook: str, result: Path) -> None:
    """Run in the child: compile, write the bytecode as JSON (bcc itself prints to stdout)."""
    from bcc import BPF  # noqa: PLC0415 - 71 MB that only the child may hold

    machine = f"-I/usr/include/{os.uname().machine}-linux-gnu"
    source = str(directory / TEXTS[hook]).encode()
    text = BPF(src_file=source, cflags=[*_CFLAGS, machine, f"-I{directory}"])
    code = {f"{hook}/{name}": text.dump_func(name.encode()).hex() for name in PROGRAMS[hook]}
    result.write_text(json.dumps(code))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
