# SPDX-License-Identifier: Apache-2.0
"""The table of fields agrees with the models, with the reader and with the document."""

import json
import types
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel

from bpfast.policy.cnp import CiliumNetworkPolicy, RuleLabel
from bpfast.policy.reader import Text, examine
from bpfast.policy.supported import FIELDS, Field, Where, markdown
from tests.policy.policies import GET, Object, policy, port, rule

ROOT = Path(__file__).resolve().parents[2]
REFUSED = [field for field in FIELDS if field.where in (Where.LATER, Where.REFUSED)]


def models_in(annotation: Any, inside: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the models of a field's type, with ``[]`` for those in a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield inside, annotation
    for each in get_args(annotation) if get_origin(annotation) in (tuple, types.UnionType) else ():
        yield from models_in(each, "[]" if get_origin(annotation) is tuple else inside)


def paths(model: type[BaseModel], start: str = "") -> Iterator[str]:
    """Yield the paths of all fields that the models know."""
    for field in model.model_fields.values():
        path = f"{start}{field.alias}"
        yield path
        for inside, inner in models_in(field.annotation):
            if inner is not RuleLabel and path != "specs":
                yield from paths(inner, f"{path}{inside}.")


def with_field(path: str) -> Object:
    """Return a right policy in which the field at ``path`` has been added."""
    http = port(80, GET)
    peers: Object = {"matchLabels": {"app": "client"}}
    whole = deepcopy(policy(rule({"fromEndpoints": [peers], "toPorts": [http]})))
    place: Any = whole
    *steps, last = path.split(".")
    for step in steps:
        place = place[step.removesuffix("[]")]
        place = place[0] if step.endswith("[]") else place
    place[last] = {}
    return whole


def test_the_table_has_the_fields_of_the_models() -> None:
    """What the table says is read, and nothing else, has a place in the models."""
    read = {field.path for field in FIELDS if field.where not in (Where.LATER, Where.REFUSED)}

    assert set(paths(CiliumNetworkPolicy)) == read


def test_no_field_stands_twice() -> None:
    """Each path is in the table once."""
    assert len({field.path for field in FIELDS}) == len(FIELDS)


@pytest.mark.parametrize("field", REFUSED, ids=lambda field: field.path)
def test_refused_fields_are_refused_by_name(field: Field) -> None:
    """A field of Cilium's that is not enforced is one fault, at its path, with its reason."""
    (fault,) = examine([Text("p", json.dumps(with_field(field.path)))]).faults
    reason = "not supported yet; " if field.where is Where.LATER else f"not supported: {field.note}; "

    assert field.path.replace("[]", "[0]") == fault.path
    assert fault.message.startswith(reason)


def test_the_document_has_the_table() -> None:
    """``docs/supported.md`` shows the table as the code has it."""
    text = (ROOT / "docs" / "supported.md").read_text()

    assert markdown() in text
