# SPDX-License-Identifier: Apache-2.0
"""``bpf/lib/sequence.h`` and the bounds of ``compat.h``, against the same in Python's long integers."""

import itertools

import pytest

from bpfast.abi import PIECE
from tests.bpf.host import Host

WINDOW_MOST = 1 << 30
MARKS = (0, 1, WINDOW_MOST - 1, WINDOW_MOST, WINDOW_MOST + 1, 1 << 31, 3 << 30, (1 << 32) - 1)
NUMBERS = sorted({(mark + near) % (1 << 32) for mark in MARKS for near in (-1, 0, 1)})
PAIRS = tuple(itertools.product(NUMBERS, repeat=2))


def apart(later: int, earlier: int) -> int:
    """Return how far behind ``earlier`` a number is, within half of all numbers."""
    return (later - earlier + (1 << 31)) % (1 << 32) - (1 << 31)


def test_distance_is_signed(host: Host) -> None:
    """The distance of two numbers wraps and is negative where the first is the earlier."""
    assert [apart(a, b) for a, b in PAIRS] == [host.call("distance", a, b) for a, b in PAIRS]


def test_order_wraps(host: Host) -> None:
    """A number is before those half of all numbers that follow it, and after those that it follows."""
    assert [apart(a, b) < 0 for a, b in PAIRS] == [bool(host.call("before", a, b)) for a, b in PAIRS]
    assert [apart(a, b) > 0 for a, b in PAIRS] == [bool(host.call("after", a, b)) for a, b in PAIRS]


def test_the_later_of_two_wraps(host: Host) -> None:
    """The later of two numbers is the one that is after the other."""
    expected = [a if apart(a, b) > 0 else b for a, b in PAIRS]

    assert expected == [host.call("later_of", a, b) for a, b in PAIRS]


def test_near_is_less_than_a_window(host: Host) -> None:
    """Numbers are near each other if less than the largest window lies between them, either way."""
    expected = [abs(apart(a, b)) < WINDOW_MOST for a, b in PAIRS]

    assert expected == [bool(host.call("near", a, b)) for a, b in PAIRS]


@pytest.mark.parametrize("value", NUMBERS)
def test_bounded_is_the_rest(host: Host, value: int) -> None:
    """A bounded value is what the mask leaves of it."""
    assert value % PIECE == host.call("bounded", value)


@pytest.mark.parametrize("size", (1, 2, PIECE - 1, PIECE))
def test_a_size_in_bounds_stays(host: Host, size: int) -> None:
    """A size that is known to be in bounds is not changed by saying so."""
    assert size == host.call("bounded_size", size)


@pytest.mark.parametrize("size", (0, PIECE + 1, (1 << 32) - 1))
def test_a_size_out_of_bounds_is_brought_in(host: Host, size: int) -> None:
    """Any other size becomes one that is in bounds."""
    assert 1 <= host.call("bounded_size", size) <= PIECE
