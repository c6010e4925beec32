# SPDX-License-Identifier: Apache-2.0
"""The table of the demo, and when it calls something wrong."""

import pytest

from e2e.demo import REQUESTS, Request, Row, table

RULE = "demo/get-public spec.ingress[0].toPorts[0].rules.http[0]"


def row(*, allowed: bool, verdict: str, status: int, logged: str) -> Row:
    """Return a row of the table."""
    event = {"verdict": verdict, "rule": RULE if verdict == "allow" else None, "reason": "no_rule", "ns": 120}
    return Row(Request("GET", "/a", allowed=allowed), event, status, logged)


@pytest.mark.parametrize(
    ("allowed", "verdict", "status", "logged", "expected"),
    (
        (True, "allow", 200, "200 GET /a", True),
        (False, "deny", 403, "", True),
        (True, "deny", 403, "", False),
        (True, "allow", 0, "", False),
        (False, "deny", 403, "200 GET /a", False),
        (False, "deny", 0, "", False),
        (False, "allow", 200, "200 GET /a", False),
    ),
)
def test_kernel_client_and_server_must_agree(
    *, allowed: bool, verdict: str, status: int, logged: str, expected: bool
) -> None:
    """A request is as expected when all three saw what the policy says."""
    assert expected == row(allowed=allowed, verdict=verdict, status=status, logged=logged).as_expected


def test_the_table_names_policy_and_reason() -> None:
    """An allowed request shows its policy, a denied one its reason, and missing things are dashes."""
    rows = [
        row(allowed=True, verdict="allow", status=200, logged="200 GET /a"),
        row(allowed=False, verdict="deny", status=0, logged=""),
    ]

    assert table([each.cells() for each in rows]).splitlines() == [
        "way       request  verdict            status  server's log  ns",
        "--------  -------  -----------------  ------  ------------  ---",
        "into web  GET /a   allow: get-public  200     200 GET /a    120",
        "into web  GET /a   deny: no_rule      none    -             120",
    ]


def test_the_demo_shows_both_outcomes_both_ways() -> None:
    """Allowed and denied requests, in one piece and in single bytes, into a pod and out of one."""
    assert {(request.way, request.allowed, request.crumbs) for request in REQUESTS} == {
        ("into web", True, False),
        ("into web", False, False),
        ("into web", True, True),
        ("into web", False, True),
        ("out of cart", True, False),
        ("out of cart", False, False),
    }
