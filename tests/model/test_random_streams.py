# SPDX-License-Identifier: Apache-2.0
"""What ``tests.model.random_streams`` does with a difference, shown by an engine that is wrong on purpose."""

from collections.abc import Iterator, Sequence

import pytest

from bpfast.controller.verdict.engine import Case, Engine, Session
from bpfast.controller.verdict.judge import engine_named
from bpfast.model.judgement import Judgement
from tests.model.agreement import SETTINGS, Engines
from tests.model.random_streams import Count, compare, described
from tests.model.shrink import shrunk

WRONG = b"\r\nX-A: 2"


class WrongSession:
    """Says what the model says, but where WRONG is in the stream."""

    def __init__(self, right: Session) -> None:
        """Take the session that is right."""
        self._right = right
        self.l34 = right.l34
        self.refused = right.refused

    def judge(self, segments: Sequence[bytes]) -> Judgement:
        """Judge one stream."""
        return Judgement("incomplete") if WRONG in b"".join(segments) else self._right.judge(segments)


class WrongEngine:
    """The model with an error."""

    def __init__(self) -> None:
        """Take a model."""
        self._model: Engine = engine_named("model")

    def open(self, case: Case) -> WrongSession:
        """Return the wrong session of a case."""
        return WrongSession(self._model.open(case))

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def engines() -> Iterator[Engines]:
    """The model, and one that is wrong."""
    with Engines(WrongEngine()) as both:
        yield both


def test_a_difference_is_found_and_can_be_seen_again(engines: Engines) -> None:
    """What differs is counted, and its number alone gives it again."""
    count, again = Count(), Count()
    compare(engines, 5, range(2000), count)
    first = min(int(str(difference.name)) for difference in count.differences)
    compare(engines, 5, range(first, first + 1), again)

    assert 2000 == count.streams
    assert [difference for difference in count.differences if difference.name == first] == again.differences
    assert f"--seed 5 --first {first} --streams 1" in described(engines, 5, again.differences[0])


def test_a_difference_is_made_smaller(engines: Engines) -> None:
    """What is left of a long stream in pieces is what makes the difference."""
    pieces = (b"GET /a HTTP/1.1\r\nHost: a\r\nX-", b"A: 2", b"\r\nX-B: y z\r\n\r\n", b"GET /a")
    (found,) = engines.differences(SETTINGS[0], [("long", pieces)])

    assert (WRONG,) == shrunk(engines, found).segments
