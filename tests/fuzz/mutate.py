# SPDX-License-Identifier: Apache-2.0
"""A document and chance to another document that is nearly right.

Most bytes of a policy are words that a schema knows, so random bytes get no
further than the YAML scanner. Mutations are therefore of three kinds: of the text,
of its lines, and of the value that it stands for, written out again.
"""

import copy
import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import yaml

from bpfast.policy.document import read_documents
from bpfast.policy.fields import GROUPS

ROOT: Final = Path(__file__).resolve().parents[2]
LONGEST: Final = 20_000
_DEEPEST: Final = 80
_MOST_ALIASES: Final = 40
_RIGHT: Final = 0.8

NAMES: Final = tuple(sorted({field.name for group in GROUPS.values() for field in group.fields}))
# Values that mean something at one place or another, or nothing anywhere.
SCALARS: Final[tuple[object, ...]] = (
    *(None, True, False, 0, 1, -1, 53, 80, 65535, 65536, 2**31, 2**63, 2**64, 10**400, 1.5),
    *(float("inf"), float("nan"), [], {}, [[]], {"": None}),
    *("", " ", "0", "80", "010", "0x50", "65536", "http", "HTTP", "ANY", "TCP", "tcp", "UDP", "SCTP"),
    *("In", "Exists", "host", "world", "all", "none", "10.0.0.0/8", "10.0.0.0/33", "::/0"),
    *("2001:db8::/32", "::ffff:0:0/96", "*", "*.a", "a.example", "/a.*", "(", "[", "a{1001}", "(?i)x"),
    *("\\pN", "GET", "X-A: 1", "X-A", "k8s:app", "any:app", "app", "reserved:host", "reserved:x", "demo"),
    *("k8s:io.kubernetes.pod.namespace", "io.cilium.k8s.namespace.labels.a", "cilium.io/v2", "v1"),
    *("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy", "CiliumNetworkPolicyList", "List"),
    *("Service", "NetworkPolicy", "EchoRequest", "IPv4", "IPv6", "required", "LOG", "ADD"),
    *("\0", "\x1b[2J", "\u2028", "\u00e9", "\U0001f600", "x" * 64, "x" * 300),
)
# Words of YAML.
TOKENS: Final = (
    *("---\n", "...\n", "- ", "? ", ": ", "&a ", "*a", "<<: *a\n", "!!str ", "!!int ", "!own ", "|\n"),
    *(">-\n", "{", "}", "[", "]", "#", "%YAML 1.1\n", "'", '"', "\t", "\r", "\0", "\ufeff", "\u2028"),
    *("\\u0000", "\\ud800", "~", "null", "0x" + "f" * 40, "9" * 40, "1e999", ".inf", "yes", "=", "`"),
    *("@", "\x85", "\x7f", "  ", "\n"),
)


@dataclass(frozen=True, slots=True)
class Corpus:
    """The documents of the repository: its examples and test data, and those of them that are wrong."""

    right: tuple[str, ...]
    wrong: tuple[str, ...]

    @classmethod
    def read(cls) -> "Corpus":
        """Read them all; what is longer than a mutation can be is left out."""
        right = _texts("manifests/examples") + _texts("tests/data/cnp")
        return cls(right, _texts("tests/data/cnp/broken"))

    def mutation(self, chance: Random) -> str:
        """Return a mutation of one of the documents, more often of one that is right."""
        return self.mutated(chance.choice(self.right if chance.random() < _RIGHT else self.wrong), chance)

    def mutated(self, text: str, chance: Random) -> str:
        """Return ``text`` after one mutation or a few, with parts of the documents."""
        for _ in range(1 + int(chance.expovariate(1.5)) % 6):
            text = chance.choice(_MUTATIONS)(text, chance, self.right)[:LONGEST]
        return text


def _texts(folder: str) -> tuple[str, ...]:
    texts = (path.read_text() for path in sorted((ROOT / folder).glob("*.yaml")))
    return tuple(text for text in texts if len(text) <= LONGEST)


def _cut(text: str, chance: Random, others: Sequence[str]) -> str:
    """Take a piece out."""
    del others
    first, last = _two_places(text, chance)
    return text[:first] + text[last:]


def _double(text: str, chance: Random, others: Sequence[str]) -> str:
    """Write a piece twice."""
    del others
    first, last = _two_places(text, chance)
    return text[:last] + text[first:]


def _insert(text: str, chance: Random, others: Sequence[str]) -> str:
    """Put a word of YAML somewhere."""
    del others
    place = chance.randint(0, len(text))
    return text[:place] + chance.choice(TOKENS) + text[place:]


