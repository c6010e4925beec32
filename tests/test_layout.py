# SPDX-License-Identifier: Apache-2.0
"""The house rules that a program can see."""

import ast
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

FOLDERS = ("addon", "bpf", "tests", "e2e", "bench", "tools")
WALL = 600
LONGEST_BODY = 40
# Cursors and collectors: they live for one call and never leave it half done. Private ones need no entry.
AT_WORK = {"Constraints", "Scanner"}
VAGUE = re.compile(r"^(util|common|helper|misc)", re.IGNORECASE)
UNFINISHED = re.compile("TO" + "DO|FIX" + "ME|X" + "XX")
LICENCES = {
    ".py": "# SPDX-License-Identifier: Apache-2.0",
    ".c": "/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */",
    ".h": "/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */",
}


def sources(*suffixes: str) -> list[Path]:
    """Return the source files with these suffixes, as paths from the root."""
    paths = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in suffixes)
    return sorted(path.relative_to(ROOT) for path in paths if "egg-info" not in str(path))


PYTHON = sources(".py")
ALL = sources(".py", ".c", ".h")


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return every function of a file."""
    tree = ast.parse((ROOT / path).read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many lines a body has, its docstring not counted."""
    first = function.body[0]
    documented = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and len(function.body) > 1
    )
    start = function.body[1] if documented else first
    return (function.end_lineno or start.lineno) - start.lineno + 1


@pytest.mark.parametrize("path", ALL, ids=str)
def test_the_licence_comes_first(path: Path) -> None:
    """Every source file opens with the licence of its folder."""
    assert (ROOT / path).read_text().splitlines()[0] == LICENCES[path.suffix]


@pytest.mark.parametrize("path", ALL, ids=str)
def test_a_file_has_one_reason(path: Path) -> None:
    """No source file is longer than the wall, has a vague name or unfinished business."""
    text = (ROOT / path).read_text()

    assert len(text.splitlines()) <= WALL
    assert not VAGUE.match(path.stem)
    assert not UNFINISHED.search(text)


@pytest.mark.parametrize("path", PYTHON, ids=str)
def test_functions_are_short(path: Path) -> None:
    """No function has a longer body than forty lines."""
    long = {node.name: body_lines(node) for node in functions(path) if body_lines(node) > LONGEST_BODY}

    assert {} == long


@pytest.mark.parametrize("path", [path for path in PYTHON if path.parts[0] == "addon"], ids=str)
def test_values_are_frozen(path: Path) -> None:
    """Every dataclass of the package has slots, and is frozen unless it is known to be at work."""
    tree = ast.parse((ROOT / path).read_text())
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    decorated = {node.name: " ".join(map(ast.unparse, node.decorator_list)) for node in classes}
    dataclasses = {name: text for name, text in decorated.items() if "dataclass" in text}
    moving = {name for name, text in dataclasses.items() if "frozen=True" not in text}

    assert {name for name in moving if not name.startswith("_")} <= AT_WORK
    assert [name for name, text in dataclasses.items() if "slots=True" not in text] == []


@pytest.mark.parametrize("path", [path for path in PYTHON if path.name.startswith("test_")], ids=str)
def test_tests_say_what_is_true(path: Path) -> None:
    """The docstring of each test is a sentence that ends with a period."""
    tests = [node for node in functions(path) if node.name.startswith("test_")]
    silent = [node.name for node in tests if not (ast.get_docstring(node) or "").strip().endswith(".")]

    assert [] == silent


def test_packages_are_packages() -> None:
    """Each folder with Python files has an ``__init__.py``."""
    folders = {path.parent for path in PYTHON} - {Path("tools")}

    assert [] == [str(folder) for folder in folders if not (ROOT / folder / "__init__.py").exists()]
