# SPDX-License-Identifier: Apache-2.0
"""Logging: events are names with keys, on stderr; stdout belongs to results.

On a terminal a person reads them, so they are laid out; otherwise each is one
JSON object a line. The names are listed in :class:`Event`, so that whoever
reads the log by program finds all of them in one place.
"""

import sys
from enum import StrEnum
from typing import TextIO

import structlog


class Event(StrEnum):
    """The name of every event that is logged, with the keys that it has."""

    ADDRESSES_CHANGED = "addresses_changed"
    ATTACHED = "attached"  # endpoint, hook, interface
    DETACHED = "detached"  # endpoint
    DETACH_FAILED = "detach_failed"  # endpoint, error
    ENDPOINT_REFUSED = "endpoint_refused"  # endpoint, error
    EVENTS_LOST = "events_lost"  # count
    FILE_CHANGED = "file_changed"  # path
    INPUT_REFUSED = "input_refused"  # faults
    OBJECT_PASSED_OVER = "object_passed_over"  # file, line, kind, name
    PINS_KEPT = "pins_kept"  # directory
    PINS_TAKEN_OVER = "pins_taken_over"  # directory, endpoints
    POLICY_LOADED = "policy_loaded"  # policies, rules, milliseconds
    POLICY_REFUSED = "policy_refused"  # policy, path, reason
    READY = "ready"  # endpoints, rules
    RULE_REFUSED = "rule_refused"  # rule, reason
    STOPPING = "stopping"  # signal


def set_up(stream: TextIO | None = None) -> None:
    """Send all events to ``stream`` (stderr): laid out on a terminal, else as JSON."""
    output = sys.stderr if stream is None else stream
    timestamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    before: list[structlog.typing.Processor] = [structlog.contextvars.merge_contextvars]
    before += [structlog.processors.add_log_level, timestamp]
    if output.isatty():
        before.append(structlog.dev.ConsoleRenderer())
    else:
        before += [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=before,
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        logger_factory=structlog.PrintLoggerFactory(output),
        cache_logger_on_first_use=False,
    )


def logger() -> structlog.typing.FilteringBoundLogger:
    """Return a logger; ``logger().info(Event.READY, endpoints=2)``."""
    bound: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return bound
