# SPDX-License-Identifier: Apache-2.0
"""``bpfast compile``: what the HTTP rules of policies become, and what that costs."""

import json
from pathlib import Path

import click

from bpfast.controller.compile import Compiled, compile_policies
from bpfast.controller.read import read_all_policies
from bpfast.controller.show import show_dfa

_EPILOG = """\b
Exit code: 0, also when single rules are refused as too large; 2 for bad input.

\b
Examples:
  bpfast compile policies/
  bpfast compile policies/ --json
  bpfast compile get-public.yaml --show dfa | less -S
"""
_MEANINGS = {
    "rules": "HTTP rules in tables",
    "groups": "automata that run one after another for one request",
    "states": "states of all tables",
    "classes": "byte classes of the widest table",
    "bytes": "of all tables, equal ones once",
    "milliseconds": "from the policies to the packed bytes",
}


@click.command("compile", epilog=_EPILOG)
@click.argument("paths", metavar="PATH...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for the whole.")
@click.option("--show", type=click.Choice(["dfa"]), help="Print the automata, too; for small policies.")
def compile_(*, paths: tuple[Path, ...], as_json: bool, show: str | None) -> None:
    """Compile the HTTP rules of policies and tell what their tables cost.

    PATH is a policy file or a folder of them. HTTP rules that may meet on some
    connection share a table, whatever endpoints there will be, so the figures
    are the most that these policies can need. Rules that stay on Envoy are left
    out; egress rules are compiled as for endpoints with trusted_egress.
    """
    compiled = compile_policies(read_all_policies(paths))
    totals = compiled.totals()
    if as_json:
        text = {"dfa": show_dfa(compiled)} if show else {}
        click.echo(json.dumps(totals | text))
        return
    if show:
        click.echo(show_dfa(compiled))
    for name, meaning in _MEANINGS.items():
        click.echo(f"{name:12} {totals[name]:>12}  {meaning}")
    for line in _left_out(compiled):
        click.echo(line)


def _left_out(compiled: Compiled) -> list[str]:
    lines = [f"refused: {refusal.rule}: {refusal.reason}" for refusal in compiled.refused]
    if compiled.staying:
        lines.append(f"{compiled.staying} rules stay on Envoy: 'bpfast check' says why")
    return lines
