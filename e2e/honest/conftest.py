# SPDX-License-Identifier: Apache-2.0
"""One ground for all tests here, on which the rules are enforced at one place after the other."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.bpfast import pin_directory
from e2e.honest.ground import Ground, ground
from e2e.honest.matrix import Place

Enforce = Callable[[Place], Ground]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let all tests of one place run in a row: a change of the place takes seconds."""
    here = [number for number, item in enumerate(items) if item.path.is_relative_to(Path(__file__).parent)]
    ours = sorted(
        (items[number] for number in here), key=lambda item: str(_parameters(item).get("place", ""))
    )
    for number, item in zip(here, ours, strict=True):
        items[number] = item


def _parameters(item: pytest.Item) -> dict[str, object]:
    return item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}


@pytest.fixture(scope="package")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Pods and servers."""
    with pin_directory() as pins, ground(tmp_path_factory.mktemp("honest"), pins) as made:
        yield made


@pytest.fixture(scope="package")
def enforce(bare: Ground) -> Iterator[Enforce]:
    """``enforce(place)``: the ground with the rules enforced there, and at no other place any more.

    When a place is left nothing is open, nothing is followed and nothing got through.
    """
    now: list[Place] = []
    with contextlib.ExitStack() as stack:

        def move(place: Place) -> Ground:
            if now != [place]:
                stack.close()
                stack.enter_context(bare.enforce(place))
                stack.callback(bare.assert_forgotten)
                now[:] = [place]
            return bare

        yield move


@pytest.fixture
def policed(enforce: Enforce, place: Place) -> Iterator[Ground]:
    """The ground with the rules enforced at the test's place, quiet again behind the test."""
    found = enforce(place)
    yield found
    found.assert_quiet()
