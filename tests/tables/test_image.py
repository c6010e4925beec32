# SPDX-License-Identifier: Apache-2.0
"""The reader of images takes what the packer wrote and refuses everything else."""

import random
import zlib
from array import array

import pytest

from bpfast.abi import (
    ACTION_WORDS,
    CLASS_MAP_WORDS,
    IMAGE_HEADER_WORDS,
    TRANSITION_ACTION,
    ActionOp,
    ActionWord,
    ImageWord,
)
from bpfast.errors import Failure
from bpfast.policy.rules import HeaderMatch, HttpRule, RuleSet
from bpfast.tables.build import build
from bpfast.tables.image import TableImage, decode, read
from bpfast.tables.show import table

RULES = RuleSet(
    (
        HttpRule("a", path="/a", headers=(HeaderMatch("x", "1"),)),
        HttpRule("b", method="GET", path="/a|/b", host="b"),
    )
)


@pytest.fixture(scope="module")
def image() -> TableImage:
    """A small image with all that an image can have."""
    return build(RULES).image


def changed(image: TableImage, index: int, value: int) -> bytes:
    """Return the image with another word and a right checksum."""
    words = array("I", image.words)
    words[index] = value & 0xFFFFFFFF
    words[ImageWord.CHECKSUM] = 0
    words[ImageWord.CHECKSUM] = zlib.crc32(words.tobytes())
    return words.tobytes()


def first_record(image: TableImage, op: ActionOp) -> int:
    """Return the offset of the first action record that does ``op``."""
    layout = read(image)
    records = range(layout.actions, layout.actions + ACTION_WORDS * layout.action_count, ACTION_WORDS)
    return next(offset for offset in records if op & image.words[offset + ActionWord.OPS])


def test_what_was_packed_is_read(image: TableImage) -> None:
    """The decoder returns an equal image, and its layout tells where everything is."""
    assert image == decode(image.data, image.rules)
    layout = read(image)
    assert IMAGE_HEADER_WORDS == layout.classes
    assert IMAGE_HEADER_WORDS + CLASS_MAP_WORDS == layout.rows
    assert layout.rows + layout.stride * layout.states == layout.actions
    assert 2 == layout.rules


def test_the_start_of_an_image_in_memory(image: TableImage) -> None:
    """The first four bytes are the magic as letters."""
    assert b"BPFT" == image.data[:4]


def test_equal_rules_are_one_image_whatever_their_names(image: TableImage) -> None:
    """The digest depends on the words alone."""
    renamed = RuleSet(tuple(HttpRule(r.name * 2, r.method, r.path, r.host, r.headers) for r in RULES.rules))
    assert image.digest == build(renamed).image.digest
    assert image.digest != build(RuleSet(RULES.rules[:1])).image.digest


@pytest.mark.parametrize("index", range(IMAGE_HEADER_WORDS))
@pytest.mark.parametrize("delta", (1, -1, 2**31))
def test_a_changed_header_word_is_refused(image: TableImage, index: int, delta: int) -> None:
    """Whatever header word changes, with a right checksum, the image is refused."""
    if index == ImageWord.CHECKSUM:
        words = array("I", image.words)
        words[index] ^= delta & 0xFFFFFFFF
        data = words.tobytes()
    else:
        data = changed(image, index, image.words[index] + delta)
    with pytest.raises(Failure, match="table image "):
        decode(data, image.rules)


def test_a_changed_bit_is_refused(image: TableImage) -> None:
    """Two hundred random bits, each turned alone, make the checksum wrong."""
    source = random.Random(11)
    for _ in range(200):
        data = bytearray(image.data)
        data[source.randrange(len(data))] ^= 1 << source.randrange(8)
        with pytest.raises(Failure, match="table image has a"):
            decode(bytes(data), image.rules)


@pytest.mark.parametrize("size", (0, 3, 64, 319, 321))
def test_a_fragment_is_refused(image: TableImage, size: int) -> None:
    """Less than a header with its class map, or half a word, is no image."""
    with pytest.raises(Failure, match="is too short or not made of words"):
        decode(image.data[:size], image.rules)


def test_a_cut_image_is_refused(image: TableImage) -> None:
    """An image without its last word has a wrong size."""
    with pytest.raises(Failure, match="has a wrong size"):
        decode(image.data[:-4], image.rules)


def test_other_names_are_refused(image: TableImage) -> None:
    """An image needs as many names as it has rules."""
    with pytest.raises(Failure, match="has a wrong number of rules, expected 1: 2"):
        decode(image.data, ("a",))


def test_a_transition_to_nowhere_is_refused(image: TableImage) -> None:
    """A state must be a row, an action a record."""
    layout = read(image)
    lists = layout.actions + ACTION_WORDS * layout.action_count
    wrong = (1, layout.stride * layout.states, TRANSITION_ACTION, TRANSITION_ACTION | lists)
    for word in (*wrong, TRANSITION_ACTION | (layout.actions + 1)):
        with pytest.raises(Failure, match="has a transition to nowhere"):
            decode(changed(image, layout.rows + 5, word), image.rules)


def test_a_class_outside_its_rows_is_refused(image: TableImage) -> None:
    """A byte's class must be a column."""
    stride = read(image).stride
    for column in (stride, 255):
        with pytest.raises(Failure, match=f"has a class outside its rows: {column}"):
            decode(changed(image, IMAGE_HEADER_WORDS + 9, column), image.rules)


def test_an_action_that_leads_nowhere_is_refused(image: TableImage) -> None:
    """The state behind an action must be a row."""
    offset = first_record(image, ActionOp.HEADER_LINE) + ActionWord.NEXT
    with pytest.raises(Failure, match="has an action that leads nowhere"):
        decode(changed(image, offset, image.words[offset] + 1), image.rules)


def test_bad_candidate_lists_are_refused(image: TableImage) -> None:
    """A list lies behind the actions, has one to sixteen entries, and names rules."""
    offset = next(
        offset
        for offset in range(read(image).actions, len(image.words), ACTION_WORDS)
        if image.words[offset + ActionWord.CANDIDATES]
    )
    start = image.words[offset + ActionWord.CANDIDATES]
    for index, value, what in (
        (offset + ActionWord.CANDIDATES, 5, "a candidate list outside"),
        (offset + ActionWord.CANDIDATES, len(image.words), "a candidate list outside"),
        (start, 0, "a candidate list of a wrong length"),
        (start, 17, "a candidate list of a wrong length"),
        (start + 1, 2, "a candidate that is no rule"),
    ):
        with pytest.raises(Failure, match=f"has {what}"):
            decode(changed(image, index, value), image.rules)


def test_an_image_can_print_itself(image: TableImage) -> None:
    """The text has the rules, every action and every state, bytes and reasons by name."""
    lines = table(image).splitlines()
    layout = read(image)
    assert lines[0].startswith(f"{layout.states} states, {layout.stride} classes, ")
    assert ["rule 0: a", "rule 1: b"] == lines[2:4]
    assert "action 0: FAULT INTERNAL" == lines[4]
    assert " state 0: else -> action 0" == lines[4 + layout.action_count]
    assert lines[5 + layout.action_count].startswith(">state 1: ")
    assert len(lines) == 4 + layout.action_count + layout.states
    text = "\n".join(lines)
    assert "REQUEST_LINE, next " in text
    assert "candidates 0:0x1 1:0x2" in text
    assert "HEADER_LINE+CLOSE, next " in text
