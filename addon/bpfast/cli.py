# SPDX-License-Identifier: Apache-2.0
"""The command ``bpfast``: parsing and printing only.

Exit codes: 0 done, 1 something failed, 2 bad input or not supported. Errors go
to stderr, one line each.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from bpfast import __version__, doctor, log
from bpfast.abi import REASONS, DenyMode, EventMode
from bpfast.controller import run as running
from bpfast.controller import streams
from bpfast.controller.desired import desired
from bpfast.controller.read import read_all_policies, without_namespaces
from bpfast.controller.report import Reporter
from bpfast.errors import BadInput, BPFastError, Unsupported

_POLICY_HELP = "A policy file, or a folder of them; may be given several times."
_RUN_EPILOG = """\b
Examples:
  bpfast run --endpoints endpoints.yaml --policy policies/
  bpfast run --endpoints endpoints.yaml --policy web.yaml --events denied --json
  bpfast run --endpoints endpoints.yaml --policy web.yaml --deny reset --keep
"""
_VERDICT_EPILOG = """\b
Examples:
  echo '{"id": 1, "segments": ["R0VUIC8gSFRUUC8xLjENCkhvc3Q6IGENCg0K"]}' |
    bpfast verdict --policy policies/ --endpoints endpoints.yaml --direction ingress \\
      --endpoint demo/web --peer demo/client --port 80
"""
_DOCTOR_EPILOG = """\b
Examples:
  bpfast doctor
  bpfast doctor --json
  bpfast doctor --reasons
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="bpfast")
def cli() -> None:
    """Enforce the HTTP rules of CiliumNetworkPolicies in the kernel."""


@cli.command(epilog=_RUN_EPILOG)
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
    if hook != "xdp":
        message = f"--hook {hook} is not supported yet; valid: xdp"
        raise Unsupported(message)
    options = running.Options(
        endpoints=endpoints,
        policies=policies,
        deny=DenyMode[deny.upper()],
        events=EventMode[events.upper()],
        default_deny=default_mode == "deny",
        timing=timing,
        keep=keep,
    )
    running.Runner(options, Reporter(sys.stdout, sys.stderr, as_json=as_json)).run()


@cli.command(epilog=_VERDICT_EPILOG)
@click.option("--policy", "policies", type=click.Path(path_type=Path), multiple=True, help=_POLICY_HELP)
@click.option("--endpoints", type=click.Path(path_type=Path), help="The endpoints file.")
@click.option("--direction", type=click.Choice(["ingress", "egress"]), default="ingress", show_default=True)
@click.option("--endpoint", metavar="NS/NAME", help="The endpoint that is policed.")
@click.option("--peer", metavar="NS/NAME|IP|entity:NAME", help="The other side.")
@click.option("--port", type=click.IntRange(1, 65535), help="The endpoint's TCP port.")
@click.option("--engine", type=click.Choice(["kernel", "model"]), default="kernel", show_default=True)
@click.option("--scenarios", is_flag=True, help="Each input line is a whole scenario (not supported yet).")
def verdict(  # noqa: PLR0913 - one parameter an option
    *,
    policies: tuple[Path, ...],
    endpoints: Path | None,
    direction: str,
    endpoint: str | None,
    peer: str | None,
    port: int | None,
    engine: str,
    scenarios: bool,
) -> None:
    """Read streams as JSON lines from stdin, print a verdict for each."""
    if scenarios:
        message = "--scenarios is not supported yet"
        raise Unsupported(message)
    if engine != "kernel":
        message = f"--engine {engine} is not supported yet; valid: kernel"
        raise Unsupported(message)
    streams.refuse_direction(direction)
    needed = {
        "--policy": policies,
        "--endpoints": endpoints,
        "--endpoint": endpoint,
        "--peer": peer,
        "--port": port,
    }
    for option, value in needed.items():
        if not value:
            message = f"missing option {option}"
            raise click.UsageError(message)
    known = without_namespaces(Path(str(endpoints)))
    wanted = desired(known, read_all_policies(policies), (), default_deny=False)
    subject = streams.Subject(str(endpoint), streams.parse_peer(str(peer), wanted), int(port or 0))
    streams.judge_lines(wanted, subject, sys.stdin, sys.stdout)


@cli.command("doctor", epilog=_DOCTOR_EPILOG)
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


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    log.set_up()
    try:
        cli.main(args=arguments, prog_name="bpfast", standalone_mode=False)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        sys.exit(1)
    except (BadInput, Unsupported) as error:
        click.echo(error, err=True)
        sys.exit(2)
    except BPFastError as error:
        click.echo(error, err=True)
        sys.exit(1)
    sys.exit(0)
