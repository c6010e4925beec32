# SPDX-License-Identifier: Apache-2.0
"""Which items fit into a limit together: greedy, in order, by halving.

An item is refused if it passes the limit together with the items kept before
it. Items that fit are taken in chunks as large as possible, so one bad item
among n costs about log n attempts instead of n. Each failing attempt is as dear
as a full table; after ``ATTEMPTS`` of them all that is still undecided is
refused at once: rule sets come from whoever may write policies, and must not
be able to keep the node busy. (Trying every subset would keep more items, and
take for ever.)
"""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from bpfast.errors import LimitExceeded

ATTEMPTS = 12

Item = TypeVar("Item")
Result = TypeVar("Result")


def fit(
    items: Sequence[Item], attempt: Callable[[Sequence[Item]], Result]
) -> tuple[Result, dict[int, LimitExceeded]]:
    """Return the result for the items kept, and the error of each item refused, by index.

    ``attempt`` raises LimitExceeded; nothing at all must fit.
    """
    search = _Search(items, attempt)
    search.add(range(len(items)), None)
    return search.result, search.refused


class _Search(Generic[Item, Result]):
    def __init__(self, items: Sequence[Item], attempt: Callable[[Sequence[Item]], Result]) -> None:
        self._items = items
        self._attempt = attempt
        self._kept: list[Item] = []
        self._failures: list[LimitExceeded] = []
        self.result = attempt(())
        self.refused: dict[int, LimitExceeded] = {}

    def add(self, chunk: range, known: LimitExceeded | None) -> bool:
        """Keep what fits of ``chunk``, of which ``known`` says why not all does; say if all did."""
        spent = len(self._failures) >= ATTEMPTS
        error = known or (self._failures[-1] if spent else self._try(chunk))
        if error is None:
            return True
        if len(chunk) == 1 or spent:
            self.refused |= dict.fromkeys(chunk, error)
            return False
        middle = len(chunk) // 2
        whole = self.add(chunk[:middle], None)
        self.add(chunk[middle:], error if whole else None)
        return False

    def _try(self, chunk: range) -> LimitExceeded | None:
        more = [*self._kept, *(self._items[index] for index in chunk)]
        try:
            self.result = self._attempt(more)
        except LimitExceeded as error:
            self._failures.append(error)
            return error
        self._kept = more
        return None
