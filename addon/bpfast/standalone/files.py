# SPDX-License-Identifier: Apache-2.0
"""Policy and endpoints files: the one place of standalone mode that opens them.

A folder stands for the files directly inside it whose names end like a policy's,
sorted, hidden ones left out: what a mounted ConfigMap needs, and an order that
does not depend on the file system.
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bpfast.errors import BadInput, Fault
from bpfast.policy.reader import Text
from bpfast.standalone.endpoints import Endpoint, parse_endpoints

ENDINGS: Final = (".yaml", ".yml", ".json")
MOST_BYTES: Final = 64 << 20


def read_endpoints(path: Path) -> tuple[Endpoint, ...]:
    """Return the endpoints of the file at ``path``."""
    return parse_endpoints(_read(path), str(path))


def read_texts(paths: Sequence[Path]) -> tuple[Text, ...]:
    """Return the texts of all policy files, or raise BadInput with every file that cannot be read."""
    texts, faults = find_texts(paths)
    if faults:
        raise BadInput(faults)
    return texts


def find_texts(paths: Sequence[Path]) -> tuple[tuple[Text, ...], tuple[Fault, ...]]:
    """Return the texts of all policy files that can be read, and what is wrong with the others."""
    texts: list[Text] = []
    faults: list[Fault] = []
    for path in paths:
        try:
            inside = _inside(path)
        except BadInput as error:
            faults += error.faults
            continue
        for file in inside or (path,):
            try:
                texts.append(Text(str(file), _read(file), found=bool(inside)))
            except BadInput as error:
                faults += error.faults
    return tuple(texts), tuple(faults)


def _inside(path: Path) -> list[Path]:
    """Return the policy files in the folder ``path``, nothing if it is a file."""
    try:
        if not path.is_dir():
            return []
        found = sorted(file for file in path.iterdir() if _is_policy_file(file))
    except OSError as error:
        raise BadInput([Fault(str(path), "", "", f"cannot be read: {error.strerror}")]) from error
    if not found:
        raise BadInput(
            [Fault(str(path), "", "", f"the folder has no file that ends in {', '.join(ENDINGS)}")]
        )
    return found


def _is_policy_file(path: Path) -> bool:
    return path.suffix in ENDINGS and not path.name.startswith(".") and not path.is_dir()


def _read(path: Path) -> str:
    """Return a file's text; a byte-order mark is left out."""
    try:
        # Opened without waiting: nobody may ever write into a pipe.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BadInput([Fault(str(path), "", "", "cannot be read: not a regular file")])
            raw = file.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise BadInput([Fault(str(path), "", "", f"cannot be read: more than {MOST_BYTES} bytes")])
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise BadInput([Fault(str(path), "", "", f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}"
        raise BadInput([Fault(str(path), "", "", message)]) from error
