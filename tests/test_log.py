# SPDX-License-Identifier: Apache-2.0
"""Logging: one JSON object a line for programs, laid out for people."""

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from bpfast.log import Event, logger, set_up


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.fixture(autouse=True)
def defaults() -> Iterator[None]:
    """What a test has configured ends with it."""
    yield
    structlog.reset_defaults()


def test_programs_get_json() -> None:
    """An event is one object with name, level, time and its keys."""
    stream = io.StringIO()
    set_up(stream)
    logger().info(Event.READY, endpoints=2)
    entry = json.loads(stream.getvalue())

    assert ("ready", "info", 2) == (entry["event"], entry["level"], entry["endpoints"])
    assert entry["timestamp"].endswith("Z")


def test_people_get_a_layout() -> None:
    """On a terminal an event is a line that is not JSON."""
    stream = Terminal()
    set_up(stream)
    logger().warning(Event.EVENTS_LOST, count=3)

    assert "events_lost" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_an_exception_is_data() -> None:
    """A traceback is a part of the object, not lines of its own."""
    stream = io.StringIO()
    set_up(stream)
    try:
        int("broken")
    except ValueError:
        logger().exception(Event.DETACH_FAILED)
    (line,) = stream.getvalue().splitlines()

    assert json.loads(line)["exception"][0]["exc_type"] == "ValueError"


def test_names_are_snake_case() -> None:
    """Names of events are words joined by underscores, as their constants are."""
    assert [event.value for event in Event] == [event.name.lower() for event in Event]
