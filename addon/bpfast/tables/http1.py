# SPDX-License-Identifier: Apache-2.0
"""The strict grammar of an HTTP/1.1 request head, as step functions and patterns.

Strict because the server behind us may read a sloppy head differently: whatever
could be read in two ways is a fault with its own reason, at the byte that is
wrong. The reason is that of the element being read; ``BAD_LINE_END`` stands
where a line end is possible and only half of one came.

A step function takes a state and a byte and returns the next state or a Reason.
It is called once for each state and byte class while building, never for
traffic; so it may be as plain as the grammar's text.
"""

from enum import Enum
from functools import cache

from bpfast.abi import Reason
from bpfast.automata.syntax import parse
from bpfast.automata.tree import (
    Alternate,
    ByteMask,
    Concat,
    Empty,
    Node,
    OneByte,
    Repeat,
    literal,
    mask_of,
    mask_range,
)

METHODS = tuple(
    b"DELETE GET HEAD POST PUT CONNECT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH "
    b"SEARCH UNLOCK BIND REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY "
    b"SUBSCRIBE UNSUBSCRIBE PATCH PURGE MKCALENDAR LINK UNLINK SOURCE".split()
)
PREFACE = b"PRI"  # how HTTP/2 begins
VERSION = b"HTTP/1.1"

CR, LF, SP, TAB = 0x0D, 0x0A, 0x20, 0x09
_ALPHA = ByteMask(mask_range(0x41, 0x5A) | mask_range(0x61, 0x7A))
DIGIT = mask_range(0x30, 0x39)
_HEX = ByteMask(DIGIT | mask_range(0x41, 0x46) | mask_range(0x61, 0x66))
VISIBLE = mask_range(0x21, 0x7E)
BLANK = mask_of(b" \t")
TCHAR = ByteMask(_ALPHA | DIGIT | mask_of(b"!#$%&'*+-.^_`|~"))
VALUE = ByteMask(VISIBLE | BLANK | mask_range(0x80, 0xFF))
_PATH = ByteMask(VISIBLE & ~mask_of(b'"#<>\\^`{|}'))
_UNRESERVED = ByteMask(_ALPHA | DIGIT | mask_of(b"-._~"))
_NEVER_ENCODED = ByteMask(_UNRESERVED | mask_of(b"/\\\x00"))

# Values of the headers that frame a message or name its host: patterns of the
# whole value, the blanks around it included.
BLANKS: Node = Repeat(OneByte(BLANK), 0, None)
HOST_VALUE = Concat((BLANKS, parse(r"[A-Za-z0-9.\-_~!$&'()*+;=:\[\]%]+"), BLANKS))
LENGTH_VALUE = Concat((BLANKS, parse(r"[0-9]+"), BLANKS))
# Exactly so: servers are told apart by what else they take for it.
CODING_VALUE = parse(" *chunked")
EXPECT_VALUE = Concat((BLANKS, parse(r"(?i)100-continue"), BLANKS))
_ANY_VALUE = Repeat(OneByte(VALUE), 0, None)
CLOSE_VALUE = Concat(
    (
        Alternate((Empty(), Concat((_ANY_VALUE, literal(b","))))),
        BLANKS,
        parse(r"(?i)close"),
        BLANKS,
        Alternate((Empty(), Concat((literal(b","), _ANY_VALUE)))),
    )
)

# Servers that turn names into environment variables take these for framing.
ALIASES = (b"content_length", b"transfer_encoding")


class Target(Enum):
    """Where in a request target the next byte stands."""

    FIRST = 0
    SEGMENT = 1  # behind a slash
    DOT = 2  # the segment is "." so far
    DOTS = 3  # the segment is ".." so far
    INSIDE = 4
    PERCENT = 5
    HEX_0 = 6  # behind "%0", and so on
    HEX_1 = 7  # behind "%1" or "%8" to "%f": any second digit
    HEX_2 = 8
    HEX_3 = 9
    HEX_4 = 10  # or "%6"
    HEX_5 = 11
    HEX_7 = 12
    QUERY = 13
    END = 14  # the blank behind the target has been read


_AFTER_DOT = {Target.SEGMENT: Target.DOT, Target.DOT: Target.DOTS}
_AFTER = {SP: Target.END, ord("?"): Target.QUERY, ord("%"): Target.PERCENT}
_FIRST_DIGIT = {
    "0": Target.HEX_0,
    "2": Target.HEX_2,
    "3": Target.HEX_3,
    "4": Target.HEX_4,
    "5": Target.HEX_5,
    "6": Target.HEX_4,
    "7": Target.HEX_7,
}
_SECOND_DIGIT = {
    Target.HEX_0: 0x0,
    Target.HEX_1: 0x1,
    Target.HEX_2: 0x2,
    Target.HEX_3: 0x3,
    Target.HEX_4: 0x4,
    Target.HEX_5: 0x5,
    Target.HEX_7: 0x7,
}


def target_step(state: Target, byte: int) -> Target | Reason:
    """Take one byte of a request target and the blank that ends it.

    Canonical paths only: what a server could rewrite before it looks the path
    up (dot segments, empty segments, needless escapes) is refused, so that the
    bytes that rules are matched against are the bytes that the server serves.
    """
    if state == Target.FIRST:
        return Target.SEGMENT if byte == ord("/") else Reason.BAD_TARGET
    if byte != SP and not VISIBLE >> byte & 1:
        return Reason.BAD_TARGET
    if state == Target.QUERY:
        return _query_step(byte)
    if state == Target.PERCENT:
        return _percent_step(byte)
    if state in _SECOND_DIGIT:
        return _second_digit_step(_SECOND_DIGIT[state], byte)
    return _path_step(state, byte)


def _query_step(byte: int) -> Target | Reason:
    if byte == SP:
        return Target.END
    return Reason.BAD_TARGET if byte == ord("#") else Target.QUERY


def _percent_step(byte: int) -> Target | Reason:
    if not _HEX >> byte & 1:
        return Reason.BAD_PATH
    return _FIRST_DIGIT.get(chr(byte), Target.HEX_1)


def _second_digit_step(high: int, byte: int) -> Target | Reason:
    if not _HEX >> byte & 1 or _NEVER_ENCODED >> (high * 16 + int(chr(byte), 16)) & 1:
        return Reason.BAD_PATH
    return Target.INSIDE


def _path_step(state: Target, byte: int) -> Target | Reason:
    if byte == ord("/"):
        return Target.SEGMENT if state == Target.INSIDE else Reason.BAD_PATH
    if state in (Target.DOT, Target.DOTS) and byte in b" ?;":
        return Reason.BAD_PATH
    if byte == ord("."):
        return _AFTER_DOT.get(state, Target.INSIDE)
    if byte in _AFTER:
        return _AFTER[byte]
    return Target.INSIDE if _PATH >> byte & 1 else Reason.BAD_PATH


@cache
def grammar_masks() -> tuple[ByteMask, ...]:
    """Return the sets of bytes that the grammar tells apart, values of headers not included."""
    words = (*METHODS, PREFACE, VERSION, b"\r", b"\n", b" ", b"\t", b":")
    singles = {byte: mask_of([byte]) for word in words for byte in word}
    steps = [mask for state in Target for mask in _step_masks(state)]
    return (*singles.values(), DIGIT, TCHAR, VALUE, *steps)


def _step_masks(state: Target) -> tuple[ByteMask, ...]:
    if state == Target.END:
        return ()
    masks: dict[Target | Reason, int] = {}
    for byte in range(256):
        result = target_step(state, byte)
        masks[result] = masks.get(result, 0) | 1 << byte
    return tuple(map(ByteMask, masks.values()))