def _character(text: str, chance: Random, others: Sequence[str]) -> str:
    """Change one character into any other."""
    del others
    place = chance.randrange(len(text) + 1)
    return text[:place] + chr(chance.randrange(0x250)) + text[place + 1 :]


def _splice(text: str, chance: Random, others: Sequence[str]) -> str:
    """Go on with the end of another document."""
    other = chance.choice(others)
    return text[: chance.randint(0, len(text))] + other[chance.randint(0, len(other)) :]


def _lines(text: str, chance: Random, others: Sequence[str]) -> str:
    """Move, repeat, indent or borrow a line."""
    lines = text.splitlines(keepends=True) or [""]
    line = chance.choice((*lines, *chance.choice(others).splitlines(keepends=True)))
    place = chance.randrange(len(lines))
    what = chance.randrange(4)
    if what == 0:
        lines.insert(place, line)
    elif what == 1:
        lines[place] = line
    elif what == 2:
        lines[place] = " " * chance.randint(1, 8) + lines[place]
    else:
        lines[place] = lines[place].lstrip(" ")
    return "".join(lines)


def _value(text: str, chance: Random, others: Sequence[str]) -> str:
    """Change the value that the text stands for, and write it out as JSON or YAML."""
    documents = _loaded(text)
    donor = _loaded(chance.choice(others))
    for _ in range(1 + int(chance.expovariate(1.5)) % 4):
        _change(documents, chance, donor)
    if chance.random() < 0.5:
        return "\n---\n".join(json.dumps(each, ensure_ascii=chance.random() < 0.5) for each in documents)
    return yaml.dump_all(documents, Dumper=yaml.CSafeDumper, allow_unicode=True)


def _loaded(text: str) -> list[Any]:
    """Return the documents of a text as plain values, without references."""
    return list(json.loads(_as_json(text)))


@functools.lru_cache(maxsize=1024)
def _as_json(text: str) -> str:
    """Return the documents of a text as a JSON list; an empty one for what cannot be read, or is a bomb.

    Read by our own reader: PyYAML's constructor fails in many ways on texts like these.
    """
    documents = [] if text.count("*") > _MOST_ALIASES else read_documents(text)
    return json.dumps([document.value for document in documents if document.complete] or [{}])


def _change(documents: list[Any], chance: Random, donor: list[Any]) -> None:
    """Change one place of a value: a scalar, an entry, a key, or a part of another document."""
    place = _place(documents, chance)
    if isinstance(place, list):
        _change_list(place, chance, donor)
    elif isinstance(place, dict):
        _change_mapping(place, chance, donor)


def _change_list(place: list[Any], chance: Random, donor: list[Any]) -> None:
    what = chance.randrange(4)
    if what == 0 or not place:
        place.append(_borrowed(chance, donor))
    elif what == 1:
        place.pop(chance.randrange(len(place)))
    elif what == 2:
        place[chance.randrange(len(place))] = _borrowed(chance, donor)
    else:
        place.extend([place[0]] * chance.choice((1, 2, 41)))


def _change_mapping(place: dict[str, Any], chance: Random, donor: list[Any]) -> None:
    what = chance.randrange(4)
    if what == 0 or not place:
        place[chance.choice(NAMES)] = _borrowed(chance, donor)
    elif what == 1:
        place.pop(chance.choice(list(place)))
    elif what == 2:
        place[chance.choice(list(place))] = _borrowed(chance, donor)
    else:
        key = chance.choice(list(place))
        words = [str(each) for each in SCALARS if isinstance(each, str)]
        place[chance.choice((key.lower(), key + "s", *words))] = place.pop(key)


def _borrowed(chance: Random, donor: list[Any]) -> Any:
    """Return a new value: a scalar that means something somewhere, or a part of another document."""
    if chance.random() < 0.6:
        return copy.deepcopy(chance.choice(SCALARS))
    return json.loads(json.dumps(_place(donor, chance)))


def _place(value: Any, chance: Random) -> Any:
    """Return a list or a mapping somewhere in a value."""
    for _ in range(_DEEPEST):
        inside = list(value.values()) if isinstance(value, dict) else value
        inner = [each for each in inside if isinstance(each, list | dict)]
        if not inner or chance.random() < 0.15:
            break
        value = chance.choice(inner)
    return value


def _two_places(text: str, chance: Random) -> tuple[int, int]:
    first = chance.randint(0, len(text))
    return first, min(len(text), first + chance.choice((1, 2, 5, 20, 100, 1000)))


_MUTATIONS: Final[tuple[Callable[[str, Random, Sequence[str]], str], ...]] = (
    _cut, _double, _insert, _character, _splice, _lines, _lines, _value, _value, _value, _value,
)  # fmt: skip
