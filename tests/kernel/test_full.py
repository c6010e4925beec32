# SPDX-License-Identifier: Apache-2.0
"""What happens when a map is full: new connections are reset, none passes uninspected."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from bpfast import abi, settings
from bpfast.abi import MapNumber
from bpfast.kernel import maps
from bpfast.kernel.compiler import compiled
from bpfast.kernel.trial import Trial
from tests.kernel.packets import Box, checksums_right, get, response

FLOWS = 2


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    """The programs with maps that hold two flows and one large copy."""
    shape = replace(maps.SHAPES[MapNumber.FLOWS], entries=FLOWS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maps, "SHAPES", {**maps.SHAPES, MapNumber.FLOWS: shape})
        patch.setattr(abi, "LARGE_SLOTS", 1)
        code = compiled(settings.bpf_directory(), settings.cache_directory())
        with Trial(code) as loaded:
            yield loaded


def test_a_connection_too_many_is_reset(box: Box) -> None:
    """When the table of flows is full a new connection is reset and counted; those that live go on."""
    living = [box.connected() for _ in range(FLOWS)]
    late = box.connection()
    late.syn()
    late.syn_ack()

    assert late.raw().resets_client
    assert not late.raw(get("/ab")).passed
    assert 0 < box.reasons["flows_full"]
    assert [True] * FLOWS == [connection.send(get("/ab")).passed for connection in living]


def test_a_large_head_too_many_is_reset(box: Box) -> None:
    """When no slot for a large head's copy is free its connection is reset; heads that fit the flow go on."""
    first, second = box.connected(), box.connected()
    unfinished = get("/ab", f"Cookie: {'c' * 1500}")[:-2]

    assert first.send(unfinished).passed
    assert second.send(unfinished).resets_server
    assert 1 == box.reasons["copy_full"]
    assert first.send(b"\r\n").passed


def test_chunks_without_a_slot_wait_for_the_server(box: Box) -> None:
    """When no slot is free, chunks beyond the flow's own records are cut off and come again; none is lost."""
    first, second = box.connected(), box.connected()
    assert first.send(get("/ab", f"Cookie: {'c' * 1500}")[:-2]).passed
    stream = get("/upload", "Transfer-Encoding: chunked", method="POST") + b"1\r\na\r\n" * 100 + b"0\r\n\r\n"
    sent = packets = 0
    while sent < len(stream):
        outcome = second.at(sent, stream[sent:])
        assert outcome.payload
        assert stream[sent:].startswith(outcome.payload)
        assert checksums_right(outcome.frame)
        sent += len(outcome.payload)
        second.client = second.first + sent
        second.serve()
        packets += 1

    assert 101 // abi.LOG_INLINE + 1 == packets
    second.serve(response())
    assert second.send(get("/ab")).passed
