# SPDX-License-Identifier: Apache-2.0
"""Chance, the same for the same number on every machine."""

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """All decisions of a random scenario."""

    def __init__(self, seed: str) -> None:
        """Take the seed."""
        self._random = random.Random(seed)

    def chance(self, share: float) -> bool:
        """Return True in that share of all cases."""
        return self._random.random() < share

    def number(self, low: int, high: int) -> int:
        """Return a number from ``low`` to ``high``, both included."""
        return self._random.randint(low, high)

    def one(self, choices: Sequence[T]) -> T:
        """Return one of them."""
        return self._random.choice(choices)

    def some(self, choices: Sequence[T], low: int, high: int) -> list[T]:
        """Return from ``low`` to ``high`` different ones, in any order."""
        return self._random.sample(choices, min(self.number(low, high), len(choices)))

    def weighted(self, choices: dict[T, float]) -> T:
        """Return one of the keys; the values are their weights."""
        return self._random.choices(list(choices), list(choices.values()))[0]

    def several(self, low: int, high: int, make: Callable[[], T]) -> list[T]:
        """Return from ``low`` to ``high`` things that are made one by one."""
        return [make() for _ in range(self.number(low, high))]
