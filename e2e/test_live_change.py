# SPDX-License-Identifier: Apache-2.0
"""Ten changes of the policy a second, under load: a sample of ``make soak``."""

import pytest

from e2e.live import Timeline, changed_under_load
from e2e.scene import Scene
from e2e.servers import Nginx

SECONDS = 5
NEEDED = (
    "kept: allowed",
    "pipelined: allowed",
    "cut heads: allowed",
    "never: denied",
    "never, kept: not allowed",
    "depending: only one verdict possible",
)


@pytest.mark.slow
def test_no_change_makes_a_wrong_verdict(scene: Scene, web: Nginx) -> None:
    """Nothing denied arrives, nothing allowed is denied or lost, and no map has more entries in the end."""
    figures = changed_under_load(scene, web, SECONDS)
    print("\n".join(figures.lines()))  # noqa: T201 - shown when it fails, and by -s

    assert {} == figures.wrong
    assert [] == [name for name in NEEDED if not figures.seen[name]]


def test_a_verdict_is_held_against_what_was_in_force() -> None:
    """The verdicts that are possible are those of policies between their writing and a later one's force."""
    timeline = Timeline([0.0, 10.0, 20.0], {0: 0.0, 1: 12.0, 2: 22.0})

    assert {True} == timeline.allowed("even", 1.0, 2.0)
    assert {False} == timeline.allowed("odd", 1.0, 2.0)
    assert {True, False} == timeline.allowed("even", 9.0, 11.0)
    assert {False} == timeline.allowed("even", 13.0, 19.0)
    assert {True, False} == timeline.allowed("odd", 19.0, 21.0)
    assert {True} == timeline.allowed("even", 23.0, 24.0)
    assert [2.0, 2.0] == timeline.delays()


def test_an_overtaken_change_may_have_been_in_force() -> None:
    """Of a change that was never reported nobody knows, until a later one is in force."""
    timeline = Timeline([0.0, 10.0, 11.0], {0: 0.0, 2: 20.0})

    assert {True, False} == timeline.allowed("even", 15.0, 16.0)
    assert {True} == timeline.allowed("even", 21.0, 22.0)
