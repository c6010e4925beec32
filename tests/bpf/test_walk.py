# SPDX-License-Identifier: Apache-2.0
"""``bpf/lib/walk.h`` on the cases of all engines, whole and cut, and against the reference in Python."""

import functools
import random
import secrets
from collections.abc import Iterable, Iterator

import pytest

from bpfast.abi import ACTION_WORDS, MAX_CANDIDATES, TABLE_WORDS, Reason, Verdict
from bpfast.policy.rules import HeaderMatch, HttpRule, RuleSet
from bpfast.tables.build import build
from bpfast.tables.image import TableImage
from bpfast.tables.walk import Head, Walker, walk
from tests.bpf.host import Host
from tests.match_cases import Expected, MatchCase, cases

CASES = tuple(cases())
SHORT = tuple(case for case in CASES if len(case.stream) <= 400)
ROUNDS = 1200
CONSTRAINTS = 64  # bits of head.set
BYTES = b"\r\n \t:/%?#.;,aAzZ09_-\0\x7f\x80\xff"


@functools.cache
def image_of(rules: RuleSet) -> TableImage:
    """Return the table of these rules, all of which must fit."""
    built = build(rules)
    assert not built.refused
    return built.image


def heads(host: Host, pieces: Iterable[bytes]) -> Iterator[Head | None]:
    """Yield the outcome of every head as ``bpfast.tables.walk.walk`` does, from a stream in pieces."""
    left = 0
    inside = chunked = closing = False
    host.begin()
    for each in pieces:
        piece = each
        while piece:
            skipped = min(left, len(piece))
            left, piece = left - skipped, piece[skipped:]
            if not piece:
                break
            if chunked:
                taken, over, fault = host.feed_chunks(piece)
                piece = piece[taken:]
                if fault:
                    yield Head(Verdict.DENY, fault)
                    return
                if over:
                    chunked = inside = False
                    if closing:
                        return
                    host.begin()
                continue
            walked = host.feed(piece)
            piece = piece[walked.taken :]
            inside = walked.head is None
            if walked.head is None:
                continue
            yield walked.head
            chunked, closing = walked.head.chunked, walked.head.close
            if chunked:
                inside = True
                host.begin_chunks()
                continue
            if walked.head.verdict == Verdict.DENY or closing:
                return
            left = walked.head.content_length
            host.begin()
    if inside or left:
        yield None


def told(head: Head | None, image: TableImage, like: Expected) -> Expected:
    """Return an outcome in the words of a case, fields that the case leaves open left out."""
    if head is None:
        return Expected("incomplete", None, Reason.NONE)
    fields = ("content_length", "close", "expect", "head_method", "chunked")
    rule = None if head.rule is None else image.rules[head.rule]
    return Expected(
        head.verdict.name.lower(),
        rule,
        head.reason,
        **{name: getattr(head, name) for name in fields if getattr(like, name) is not None},
    )


def check(host: Host, case: MatchCase, pieces: Iterable[bytes]) -> None:
    """Assert that a stream in these pieces has the outcomes of its case."""
    image = image_of(case.rules)
    found = list(heads(host, pieces))

    assert len(case.results) == len(found)
    actual = tuple(told(head, image, like) for head, like in zip(found, case.results, strict=True))
    assert case.results == actual


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_case_whole(host: Host, case: MatchCase) -> None:
    """Each head of a stream in one piece gets what its case says."""
    host.place(image_of(case.rules))

    check(host, case, [case.stream])


@pytest.mark.parametrize("case", SHORT, ids=str)
def test_a_case_cut_anywhere(host: Host, case: MatchCase) -> None:
    """A cut, wherever it is, changes nothing; nor does a cut behind every byte."""
    host.place(image_of(case.rules))
    stream = case.stream

    for cut in range(1, len(stream)):
        check(host, case, [stream[:cut], stream[cut:]])
    check(host, case, [stream[at : at + 1] for at in range(len(stream))])


@pytest.mark.parametrize("case", [case for case in CASES if case not in SHORT], ids=str)
@pytest.mark.parametrize("size", (1, 1448, 2047, 2048, 2049))
def test_a_long_case_in_segments(host: Host, case: MatchCase, size: int) -> None:
    """A long stream in segments of one size gets what its case says."""
    host.place(image_of(case.rules))
    stream = case.stream

    check(host, case, [stream[at : at + size] for at in range(0, len(stream), size)])


