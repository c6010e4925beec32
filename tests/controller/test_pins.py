# SPDX-License-Identifier: Apache-2.0
"""One user of a pin directory at a time."""

from pathlib import Path

import pytest

from bpfast import abi
from bpfast.controller import pins
from bpfast.errors import Failure
from bpfast.kernel.maps import layout


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks of our own: /run is root's."""
    monkeypatch.setattr(pins, "_LOCKS", tmp_path)


def test_a_second_holder_is_told_what_to_do() -> None:
    """While one holds the pins another is refused, and told of both ways out."""
    with pins.held(Path("/pins/one")), pytest.raises(Failure) as caught, pins.held(Path("/pins/one")):
        pass
    expected = "another bpfast uses the pins in '/pins/one'; stop it, or set BPFAST_PIN_DIRECTORY"
    assert expected == str(caught.value)


def test_pins_are_free_again() -> None:
    """After the block, however it ends, the next may hold them."""
    with pytest.raises(ZeroDivisionError), pins.held(Path("/pins/one")):
        raise ZeroDivisionError
    with pins.held(Path("/pins/one")):
        pass


def test_other_pins_are_not_held(tmp_path: Path) -> None:
    """Two directories have two holders."""
    with pins.held(Path("/pins/one")), pins.held(Path("/pins/two")):
        assert 2 == len(list(tmp_path.glob("bpfast-*.lock")))


def test_another_layout_has_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value of another size is never taken over: its maps stand in a directory of another name."""
    before = layout()
    assert before == layout()
    monkeypatch.setattr(abi, "SIZES", {**abi.SIZES, "flow": abi.SIZES["flow"] + 8})
    assert before != layout()
