# SPDX-License-Identifier: Apache-2.0
"""The canonical-path check against a judge that splits and decodes like a server."""

import itertools
import re

import pytest

from bpfast.abi import Reason
from bpfast.policy.rules import HttpRule, RuleSet
from bpfast.tables.build import build
from bpfast.tables.walk import Walker

UNRESERVED = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")
PLAIN = UNRESERVED | set("!$&'()*+,;=:@[]/%")
VERSION = b" HTTP/1.1\r\nHost: a\r\n\r\n"


def judge(target: str) -> Reason:
    """Return what a target deserves, judged by parts instead of byte by byte."""
    path, _, query = target.partition("?")
    if not target.startswith("/") or "#" in query:
        return Reason.BAD_TARGET
    escapes = re.findall(r"%[0-9A-Fa-f]{2}", path)
    decoded = {chr(int(escape[1:], 16)) for escape in escapes}
    segments = path.split("/")[1:]
    canonical = (
        len(escapes) == path.count("%")
        and set(path) <= PLAIN
        and not decoded & (UNRESERVED | set("/\\\0"))
        and "" not in segments[:-1]
        and not {".", ".."} & {segment.split(";")[0] for segment in segments}
    )
    return Reason.RULE if canonical else Reason.BAD_PATH


@pytest.fixture(scope="module")
def walker() -> Walker:
    """A walker that allows whatever is well formed."""
    return Walker(build(RuleSet((HttpRule("any"),))).image)


def actual(walker: Walker, target: str) -> Reason:
    """Return the reason that the table has for a request with the target."""
    walker.restart()
    _, head = walker.feed(b"GET " + target.encode("latin-1") + VERSION)
    assert head is not None
    return head.reason


@pytest.mark.parametrize("length", range(6))
def test_all_short_targets(walker: Walker, length: int) -> None:
    """Every target of the characters that matter is judged alike."""
    alphabet = "/.;%2efa?" if length < 5 else "/.;%2e?"
    targets = ("/" + "".join(text) for text in itertools.product(alphabet, repeat=length))
    assert [] == [target for target in targets if judge(target) != actual(walker, target)]


def test_all_bytes_in_a_path(walker: Walker) -> None:
    """Every visible byte, alone and between letters, is judged alike; every other is no target's."""
    for byte in range(256):
        for target in ("/" + chr(byte), f"/a{chr(byte)}b", f"/?{chr(byte)}"):
            expected = judge(target) if 0x21 <= byte <= 0x7E else Reason.BAD_TARGET
            if byte == 0x20:
                expected = Reason.BAD_VERSION  # the target ends there
            assert expected == actual(walker, target), target


def test_all_escapes(walker: Walker) -> None:
    """Every escape of two characters, digits or not, in both cases, is judged alike."""
    characters = "0123456789abcdefABCDEFgG%/."
    for high, low in itertools.product(characters, repeat=2):
        for target in (f"/%{high}{low}", f"/x%{high}{low}y", f"/?%{high}{low}"):
            assert judge(target) == actual(walker, target), target
