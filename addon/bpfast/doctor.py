# SPDX-License-Identifier: Apache-2.0
"""What this machine offers and lacks, each with the way out.

Files are read below ``root``, so that a test can show other machines. The two
hooks are not deduced from versions but really tried: a program is loaded and
linked to a temporary veth in a network namespace that dies with its thread.
"""

import ctypes
import os
import platform
import re
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bpfast import settings
from bpfast.errors import BPFastError
from bpfast.kernel import clsact, hooks, syscall

OLDEST_KERNEL = (6, 1)
CLONE_NEWNET = 0x40000000
CHILD_SECONDS = 60
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21, "CAP_BPF": 39}
SETUP = "run `make setup` in the checkout"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that BPFast needs: is it there, what was found, and what to do if not."""

    name: str
    ok: bool
    found: str
    way_out: str


def report(root: Path = Path("/")) -> list[Finding]:
    """Return all findings, the cheap ones first; nothing is changed on the machine."""
    return [
        kernel_version(platform.release()),
        capabilities(root),
        btf(root),
        jit(root),
        lockdown(root),
        locked_memory(resource.getrlimit(resource.RLIMIT_MEMLOCK)[0], platform.release()),
        bpf_file_system(root),
        headers(root),
        kernel_sources(),
        libbpf(),
        bcc(),
        generic_xdp(),
        guard(),
    ]


def kernel_version(release: str) -> Finding:
    """Say whether the kernel is new enough."""
    return Finding(
        "kernel",
        _version(release) >= OLDEST_KERNEL,
        release,
        "Linux 6.1 or newer is needed",
    )


def capabilities(root: Path) -> Finding:
    """Say whether this process may do it."""
    match = re.search(r"^CapEff:\s*([0-9a-f]+)$", _text(root / "proc/self/status") or "", re.MULTILINE)
    held = int(match[1], 16) if match else 0
    missing = [name for name, bit in CAPABILITIES.items() if not held >> bit & 1]
    found = f"missing {', '.join(missing)}" if missing else ", ".join(CAPABILITIES)
    return Finding("capabilities", not missing, found, "run as root, or give the process these capabilities")


def btf(root: Path) -> Finding:
    """Say whether the kernel describes its types."""
    path = root / "sys/kernel/btf/vmlinux"
    found = "/sys/kernel/btf/vmlinux" if path.exists() else "no /sys/kernel/btf/vmlinux"
    return Finding("btf", path.exists(), found, "a kernel with CONFIG_DEBUG_INFO_BTF=y is needed")


def jit(root: Path) -> Finding:
    """Say whether programs are compiled to machine code."""
    value = _text(root / "proc/sys/net/core/bpf_jit_enable")
    if value is None:
        found = "net.core.bpf_jit_enable cannot be seen"
        return Finding("jit", ok=False, found=found, way_out="ask again in the root network namespace")
    found = f"net.core.bpf_jit_enable = {value}"
    return Finding("jit", value != "0", found, "sysctl -w net.core.bpf_jit_enable=1")


def lockdown(root: Path) -> Finding:
    """Say whether the security lockdown leaves us what we need; ``integrity`` does."""
    value = _text(root / "sys/kernel/security/lockdown")
    if value is None:
        found = "cannot be seen (no securityfs); the trials of the hooks decide"
        return Finding(
            "lockdown", ok=True, found=found, way_out="mount -t securityfs none /sys/kernel/security"
        )
    chosen = re.search(r"\[(\w+)\]", value)
    level = chosen[1] if chosen else value
    way_out = "boot without lockdown=confidentiality"
    return Finding("lockdown", level != "confidentiality", level, way_out)


def locked_memory(limit: int, release: str) -> Finding:
    """Say whether the memory of maps is limited; since Linux 5.11 the cgroup counts it instead."""
    free = limit == resource.RLIM_INFINITY or _version(release) >= (5, 11)
    size = "unlimited" if limit == resource.RLIM_INFINITY else f"{limit} bytes"
    found = f"{size}; counted by the cgroup" if _version(release) >= (5, 11) else size
    return Finding("memlock", free, found, "ulimit -l unlimited")


def bpf_file_system(root: Path) -> Finding:
    """Say whether there is a place for pins."""
    mounts = [line.split() for line in (_text(root / "proc/self/mounts") or "").splitlines()]
    ok = ["/sys/fs/bpf", "bpf"] in [fields[1:3] for fields in mounts]
    found = "mounted on /sys/fs/bpf" if ok else "nothing mounted on /sys/fs/bpf"
    return Finding("bpffs", ok, found, "mount -t bpf bpf /sys/fs/bpf")


def headers(root: Path) -> Finding:
    """Say whether the kernel's user-space headers are there, which the C text includes."""
    architecture = root / f"usr/include/{platform.machine()}-linux-gnu/asm/types.h"
    missing = [path for path in (root / "usr/include/linux/bpf.h", architecture) if not path.exists()]
    found = f"no {', '.join(map(str, missing))}" if missing else "linux/bpf.h, asm/types.h"
    return Finding("headers", not missing, found, "apt-get install linux-libc-dev")


