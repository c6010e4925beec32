# SPDX-License-Identifier: Apache-2.0
"""Where a guard that is a filter is found again, and the names that say so."""

import contextlib
from pathlib import Path

import pytest

from bpfast.errors import Failure
from bpfast.kernel import clsact, hooks
from bpfast.settings import WITHOUT_TCX_VARIABLE

OWN = "/proc/self/ns/net"


@pytest.mark.parametrize("qdisc", (True, False))
def test_a_pins_name_says_where_to_look_first(qdisc: bool) -> None:
    """The namespace's inode, and whether the qdisc is ours, are read as they were written."""
    name = clsact.pin_name(4026531840, qdisc=qdisc)

    assert Path(name).match(clsact.PIN)
    assert (4026531840, qdisc) == clsact.read_pin_name(name)


def test_another_pin_is_refused() -> None:
    """A name that we would not have written is an error that shows it."""
    with pytest.raises(Failure, match="'filter_guard_x' is none of ours"):
        clsact.read_pin_name("filter_guard_x")


def test_a_namespace_that_is_gone_is_named() -> None:
    """The inode of a namespace without a file is a failure with the file's name."""
    with pytest.raises(Failure, match="'/run/netns/bpfast-nowhere' cannot be opened"):
        clsact.namespace_inode("/run/netns/bpfast-nowhere")


def test_every_namespace_is_looked_into_once_and_the_likely_one_first() -> None:
    """The namespace with the given inode comes first; no inode comes twice."""
    first = clsact.namespace_inode(OWN)

    inodes = []
    for path in clsact.namespaces(first):
        with contextlib.suppress(Failure):  # others on this machine come and go
            inodes.append(clsact.namespace_inode(path))

    assert first == inodes[0]
    assert len(set(inodes)) == len(inodes)


def test_an_interface_without_that_program_is_not_taken() -> None:
    """The index alone finds nothing: every pod's eth0 has the same one."""
    assert clsact.find(1, 0xFFFFFFFE, clsact.namespace_inode(OWN)) is None


def test_the_watcher_is_chosen_by_what_the_kernel_offers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without tcx the watcher is an XDP program, and both ways have a name that doctor shows."""
    monkeypatch.setenv(WITHOUT_TCX_VARIABLE, "1")

    assert (False, "xdp/bpfast_watch") == (hooks.tcx_offered(), hooks.watcher())
    assert "clsact" in hooks.described()
