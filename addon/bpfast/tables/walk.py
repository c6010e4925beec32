# SPDX-License-Identifier: Apache-2.0
"""The reference of the kernel's walker: byte by byte over request heads.

Works on the packed words alone, as the kernel does, and keeps what the kernel
keeps between segments. Bodies are no business of the walker: after an allowed
head the caller skips ``content_length`` bytes, or what ``Chunks`` takes, and
feeds what follows.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bpfast.abi import (
    CANDIDATE_WORDS,
    MAX_CONTENT_LENGTH,
    MAX_HEAD_BYTES,
    MAX_HEADER_LINES,
    TRANSITION_ACTION,
    ActionOp,
    ActionWord,
    Reason,
    SeenBit,
    Verdict,
)
from bpfast.tables.chunks import Chunks
from bpfast.tables.image import TableImage, read

_REPEATED = (
    (SeenBit.HOST, Reason.BAD_HOST),
    # This first: a coding counts as a length, too, so that both are one too many.
    (SeenBit.TRANSFER_ENCODING, Reason.BAD_TRANSFER_ENCODING),
    (SeenBit.CONTENT_LENGTH, Reason.BAD_CONTENT_LENGTH),
    (SeenBit.EXPECT, Reason.BAD_EXPECT),
)


@dataclass(frozen=True, slots=True)
class Head:
    """What became of one request head.

    ``rule`` is the id of the rule that allows, None for a denial. Length and
    flags say how the stream goes on after an allowed head.
    """

    verdict: Verdict
    reason: Reason
    rule: int | None = None
    content_length: int = 0
    close: bool = False
    expect: bool = False
    head_method: bool = False
    chunked: bool = False


@dataclass(slots=True)
class _Progress:
    """What is known in the middle of a head; begins anew with each.

    ``state`` is pre-multiplied, ``candidates`` the offset of a list or 0,
    ``seen`` and ``fulfilled`` are the bit sets of the header lines so far.
    """

    state: int
    size: int = 0
    lines: int = 0
    length: int = 0
    candidates: int = 0
    seen: int = 0
    fulfilled: int = 0
    close: bool = False
    expect: bool = False
    head_method: bool = False
    chunked: bool = False


class Walker:
    """Walks the heads of one connection; a denial is final."""

    def __init__(self, image: TableImage) -> None:
        """Stand before the first byte of a request line."""
        self._layout = read(image)
        self._words = image.words
        self._classes = bytes(self._words[self._layout.classes : self._layout.rows])
        self._now = _Progress(self._layout.start)
        self._denied: Head | None = None

    def restart(self) -> None:
        """Stand before a request line again: another connection with the same image."""
        self._now = _Progress(self._layout.start)
        self._denied = None

    @property
    def state(self) -> int:
        """Return the pre-multiplied state, which is independent of where the image lies."""
        return self._now.state

    @property
    def inside(self) -> bool:
        """Return whether a head has begun and not ended."""
        return self._now.size > 0

    def feed(self, data: bytes) -> tuple[int, Head | None]:
        """Take bytes up to the end of a head; return how many, and the outcome if there is one.

        With None all bytes were taken and more are needed. After an allowed
        head the next call begins the next one; after a denial nothing is taken.
        """
        if self._denied is not None:
            return 0, self._denied
        for taken, byte in enumerate(data, start=1):
            head = self._step(byte)
            if head is not None:
                self._now = _Progress(self._layout.start)
                if head.verdict == Verdict.DENY:
                    self._denied = head
                return taken, head
        return len(data), None

    def _step(self, byte: int) -> Head | None:
        now = self._now
        now.size += 1
        if now.size > MAX_HEAD_BYTES:
            return _deny(Reason.HEAD_TOO_LARGE)
        word = self._words[self._layout.rows + now.state + self._classes[byte]]
        if not word & TRANSITION_ACTION:
            now.state = word
            return None
        return self._act(word ^ TRANSITION_ACTION, byte)

    def _act(self, record: int, byte: int) -> Head | None:
        now, words = self._now, self._words
        ops = ActionOp(words[record + ActionWord.OPS] & 0xFFFF)
        if ActionOp.FAULT in ops:
            return _deny(Reason(words[record + ActionWord.OPS] >> 16))
        now.head_method |= ActionOp.HEAD_METHOD in ops
        now.close |= ActionOp.CLOSE in ops
        now.expect |= ActionOp.EXPECT in ops
        now.chunked |= ActionOp.CHUNKED in ops
        now.state = words[record + ActionWord.NEXT]
        if ActionOp.REQUEST_LINE in ops:
            now.candidates = words[record + ActionWord.CANDIDATES]
            if not now.candidates:
                return _deny(Reason.NO_RULE)
        if ActionOp.DIGIT in ops:
            now.length = now.length * 10 + byte - ord("0")
            if now.length > MAX_CONTENT_LENGTH:
                return _deny(Reason.BAD_CONTENT_LENGTH)
        if ActionOp.HEADER_LINE in ops and (head := self._header_line(record)):
            return head
        return self._head_end() if ActionOp.HEAD_END in ops else None

    def _header_line(self, record: int) -> Head | None:
        now, words = self._now, self._words
        now.lines += 1
        if now.lines > MAX_HEADER_LINES:
            return _deny(Reason.TOO_MANY_HEADERS)
        seen = words[record + ActionWord.SEEN_LO] | words[record + ActionWord.SEEN_HI] << 32
        repeated = now.seen & seen
        if repeated:
            named = (reason for bit, reason in _REPEATED if repeated >> bit & 1)
            return _deny(next(named, Reason.REPEATED_HEADER))
        now.seen |= seen
        now.fulfilled |= words[record + ActionWord.SET_LO] | words[record + ActionWord.SET_HI] << 32
        return None

    def _head_end(self) -> Head:
        now, words = self._now, self._words
        if not now.seen >> SeenBit.HOST & 1:
            return _deny(Reason.MISSING_HOST)
        first = now.candidates + 1
        for entry in range(words[now.candidates]):
            rule, low, high = words[first + CANDIDATE_WORDS * entry :][:CANDIDATE_WORDS]
            if (low | high << 32) & ~now.fulfilled == 0:
                return Head(
                    Verdict.ALLOW,
                    Reason.RULE,
                    rule,
                    content_length=now.length,
                    close=now.close,
                    expect=now.expect,
                    head_method=now.head_method,
                    chunked=now.chunked,
                )
        return _deny(Reason.NO_RULE)


def _deny(reason: Reason) -> Head:
    return Head(Verdict.DENY, reason)


def walk(image: TableImage, stream: bytes) -> Iterator[Head | None]:
    """Yield the outcome of every head of a whole stream, bodies skipped.

    Ends after a denial, malformed chunks included, after ``Connection: close`` and
    at the stream's end; yields None last if a head or a body is unfinished there.
    """
    walker = Walker(image)
    at = 0
    while at < len(stream):
        taken, head = walker.feed(stream[at:])
        yield head
        if head is None or head.verdict == Verdict.DENY:
            return
        at += taken + head.content_length
        if head.chunked:
            chunks = Chunks()
            at += chunks.feed(stream[at:])
            if chunks.fault is not None:
                yield _deny(chunks.fault)
                return
            if not chunks.over:
                yield None
                return
        if head.close:
            return
    if at > len(stream):
        yield None
