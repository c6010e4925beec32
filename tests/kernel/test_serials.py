# SPDX-License-Identifier: Apache-2.0
"""A request in the middle of its head never goes on in a table that it did not begin with."""

import struct

from bpfast.abi import MapNumber, PortVerdict
from bpfast.kernel import syscall
from bpfast.kernel.prefixes import PortPrefix
from bpfast.kernel.state import PortEntry, State
from bpfast.policy.rules import HttpRule, RuleSet
from bpfast.tables.build import build
from tests.kernel.packets import Box, get

ONE, TWO, THREE = (RuleSet((HttpRule(name, path=f"/{name}"),)) for name in ("one", "two", "three"))


def serial(box: Box, index: int) -> int:
    """Return the serial of a rule set as the kernel has it."""
    value = syscall.map_lookup(box.trial.maps[MapNumber.RULE_SETS], struct.pack("=I", index), 24)
    return int(struct.unpack_from("=II", value or bytes(8))[1])


def test_a_retired_serial_is_not_given_again_by_the_next_run(box: Box) -> None:
    """When the newest rule set is retired before a start, its index comes again, but not its serial."""
    box.trial.state.retire([box.rule_set])
    first, second = box.install(ONE), box.install(TWO)
    used = serial(box, second)
    box.trial.state.retire([box.rule_set, first])
    following = State(box.trial.maps)
    third = following.install(build(THREE).image)
    given = serial(box, third)
    following.retire([box.rule_set, first])
    following.close()

    assert second == third
    assert given > used


def test_a_head_whose_table_is_another_is_reset(box: Box) -> None:
    """It may be one that both allow, so it is not answered by 403."""
    connection = box.connected()
    assert connection.send(get()[:10]).passed
    box.trial.state.retire(())
    index = box.install(THREE)
    box.configure({PortPrefix.one(0, 80): PortEntry(PortVerdict.INSPECT, index)})
    assert connection.send(get()[10:]).resets_server
    assert 1 == box.reasons["stale_table"]


def test_a_request_that_meets_its_table_being_retired_comes_again(box: Box) -> None:
    """The connection is between two requests, so it lives on; the request is dropped and judged anew."""
    connection = box.connected()
    connection.exchange()
    old = box.rule_set
    kept = syscall.map_lookup(box.trial.maps[MapNumber.RULE_SETS], struct.pack("=I", old), 24) or b""
    syscall.map_update(box.trial.maps[MapNumber.RULE_SETS], struct.pack("=I", old), bytes(24))
    during = connection.raw(get())
    syscall.map_update(box.trial.maps[MapNumber.RULE_SETS], struct.pack("=I", old), kept)
    after = connection.send(get())

    assert (b"", False, True) == (during.payload, during.resets_server, after.passed)
    assert 1 == box.reasons["stale_table"]
