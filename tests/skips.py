# SPDX-License-Identifier: Apache-2.0
"""A pytest plugin (``-p tests.skips``): a test that was skipped fails the run.

Unless its node id stands in ``tests/allowed-skips.txt``, with the reason behind
a ``#``. An entry that was not skipped fails the run too, so that the list
cannot grow old.
"""

import os
from pathlib import Path

import pytest

LIST_VARIABLE = "BPFAST_ALLOWED_SKIPS"
_LIST = Path(__file__).with_name("allowed-skips.txt")


def allowed_skips() -> set[str]:
    """Return the node ids that may be skipped."""
    text = Path(os.environ.get(LIST_VARIABLE, _LIST)).read_text()
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return {line for line in lines if line}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which skips are not allowed, and which allowed ones are no skips any more."""
    allowed = allowed_skips()
    skipped = {str(report.nodeid) for report in terminalreporter.stats.get("skipped", [])}
    ran = {
        str(report.nodeid) for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])
    }
    for name in sorted(skipped - allowed):
        terminalreporter.write_line(f"NOT ALLOWED TO BE SKIPPED {name}", red=True)
    for name in sorted(allowed & ran):
        terminalreporter.write_line(f"NOT SKIPPED ANY MORE, take it off the list {name}", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn a green run with a skip that is not allowed, or a list that is old, into a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or session.exitstatus != pytest.ExitCode.OK:
        return
    allowed = allowed_skips()
    skipped = {str(report.nodeid) for report in reporter.stats.get("skipped", [])}
    ran = {str(report.nodeid) for report in reporter.stats.get("passed", [])}
    if skipped - allowed or allowed & ran:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
