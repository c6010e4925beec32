# SPDX-License-Identifier: Apache-2.0
"""``bpfast run``: enforce in the foreground."""

import sys
from pathlib import Path

import click

from bpfast.abi import DenyMode, EventMode
from bpfast.controller import run as running
from bpfast.controller.report import Reporter
from bpfast.kernel.site import Hook

_EPILOG = """\b
Examples:
  bpfast run --endpoints endpoints.yaml --policy policies/
  bpfast run --endpoints endpoints.yaml --policy web.yaml --events denied --json
  bpfast run --endpoints endpoints.yaml --policy web.yaml --deny reset --keep
"""
_POLICY_HELP = "A policy file, or a folder of them; may be given several times."


@click.command("run", epilog=_EPILOG)
@click.option("--endpoints", type=click.Path(path_type=Path), required=True, help="The endpoints file.")
@click.option(
    "--policy", "policies", type=click.Path(path_type=Path), multiple=True, required=True, help=_POLICY_HELP
)
@click.option("--hook", type=click.Choice(["xdp", "tcx", "xdp-native"]), default="xdp", show_default=True)
@click.option("--deny", type=click.Choice(["reply", "reset", "drop"]), default="reply", show_default=True)
@click.option(
    "--default",
    "default_mode",
    type=click.Choice(["allow", "deny"]),
    default="allow",
    show_default=True,
    help="What an endpoint that no policy selects does.",
)
@click.option("--events", type=click.Choice(["all", "denied", "none"]), default="all", show_default=True)
@click.option("--timing", is_flag=True, help="Measure the nanoseconds that each verdict took.")
@click.option("--keep", is_flag=True, help="Leave everything enforced on exit; a later run takes over.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def run(  # noqa: PLR0913 - one parameter an option
    *,
    endpoints: Path,
    policies: tuple[Path, ...],
    hook: str,
    deny: str,
    default_mode: str,
    events: str,
    timing: bool,
    keep: bool,
    as_json: bool,
) -> None:
    """Enforce in the foreground until SIGTERM: standalone mode."""
    options = running.Options(
        endpoints=endpoints,
        policies=policies,
        hook=Hook(hook),
        deny=DenyMode[deny.upper()],
        events=EventMode[events.upper()],
        default_deny=default_mode == "deny",
        timing=timing,
        keep=keep,
    )
    running.Runner(options, Reporter(sys.stdout, sys.stderr, as_json=as_json)).run()