def kernel_sources() -> Finding:
    """Say whether our own C text is where it is expected."""
    try:
        found, ok = str(settings.bpf_directory()), True
    except BPFastError as error:
        found, ok = str(error), False
    return Finding("sources", ok, found, SETUP)


def libbpf() -> Finding:
    """Say whether the library is there that loads and links programs."""
    try:
        library = ctypes.CDLL("libbpf.so.1")
        library.libbpf_version_string.restype = ctypes.c_char_p
        found, ok = f"libbpf.so.1, {library.libbpf_version_string().decode()}", True
    except OSError as error:
        found, ok = str(error), False
    return Finding("libbpf", ok, found, "apt-get install libbpf1")


def bcc() -> Finding:
    """Say whether the compiler is there; a child asks, since its import alone takes 71 MB for good."""
    words = [sys.executable, "-c", "import bcc; print(bcc.__version__)"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=CHILD_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("bcc", ok=False, found=str(error), way_out=SETUP)
    ok = done.returncode == 0
    said = (done.stdout if ok else done.stderr).strip().splitlines() or ["nothing said"]
    return Finding("bcc", ok, said[-1], f"apt-get install python3-bpfcc, then {SETUP}")


def generic_xdp() -> Finding:
    """Say whether a program can be linked to a veth in generic XDP mode."""
    trial = _Trial(syscall.PROG_TYPE_XDP, syscall.ATTACH_XDP, syscall.XDP_FLAGS_SKB_MODE, code=2)
    return _tried("xdp-generic", trial, "root and a kernel with CONFIG_BPF_SYSCALL=y")


def guard() -> Finding:
    """Say how guard and watcher are attached here: by tcx, or as before there was tcx."""
    if hooks.tcx_offered():
        trial = _Trial(syscall.PROG_TYPE_SCHED_CLS, syscall.ATTACH_TCX_INGRESS, 0, code=-1)
        return _tried("guard", trial, "root and Linux 6.6 or newer (CONFIG_NET_XGRESS)", hooks.described())
    trial = _Trial(syscall.PROG_TYPE_SCHED_CLS, None, 0, code=-1)
    way_out = "root and a kernel with CONFIG_NET_CLS_ACT, sch_ingress and cls_bpf"
    return _tried("guard", trial, way_out, hooks.described())


@dataclass(frozen=True, slots=True)
class _Trial:
    """A program that returns ``code`` and lets everything pass, and where to link it.

    Without an attach type it becomes a clsact filter.
    """

    prog_type: int
    attach_type: int | None
    flags: int
    code: int

    def run(self) -> None:
        """Load and link, then let go of both; a refusal is an exception."""
        instructions = _instruction(0xB7, self.code) + _instruction(0x95, 0)  # r0 = code; exit
        attach_type = self.attach_type or 0
        program = syscall.prog_load(self.prog_type, instructions, "bpfast_doctor", attach_type=attach_type)
        try:
            index = socket.if_nametoindex("bpfast0")
            if self.attach_type is None:
                device = clsact.Device("/proc/thread-self/ns/net", index)
                clsact.add_qdisc(device)
                clsact.put(program, "bpfast_doctor", device)
            else:
                os.close(syscall.link_create(program, index, self.attach_type, self.flags))
        finally:
            os.close(program)


def _tried(name: str, trial: _Trial, way_out: str, found: str = "") -> Finding:
    try:
        _in_new_namespace(trial.run)
    except (BPFastError, OSError) as error:
        return Finding(name, ok=False, found=str(error).replace("\n", " ").strip(), way_out=way_out)
    return Finding(name, ok=True, found=found or "tried: a program was linked to a veth", way_out=way_out)


def _in_new_namespace(action: Callable[[], None]) -> None:
    """Run ``action`` in a network namespace of its own that has a veth ``bpfast0``."""

    def inside() -> None:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"no new network namespace: {os.strerror(number)}")
        words = ["ip", "link", "add", "bpfast0", "type", "veth", "peer", "name", "bpfast1"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=CHILD_SECONDS, check=False)
        if done.returncode != 0:
            raise OSError(f"no veth: {done.stderr.strip()}")
        action()

    # The namespace belongs to this one thread, and is gone when the thread is.
    with ThreadPoolExecutor(1) as executor:
        executor.submit(inside).result()


def _instruction(opcode: int, immediate: int) -> bytes:
    return bytes([opcode, 0, 0, 0]) + immediate.to_bytes(4, sys.byteorder, signed=True)


def _version(release: str) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _text(path: Path) -> str | None:
    """Return a file without blanks around it, or None when it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return None
