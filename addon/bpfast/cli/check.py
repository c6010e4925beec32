# SPDX-License-Identifier: Apache-2.0
"""``bpfast check``: who enforces each layer-7 rule, and why.

For a person a table, for a pipe one line a finding that begins like a compiler's
(``FILE:LINE:``), for a program JSON.
"""

import json
import os
import shutil
import sys
import textwrap
from itertools import groupby
from pathlib import Path

import click

from bpfast.controller.check import Line, Report, check_files
from bpfast.controller.show import printable
from bpfast.policy.envoy import Where

_EPILOG = """\b
Exit code: 0, also when rules stay on Envoy; 2 if anything is refused.

\b
Examples:
  bpfast check policies/
  bpfast check policies/ | grep ' envoy: '
  bpfast check web.yaml --json
"""
_COLOURS = {Where.KERNEL: "green", Where.ENVOY: "yellow", Where.REFUSED: "red"}
_COUNTED = {Where.KERNEL: "in the kernel", Where.ENVOY: "left to Envoy", Where.REFUSED: "refused"}
_NOTHING = "no layer-7 rules"
_WHOLE = "(the whole file)"
_WIDEST = max(len(where.value) for where in Where)
_MARGIN = " " * (len("12345") + 2 + _WIDEST + 2)
_NARROWEST = 20


@click.command("check", epilog=_EPILOG)
@click.argument("paths", metavar="PATH...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def check(*, paths: tuple[Path, ...], as_json: bool) -> None:
    """Tell for each layer-7 rule whether it is enforced in the kernel, left to Envoy or refused, and why.

    PATH is a policy file or a folder of them. Rules that stay on Envoy are no
    fault: Cilium goes on enforcing them. What is refused is enforced by nobody
    here; the reason says what to write instead.
    """
    report = check_files(paths)
    if as_json:
        for line in report.lines:
            click.echo(json.dumps(_fields(line)))
    elif sys.stdout.isatty():
        _draw(report)
    else:
        for line in report.lines:
            click.echo(_plain(line))
    if report.count(Where.REFUSED):
        sys.exit(2)


def _fields(line: Line) -> dict[str, object]:
    """Return what a program gets; ``line`` is null where no line is known."""
    return {
        "policy": line.policy,
        "path": line.path,
        "where": line.where.value,
        "reason": line.reason,
        "file": line.file,
        "line": line.line or None,
    }


def _plain(line: Line) -> str:
    place = f"{line.file}:{line.line}" if line.line else line.file
    name = " ".join(part for part in (line.policy, line.path) if part)
    return printable(": ".join(part for part in (place, line.where.value, name, line.reason) if part))


def _draw(report: Report) -> None:
    """Draw the table as wide as the terminal; colours unless NO_COLOR is set (no-color.org)."""
    width = max(shutil.get_terminal_size().columns - len(_MARGIN), _NARROWEST)
    for (file, policy), lines in groupby(report.lines, key=lambda line: (line.file, line.policy)):
        click.echo(f"{_styled(file, bold=True)}  {_styled(policy, fg='cyan')}".rstrip())
        for line in lines:
            where = _styled(f"{line.where.value:{_WIDEST}}", fg=_COLOURS[line.where])
            first, *more = _cell(line, width)
            click.echo(f"{line.line or '':>5}  {where}  {first}")
            for text in more:
                click.echo(_MARGIN + text)
        click.echo()
    counted = ((where, report.count(where)) for where in Where)
    counts = [_styled(f"{count} {_COUNTED[where]}", fg=_COLOURS[where]) for where, count in counted if count]
    click.echo(", ".join(counts) or _NOTHING)


def _cell(line: Line, width: int) -> list[str]:
    """Return what is said about one line: the rule in short, its path, the reason; nothing is cut off."""
    path, rule = printable(line.path) or _WHOLE, printable(line.rule)
    if not rule:
        head = textwrap.wrap(path, width)
    elif len(f"{rule}  {path}") <= width:
        head = [f"{_styled(rule, bold=True)}  {_styled(path, dim=True)}"]
    else:
        head = [_styled(text, bold=True) for text in textwrap.wrap(rule, width)]
        head += (_styled(text, dim=True) for text in textwrap.wrap(path, width))
    return [*head, *textwrap.wrap(printable(line.reason), width)]


def _styled(text: str, *, fg: str | None = None, bold: bool | None = None, dim: bool | None = None) -> str:
    text = printable(text)
    if os.environ.get("NO_COLOR") or not text:
        return text
    return click.style(text, fg=fg, bold=bold, dim=dim)
