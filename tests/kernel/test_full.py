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


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    """An endpoint whose maps hold two flows and one large copy."""
    shape = replace(maps.SHAPES[MapNumber.FLOWS], entries=FLOWS)
    monkeypatch.setattr(maps, "SHAPES", {**maps.SHAPES, MapNumber.FLOWS: shape})
    monkeypatch.setattr(abi, "LARGE_SLOTS", 1)
    with Trial(compiled(settings.bpf_directory(), settings.cache_directory())) as trial:
        yield Box(trial)


def test_a_connection_too_many_is_reset(small: Box) -> None:
    """When the table of flows is full a new connection is reset and counted; those that live go on."""
    living = [small.connected() for _ in range(FLOWS)]
    late = small.connection()
    late.syn()
    late.syn_ack()

    assert late.raw().resets_client
    assert not late.raw(get("/ab")).passed
    assert 0 < small.reasons["flows_full"]
    assert [True] * FLOWS == [connection.send(get("/ab")).passed for connection in living]


def test_a_large_head_too_many_is_reset(small: Box) -> None:
    """When no slot for a large head's copy is free its connection is reset; heads that fit the flow go on."""
    first, second = small.connected(), small.connected()
    unfinished = get("/ab", f"Cookie: {'c' * 1500}")[:-2]

    assert first.send(unfinished).passed
    assert second.send(unfinished).resets_server
    assert 1 == small.reasons["copy_full"]
    assert first.send(b"\r\n").passed


def test_chunks_without_a_slot_wait_for_the_server(small: Box) -> None:
    """When no slot is free, chunks beyond the flow's own records are cut off and come again; none is lost."""
    first, second = small.connected(), small.connected()
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
