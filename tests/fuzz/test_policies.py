# SPDX-License-Identifier: Apache-2.0
"""Nothing that is read as policies breaks the reader; a sample of ``tests.fuzz``."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpfast.policy import reader
from tests.fuzz import policies
from tests.fuzz.mutate import NAMES, SCALARS, Corpus
from tests.fuzz.policies import Count, tried
from tests.fuzz.target import Broken, check

CORPUS = Corpus.read()
KEYS = st.one_of(st.sampled_from(NAMES), st.text(max_size=8))
VALUES = st.recursive(
    st.one_of(st.sampled_from(SCALARS), st.text(max_size=8), st.integers(), st.floats()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)
SAMPLE = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_the_corpus_itself_breaks_nothing() -> None:
    """Every document of the repository keeps the reader's word."""
    for text in CORPUS.right + CORPUS.wrong:
        check(text)


@SAMPLE
@given(st.integers(0, 2**32))
def test_mutations_break_nothing(seed: int) -> None:
    """A document that is nearly right becomes a policy or faults."""
    check(CORPUS.mutation(random.Random(seed)))


@SAMPLE
@given(st.lists(VALUES, min_size=1, max_size=2), st.sampled_from(("CiliumNetworkPolicy", "List", None)))
def test_values_of_any_shape_break_nothing(values: list[object], kind: str | None) -> None:
    """Values with the schema's names here and there, in the place of rules, become faults at worst."""
    head = {"apiVersion": "cilium.io/v2", "kind": kind, "metadata": {"name": "p"}}
    check(
        "\n---\n".join(
            json.dumps(head | {"spec": each, "items": [each]} if kind else each) for each in values
        )
    )


@SAMPLE
@given(st.text())
def test_texts_of_any_kind_break_nothing(text: str) -> None:
    """Text that nobody meant as YAML becomes faults."""
    check(text)


def test_the_same_seed_gives_the_same_documents() -> None:
    """A run can be repeated from its seed."""
    one, other = ([CORPUS.mutation(random.Random(seed)) for seed in range(20)] for _ in range(2))

    assert one == other


def test_a_reader_that_breaks_its_word_is_caught(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A fault that cannot be printed is found, written down, and can be tried again."""
    monkeypatch.setattr(reader, "yaml_path", lambda path: f"\x1b{path}")
    count = Count()

    assert not tried("a: 1", count, tmp_path)
    (kept,) = tmp_path.iterdir()
    assert "a: 1" == kept.read_text()
    with pytest.raises(Broken, match="cannot be printed"):
        check(kept.read_text())


def test_a_run_counts_its_documents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command tells how many documents there were, and ends well if none broke anything."""
    assert 0 == policies.by_chance(50, 60.0, 1, tmp_path)
    last = json.loads(capsys.readouterr().out.splitlines()[-1])

    assert (
        50 == last["documents"] == last.get("refused", 0) + last.get("taken", 0) + last.get("passed over", 0)
    )