@pytest.mark.parametrize("from_end", (False, True), ids=("one record in", "at the very end"))
def test_a_table_may_lie_anywhere(host: Host, from_end: bool) -> None:
    """A table at another place, even the last one, says the same."""
    for case in [case for case in SHORT if "rules" in case.file]:
        image = image_of(case.rules)
        room = (TABLE_WORDS - len(image.words)) // ACTION_WORDS * ACTION_WORDS
        host.place(image, room if from_end else ACTION_WORDS)

        check(host, case, [case.stream])


def bent(source: random.Random, stream: bytes) -> bytes:
    """Return a stream with a few bytes changed, added, taken out or doubled."""
    made = bytearray(stream)
    for _ in range(source.randrange(4)):
        at = source.randrange(len(made) + 1)
        length = source.choice((0, 1, 1, 2, 8))
        middle = source.choice((bytes([source.choice(BYTES)]), bytes(made[at : at + length]) * 2, b""))
        made[at : at + length] = middle
    return bytes(made)


def pieces_of(source: random.Random, stream: bytes) -> list[bytes]:
    """Return a stream cut at up to three random places."""
    cuts = sorted(source.randrange(len(stream) + 1) for _ in range(source.randrange(4)))
    return [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


def test_random_streams_agree_with_the_reference(host: Host) -> None:
    """On streams of the cases with bytes changed, C and Python tell the same of every head."""
    seed = secrets.randbits(64)
    print(f"seed {seed}")  # noqa: T201 - shown if the test fails
    source = random.Random(seed)
    by_rules: dict[RuleSet, list[bytes]] = {}
    for case in SHORT:
        by_rules.setdefault(case.rules, []).append(case.stream)
    streams = [case.stream for case in SHORT]
    for rules, own in by_rules.items():
        image = image_of(rules)
        host.place(image)
        for _ in range(ROUNDS // len(by_rules) + 1):
            stream = bent(source, source.choice(source.choice((own, streams))))
            pieces = pieces_of(source, stream)

            assert list(walk(image, stream)) == list(heads(host, pieces)), (seed, rules, pieces)


def test_states_are_those_of_the_reference(host: Host) -> None:
    """Behind each byte of a head, C and Python stand in the same state."""
    for case in CASES:
        image = image_of(case.rules)
        host.place(image)
        reference = Walker(image)
        for byte in case.stream[:2000]:
            taken, head = reference.feed(bytes([byte]))
            walked = host.feed(bytes([byte]))

            assert (taken, head) == (walked.taken, walked.head)
            if head is not None and head.verdict == Verdict.DENY:
                break
            assert reference.state == walked.state
            if head is not None:
                host.begin()


def request(path: str, *values: str) -> bytes:
    """Return a request with a header line ``x-VALUE: VALUE`` for each value."""
    lines = "".join(f"x-{value}: {value}\r\n" for value in values)
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode()


def test_the_last_of_the_most_candidates_decides(host: Host) -> None:
    """With as many candidates as a request line may leave open, each can decide, the first that holds."""
    asked = [HttpRule(f"rule-{i}", headers=(HeaderMatch(f"x-{i}", None),)) for i in range(MAX_CANDIDATES)]
    host.place(image_of(RuleSet(tuple(asked))))

    for i in range(MAX_CANDIDATES):
        more = [str(j) for j in range(i, MAX_CANDIDATES, 3)]
        assert [i] == [head and head.rule for head in heads(host, [request("/", *reversed(more))])]
    assert [Reason.NO_RULE] == [head and head.reason for head in heads(host, [request("/", "99")])]


def test_each_of_the_most_constraints_is_a_bit_of_its_own(host: Host) -> None:
    """With as many constraints as there are bits, each rule is allowed by its own value and by no other."""
    rules = [
        HttpRule(f"rule-{i}", path=f"/{i}", headers=(HeaderMatch("x-y", str(i)),)) for i in range(CONSTRAINTS)
    ]
    host.place(image_of(RuleSet(tuple(rules))))

    for i in range(CONSTRAINTS):
        for j in {i, i ^ 1, i ^ 31, i ^ 32, i ^ 63}:
            stream = f"GET /{i} HTTP/1.1\r\nHost: a\r\nX-Y: {j}\r\n\r\n".encode()
            found = [head and (head.verdict, head.rule) for head in heads(host, [stream])]
            assert [(Verdict.ALLOW, i) if i == j else (Verdict.DENY, None)] == found


def test_no_bytes_change_nothing(host: Host) -> None:
    """A walk over no bytes takes none and decides nothing."""
    host.place(image_of(CASES[0].rules))
    walked = host.feed(b"")

    assert (0, None) == (walked.taken, walked.head)
