# SPDX-License-Identifier: Apache-2.0
"""What becomes of each field of a policy; the source of ``docs/supported.md``.

A field that is not in the table (``fields``) is not Cilium's.
"""

import difflib
from collections.abc import Iterator
from typing import Final

from bpfast.policy.document import Path
from bpfast.policy.fields import GROUPS, Field, Group, Where

MISSPELT: Final = "unknown field; did you mean"

_LONGEST_TYPO: Final = 64


def group_at(path: Path) -> Group | None:
    """Return the group of the mapping at ``path``, None where any names may stand."""
    group: Group | None = GROUPS["policy"]
    for step in path:
        if isinstance(step, str):
            field = _field(group, step)
            group = GROUPS.get(field.group) if field is not None else None
    return group


def _field(group: Group | None, name: str) -> Field | None:
    fields = group.fields if group is not None else ()
    return next((field for field in fields if field.name == name), None)


def refusal(path: Path) -> str:
    """Return why the field at ``path`` is refused, and what may stand there."""
    group, name = group_at(path[:-1]), str(path[-1])
    field = _field(group, name)
    if field is not None and field.where is Where.REFUSED:
        return f"not supported: {field.note}"
    valid = valid_names(group)
    folded = {each.lower(): each for each in valid}
    close = difflib.get_close_matches(name[:_LONGEST_TYPO].lower(), folded, n=1, cutoff=0.75)
    if close:
        return f"{MISSPELT} {folded[close[0]]!r}?"
    return f"unknown field; valid here: {', '.join(valid)}"


def valid_names(group: Group | None) -> list[str]:
    """Return the names that may stand in a mapping of ``group`` and that a person would write there."""
    fields = group.fields if group is not None else ()
    return sorted(field.name for field in fields if field.where not in (Where.REFUSED, Where.FREE))


def all_fields() -> Iterator[tuple[str, Field]]:
    """Yield every field with its path: ``[]`` stands for any entry of a list."""
    yield from _inside("", GROUPS["policy"])


def _inside(start: str, group: Group) -> Iterator[tuple[str, Field]]:
    for field in group.fields:
        path = f"{start}{field.name}"
        yield path, field
        if field.group:
            yield from _inside(f"{path}[]." if field.many else f"{path}.", GROUPS[field.group])


def markdown() -> str:
    """Return the tables as they stand in ``docs/supported.md``."""
    return "\n".join(_table(name, group) for name, group in GROUPS.items())


def _table(name: str, group: Group) -> str:
    """Return one group under its heading."""
    lines = [f"### {name[0].upper()}{name[1:]}", "", f"Stands at {group.place}.", ""]
    lines += ["| field | what becomes of it | meaning or reason | test |", "|---|---|---|---|"]
    for field in group.fields:
        note = field.note + (f" ({field.group})" if field.group else "")
        lines.append(f"| `{field.name}` | {field.where.value} | {note} | `{field.test}` |")
    return "\n".join(lines) + "\n"
