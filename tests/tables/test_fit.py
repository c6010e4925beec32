# SPDX-License-Identifier: Apache-2.0
"""The search for what fits: greedy, in order, bounded."""

from collections.abc import Sequence

import pytest

from bpfast.errors import LimitExceeded
from bpfast.tables.fit import ATTEMPTS, fit


class Scale:
    """Weighs lists of numbers and counts how often it was too heavy."""

    def __init__(self, limit: int) -> None:
        """Take what the scale can bear."""
        self.limit = limit
        self.failures = 0

    def __call__(self, items: Sequence[int]) -> tuple[int, ...]:
        """Return the items; raise if they are too heavy."""
        if sum(items) > self.limit:
            self.failures += 1
            raise LimitExceeded("grams", self.limit)
        return tuple(items)


@pytest.mark.parametrize(
    ("items", "kept", "refused"),
    (
        ([], (), []),
        ([1, 2, 3], (1, 2, 3), []),
        ([20], (), [0]),
        ([1, 20, 3], (1, 3), [1]),
        ([4, 4, 4, 1, 1], (4, 4, 1, 1), [2]),
        ([20, 4, 20, 6, 1], (4, 6), [0, 2, 4]),
    ),
)
def test_items_are_kept_in_order(items: list[int], kept: tuple[int, ...], refused: list[int]) -> None:
    """An item is refused if it is too much for those kept before it."""
    result, errors = fit(items, Scale(10))
    assert kept == result
    assert refused == list(errors)
    assert {"more than 10 grams"} >= {str(error) for error in errors.values()}


@pytest.mark.parametrize("bad", (0, 1, 499, 500, 998, 999))
def test_one_bad_item_among_a_thousand(bad: int) -> None:
    """It alone is refused, after about as many failures as a thousand can be halved."""
    items = [20_000 if number == bad else 1 for number in range(1000)]
    scale = Scale(10_000)
    _, errors = fit(items, scale)
    assert [bad] == list(errors)
    assert scale.failures <= ATTEMPTS


def test_the_search_is_bounded() -> None:
    """However many items do not fit, the failing attempts are counted, and every item has an answer."""
    scale = Scale(10)
    result, errors = fit([7] * 1000, scale)
    assert (7,) == result
    assert 999 == len(errors)
    assert scale.failures <= ATTEMPTS


def test_if_nothing_must_fit_nothing_does() -> None:
    """A limit below the empty list is the caller's error."""
    with pytest.raises(LimitExceeded, match="more than -1 grams"):
        fit([], Scale(-1))


def test_what_cannot_fit_is_not_tried_again() -> None:
    """If one half fits, the other half does not: the last of eight items is found by one failure."""
    scale = Scale(10)
    _, errors = fit([1] * 7 + [20], scale)
    assert [7] == list(errors)
    assert 1 == scale.failures
