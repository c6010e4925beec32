# SPDX-License-Identifier: Apache-2.0
"""How many faults are looked for before a document is given up.

Checks of single values are made with ``check``: it counts those that fail, so that
a document of a hundred thousand wrong labels does not become as many exceptions,
each with its traceback.
"""

from collections.abc import Callable
from typing import Final, TypeVar

from pydantic import AfterValidator, ValidationInfo

BUDGET: Final = "budget"
"""In the context of a validation: a list of one number, how many more checks may fail."""

_Value = TypeVar("_Value")


class TooManyFaults(Exception):
    """More checks failed than the budget has; not a ValueError, so that it ends the validation."""


def check(function: Callable[[_Value], _Value]) -> AfterValidator:
    """Return ``function``, which raises ValueError for a wrong value, as a check that counts."""

    def counted(value: _Value, info: ValidationInfo) -> _Value:
        try:
            return function(value)
        except ValueError:
            budget = (info.context or {}).get(BUDGET)
            if budget is not None:
                budget[0] -= 1
                if budget[0] < 0:
                    raise TooManyFaults from None
            raise

    return AfterValidator(counted)
