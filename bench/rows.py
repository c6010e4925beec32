# SPDX-License-Identifier: Apache-2.0
"""The packets whose way through the chain is measured: ``bench.chain``.

A row is a packet, what the connection was before it, and the rules it meets.
Requests are what curl sends, behind one that was answered already.
"""

import random
import string
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from bpfast.abi import EventMode, Slot
from bpfast.policy.rules import HeaderMatch, HttpRule, RuleSet

HOST = "10.255.255.254"
PATH = "/item/18"
LETTERS = b"@" * 8
"""In a payload: other letters in each repeat, so that the head has never come before."""
BODY_BYTES = 1448
HEAD_BYTES = 600
HEADER_LINES = 20
URLS_ASKED = 20
REPEAT = 100_000
REPEAT_WITH_EVENTS = 1000
"""Fewer than the chain reports in a second (EVENTS_A_SECOND), and fewer than the ring holds."""
_FRESH = f"X-Request-Id: {LETTERS.decode()}"

_REQUEST_WAY = (Slot.FLOW, Slot.HTTP)


@dataclass(frozen=True, slots=True)
class Row:
    """A packet to measure; with several ``payloads`` the figure is over all of them.

    ``way`` are the stages it goes through behind ENTRY; no rules: its port is
    not inspected. ``earlier`` is a request that was answered before, ``before``
    is sent behind it and acknowledged.
    """

    name: str
    payloads: tuple[bytes, ...]
    rules: RuleSet | None
    way: tuple[Slot, ...] = _REQUEST_WAY
    earlier: bytes = b""
    before: tuple[bytes, ...] = ()
    requests: int = 1
    event_mode: EventMode = EventMode.NONE
    timing: bool = False
    repeat: int = field(default=REPEAT)


def get(path: str = PATH, *lines: str, method: str = "GET") -> bytes:
    """Return a request as curl sends it; ``lines`` are further header lines."""
    head = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", "User-Agent: curl/7.88.1", "Accept: */*"]
    return "\r\n".join([*head, *lines, "", ""]).encode()


def allowing(*paths: str, method: str = "GET") -> RuleSet:
    """Return a rule for each path."""
    return RuleSet(tuple(HttpRule(f"rule{n}", method=method, path=path) for n, path in enumerate(paths)))


def urls(number: int) -> tuple[str, ...]:
    """Return random paths of 10 to 50 bytes, all different, the same in each run."""
    chance = random.Random(number)  # noqa: S311 - no secret
    letters = string.ascii_lowercase + string.digits + "/"
    found: dict[str, None] = {}
    while len(found) < number:
        size = chance.randrange(10, 51)
        path = "/" + "".join(chance.choice(letters) for _ in range(size - 1))
        if "//" not in path:
            found[path] = None
    return tuple(found)


def _many_urls(number: int) -> Iterator[Row]:
    paths = urls(number)
    asked = sorted(paths[:: number // URLS_ASKED], key=len)
    requests = tuple(get(url) for url in asked)
    row = Row(f"GET, {number:,} random URLs", requests, allowing(*paths), earlier=requests[0])
    yield row
    fresh = tuple(get(url, _FRESH) for url in asked)
    yield replace(row, name=f"{row.name}, new each time", payloads=fresh)


def _long_head() -> bytes:
    """Return a head of HEAD_BYTES bytes with HEADER_LINES header lines (curl's three among them)."""
    lines = [f"X-Ordinary-{n:02}: value" for n in range(HEADER_LINES - 3)]
    lines[0] = _FRESH
    lines[-1] += "x" * (HEAD_BYTES - len(get(PATH, *lines)))
    return get(PATH, *lines)


def _header_rules() -> RuleSet:
    names = ("X-Team", "X-Stage", "X-Token")
    return RuleSet(
        tuple(
            HttpRule(f"rule{n}", method="GET", path=PATH, headers=(HeaderMatch(name, "blue"),))
            for n, name in enumerate(names)
        )
    )


def rows() -> Iterator[Row]:
    """Yield every row, in the order of the table."""
    one = allowing(PATH)
    plain = Row("GET of curl", (get(),), one, earlier=get())
    upload = get(PATH, "Content-Length: 1000000000", method="POST")
    yield Row("not inspected, allowed at layer 4", (get(),), None, way=(Slot.HEADER,), requests=0)
    yield Row("ACK of a known flow", (b"",), one, way=(Slot.FLOW,), earlier=get(), requests=0)
    yield plain
    yield replace(plain, name="GET of curl, new each time", payloads=(get(PATH, _FRESH),))
    yield from _many_urls(1000)
    name = f"head of {HEAD_BYTES} bytes, {HEADER_LINES} lines"
    yield replace(plain, name=f"{name}, new each time", payloads=(_long_head(),))
    token = get(PATH, "X-Token: blue")
    yield Row("GET, 3 header rules, the last fits", (token,), _header_rules(), earlier=token)
    yield Row(
        f"body, {BODY_BYTES:,} bytes of a known length",
        (bytes(BODY_BYTES),),
        allowing(PATH, method="GET|POST"),
        earlier=get(),
        before=(upload,),
        requests=0,
    )
    yield replace(plain, name="GET of curl, timing", timing=True)
    events = replace(plain, event_mode=EventMode.ALL, repeat=REPEAT_WITH_EVENTS)
    yield replace(events, name="GET of curl, events")
    yield replace(events, name="GET of curl, events, timing", timing=True)
