# SPDX-License-Identifier: Apache-2.0
"""pydantic's errors to flaws: our words, the YAML path, the order of the file.

This is the seam to pydantic's texts: they name types as Python does, and change
between its versions.
"""

import json
import re
from collections.abc import Callable, Iterable
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bpfast.policy.document import Flaw, Path, shown, wrong_type

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
MISSING: Final = "is required"

_MAX_STEP: Final = 320
_OF_A_KEY: Final = "[key]"
_TEXTS: Final = {
    "missing": MISSING,
    "value_error": "{error}",
    "literal_error": "must be {expected}, not {value}",
    "too_long": "must hold at most {max_length} entries",
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


def name_in(value: object) -> str:
    """Return ``namespace/name`` out of a mapping that may be wrong elsewhere, "" where it has none."""
    if not isinstance(value, dict):
        return ""
    name, namespace = value.get("name"), value.get("namespace", "default")
    if not (isinstance(name, str) and isinstance(namespace, str)):
        return ""
    text = f"{namespace}/{name}"
    return text if text.isprintable() and len(text) <= _MAX_STEP else ""


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
    return sorted(flaws, key=lambda flaw: _position(flaw.path, value))


def _position(path: Path, value: object) -> tuple[int, ...]:
    """Return the place of ``path``: at each level the number of the entry, the end if it is not there."""
    place = []
    for step in path:
        if isinstance(value, dict):
            keys = list(value)
            place.append(keys.index(step) if step in value else len(keys))
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int):
            place.append(step)
            value = value[step] if step < len(value) else None
        else:
            break
    return tuple(place)
