# SPDX-License-Identifier: Apache-2.0
"""The walker between heads: what it takes, keeps and forgets."""

import random

import pytest

from bpfast.abi import Reason, Verdict
from bpfast.policy.rules import HttpRule, RuleSet
from bpfast.tables.build import build
from bpfast.tables.image import TableImage, read
from bpfast.tables.walk import Head, Walker, walk

GOOD = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
BAD = b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def image() -> TableImage:
    """An image with one rule: /a."""
    return build(RuleSet((HttpRule("a", path="/a"),))).image


def test_a_head_ends_where_it_ends(image: TableImage) -> None:
    """The bytes behind a head are left to the caller."""
    walker = Walker(image)
    allowed = Head(Verdict.ALLOW, Reason.RULE, 0)
    assert (len(GOOD), allowed) == walker.feed(GOOD + b"GET")
    assert (3, None) == walker.feed(b"GET")
    assert walker.inside


def test_between_heads_the_walker_stands_at_the_start(image: TableImage) -> None:
    """Before and behind a head the state is the start state, and nothing is unfinished."""
    walker = Walker(image)
    start = read(image).start
    assert (start, False) == (walker.state, walker.inside)
    walker.feed(GOOD)
    assert (start, False) == (walker.state, walker.inside)


def test_a_denial_is_final(image: TableImage) -> None:
    """After a denial nothing is taken, and the denial is repeated."""
    walker = Walker(image)
    denied = Head(Verdict.DENY, Reason.NO_RULE)
    assert (BAD.index(b"\n") + 1, denied) == walker.feed(BAD)
    assert (0, denied) == walker.feed(GOOD)


def test_a_walker_can_be_used_again(image: TableImage) -> None:
    """After a restart nothing of the last connection is left, denied or unfinished."""
    walker = Walker(image)
    for before in (BAD, b"GET /a HTTP/1.1\r\nHost: a\r\nHo"):
        walker.feed(before)
        walker.restart()
        assert Reason.RULE == getattr(walker.feed(GOOD)[1], "reason", None)


def test_nothing_is_no_progress(image: TableImage) -> None:
    """An empty segment changes nothing."""
    walker = Walker(image)
    walker.feed(GOOD[:7])
    state = walker.state
    assert (0, None) == walker.feed(b"")
    assert state == walker.state


def test_the_dead_state_denies_every_byte(image: TableImage) -> None:
    """A flow that was never set to the start state is denied with a reason of its own."""
    walker = Walker(image)
    for byte in range(256):
        walker.restart()
        walker._now.state = 0
        assert (1, Head(Verdict.DENY, Reason.INTERNAL)) == walker.feed(bytes([byte]))


def test_a_whole_stream_ends_at_close(image: TableImage) -> None:
    """What follows Connection: close is not looked at."""
    close = b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    heads = list(walk(image, GOOD + close + b"\x00"))
    assert [False, True] == [head.close for head in heads if head]


def test_random_bytes_never_lead_astray(image: TableImage) -> None:
    """Any bytes are denied or wait for more; nothing but the one good head is allowed."""
    source = random.Random(5)
    walker = Walker(image)
    pieces = (
        b"GET ",
        b"/a",
        b" HTTP/1.1",
        b"\r\n",
        b"Host",
        b": ",
        b"a",
        b"X",
        b"\x00",
        b"\r",
        b"Content-Length",
    )
    for _ in range(3000):
        data = b"".join(source.choices(pieces, k=source.randrange(16)))
        walker.restart()
        _, head = walker.feed(data)
        if head and head.verdict == Verdict.ALLOW:
            assert data.startswith(b"GET /a HTTP/1.1\r\n")
            assert b"\r\nHost: a" in data
