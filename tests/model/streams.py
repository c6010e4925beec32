# SPDX-License-Identifier: Apache-2.0
"""Random client streams: requests that are nearly right, pipelined, damaged and cut.

Each stream comes from its own seed, so a difference can be looked at again.
"""

import random
from collections.abc import Sequence

METHODS = (
    "GET", "GET", "GET", "POST", "PUT", "HEAD", "OPTIONS", "M-SEARCH", "PROPFIND", "CONNECT", "PRI",
    "get", "GE", "QUERY", "",
)  # fmt: skip
TARGETS = (
    "/", "/a", "/a", "/b", "/a/b", "/a?b=c", "/ab", "/public/x.html", "/a/../b", "//", "/a//b", "/.",
    "/..", "/..;", "/.;x", "/a;b", "/%20", "/%2e", "/%2f", "/%c3%a9", "/%zz", "/%", "/a%3Fb", "/?#", "/#",
    "/a|b", "/?/../%zz", "*", "http://a/", "a", "", "/\xe9", "/a\tb", "/~x", "/%7e", "/a.b", "/x-html",
)  # fmt: skip
VERSIONS = ("HTTP/1.1",) * 12 + ("HTTP/1.0", "HTTP/1.2", "http/1.1", "HTTP/1.1 ", "", "HTTP/2.0")
LINES = (
    "Host: a", "Host: a", "host: b.example", "Host: a:80", "Host:", "Host: a b", "Host: a,b",
    "Host: \xe9", "X-A: 1", "x-a: 1", "X-A: 2", "X-A:", "X-B: y z", "X-AB: 1", "X-B:\t y \t", "X: \xff",
    "X : y", "X", ": y", " folded", "\tfolded", "X: \x01", "X:\x7f", "X\x00: y", "X(: y",
    "Content-Length: 3", "Content-Length: 0", "content-length: 12", "Content-Length: 003",
    "Content-Length: 3, 3", "Content-Length: +3", "Content-Length:", "Content-Length: 9007199254740993",
    "Content-Length: 5 5", "Content_Length: 3", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip",
    "transfer-encoding:", "Transfer-Encoding: chunkedx", "Transfer_Encoding: chunked",
    "Expect: 100-continue", "expect: 100-Continue ", "Expect: 100", "Expect:", "Connection: close",
    "connection: keep-alive, Close", "Connection: closed", "Connection: keep-alive", "Upgrade: h2c",
    "Upgrade:", "Accept: */*", "Cookie: a=b; c=d",
)  # fmt: skip
GOOD_LINES = (
    "X-A: 1", "x-a: 2", "X-A:", "X-B: y z", "X-AB: 1", "X: \xff", "Accept: */*", "Cookie: a=b; c=d",
    "Expect: 100-continue", "Connection: keep-alive", "Connection: te, close", "X-B:\t y \t",
)  # fmt: skip
LINE_ENDS = ("\r\n",) * 30 + ("\n", "\r", "\r\r\n", "")
BLANKS = (" ",) * 20 + ("  ", "\t", "")
BODIES = ("", "abc", "abc", "GET /a HTTP/1.1\r\n", "\r\n", "abcdefghijkl")
CHUNK_DATA = ("", "a", "abc", "0\r\n\r\n", "GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "x" * 30, "y" * 300)
CHUNK_ENDS = ("\r\n",) * 30 + ("\n", "\r", "", "\r\r\n", ";a=b\r\n", " \r\n", "\r\nX: y\r\n")
LAST = (
    b"Host: a\r\n\r\n", b"Host: a\r\n\r\n", b"Host: a\r\nHost: a\r\n", b"Expect:\r\n", b" x", b"X", b"\n",
    b"Host: a\r\n\0", b":",
)  # fmt: skip
DAMAGE = b'\r\n \t:%/.;?#0159aAhH\x00\x01\x1f\x7f\x80\xff"<>\\^`{|},+-_'


def request(dice: random.Random) -> bytes:
    """Return a request: a good one, or one with a few things wrong."""
    bad = dice.random() < 0.3
    line = f"{dice.choice(METHODS[:8])} {dice.choice(TARGETS[:8])} HTTP/1.1"
    if bad and dice.random() < 0.4:
        line = dice.choice(BLANKS).join((dice.choice(METHODS), dice.choice(TARGETS), dice.choice(VERSIONS)))
    body = dice.choice(BODIES) if dice.random() < 0.3 else ""
    lines = [dice.choice(LINES if bad else GOOD_LINES) for _ in range(dice.choice((0, 0, 1, 1, 2, 3, 5)))]
    if body and not bad:
        lines.append(f"Content-Length: {len(body)}")
    if dice.random() < 0.95:
        lines.insert(dice.randint(0, len(lines)), dice.choice(("Host: a", "Host: a", "host: b.example")))
    ends = LINE_ENDS if bad else LINE_ENDS[:1]
    return ("".join(each + dice.choice(ends) for each in (line, *lines, "")) + body).encode("latin-1")


def chunks(dice: random.Random, ends: Sequence[str]) -> str:
    """Return a chunked body; with the ends of good ones it is one."""
    text = ""
    for _ in range(dice.choice((0, 1, 1, 2, 3, 20))):
        data = dice.choice(CHUNK_DATA[1:])
        size = f"{len(data):{dice.choice(('x', 'X', '04x', '015x'))}}"
        text += size + dice.choice(ends) + data + dice.choice(ends)
    return text + dice.choice(("0", "0", "0", "00")) + dice.choice(ends) + dice.choice(ends)


def chunked(dice: random.Random) -> bytes:
    """Return a request with a chunked body, one thing wrong in it now and then."""
    bad = dice.random() < 0.3
    method = dice.choice(("POST", "PUT", "GET", "HEAD"))
    lines = [f"{method} {dice.choice(TARGETS[:8])} HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"]
    lines += dice.sample(GOOD_LINES, dice.choice((0, 0, 1)))
    body = chunks(dice, CHUNK_ENDS if bad else CHUNK_ENDS[:1])
    return ("\r\n".join((*lines, "", "")) + body).encode("latin-1")


def large(dice: random.Random) -> bytes:
    """Return a request near the limits: 100 lines, 61,440 bytes."""
    lines = dice.choice((0, 97, 98, 99, 100, 101))
    head = b"GET /a HTTP/1.1\r\n" + b"X: y\r\n" * lines
    last = dice.choice(LAST)
    room = dice.choice((0, 0, 61440 - len(head) - len(last) - len(b"Y: \r\n")))
    if room:
        head += b"Y: " + b"y" * (room + dice.choice((-1, 0, 1, 2))) + b"\r\n"
    return head + last


def damaged(stream: bytes, dice: random.Random) -> bytes:
    """Return the stream with a byte changed, put in, taken out, or with its end cut off."""
    raw = bytearray(stream)
    for _ in range(dice.choice((0, 0, 0, 1, 1, 2))):
        at = dice.randrange(len(raw) + 1)
        byte = dice.choice(DAMAGE) if dice.random() < 0.8 else dice.randrange(256)
        match dice.randrange(4):
            case 0:
                raw[at : at + 1] = bytes((byte,))
            case 1:
                raw[at:at] = bytes((byte,))
            case 2:
                del raw[at : at + 1]
            case _:
                del raw[at:]
    return bytes(raw)


def stream(seed: object) -> bytes:
    """Return the stream of a seed: a few requests one behind the other, damaged now and then."""
    dice = random.Random(str(seed))
    text = b"".join(
        (chunked if dice.random() < 0.3 else request)(dice) for _ in range(dice.choice((1, 1, 2, 3)))
    )
    if dice.random() < 0.01:
        text += large(dice)
    return damaged(text, dice)


def cut(text: bytes, seed: object) -> Sequence[bytes]:
    """Return the pieces of a text that is cut at random places; none of them is empty."""
    dice = random.Random(str(seed))
    places = sorted(dice.sample(range(len(text) + 1), min(len(text), dice.choice((0, 1, 2, 5, 9)))))
    pieces = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    return [piece for piece in pieces if piece]
