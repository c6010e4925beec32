# SPDX-License-Identifier: Apache-2.0
"""Header lines up to the empty line (RFC 9112 section 5), strictly: what they say about host and body.

Headers that servers read differently are refused: what is folded, what frames the
body in two ways, what comes twice and is asked for by a rule. Bytes are judged as
they come, a line as such (empty where it may not be, the second of its name, the
101st) at its end.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from bpfast.abi import MAX_CONTENT_LENGTH, MAX_HEADER_LINES, Reason
from bpfast.model.cursor import CR, LF, Cursor, Refused

_BLANKS: Final = b" \t"
_NAME: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+\-.^_`|~]*")
_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_BEGUN_HOST: Final = re.compile(rb"[\t ]*[A-Za-z0-9.\-_~!$&'()*+;=:\[\]%]*[\t ]*")
_BEGUN_LENGTH: Final = re.compile(rb"[\t ]*[0-9]*[\t ]*")
_MOST_DIGITS: Final = len(str(MAX_CONTENT_LENGTH))
# A server behind a gateway may read the underscore as a dash.
_FRAMING_MISSPELT: Final = (b"content_length", b"transfer_encoding")

# What a second line of the same name is refused for.
_ONCE: Final = {
    b"host": Reason.BAD_HOST,
    b"content-length": Reason.BAD_CONTENT_LENGTH,
    b"expect": Reason.BAD_EXPECT,
    b"transfer-encoding": Reason.BAD_TRANSFER_ENCODING,
}
_LENGTHS: Final = {b"content-length", b"transfer-encoding"}
Check = Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Headers:
    """What the header lines say.

    ``values`` by name in lower case, without blanks around them; of a name that
    comes twice, the last. ``length`` is the body's, in bytes, or ``chunked``: the
    body says itself where it ends. ``closes``: no request follows.
    """

    values: Mapping[bytes, bytes]
    length: int
    closes: bool
    chunked: bool


def read_headers(cursor: Cursor, asked: Collection[bytes]) -> Headers:
    """Read all header lines and the empty one. ``asked``: names, in lower case, that may come once."""
    values: dict[bytes, bytes] = {}
    closes, lines = False, 0
    while cursor.next() != CR:
        name = _name(cursor)
        value = _value(cursor, name)
        lines += 1
        if lines > MAX_HEADER_LINES:
            raise Refused(Reason.TOO_MANY_HEADERS)
        if name in values and (name in _ONCE or name in asked):
            raise Refused(_ONCE.get(name, Reason.REPEATED_HEADER))
        if name in _LENGTHS and not _LENGTHS.isdisjoint(values):
            raise Refused(Reason.BAD_CONTENT_LENGTH)  # both: servers differ in which they believe
        values[name] = value
        closes |= name == b"connection" and _has_close(value)
    cursor.line_end(Reason.BAD_LINE_END)
    if b"host" not in values:
        raise Refused(Reason.MISSING_HOST)
    length = int(values.get(b"content-length", b"0").lstrip(b"0") or b"0")
    return Headers(values, length, closes, b"transfer-encoding" in values)


def _name(cursor: Cursor) -> bytes:
    """Read a name and its colon; return it in lower case."""
    if cursor.next() in _BLANKS:
        raise Refused(Reason.FOLDED_HEADER)
    if cursor.next() == LF:
        raise Refused(Reason.BAD_LINE_END)
    name = cursor.run(_NAME).lower()
    if not name:
        raise Refused(Reason.BAD_HEADER_NAME)
    cursor.expect(b":", Reason.BAD_HEADER_NAME)
    if name in _FRAMING_MISSPELT:
        raise Refused(Reason.BAD_HEADER_NAME)
    if name == b"upgrade":
        raise Refused(Reason.UPGRADE)
    return name


def _value(cursor: Cursor, name: bytes) -> bytes:
    """Read a value and its line end; return it without the blanks around it."""
    raw = cursor.run(_VALUE)
    begun, whole, reason = _CHECKS.get(name, _ANYTHING)
    if not begun(raw):
        raise Refused(reason)
    cursor.line_end(Reason.BAD_HEADER_VALUE)
    value = raw.strip(_BLANKS)
    if not whole(value):
        raise Refused(reason)
    return value


def _has_close(value: bytes) -> bool:
    return any(member.strip(_BLANKS).lower() == b"close" for member in value.split(b","))


def _is_host_so_far(raw: bytes) -> bool:
    return _BEGUN_HOST.fullmatch(raw) is not None


def _is_length_so_far(raw: bytes) -> bool:
    if not _BEGUN_LENGTH.fullmatch(raw):
        return False
    digits = raw.strip(_BLANKS).lstrip(b"0")
    return len(digits) <= _MOST_DIGITS and int(digits or b"0") <= MAX_CONTENT_LENGTH


def _is_word_so_far(word: bytes) -> Check:
    """Return a check whether a raw value, as far as it goes, can become ``word`` in any case."""

    def check(raw: bytes) -> bool:
        text = raw.lstrip(_BLANKS).lower()
        return word.startswith(text) or text.rstrip(_BLANKS) == word

    return check


def _is_chunked_so_far(raw: bytes) -> bool:
    return b"chunked".startswith(raw.lstrip(b" "))


def _is_chunked(value: bytes) -> bool:
    return value == b"chunked"


def _is_word(word: bytes) -> Check:
    return lambda value: value.lower() == word


# By name: what the value may be as far as it was read, what it must be as a whole, and the reason if not.
_ANYTHING: Final[tuple[Check, Check, Reason]] = (lambda _: True, lambda _: True, Reason.NONE)
_CHECKS: Final[Mapping[bytes, tuple[Check, Check, Reason]]] = {
    b"host": (_is_host_so_far, bool, Reason.BAD_HOST),
    b"content-length": (_is_length_so_far, bool, Reason.BAD_CONTENT_LENGTH),
    b"expect": (_is_word_so_far(b"100-continue"), _is_word(b"100-continue"), Reason.BAD_EXPECT),
    b"transfer-encoding": (
        _is_chunked_so_far,
        lambda value: value == b"chunked",
        Reason.BAD_TRANSFER_ENCODING,
    ),
}
