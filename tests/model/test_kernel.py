# SPDX-License-Identifier: Apache-2.0
"""The kernel's programs and the model on the same streams: all that is told of each request."""

from collections.abc import Iterator

import pytest

from bpfast.abi import Reason
from tests.model.agreement import SETTINGS, Engines, Setting
from tests.model.random_streams import Count, compare, described
from tests.model.streams import cut

pytestmark = pytest.mark.privileged

SEED = 1
STREAMS = 20_000
# What the bytes of a client can get, if layers 3 and 4 let them come.
REASONS = {
    *(reason for reason in Reason if Reason.RULE <= reason <= Reason.TOO_MANY_HEADERS),
    Reason.AFTER_CLOSE,
    Reason.CHUNK_TRAILER,
} - {Reason.L4_DENIED}


@pytest.fixture(scope="module")
def engines() -> Iterator[Engines]:
    """The model and the kernel, its programs loaded once."""
    with Engines() as both:
        yield both


@pytest.fixture(scope="module")
def count(engines: Engines) -> Count:
    """What came of the random streams."""
    counted = Count()
    compare(engines, SEED, range(STREAMS), counted)
    return counted


@pytest.mark.slow
def test_random_streams(engines: Engines, count: Count) -> None:
    """Twenty thousand streams with random cuts: the kernel says what the model says."""
    assert STREAMS == count.streams
    assert [] == [described(engines, SEED, difference) for difference in count.differences[:1]]


@pytest.mark.slow
def test_every_verdict_and_reason_is_seen(count: Count) -> None:
    """Random streams end in every way in which the bytes of a client can end."""
    assert {"allow", "deny", "incomplete"} == set(count.verdicts)
    assert {reason.name.lower() for reason in REASONS} == set(count.reasons)


@pytest.mark.parametrize("setting", [each for each in SETTINGS if each.rules == "everything"], ids=str)
@pytest.mark.parametrize("length", (61439, 61440, 61441, 61442))
def test_the_largest_head(engines: Engines, setting: Setting, length: int) -> None:
    """At the limit of a head's size both stop at the same byte."""
    begin, end = b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"\r\n\r\n"
    whole = begin + b"y" * (length - len(begin) - len(end)) + end
    answers = list(engines.answers(setting, [("large", (whole,)), ("cut", tuple(cut(whole, length)))]))

    assert ["deny" if length > 61440 else "allow"] * 2 == [model["verdict"] for model, _kernel in answers]
    assert [model for model, _kernel in answers] == [kernel for _model, kernel in answers]
