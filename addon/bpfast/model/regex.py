# SPDX-License-Identifier: Apache-2.0
"""Full matches of RE2 patterns, by our own reading of RE2's syntax and our own simulation."""

from functools import lru_cache

from bpfast.model.nfa import Nfa
from bpfast.model.pattern import RegexError, parse

__all__ = ["RegexError", "fullmatch"]


def fullmatch(pattern: str, text: bytes) -> bool:
    """Return whether ``pattern`` matches all of ``text``; raise RegexError if it is no regex."""
    return _compiled(pattern).matches(text)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> Nfa:
    return Nfa(parse(pattern))
