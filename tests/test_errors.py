# SPDX-License-Identifier: Apache-2.0
"""The tree of errors is what its drawing says."""

import inspect
import re

import pytest

from bpfast import errors
from bpfast.errors import BadInput, BPFastError, Fault, LimitExceeded


def drawn() -> dict[str, str]:
    """Return name -> name of the parent, as the module's docstring draws it."""
    parents: dict[str, str] = {}
    last: dict[str, str] = {}
    above = {"x": "*", "+": "x"}
    for mark, name in re.findall(r"^ *([*x+]) (\w+)", errors.__doc__ or "", re.MULTILINE):
        last[mark] = name
        if mark in above:
            parents[name] = last[above[mark]]
    return parents


def test_the_drawing_is_the_tree() -> None:
    """Each error stands in the drawing, under its real parent."""
    classes = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, Exception)]
    real = {
        each.__name__: each.__base__.__name__ for each in classes if each is not BPFastError and each.__base__
    }

    assert real == drawn()


def test_a_fault_reads_from_outside_in() -> None:
    """A fault says file, policy, YAML path and message, and leaves out what is not known."""
    assert "a.yaml: ns/p: spec.x: wrong" == str(Fault("a.yaml", "ns/p", "spec.x", "wrong"))
    assert "a.yaml: wrong" == str(Fault("a.yaml", "", "", "wrong"))


def test_bad_input_shows_all_faults() -> None:
    """BadInput keeps every fault, a line each."""
    faults = [Fault("a", "", "", "one"), Fault("b", "", "", "two")]
    error = BadInput(faults)

    assert tuple(faults) == error.faults
    assert "a: one\nb: two" == str(error)


def test_a_limit_names_itself() -> None:
    """LimitExceeded says what was counted and how much is allowed."""
    with pytest.raises(LimitExceeded, match="^more than 7 states$") as caught:
        raise LimitExceeded("states", 7)

    assert ("states", 7) == (caught.value.what, caught.value.limit)
