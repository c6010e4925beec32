# SPDX-License-Identifier: Apache-2.0
"""Requests that wait for their answers: each is found once, and they cannot become too many."""

from ipaddress import IPv4Address

from bpfast.abi import Direction, Reason, Verdict
from bpfast.events.asked import Asked, Request
from bpfast.events.response import ResponseEvent
from bpfast.events.verdict import VerdictEvent

PEER = IPv4Address("10.0.0.1")


def request(number: int, *, verdict: Verdict = Verdict.ALLOW, path: str = "/a") -> VerdictEvent:
    """Return the verdict on the request at this offset."""
    return VerdictEvent(
        time=1,
        nanoseconds=0,
        peer=PEER,
        peer_port=40000,
        endpoint=1,
        port=80,
        rule_set=0,
        serial=1,
        rule=0,
        offset=number,
        verdict=verdict,
        reason=Reason.RULE,
        direction=Direction.INGRESS,
        head=f"GET {path} HTTP/1.1\r\n\r\n".encode(),
    )


def answer(number: int) -> ResponseEvent:
    """Return the answer to the request at this offset."""
    return ResponseEvent(2, 1, PEER, 40000, 1, 80, number, 200, Direction.INGRESS)


def test_a_request_is_found_once() -> None:
    """The first answer has the request, a second has none."""
    asked = Asked()
    asked.keep(request(5))

    assert Request("GET", "/a") == asked.take(answer(5))
    assert Request(None, None) == asked.take(answer(5))


def test_a_denied_request_has_no_answer() -> None:
    """Only requests that passed are kept."""
    asked = Asked()
    asked.keep(request(5, verdict=Verdict.DENY))

    assert Request(None, None) == asked.take(answer(5))


def test_the_oldest_goes_first() -> None:
    """More than so many are not kept; one that comes again is the newest."""
    asked = Asked(most=3)
    for number in (1, 2, 3):
        asked.keep(request(number))
    asked.keep(request(1, path="/again"))
    asked.keep(request(4))

    found = [asked.take(answer(number)).path for number in (1, 2, 3, 4)]
    assert ["/again", None, "/a", "/a"] == found
