# SPDX-License-Identifier: Apache-2.0
"""What becomes of the requests on a connection whose peer and port are inspected.

Everything that the client sends is one text; where it was cut into segments says
nothing. A request's head is read, a rule is looked for, the body is passed over
by its length or its chunks, and so on. The first denial is the end; a request
that is allowed is denied after all where its chunks are malformed.
"""

from collections.abc import Sequence
from typing import Final

from bpfast.abi import Reason
from bpfast.model.chunks import end_of_chunks
from bpfast.model.cursor import Cursor, Refused, Unfinished
from bpfast.model.header_lines import Headers, read_headers
from bpfast.model.judgement import Judgement, Request
from bpfast.model.regex import fullmatch
from bpfast.model.request_line import RequestLine, read_request_line
from bpfast.policy.rules import HeaderMatch, HttpRule, RuleSet

_AFTER_CLOSE: Final = Request("deny", None, None, None, Reason.AFTER_CLOSE.name.lower())


def judge(rules: RuleSet, segments: Sequence[bytes]) -> Judgement:
    """Return what becomes of a connection whose client sends ``segments``, if ``rules`` apply to it."""
    stream = b"".join(segments)
    asked = frozenset(_header_name(match) for rule in rules.rules for match in rule.headers)
    requests: list[Request] = []
    at, closed = 0, False
    while at < len(stream):
        if closed:
            return Judgement("deny", (*requests, _AFTER_CLOSE))
        cursor = Cursor(stream, at)
        try:
            rule, headers = _rule_and_headers(rules, asked, cursor)
        except Refused as refused:
            return Judgement("deny", (*requests, _denied(stream, at, refused.reason)))
        except Unfinished:
            return Judgement("incomplete", tuple(requests))
        method, path = _as_sent(stream, at)
        requests.append(Request("allow", method, path, rule.name, Reason.RULE.name.lower()))
        begun, at, closed = at, cursor.at + headers.length, headers.closes
        if headers.chunked:
            try:
                at = end_of_chunks(stream, at)
            except Refused as refused:
                return Judgement("deny", (*requests, _denied(stream, begun, refused.reason)))
            except Unfinished:
                return Judgement("incomplete", tuple(requests))
    return Judgement("allow" if at == len(stream) else "incomplete", tuple(requests))


def _rule_and_headers(rules: RuleSet, asked: frozenset[bytes], cursor: Cursor) -> tuple[HttpRule, Headers]:
    """Read a head; return the first rule that it satisfies, and what its header lines say."""
    line = read_request_line(cursor)
    candidates = [rule for rule in rules.rules if _fits_line(rule, line)]
    if not candidates:
        raise Refused(Reason.NO_RULE)
    headers = read_headers(cursor, asked)
    for rule in candidates:
        if _fits_headers(rule, headers):
            return rule, headers
    raise Refused(Reason.NO_RULE)


def _fits_line(rule: HttpRule, line: RequestLine) -> bool:
    return _fits(rule.method, line.method) and _fits(rule.path, line.target)


def _fits_headers(rule: HttpRule, headers: Headers) -> bool:
    return _fits(rule.host, headers.values[b"host"]) and all(
        _is_met(match, headers.values.get(_header_name(match))) for match in rule.headers
    )


def _fits(pattern: str | None, text: bytes) -> bool:
    return pattern is None or fullmatch(pattern, text)


def _is_met(match: HeaderMatch, value: bytes | None) -> bool:
    return value is not None and (match.value is None or match.value.encode() == value)


def _header_name(match: HeaderMatch) -> bytes:
    # bytes.lower() folds ASCII only, as names of headers do.
    return match.name.encode().lower()


def _denied(stream: bytes, at: int, reason: Reason) -> Request:
    method, path = _as_sent(stream, at)
    return Request("deny", method, path, None, reason.name.lower())


def _as_sent(stream: bytes, at: int) -> tuple[str | None, str | None]:
    """Return what stands before the first and before the second blank of the line that begins here."""
    end = stream.find(b"\r\n", at)
    line = stream[at : end if end >= 0 else len(stream)]
    method, _, rest = line.partition(b" ")
    path, _, _ = rest.partition(b" ")
    return method.decode("latin-1") or None, path.decode("latin-1") or None
