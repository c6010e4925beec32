# SPDX-License-Identifier: Apache-2.0
"""``bpfast doctor``: whether this machine will do."""

import json
import sys

import click

from bpfast import doctor
from bpfast.abi import REASONS

_EPILOG = """\b
Examples:
  bpfast doctor
  bpfast doctor --json
  bpfast doctor --reasons
"""


@click.command("doctor", epilog=_EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option("--reasons", is_flag=True, help="List every reason that a verdict can have.")
def examine(*, as_json: bool, reasons: bool) -> None:
    """Tell whether this machine will do, and the way out where it does not."""
    if reasons:
        for reason in REASONS:
            click.echo(json.dumps({"reason": reason.name.lower()}) if as_json else reason.name.lower())
        return
    findings = doctor.report()
    for finding in findings:
        if as_json:
            fields = {
                "name": finding.name,
                "ok": finding.ok,
                "found": finding.found,
                "way_out": finding.way_out,
            }
            click.echo(json.dumps(fields))
        else:
            answer = "yes" if finding.ok else "no "
            click.echo(
                f"{answer} {finding.name:20} {finding.found}"
                + ("" if finding.ok else f"\n    -> {finding.way_out}")
            )
    if not all(finding.ok for finding in findings):
        sys.exit(1)
