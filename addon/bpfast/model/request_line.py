# SPDX-License-Identifier: Apache-2.0
"""``METHOD SP target SP HTTP/1.1 CR LF``, strictly (RFC 9112 section 3), the path canonical.

Canonical is what Envoy would hand on unchanged: no empty segment, no dots, nothing
encoded that need not be and nothing bare that must be. All of it ends at the first
``?``: the query is bytes.
"""

import re
from dataclasses import dataclass
from typing import Final

from bpfast.abi import Reason
from bpfast.model.cursor import Cursor, Refused

METHODS: Final = (
    "ACL",
    "BIND",
    "CHECKOUT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LINK",
    "LOCK",
    "M-SEARCH",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MOVE",
    "NOTIFY",
    "OPTIONS",
    "PATCH",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "PUT",
    "REBIND",
    "REPORT",
    "SEARCH",
    "SOURCE",
    "SUBSCRIBE",
    "TRACE",
    "UNBIND",
    "UNLINK",
    "UNLOCK",
    "UNSUBSCRIBE",
)
"""What Envoy's parser knows, apart from CONNECT."""

_WORDS: Final[dict[bytes, Reason | None]] = {
    **{f"{method} ".encode(): None for method in METHODS},
    b"CONNECT ": Reason.CONNECT_METHOD,
    b"PRI ": Reason.HTTP2_PREFACE,
}
_BEGINNINGS: Final = frozenset(word[:length] for word in _WORDS for length in range(len(word) + 1))

_SPACE: Final = 0x20
_VISIBLE: Final = range(0x21, 0x7F)
# What may stand in a segment as it is; ';' apart, since servers cut a segment there.
_PLAIN: Final = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+,=:@\[\]]*")
_QUERY: Final = re.compile(rb"[!\"$-~]*")
_HEX: Final = b"0123456789ABCDEFabcdef"
# Unreserved characters (RFC 3986 section 2.3), and what Envoy refuses or answers by a redirect.
_NOT_ENCODED: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~" + b"/\\\0",
)


@dataclass(frozen=True, slots=True)
class RequestLine:
    """Method and target as sent, the query included."""

    method: bytes
    target: bytes


def read_request_line(cursor: Cursor) -> RequestLine:
    """Read the request line, its line end included."""
    method = _method(cursor)
    target = _target(cursor)
    cursor.expect(b"HTTP/1.1", Reason.BAD_VERSION)
    cursor.line_end(Reason.BAD_VERSION)
    return RequestLine(method, target)


def _method(cursor: Cursor) -> bytes:
    begun = b""
    while begun not in _WORDS:
        begun += cursor.take()
        if begun not in _BEGINNINGS:
            raise Refused(Reason.BAD_METHOD)
    reason = _WORDS[begun]
    if reason is not None:
        raise Refused(reason)
    return begun[:-1]


def _target(cursor: Cursor) -> bytes:
    """Read the target and the blank behind it."""
    cursor.expect(b"/", Reason.BAD_TARGET)
    target = b"/" + _path(cursor)
    if cursor.next() == ord("?"):
        target += cursor.run(_QUERY)
    cursor.expect(b" ", Reason.BAD_TARGET)
    return target


def _path(cursor: Cursor) -> bytes:
    """Read the segments behind the first slash, up to the blank or question mark that ends them."""
    path = b""
    while True:
        segment = _segment(cursor)
        path += segment
        ends = cursor.next()
        if ends in (_SPACE, ord("?")):
            return path
        if ends == ord("/") and segment:
            path += cursor.take()
        elif ends in _VISIBLE:
            raise Refused(Reason.BAD_PATH)
        else:
            raise Refused(Reason.BAD_TARGET)


def _segment(cursor: Cursor) -> bytes:
    """Read one segment: its name, and what stands behind the first ``;`` of it."""
    name = _bytes_of_segment(cursor)
    ends = cursor.next()
    if name in (b".", b"..") and ends in b" ?/;":
        raise Refused(Reason.BAD_PATH)
    rest = b""
    while cursor.next() == ord(";"):
        rest += cursor.take() + _bytes_of_segment(cursor)
    return name + rest


def _bytes_of_segment(cursor: Cursor) -> bytes:
    text = cursor.run(_PLAIN)
    while cursor.next() == ord("%"):
        text += _escape(cursor) + cursor.run(_PLAIN)
    return text


def _escape(cursor: Cursor) -> bytes:
    """Read ``%XX``, which must stand for a byte that is encoded by everybody."""
    text = cursor.take()
    for _ in range(2):
        byte = cursor.next()
        if byte not in _HEX:
            raise Refused(Reason.BAD_PATH if byte == _SPACE or byte in _VISIBLE else Reason.BAD_TARGET)
        text += cursor.take()
    if int(text[1:], 16) in _NOT_ENCODED:
        raise Refused(Reason.BAD_PATH)
    return text
