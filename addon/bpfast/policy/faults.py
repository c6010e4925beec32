# SPDX-License-Identifier: Apache-2.0
"""pydantic's errors to flaws: our words, the YAML path, the order of the file.

This is the seam to pydantic's texts: they name types as Python does, and change
between its versions.
"""

import json
import re
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bpfast.policy.budget import BUDGET, TooManyFaults
from bpfast.policy.document import MAX_FLAWS, Flaw, Path, shown, wrong_type

_Model = TypeVar("_Model", bound=BaseModel)
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_STEP: Final = re.compile(r"""\[([0-9]+)\]|\[("(?:[^"\\]|\\.)*")\]|[A-Za-z_][A-Za-z0-9_-]*""")
MISSING: Final = "is required"

_MAX_STEP: Final = 320
_OF_A_KEY: Final = "[key]"
_TEXTS: Final = {
    "missing": MISSING,
    "value_error": "{error}",
    "literal_error": "must be {expected}, not {value}",
    "too_long": "must hold at most {max_length} entries",
    "greater_than_equal": "must be at least {ge}, not {value}",
    "less_than_equal": "must be at most {le}, not {value}",
}
_WANTED: Final = {
    "string_type": "a string",
    "bool_type": "true or false",
    "int_type": "a number",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "tuple_type": "a list",
}


def yaml_path(path: Path) -> str:
    """Return ``path`` as text: ``spec.ingress[0].toPorts``, odd keys as ``["k8s:app"]``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step[:_MAX_STEP])}]"
    return text


def parse_path(text: str) -> Path:
    """Return the path that ``yaml_path`` wrote as ``text``; what it did not write is passed over."""
    steps = _STEP.finditer(text)
    return tuple(int(each[1]) if each[1] else json.loads(each[2]) if each[2] else each[0] for each in steps)


def printable(text: str) -> str:
    """Return ``text`` with what a terminal would obey or not show written as an escape.

    Our own words quote values that way; those of the caller's regex engine need not.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def name_in(value: object) -> str:
    """Return ``namespace/name`` out of a mapping that may be wrong elsewhere, "" where it has none."""
    if not isinstance(value, dict):
        return ""
    name, namespace = value.get("name"), value.get("namespace", "default")
    if not (isinstance(name, str) and isinstance(namespace, str)):
        return ""
    text = f"{namespace}/{name}"
    return text if text.isprintable() and len(text) <= _MAX_STEP else ""


def validate(
    model: type[_Model], value: object, refusal: Callable[[Path], str], context: dict[str, object]
) -> tuple[_Model | None, list[Flaw]]:
    """Return the model of ``value``, or None and what is wrong, at most MAX_FLAWS things.

    pydantic keeps every error, and each takes a kilobyte: where there are too
    many, the beginnings of the value's lists and mappings are looked at once more.
    """
    try:
        return model.model_validate(value, context=context | {BUDGET: [MAX_FLAWS]}), []
    except ValidationError as error:
        if error.error_count() <= MAX_FLAWS:
            return None, flaws_of(error, refusal)
    except TooManyFaults:
        pass
    flaws = [Flaw((), f"more than {MAX_FLAWS} faults: only some of the first are told")]
    for width in (1000, 100, 30):
        try:
            model.model_validate(_beginning(value, width), context=context | {BUDGET: [MAX_FLAWS]})
        except ValidationError as error:
            if error.error_count() <= MAX_FLAWS:
                found = flaws_of(error, refusal)
                return None, flaws + [flaw for flaw in found if flaw.message != MISSING]
        except TooManyFaults:
            pass
    return None, flaws


def _beginning(value: object, width: int) -> object:
    """Return ``value`` with the first entries only of its long lists and mappings."""
    if isinstance(value, list):
        return [_beginning(entry, width) for entry in value[:width]]
    if isinstance(value, dict):
        return {key: _beginning(value[key], width) for key in islice(value, width)}
    return value


def flaws_of(error: ValidationError, refusal: Callable[[Path], str]) -> list[Flaw]:
    """Return a flaw for each thing that pydantic found.

    ``refusal`` says why a field, given by its path, may not stand where it does.
    """
    flaws = []
    for details in error.errors(include_url=False):
        path = details["loc"]
        if len(path) > 1 and path[-1] == _OF_A_KEY:
            path = path[:-1]
        message = refusal(path) if details["type"] == "extra_forbidden" else _message(details)
        flaws.append(Flaw(path, message))
    return flaws


def _message(details: ErrorDetails) -> str:
    """Return one error in our words."""
    kind, value = details["type"], shown(details["input"])
    context = details.get("ctx", {}) | {"value": value}
    if kind in _WANTED:
        return wrong_type(_WANTED[kind], details["input"])
    return _TEXTS[kind].format_map(context) if kind in _TEXTS else details["msg"]


def in_file_order(flaws: Iterable[Flaw], value: object) -> list[Flaw]:
    """Return ``flaws`` in the order in which their places stand in the document ``value``."""
    numbers: dict[int, dict[str, int]] = {}
    return sorted(flaws, key=lambda flaw: _position(flaw.path, value, numbers))


def _position(path: Path, value: object, numbers: dict[int, dict[str, int]]) -> tuple[int, ...]:
    """Return the place of ``path``: at each level the number of the entry, the end if it is not there.

    ``numbers`` keeps the numbers of a mapping's keys, by the identity of the mapping.
    """
    place = []
    for step in path:
        if isinstance(value, dict):
            keys = numbers.setdefault(id(value), {}) or {key: n for n, key in enumerate(value)}
            numbers[id(value)] = keys
            place.append(keys.get(str(step), len(keys)))
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int):
            place.append(step)
            value = value[step] if step < len(value) else None
        else:
            break
    return tuple(place)
