# SPDX-License-Identifier: Apache-2.0
"""The case files over the packed table and the walker in Python."""

from collections.abc import Sequence
from functools import lru_cache

import pytest

from bpfast.abi import Reason, Verdict
from bpfast.policy.rules import RuleSet
from bpfast.tables.build import Built, build
from bpfast.tables.chunks import Chunks
from bpfast.tables.walk import Head, Walker, walk
from tests.match_cases import Expected, MatchCase, cases

CASES = list(cases())
COMPARED = ("content_length", "close", "expect", "head_method", "chunked")


@lru_cache(maxsize=4)
def built(rules: RuleSet) -> Built:
    """Build each rule set once; the cases of a file share some."""
    return build(rules)


def outcomes(case: MatchCase, heads: Sequence[Head | None]) -> tuple[Expected, ...]:
    """Return what became of the heads in the words of the case, what it does not compare left out."""
    names = built(case.rules).image.rules
    found = []
    for number, head in enumerate(heads):
        if head is None:
            found.append(Expected("incomplete", None, Reason.NONE))
            continue
        wanted = case.results[number] if number < len(case.results) else None
        fields = [name for name in COMPARED if wanted and getattr(wanted, name) is not None]
        rule = None if head.rule is None else names[head.rule]
        verdict = head.verdict.name.lower()
        found.append(Expected(verdict, rule, head.reason, **{name: getattr(head, name) for name in fields}))
    return tuple(found)


def test_there_are_cases_for_every_reason_of_a_head() -> None:
    """Each reason from no_rule to too_many_headers, except for L4, is expected by a case."""
    expected = {result.reason for case in CASES for result in case.results}
    heads = {Reason(number) for number in range(Reason.NO_RULE, Reason.FIN_IN_HEAD)} - {Reason.L4_DENIED}
    assert set() == heads - expected


def test_case_names_are_unique() -> None:
    """A case can be found by its name."""
    assert len(CASES) == len({str(case) for case in CASES})


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: MatchCase) -> None:
    """Every head of the stream gets the verdict, rule and reason of the case; no rule is refused."""
    made = built(case.rules)
    assert () == made.refused
    assert case.results == outcomes(case, list(walk(made.image, case.stream)))


@pytest.mark.parametrize("case", [case for case in CASES if len(case.stream) < 2000], ids=str)
def test_case_byte_by_byte(case: MatchCase) -> None:
    """A stream cut into single bytes gets the same outcomes; the walker keeps all between them."""
    walker = Walker(built(case.rules).image)
    heads: list[Head | None] = []
    skip = 0
    chunks: Chunks | None = None
    for number in range(len(case.stream)):
        if skip:
            skip -= 1
            continue
        if chunks is not None:
            assert 1 == chunks.feed(case.stream[number : number + 1])
            if chunks.fault is not None:
                heads.append(Head(Verdict.DENY, chunks.fault))
                break
            if chunks.over:
                chunks = None
                if heads[-1] and heads[-1].close:
                    break
            continue
        taken, head = walker.feed(case.stream[number : number + 1])
        assert 1 == taken
        if head is not None:
            heads.append(head)
            skip = head.content_length
            chunks = Chunks() if head.chunked else None
            if head.verdict == Verdict.DENY or (head.close and chunks is None):
                break
    if skip or walker.inside or (chunks is not None and chunks.fault is None):
        heads.append(None)
    assert case.results == outcomes(case, heads)
