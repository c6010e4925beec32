# SPDX-License-Identifier: Apache-2.0
"""YAML and JSON text to plain values."""

import pytest

from bpfast.policy import document
from bpfast.policy.document import Document, Flaw, read_documents, shown


def value(text: str) -> object:
    """Return the value of a text without flaws that holds one document."""
    (only,) = read_documents(text)
    assert () == only.flaws
    return only.value


@pytest.mark.parametrize(
    ("text", "expected"),
    (
        ("abc", "abc"),
        ("y", True),
        ("'y'", "y"),
        ("Off", False),
        ("~x", "~x"),
        ("80", 80),
        ("010", 8),
        ("0x50", 80),
        ("0b11", 3),
        ("0o17", 15),
        ("1_000", 1000),
        ("089", 89.0),
        ("1e3", 1000.0),
        ("-.inf", float("-inf")),
        ("12:30", "12:30"),
        ("2020-01-01", "2020-01-01"),
        ("0x_", "0x_"),
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", 2.0**64),
        ("0x10000000000000000", "0x10000000000000000"),
        ("=", "="),
        ("!!str 80", "80"),
        ("! 80", "80"),
        ("!!int 80", 80),
        ('"\\u00e9\\/"', "é/"),
        ("|\n a\n b\n", "a\nb\n"),
        ("[1, [], {}]", [1, [], {}]),
        ('{"a": {"b": null}}', {"a": {"b": None}}),
    ),
)
def test_scalars_are_resolved_as_kubernetes_does(text: str, expected: object) -> None:
    """Plain scalars become what the YAML reader of Kubernetes makes of them, quoted ones stay text."""
    assert [expected] == value(f"- {text}")


def test_numbers_of_any_length_are_read() -> None:
    """A number with more digits than Python converts is still no error."""
    assert [float("inf")] == value("- " + "9" * 5000)


@pytest.mark.parametrize("text", ("!!binary aGk=", "!!int x", "!!bool 1", "!own x", "!!set {a}", "!own [a]"))
def test_other_tags_are_flaws(text: str) -> None:
    """A tag that does not fit its value, or that JSON has no type for, is a flaw."""
    (only,) = read_documents(f"a: {text}")

    assert [("a",)] == [flaw.path for flaw in only.flaws]


def test_empty_documents_are_left_out() -> None:
    """Comments and ``---`` without anything between make no document."""
    assert [{"a": 1}, {"b": 2}] == [
        each.value for each in read_documents("---\n# x\n---\na: 1\n---\n---\nb: 2\n...\n")
    ]


def test_a_key_given_twice_is_a_flaw_and_the_first_stays() -> None:
    """The second of two equal keys is reported with its path, at any depth."""
    (only,) = read_documents("a:\n- b: 1\n  c: 2\n  b: [3]\n")

    assert Document({"a": [{"b": 1, "c": 2}]}, (Flaw(("a", 0, "b"), "given twice"),)) == only


def test_keys_that_are_no_text_are_flaws() -> None:
    """Numbers, booleans, null and collections are no keys; what they lead to is left out."""
    (only,) = read_documents("? [a]\n: 1\n? 1\n: {b: 2}\n? on\n: 3\n? ~\n: 4\nc: 5\n")

    assert {"c": 5} == only.value
    assert 4 == len(only.flaws)


def test_aliases_stand_for_their_value() -> None:
    """An alias is the value that was named before it."""
    assert {"a": [1], "b": [[1], [1]]} == value("a: &x [1]\nb: [*x, *x]")


def test_a_name_that_is_reused_stands_for_the_last() -> None:
    """An anchor given twice names the value that came last."""
    assert {"a": 1, "b": 2, "c": 2} == value("a: &x 1\nb: &x 2\nc: *x")


@pytest.mark.parametrize("text", ("a: *x", "a: &x [*x]", "a: &x 1\n---\na: *x"))
def test_an_alias_of_nothing_is_a_flaw(text: str) -> None:
    """An alias of a name that is not there, not complete or of another document is a flaw."""
    assert "names nothing" in read_documents(text)[-1].flaws[0].message


