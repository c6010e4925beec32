# SPDX-License-Identifier: Apache-2.0
"""The table of fields agrees with Cilium's schema, the models, the reader, the tests and the document."""

import ast
import json
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel

from bpfast.policy.cnp import PolicyObject
from bpfast.policy.fields import GROUPS, Where
from bpfast.policy.reader import Text, examine
from bpfast.policy.supported import all_fields, markdown
from tests.policy.policies import GET, Object, policy, port, rule

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
TABLE = dict(all_fields())
REFUSED = sorted(path for path, field in TABLE.items() if field.where is Where.REFUSED)
TESTS = sorted({field.test for field in TABLE.values()})


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
            yield from paths(inner, f"{path}{inside}.")


def with_field(path: str) -> Object:
    """Return a right policy in which the field at ``path`` has been added."""
    http = port(80, GET)
    deny = port(81)
    entry: Object = {"toPorts": [http]}
    sections: Object = {
        "egress": [entry],
        "ingressDeny": [{"toPorts": [deny]}],
        "egressDeny": [{"toPorts": [deny]}],
    }
    whole: Object = json.loads(json.dumps(policy(rule(entry, **sections))))
    place: Any = whole
    *steps, last = path.split(".")
    for step in steps:
        place = place[step.removesuffix("[]")]
        place = place[0] if step.endswith("[]") else place
    place[last] = {}
    return whole


def test_the_table_has_every_field_of_ciliums_schema() -> None:
    """What the CRDs of both kinds have is in the table, and nothing else but what every object has."""
    listed = (ROOT / "tests" / "data" / "cnp" / "fields.txt").read_text().splitlines()
    refused = tuple(f"{path}[]." for path in REFUSED)
    schema = {line for line in listed if not line.startswith(("#", *refused))}
    in_specs = {path for path in TABLE if path.startswith("specs[].")}
    metadata = {path for path in TABLE if path.startswith("metadata.")}

    assert schema == TABLE.keys() - in_specs - metadata
    assert {path.removeprefix("specs[]") for path in in_specs} == {
        path.removeprefix("spec") for path in TABLE if path.startswith("spec.")
    }


def test_the_table_has_the_fields_of_the_models() -> None:
    """What the table says is read, and nothing else, has a place in the models."""
    read = {path for path, field in TABLE.items() if field.where is not Where.REFUSED}

    assert set(paths(PolicyObject)) == read


def test_no_field_stands_twice_in_a_group() -> None:
    """Each name is in its group once, and each group is used."""
    used = {field.group for field in TABLE.values()} - {""}

    assert [] == [
        name
        for name, group in GROUPS.items()
        if len({field.name for field in group.fields}) < len(group.fields)
    ]
    assert GROUPS.keys() - {"policy"} == used


@pytest.mark.parametrize("path", [path for path in REFUSED if path.startswith("spec.")])
def test_refused_fields_are_refused_by_name(path: str) -> None:
    """A field of Cilium's that is not taken is one fault, at its path, with its reason."""
    (fault,) = examine([Text("p", json.dumps(with_field(path)))]).faults

    assert path.replace("[]", "[0]") == fault.path
    assert f"not supported: {TABLE[path].note}" == fault.message


def defined_in(path: Path) -> set[str]:
    """Return the tests of a file, ``Class::test`` for those in a class."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return found


@pytest.mark.parametrize("test", TESTS)
def test_each_test_that_the_table_names_is_there(test: str) -> None:
    """A test in the table is one of this folder, and its case is one of the broken policies."""
    file, name, case = re.fullmatch(r"([a-z_]+\.py)::(.+?)(?:\[([a-z-]+)\])?", test).groups()  # type: ignore[union-attr]

    assert name in defined_in(HERE / file)
    assert case is None or (ROOT / "tests" / "data" / "cnp" / "broken" / f"{case}.yaml").is_file()


def test_the_document_has_the_tables() -> None:
    """``docs/supported.md`` shows the tables as the code has them."""
    text = (ROOT / "docs" / "supported.md").read_text()

    assert markdown() in text
