# SPDX-License-Identifier: Apache-2.0
"""What ``bpfast doctor`` finds on other machines than this one."""

import resource
from pathlib import Path

import pytest

from bpfast import doctor, settings
from bpfast.errors import Failure
from bpfast.kernel import syscall
from bpfast.settings import BPF_DIRECTORY_VARIABLE, WITHOUT_TCX_VARIABLE

NAMES = "kernel capabilities btf jit lockdown memlock bpffs headers sources libbpf bcc xdp-generic guard"


def write(root: Path, path: str, text: str) -> Path:
    """Write a file of another machine and return the root of that machine."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)
    return root


@pytest.mark.parametrize(
    ("release", "ok"),
    (
        ("6.1.0-28-amd64", True),
        ("6.18.44", True),
        ("10.0", True),
        ("6.0.19", False),
        ("5.15", False),
        ("x", False),
    ),
)
def test_the_oldest_kernel_is_6_1(release: str, ok: bool) -> None:
    """6.1 and everything newer will do, and the release is shown as it is."""
    finding = doctor.kernel_version(release)

    assert (ok, release) == (finding.ok, finding.found)


@pytest.mark.parametrize(
    ("capabilities", "ok", "found"),
    (
        ("000001ffffffffff", True, "CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_BPF"),
        ("0000000000000000", False, "missing CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_BPF"),
        ("0000008000201000", True, "CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_BPF"),
        ("0000008000200000", False, "missing CAP_NET_ADMIN"),
    ),
)
def test_missing_capabilities_are_named(tmp_path: Path, capabilities: str, ok: bool, found: str) -> None:
    """The effective capabilities count, and those that lack are named."""
    root = write(tmp_path, "proc/self/status", f"Name:\tx\nCapEff:\t{capabilities}\nCapBnd:\t0\n")

    finding = doctor.capabilities(root)

    assert (ok, found) == (finding.ok, finding.found)


def test_without_a_type_description_there_is_a_way_out(tmp_path: Path) -> None:
    """BTF is there when its file is, and the way out names the kernel option."""
    assert not doctor.btf(tmp_path).ok
    assert "CONFIG_DEBUG_INFO_BTF" in doctor.btf(tmp_path).way_out
    assert doctor.btf(write(tmp_path, "sys/kernel/btf/vmlinux", "")).ok


@pytest.mark.parametrize(("value", "ok"), (("0", False), ("1", True), ("2", True)))
def test_the_compiler_of_the_kernel_must_be_on(tmp_path: Path, value: str, ok: bool) -> None:
    """0 is off; 1 and 2 are on."""
    assert ok == doctor.jit(write(tmp_path, "proc/sys/net/core/bpf_jit_enable", f"{value}\n")).ok


def test_what_cannot_be_seen_is_not_claimed(tmp_path: Path) -> None:
    """Another network namespace does not show the setting, and doctor says so."""
    assert not doctor.jit(tmp_path).ok
    assert "root network namespace" in doctor.jit(tmp_path).way_out


@pytest.mark.parametrize(
    ("text", "ok", "found"),
    (
        ("[none] integrity confidentiality", True, "none"),
        ("none [integrity] confidentiality", True, "integrity"),
        ("none integrity [confidentiality]", False, "confidentiality"),
    ),
)
def test_only_confidentiality_locks_us_out(tmp_path: Path, text: str, ok: bool, found: str) -> None:
    """The level in brackets counts."""
    finding = doctor.lockdown(write(tmp_path, "sys/kernel/security/lockdown", text))

    assert (ok, found) == (finding.ok, finding.found)


@pytest.mark.parametrize(
    ("limit", "release", "ok"),
    ((65536, "5.10", False), (65536, "5.11", True), (resource.RLIM_INFINITY, "5.10", True)),
)
def test_locked_memory_matters_on_old_kernels_only(limit: int, release: str, ok: bool) -> None:
    """Since 5.11 the cgroup counts the memory of maps."""
    assert ok == doctor.locked_memory(limit, release).ok


@pytest.mark.parametrize(
    ("mounts", "ok"),
    (
        ("bpf /sys/fs/bpf bpf rw 0 0\n", True),
        ("none /sys/fs/bpf bpf rw,nosuid 0 0\nproc /proc proc rw 0 0\n", True),
        ("sysfs /sys sysfs rw 0 0\n", False),
        ("bpf /elsewhere bpf rw 0 0\n", False),
        ("", False),
    ),
)
def test_pins_need_their_file_system(tmp_path: Path, mounts: str, ok: bool) -> None:
    """Only a BPF file system on /sys/fs/bpf is good, and the way out is its mount command."""
    finding = doctor.bpf_file_system(write(tmp_path, "proc/self/mounts", mounts))

    assert ok == finding.ok
    assert "mount -t bpf bpf /sys/fs/bpf" == finding.way_out


def test_missing_headers_are_named(tmp_path: Path) -> None:
    """The file that is missing is shown, with the package that brings it."""
    finding = doctor.headers(tmp_path)

    assert not finding.ok
    assert "usr/include/linux/bpf.h" in finding.found
    assert "apt-get install linux-libc-dev" == finding.way_out


def test_sources_are_looked_for_where_they_are_said_to_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A directory without our C text is refused by name, by doctor and by the settings."""
    monkeypatch.setenv(BPF_DIRECTORY_VARIABLE, str(tmp_path))

    assert str(tmp_path) in doctor.kernel_sources().found
    assert not doctor.kernel_sources().ok
    with pytest.raises(Failure, match="no kernel sources"):
        settings.bpf_directory()


@pytest.mark.privileged
def test_the_report_has_every_finding_once() -> None:
    """The report names all that was promised, in its order, and always a way out."""
    findings = doctor.report()

    assert NAMES == " ".join(finding.name for finding in findings)
    assert [] == [finding.name for finding in findings if not finding.way_out]


@pytest.mark.privileged
def test_the_hooks_are_really_tried() -> None:
    """Both trials succeed here, and leave no interface behind in our namespace."""
    assert [True, True] == [doctor.generic_xdp().ok, doctor.guard().ok]
    assert not Path("/sys/class/net/bpfast0").exists()


@pytest.mark.privileged
def test_without_tcx_the_other_ways_are_tried_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel without tcx will do, and doctor says how guard and watcher are attached there."""
    monkeypatch.setenv(WITHOUT_TCX_VARIABLE, "1")

    finding = doctor.guard()

    assert finding.ok
    assert finding.found.startswith("guard: clsact filter, watcher: generic XDP")


@pytest.mark.privileged
def test_a_refused_program_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the kernel refuses, the finding says what the kernel said."""
    monkeypatch.setattr(syscall, "ATTACH_XDP", 9999)

    finding = doctor.generic_xdp()

    assert not finding.ok
    assert "EINVAL" in finding.found