def test_aliases_are_counted_as_if_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of values holds for what a document stands for, not for its length."""
    text = "a: &a [x, x, x]\nb: &b [*a, *a]\nc: [*b, *b]"
    monkeypatch.setattr(document, "MAX_VALUES", 36)
    fits = read_documents(text)
    monkeypatch.setattr(document, "MAX_VALUES", 35)
    too_much = read_documents(text)

    assert [True] == [each.complete for each in fits]
    assert [False] == [each.complete for each in too_much]


@pytest.mark.parametrize(("depth", "complete"), ((document.MAX_DEPTH, True), (document.MAX_DEPTH + 1, False)))
def test_nesting_has_a_limit(depth: int, complete: bool) -> None:
    """A document is read down to the limit and no level deeper."""
    (only,) = read_documents("[" * depth + "]" * depth)

    assert complete is only.complete


def test_very_deep_nesting_is_only_a_flaw() -> None:
    """A hundred thousand brackets end in a flaw, not in a crash."""
    (only,) = read_documents("[" * 100_000)

    assert not only.complete


@pytest.mark.parametrize(
    "text", ("a: b: c", "a:\n\tb: 1", "[", "\x01", "a: '", "%", "\ud800", "a:\n\ufeff- 1")
)
def test_what_is_not_yaml_is_a_flaw(text: str) -> None:
    """A text that cannot be scanned gives one flaw that says so."""
    (only,) = read_documents(text)

    assert not only.complete
    assert [True] == [flaw.message.startswith("not YAML: ") for flaw in only.flaws]


def test_documents_before_a_broken_one_are_kept() -> None:
    """What was complete before the text breaks is still there."""
    assert [True, False] == [each.complete for each in read_documents("a: 1\n---\n[")]


@pytest.mark.parametrize(
    ("value", "expected"),
    (
        (None, "null"),
        (True, "true"),
        (1, "1"),
        ("a'b", '"a\'b"'),
        ([1], "a list"),
        ({}, "a mapping"),
        ("x" * 100, "'" + "x" * 75 + "...'"),
    ),
)
def test_values_are_shown_as_in_yaml(value: object, expected: str) -> None:
    """Messages show scalars as YAML has them, and nothing long."""
    assert expected == shown(value)


def lines(text: str, *paths: tuple[str | int, ...]) -> list[int | None]:
    """Return the lines of ``paths`` in the only document of a text."""
    (only,) = read_documents(text)
    return [only.line(path) for path in paths]


def test_values_have_lines() -> None:
    """A field stands where its key stands, an entry of a list where it begins."""
    text = "a:\n  b:\n  - 1\n  -\n    c: |\n      x\n    d: 2\n"

    assert [1, 1, 2, 3, 5, 5, 7] == lines(
        text, (), ("a",), ("a", "b"), ("a", "b", 0), ("a", "b", 1), ("a", "b", 1, "c"), ("a", "b", 1, "d")
    )


def test_what_is_not_there_has_the_line_of_what_is_above_it() -> None:
    """A path that leads nowhere has the line of its last step that is there."""
    assert [2, 3, 3] == lines("a: 1\nb:\n- c: 2\n", ("b", 7), ("b", 0, "d"), ("b", 0, "c", "e", 1))


def test_lines_of_a_document_are_those_of_the_text() -> None:
    """Documents before it, empty ones as well, count."""
    _, second = read_documents("---\n---\na: 1\n---\n\n---\nb:\n c: 2\n")

    assert [7, 8] == [second.line(("b",)), second.line(("b", "c"))]


def test_what_an_alias_stands_for_has_its_own_lines() -> None:
    """An alias stands at its key, what is inside of it where it was written."""
    assert [3, 2] == lines("a: &x\n  b: 1\nc: *x\n", ("c",), ("c", "b"))


def test_the_first_of_two_equal_keys_has_the_line() -> None:
    """The line is that of the value which was taken."""
    assert [1] == lines("a: 1\na: 2\n", ("a",))


def test_a_text_that_breaks_has_lines_up_to_there() -> None:
    """Of a text that is not YAML to the end, what was read has its line."""
    assert [2] == lines("a: 1\nb: 2\nc: [", ("b",))


def test_a_byte_order_mark_may_begin_a_text() -> None:
    """Editors write it there; anywhere else readers of YAML do not agree what it is."""
    assert {"a": 1} == value("\ufeffa: 1")
    assert [2] == [flaw.line for flaw in read_documents("a:\n  \ufeff- 1")[0].flaws]
