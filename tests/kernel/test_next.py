# SPDX-License-Identifier: Apache-2.0
"""Whoever was on an endpoint's device before: a foreign XDP program behind the chain."""

import os

import pytest

from bpfast.errors import KernelFailure
from bpfast.kernel import syscall
from e2e.segments import ethernet
from tests.kernel.packets import CLIENT_MAC, SERVER_MAC, Box, get, xdp_only

XDP_PASS_CODE = bytes.fromhex("b7000000020000009500000000000000")
XDP_DROP_CODE = bytes.fromhex("b7000000010000009500000000000000")


@xdp_only
@pytest.mark.parametrize(("code", "passes"), ((XDP_PASS_CODE, True), (XDP_DROP_CODE, False)))
def test_a_foreign_program_gets_what_passes(box: Box, code: bytes, passes: bool) -> None:
    """What the chain lets pass goes to the program that was there before; what it denies does not."""
    fd = syscall.prog_load(syscall.PROG_TYPE_XDP, code, "foreign", attach_type=syscall.ATTACH_XDP)
    connection = box.connected()
    box.trial.programs.set_next(box.trial.endpoint, fd)
    os.close(fd)
    try:
        arp = ethernet(CLIENT_MAC, SERVER_MAC, bytes(46), ethertype=0x0806)
        assert passes == box.receive(arp).passed
        assert passes == connection.send(get()).passed
        assert not box.connection().raw(get()).passed
        assert {"no_flow": 1} == box.reasons
    finally:
        box.trial.programs.clear_next(box.trial.endpoint)


@xdp_only
def test_a_foreign_program_is_of_one_endpoint(box: Box) -> None:
    """What was on another endpoint's device before gets nothing of this one."""
    fd = syscall.prog_load(syscall.PROG_TYPE_XDP, XDP_DROP_CODE, "foreign", attach_type=syscall.ATTACH_XDP)
    programs = box.trial.programs
    programs.set_next(box.trial.endpoint + 1, fd)
    try:
        assert box.connected().send(get()).passed
        programs.set_next(box.trial.endpoint, fd)
        assert not box.connection().syn().passed
        assert programs.clear_next(box.trial.endpoint)
        assert box.connected().send(get()).passed
        assert not programs.clear_next(box.trial.endpoint)
    finally:
        os.close(fd)
        programs.clear_next(box.trial.endpoint + 1)


@xdp_only
def test_a_foreign_program_of_another_kind_is_refused(box: Box) -> None:
    """A program that a prog-array of XDP programs does not take is refused, and the valid kind named."""
    fd = syscall.prog_load(syscall.PROG_TYPE_XDP, XDP_PASS_CODE, "foreign", attach_type=0)
    try:
        with pytest.raises(KernelFailure, match="attach type 37"):
            box.trial.programs.set_next(box.trial.endpoint, fd)
    finally:
        os.close(fd)
    assert box.connected().send(get()).passed
