# SPDX-License-Identifier: Apache-2.0
"""Lines that a run prints: stable, since other tools read them."""

import io
import json
import struct
import time
from ipaddress import IPv4Address

import pytest

from bpfast import abi
from bpfast.abi import Direction, Reason, Verdict
from bpfast.controller.report import Reporter
from tests.controller.scenes import (
    API,
    CLIENT_ADDRESS,
    GET_PUBLIC,
    INSPECT,
    STRANGER_ADDRESS,
    WEB,
    policy,
    wanted,
)

HEAD = b"GET /public?x=%41 HTTP/1.1\r\nHost: shop\r\n\r\n"
RULE_SET = 4
RULE_NAME = "default/web-80 spec.ingress[0].toPorts[0].rules.http[0]"
FIELDS = [
    "event", "time", "endpoint", "direction", "peer", "peer_port", "port", "method", "path", "host",
    "verdict", "rule", "reason",
]  # fmt: skip
_EVENT = struct.Struct("=QQ16sIIIIIHHBBHI512s")
_RESPONSE = struct.Struct("=QQ16sIIHHHH")


def event(
    head: bytes = HEAD,
    *,
    peer: IPv4Address = CLIENT_ADDRESS,
    rule: int | None = 0,
    verdict: Verdict = Verdict.ALLOW,
    **more: int,
) -> bytes:
    """Return what the kernel sends; ``more``: reason, nanoseconds, endpoint, rule_set, direction."""
    return _EVENT.pack(
        time.monotonic_ns(),
        more.get("nanoseconds", 0),
        abi.pack_address(peer),
        more.get("endpoint", 1),
        more.get("rule_set", RULE_SET),
        9,
        abi.RULE_NONE if rule is None else rule,
        0,
        40000,
        80,
        verdict,
        more.get("reason", Reason.RULE),
        len(head),
        more.get("direction", Direction.INGRESS),
        head,
    )


def response(**more: int) -> bytes:
    """Return what the kernel sends of an answer; ``more``: any number of it."""
    return _RESPONSE.pack(
        time.monotonic_ns(),
        1_234_567,
        abi.pack_address(CLIENT_ADDRESS),
        more.get("endpoint", 1),
        more.get("offset", 0),
        more.get("peer_port", 40000),
        more.get("port", 80),
        more.get("status", 200),
        more.get("direction", Direction.INGRESS),
    )


class Printed:
    """A reporter and what it has printed."""

    def __init__(self, *, as_json: bool) -> None:
        """Know the endpoint 1 and the rule set of INSPECT."""
        self.out, self.err = io.StringIO(), io.StringIO()
        self.reporter = Reporter(self.out, self.err, as_json=as_json)
        found = wanted(INSPECT)
        (rules,) = found.images
        self.reporter.learn(found, {rules: RULE_SET}, {1: WEB})

    @property
    def lines(self) -> list[str]:
        """Lines on stdout."""
        return self.out.getvalue().splitlines()

    def fields(self) -> dict[str, object]:
        """Return the one JSON line on stdout."""
        (line,) = self.lines
        found: dict[str, object] = json.loads(line)
        return found


@pytest.fixture
def text() -> Printed:
    """A reporter for people."""
    return Printed(as_json=False)


@pytest.fixture
def as_json() -> Printed:
    """A reporter for programs."""
    return Printed(as_json=True)


def test_ready(text: Printed, as_json: Printed) -> None:
    """Ready says how much is enforced."""
    text.reporter.ready(endpoints=2, rules=7)
    as_json.reporter.ready(endpoints=2, rules=7)
    assert ["ready: 2 endpoints, 7 HTTP rules"] == text.lines
    assert {"event": "ready", "endpoints": 2, "rules": 7} == as_json.fields()


def test_losses(text: Printed, as_json: Printed) -> None:
    """Losses are counted, and no loss is no line."""
    for printed in (text, as_json):
        printed.reporter.lost(0)
        printed.reporter.lost(3)
    assert ["lost: 3 events over the rate"] == text.lines
    assert {"event": "lost", "count": 3} == as_json.fields()


def test_errors(text: Printed, as_json: Printed) -> None:
    """An error is on stderr, and for programs among the events too."""
    for printed in (text, as_json):
        printed.reporter.error("no")
        assert "no\n" == printed.err.getvalue()
    assert [] == text.lines
    assert {"event": "error", "message": "no"} == as_json.fields()


def test_an_allowed_request(as_json: Printed) -> None:
    """A verdict has the fields of the contract in its order; names stand for all numbers."""
    before = time.time()
    as_json.reporter.events([event()])
    fields = as_json.fields()
    assert FIELDS == list(fields)
    moment = fields.pop("time")
    assert isinstance(moment, float)
    assert before - 1 < moment < time.time() + 1
    assert {
        "event": "verdict",
        "endpoint": "default/web",
        "direction": "ingress",
        "peer": "default/client",
        "peer_port": 40000,
        "port": 80,
        "method": "GET",
        "path": "/public?x=%41",
        "host": "shop",
        "verdict": "allow",
        "rule": RULE_NAME,
        "reason": "rule",
    } == fields


def test_a_request_that_the_endpoint_sends(as_json: Printed) -> None:
    """Of a connection out the peer is the server, so its port is the server's."""
    as_json.reporter.events([event(direction=Direction.EGRESS)])
    fields = as_json.fields()
    assert ["egress", 80, 80] == [fields[name] for name in ("direction", "peer_port", "port")]


