# SPDX-License-Identifier: Apache-2.0
"""The case files of ``tests/data/match`` through the whole chain in the kernel."""

import random
from collections.abc import Iterator

import pytest

from bpfast.abi import Phase, PortVerdict, Reason, Verdict
from bpfast.kernel.prefixes import PortPrefix
from bpfast.kernel.state import PortEntry
from tests.kernel.packets import LARGEST, Box, Connection
from tests.match_cases import Expected, MatchCase, cases

CASES = list(cases())
SHORT = 400


def whole(stream: bytes) -> Iterator[bytes]:
    """Cut a stream into the longest pieces."""
    for start in range(0, len(stream), LARGEST):
        yield stream[start : start + LARGEST]


def send_once(connection: Connection, piece: bytes) -> bytes:
    """Send a segment and return what the chain cut off it, which TCP would send again."""
    outcome = connection.send(piece)
    if not outcome.passed:
        return b""
    cut = len(piece) - len(outcome.segment.payload)
    connection.client -= cut
    return piece[len(piece) - cut :] if cut else b""


def outcomes(case: MatchCase, connection: Connection, pieces: Iterator[bytes]) -> list[Expected]:
    """Send the stream and return what became of each head, in the words of the case."""
    box = connection.box
    index = box.install(case.rules)
    box.configure({PortPrefix.one(0, 80): PortEntry(PortVerdict.INSPECT, index)})
    found = []
    connection.handshake()
    for piece in pieces:
        rest = piece
        while rest:
            rest = send_once(connection, rest)
            connection.serve()
            for event in box.events():
                rule = None if event.rule is None else case.rules.rules[event.rule].name
                found.append(Expected(event.verdict.name.lower(), rule, event.reason))
            if found and found[-1].verdict == Verdict.DENY.name.lower():
                return found
    flow = connection.flow
    assert flow is not None
    if flow["phase"] in (Phase.HEAD, Phase.BODY, Phase.FRAMING):
        found.append(Expected("incomplete", None, Reason.NONE))
    return found


def expected(case: MatchCase) -> list[Expected]:
    """Return the results of a case without what events do not tell."""
    return [Expected(result.verdict, result.rule, result.reason) for result in case.results]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(box: Box, case: MatchCase) -> None:
    """Every head of the stream gets the verdict, rule and reason of the case."""
    box.forget_rates()
    assert expected(case) == outcomes(case, box.connection(), whole(case.stream))


@pytest.mark.parametrize("case", [case for case in CASES if len(case.stream) <= SHORT], ids=str)
def test_case_in_random_pieces(box: Box, case: MatchCase) -> None:
    """A stream cut anywhere gets the same."""
    generator = random.Random(case.name)
    cuts = sorted(generator.sample(range(len(case.stream) + 1), min(len(case.stream), 12)))
    pieces = [case.stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(case.stream)], strict=True)]
    assert expected(case) == outcomes(case, box.connection(), iter([piece for piece in pieces if piece]))
