# SPDX-License-Identifier: Apache-2.0
"""Files are read when they have changed, and not before they are whole."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from bpfast.controller import changes
from bpfast.controller.changes import Addresses, Files
from bpfast.controller.desired import World
from bpfast.kernel.netns import own_addresses
from bpfast.standalone.endpoints import Endpoint
from bpfast.standalone.netns import NetNs

OWN = NetNs("own", "/proc/self/ns/net")


@pytest.fixture(autouse=True)
def _every_look_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "_SHARE", 0)


def aged(path: Path) -> None:
    """Give a file's last write a time that is long ago; another one each time."""
    before = time.time_ns() - 10 * changes.SETTLE_NS
    os.utime(path, ns=(before, before))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that was written long ago."""
    path = tmp_path / "policy.yaml"
    path.write_text("a")
    aged(path)
    return path


def in_place(file: Path) -> None:
    """Write into the file itself."""
    file.write_text("b")
    aged(file)


def by_rename(file: Path) -> None:
    """Put another file in its place."""
    fresh = file.with_suffix(".fresh")
    fresh.write_text("b")
    aged(fresh)
    fresh.replace(file)


def by_removal(file: Path) -> None:
    """Take it away."""
    file.unlink()


@pytest.mark.parametrize("change", (in_place, by_rename, by_removal))
@pytest.mark.parametrize("folder", (False, True), ids=("file", "folder"))
def test_a_change_is_seen_once(file: Path, change: Callable[[Path], None], folder: bool) -> None:
    """However a file changes, the next look sees it, and the one after that does not."""
    aged(file.parent)
    files = Files([file.parent if folder else file])
    before = files.have_changed()
    change(file)
    aged(file.parent)
    assert (False, True, False) == (before, files.have_changed(), files.have_changed())


def test_links_are_followed(tmp_path: Path) -> None:
    """A link that is made to lead elsewhere, as a mounted ConfigMap's, is a change of what it leads to."""
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.yaml").write_text(name)
        aged(tmp_path / name / "policy.yaml")
        aged(tmp_path / name)
    link, mounted = tmp_path / "..data", tmp_path / "mounted"
    link.symlink_to("1")
    mounted.mkdir()
    (mounted / "policy.yaml").symlink_to("../..data/policy.yaml")
    aged(mounted)
    watched = [Files([mounted]), Files([mounted / "policy.yaml"]), Files([link])]
    fresh = tmp_path / "..tmp"
    fresh.symlink_to("2")
    fresh.replace(link)
    assert [True] * 3 == [files.have_changed() for files in watched]
    assert [False] * 3 == [files.have_changed() for files in watched]


def test_a_file_that_is_being_written_is_left_alone(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written just now is read at the first look after it has settled."""
    monkeypatch.setattr(changes, "SETTLE_NS", 10**11)
    monkeypatch.setattr(changes, "PATIENCE", 1000.0)
    os.utime(file, ns=(1, 1))
    files = Files([file])
    file.write_text("half")
    early = [files.have_changed(), files.have_changed()]
    os.utime(file, ns=(2, 2))
    assert ([False, False], True) == (early, files.have_changed())


def test_a_file_that_never_settles_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes all the time is read in the end."""
    monkeypatch.setattr(changes, "PATIENCE", 0.0)
    files = Files([file])
    file.write_text("always")
    assert files.have_changed()


def test_a_time_of_the_future_settles(file: Path) -> None:
    """A clock that goes wrong keeps no file from being read."""
    files = Files([file])
    later = time.time_ns() + 10**12
    os.utime(file, ns=(later, later))
    assert files.have_changed()


def test_what_was_fresh_at_the_start_is_read_again(file: Path) -> None:
    """A file that was written just before the first look may have been read in between two writes."""
    file.write_text("b")
    now = time.time_ns()
    os.utime(file, ns=(now, now))
    files = Files([file])
    time.sleep(changes.SETTLE_NS * 2 / 1e9)
    assert files.have_changed()


def test_large_folders_are_looked_at_less_often(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time between two looks grows with what a look takes."""
    monkeypatch.setattr(changes, "_SHARE", 10**9)
    files = Files([file])
    assert not files.have_changed()
    in_place(file)
    assert not files.have_changed()


def test_addresses_of_the_host_differ_once() -> None:
    """An address that is not known as the host's is told once, and again after all was right."""
    host = own_addresses()
    right, wrong = World((), host), World((), (*host, IPv4Address("192.0.2.77")))
    addresses = Addresses()
    assert [False, True, False, False, True] == [
        addresses.differ(world) for world in (right, wrong, wrong, right, wrong)
    ]


@pytest.mark.privileged
def test_addresses_of_endpoints_differ() -> None:
    """An endpoint's interface is looked at where its file gives no address, and where it can be seen."""
    # No interface here has this one.
    read = Endpoint("a", netns=OWN, interface="lo", addresses=(IPv4Address("192.0.2.77"),))
    given = replace(read, addresses_given=True)
    hidden = replace(read, interface="nowhere")
    gone = replace(read, netns=NetNs("gone", "/nowhere"))
    host = own_addresses()
    assert [True, False] == [Addresses().differ(World((one,), host)) for one in (read, given)]
    assert [False, False] == [Addresses().differ(World((one,), host)) for one in (hidden, gone)]