def test_an_answer(as_json: Printed) -> None:
    """An answer has its own line, with the method and path of its request; it is told once with them."""
    as_json.reporter.events([event(), response(), response()])
    _verdict, first, second = (json.loads(line) for line in as_json.lines)
    moment = first.pop("time")
    assert time.time() - 1 < moment < time.time() + 1
    assert {
        "event": "response",
        "endpoint": "default/web",
        "direction": "ingress",
        "peer": "default/client",
        "peer_port": 40000,
        "port": 80,
        "method": "GET",
        "path": "/public?x=%41",
        "status": 200,
        "ttfb_ns": 1_234_567,
    } == first
    assert ["event", "time"] == list(second)[:2]
    assert [None, None, 200] == [second[name] for name in ("method", "path", "status")]


@pytest.mark.parametrize("other", ({"offset": 1}, {"endpoint": 2}, {"peer_port": 40001}, {"port": 81}))
def test_an_answer_to_another_request(as_json: Printed, other: dict[str, int]) -> None:
    """Connection and offset name the request; of one that was not reported nothing is made up."""
    as_json.reporter.events([event(), response(**other)])
    answer = json.loads(as_json.lines[1])
    assert [None, None] == [answer["method"], answer["path"]]


def test_an_answer_that_the_endpoint_gets(as_json: Printed) -> None:
    """Of a connection out the peer is the server, so its port is the server's."""
    as_json.reporter.events([response(direction=Direction.EGRESS)])
    fields = as_json.fields()
    assert ["egress", 80, 80] == [fields[name] for name in ("direction", "peer_port", "port")]


def test_answers_as_text(text: Printed) -> None:
    """A line for people: when, what status, who to whom, the request and how long."""
    text.reporter.events([event(), response(), response(status=0)])
    assert [
        "200   default/client -> default/web:80 GET /public?x=%41 (after 1.235 ms)",
        "-     default/client -> default/web:80 - - (after 1.235 ms)",
    ] == [line.split(" ", 1)[1] for line in text.lines[1:]]


def test_a_status_that_came_in_pieces_is_null(as_json: Printed) -> None:
    """The status is null where it is not known."""
    as_json.reporter.events([response(status=0)])
    assert None is as_json.fields()["status"]


def test_warnings(text: Printed, as_json: Printed) -> None:
    """What a policy says and is not done is on stderr, and for programs among the events too."""
    for printed in (text, as_json):
        printed.reporter.warning("default/p", "spec.ingress[0]", "no")
        assert "warning: default/p: spec.ingress[0]: no\n" == printed.err.getvalue()
    assert [] == text.lines
    expected = {"event": "warning", "policy": "default/p", "path": "spec.ingress[0]", "reason": "no"}
    assert expected == as_json.fields()


def test_a_denied_connection(as_json: Printed) -> None:
    """Without a head there is no method, path or host; a stranger is named by its address."""
    denied = event(b"", peer=STRANGER_ADDRESS, rule=None, verdict=Verdict.DENY, reason=Reason.L4_DENIED)
    as_json.reporter.events([denied])
    fields = as_json.fields()
    assert FIELDS == list(fields)
    assert [None] * 4 == [fields[name] for name in ("method", "path", "host", "rule")]
    assert ["192.0.2.9", "deny", "l4_denied"] == [fields[name] for name in ("peer", "verdict", "reason")]


def test_nanoseconds_only_with_timing(as_json: Printed) -> None:
    """The time in the chain is there when it was taken."""
    as_json.reporter.events([event(nanoseconds=1234)])
    fields = as_json.fields()
    assert [*FIELDS, "ns"] == list(fields)
    assert 1234 == fields["ns"]


def test_a_rule_that_nobody_knows_has_no_name(as_json: Printed) -> None:
    """A verdict of a table that is not known is reported all the same."""
    as_json.reporter.events([event(rule_set=RULE_SET + 1)])
    assert None is as_json.fields()["rule"]


def test_equal_rules_of_two_policies_keep_their_names(as_json: Printed) -> None:
    """One table may serve two endpoints: each verdict names the rule of its own endpoint's policy."""
    found = wanted(INSPECT, policy("api", GET_PUBLIC))
    as_json.reporter.learn(found, dict.fromkeys(found.images, RULE_SET), {1: WEB, 2: API})
    as_json.reporter.events([event(), event(endpoint=2)])
    names = [json.loads(line)["rule"] for line in as_json.lines]
    assert [RULE_NAME, RULE_NAME.replace("web", "api")] == names


def test_an_endpoint_that_nobody_knows_is_a_number(as_json: Printed) -> None:
    """A verdict of an endpoint that has just gone is reported by its number."""
    as_json.reporter.events([event(endpoint=9)])
    assert "9" == as_json.fields()["endpoint"]


def test_verdicts_as_text(text: Printed) -> None:
    """A line for people: when, what, who to whom, the request and why."""
    denied = event(b"", peer=STRANGER_ADDRESS, rule=None, verdict=Verdict.DENY, reason=Reason.L4_DENIED)
    text.reporter.events([event(), denied])
    times, lines = zip(*(line.split(" ", 1) for line in text.lines), strict=True)
    assert all(time.strptime(moment, "%H:%M:%S") for moment in times)
    assert (
        "allow default/client -> default/web:80 GET /public?x=%41 (rule)",
        "deny  192.0.2.9 -> default/web:80 - - (l4_denied)",
    ) == lines
