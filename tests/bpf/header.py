# SPDX-License-Identifier: Apache-2.0
"""What a C header says, as its compiler understands it.

Names come from the text, everything else from a program that the host's
compiler makes of them: sizes, offsets and values are never typed in by hand.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_DEFINE = re.compile(r"^#define[ \t]+(\w+)[ \t]+\S", re.MULTILINE)
_ENUM = re.compile(r"^enum (\w+) \{(.*?)^\};", re.MULTILINE | re.DOTALL)
_ENUMERATOR = re.compile(r"(\w+)\s*(?:=[^,]*)?(?:,|\Z)")
_STRUCT = re.compile(r"^struct (\w+) \{(.*?)^\};", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^\s*[\w ]+?[ *](\w+(?:\[\w+\])?(?:,\s*\w+)*)\s*;", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Field:
    """Where a member of a struct lies, in bytes."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Header:
    """The values of a header: of constants, of enumerators by enum, of fields by struct."""

    constants: Mapping[str, int]
    enums: Mapping[str, Mapping[str, int]]
    sizes: Mapping[str, int]
    fields: Mapping[str, Mapping[str, Field]]


def prefix(names: list[str]) -> str:
    """Return what all enumerators begin with, up to an underscore."""
    common = os.path.commonprefix(names)  # noqa: RUF071 - characters are meant
    return common[: common.rfind("_") + 1]


def members(enumerators: Mapping[str, int]) -> dict[str, int]:
    """Return the enumerators of one enum without their prefix."""
    cut = len(prefix(list(enumerators)))
    return {name[cut:]: value for name, value in enumerators.items()}


def without_comments(text: str) -> str:
    """Return the text of a header without its comments."""
    return _COMMENT.sub("", text)


def _field_names(body: str) -> list[str]:
    names = [name for found in _FIELD.findall(body) for name in found.split(",")]
    return [name.split("[")[0].strip() for name in names]


def _lines(text: str) -> Iterator[str]:
    """Yield one printf a name; what it prints is read back by ``load``."""
    for name in _DEFINE.findall(text):
        yield f'printf("constant {name} %lld\\n", (long long)({name}));'
    for enum, body in _ENUM.findall(text):
        for name in _ENUMERATOR.findall(body.strip()):
            yield f'printf("enum {enum} {name} %lld\\n", (long long)({name}));'
    for struct, body in _STRUCT.findall(text):
        yield f'printf("size {struct} %zu\\n", sizeof(struct {struct}));'
        for name in _field_names(body):
            member = f"((struct {struct} *)0)->{name}"
            offset = f"__builtin_offsetof(struct {struct}, {name})"
            yield f'printf("field {struct} {name} %zu %zu\\n", (size_t){offset}, sizeof({member}));'


def run(program: str, folder: Path, include: Path) -> list[list[str]]:
    """Compile and run a C program; return the words of each line that it prints."""
    source, binary = folder / "program.c", folder / "program"
    source.write_text(program)
    words = ["gcc", "-DBPFAST_HOST", "-std=gnu11", "-Wall", "-Werror", "-Wno-unknown-pragmas", f"-I{include}"]
    made = subprocess.run(
        [*words, str(source), "-o", str(binary)], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    done = subprocess.run([str(binary)], capture_output=True, text=True, check=True)
    return [line.split() for line in done.stdout.splitlines()]


def load(path: Path, folder: Path) -> Header:
    """Return what the header at ``path`` (below an include folder's ``lib``) says."""
    text = without_comments(path.read_text())
    body = "\n\t".join(_lines(text))
    program = (
        f'#include <stdio.h>\n#include "lib/{path.name}"\nint main(void)\n{{\n\t{body}\n\treturn 0;\n}}\n'
    )
    constants: dict[str, int] = {}
    enums: dict[str, dict[str, int]] = {}
    sizes: dict[str, int] = {}
    fields: dict[str, dict[str, Field]] = {}
    for kind, *rest in run(program, folder, path.parents[1]):
        match kind, rest:
            case "constant", [name, value]:
                constants[name] = int(value)
            case "enum", [enum, name, value]:
                enums.setdefault(enum, {})[name] = int(value)
            case "size", [name, value]:
                sizes[name] = int(value)
                fields[name] = {}
            case "field", [struct, name, offset, size]:
                fields[struct][name] = Field(int(offset), int(size))
    return Header(constants, enums, sizes, fields)
