# SPDX-License-Identifier: Apache-2.0
"""``bpf/lib/status.h`` on every number, every cut and a great many strange beginnings, against a regex."""

import random
import re
import secrets

import pytest

from tests.bpf.host import Host

FOREIGN, CUT, CUT_IN_INTERIM = 0, 1, 2
BYTES = 13
ROUNDS = 20_000
LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})[ \r\n]")
PIECES = (
    b"HTTP/1.1 ",
    b"HTTP/1.0 ",
    b"HTTP/1.",
    b"HTTP/2 ",
    b"http/1.1 ",
    b"2",
    b"1",
    b"0",
    b"9",
    b" ",
    b"\r",
    b"\n",
    b"\0",
)
VERSIONS = (b"HTTP/1.1 ", b"HTTP/1.0 ")


def expected(data: bytes) -> int:
    """Return what the first bytes of an answer say, read by a regex."""
    found = LINE.match(data)
    if found is not None:
        return int(found[1])
    if len(data) >= BYTES or not any(version.startswith(data[:9]) for version in VERSIONS):
        return FOREIGN
    if not re.fullmatch(rb"|[1-9][0-9]{0,2}", data[9:]):
        return FOREIGN
    return CUT_IN_INTERIM if data[9:].startswith(b"1") else CUT


def strange(chance: random.Random) -> bytes:
    """Return pieces of a status line in any order, some of their bits turned."""
    data = bytearray(b"".join(chance.choice(PIECES) for _ in range(chance.randrange(1, 8))))
    if chance.random() < 0.5:
        data[:0] = chance.choice(VERSIONS)
    for _ in range(chance.choice((0, 0, 1, 2))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data[: chance.choice((len(data), chance.randrange(1, 16)))])


@pytest.mark.parametrize("version", VERSIONS)
def test_every_number(host: Host, version: bytes) -> None:
    """A status line has the status 100 to 999 that stands in it, and no other."""
    found = [host.status(version + b"%03d OK" % number) for number in range(1000)]

    assert [FOREIGN] * 100 + list(range(100, 1000)) == found


@pytest.mark.parametrize("end", range(256))
def test_the_byte_behind_the_number(host: Host, end: int) -> None:
    """Behind the number stands a blank or the end of the line."""
    assert (204 if end in b" \r\n" else FOREIGN) == host.status(b"HTTP/1.1 204" + bytes((end,)))


@pytest.mark.parametrize("line", (b"HTTP/1.1 200 OK", b"HTTP/1.0 404 no", b"HTTP/1.1 103 x"))
def test_every_cut_and_every_other_byte(host: Host, line: bytes) -> None:
    """Cut anywhere, and with any byte in any place, the reader says what the regex says."""
    for size in range(1, len(line) + 1):
        for at in range(size):
            for byte in range(256):
                data = line[:at] + bytes((byte,)) + line[at + 1 : size]
                assert (data, expected(data)) == (data, host.status(data))


def test_strange_beginnings(host: Host) -> None:
    """Whatever an answer begins with, the reader says what the regex says and reads no byte too many."""
    seed = secrets.randbits(32)
    chance = random.Random(seed)
    for _ in range(ROUNDS):
        data = strange(chance)
        assert (seed, data, expected(data)) == (seed, data, host.status(data))


def test_classes(host: Host) -> None:
    """1xx to 5xx are classes of their own; all else is one."""
    classes = [number // 100 if 100 <= number < 600 else 0 for number in range(1000)]

    assert classes == [host.call("status_class", number) for number in range(1000)]
