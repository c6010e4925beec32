# SPDX-License-Identifier: Apache-2.0
"""``bpfast verdict``: what would happen to these bytes."""

import sys
from pathlib import Path
from typing import Literal

import click

from bpfast.controller.desired import World
from bpfast.controller.read import read_all_policies, without_namespaces
from bpfast.controller.verdict.engine import Case
from bpfast.controller.verdict.judge import engine_named, judge_scenarios, judge_streams
from bpfast.controller.verdict.lines import parse_question

_EPILOG = """A line that cannot be read is named on stderr; the others are judged, and the exit code is 2.

\b
Examples:
  echo '{"id": 1, "segments": ["R0VUIC8gSFRUUC8xLjENCkhvc3Q6IGENCg0K"]}' |
    bpfast verdict --policy policies/ --endpoints endpoints.yaml --direction ingress \\
      --endpoint demo/web --peer demo/client --port 80
  bpfast verdict --scenarios --engine model < scenarios.jsonl
"""
_POLICY_HELP = "A policy file, or a folder of them; may be given several times."


@click.command("verdict", epilog=_EPILOG)
@click.option("--policy", "policies", type=click.Path(path_type=Path), multiple=True, help=_POLICY_HELP)
@click.option("--endpoints", type=click.Path(path_type=Path), help="The endpoints file.")
@click.option("--direction", type=click.Choice(["ingress", "egress"]), default="ingress", show_default=True)
@click.option("--endpoint", metavar="NS/NAME", help="The endpoint that is policed.")
@click.option("--peer", metavar="NS/NAME|IP|entity:NAME", help="The other side.")
@click.option("--port", type=click.IntRange(1, 65535), help="The TCP port of whoever listens.")
@click.option(
    "--engine",
    type=click.Choice(["kernel", "model"]),
    default="kernel",
    show_default=True,
    help="The real programs on made-up packets, or the reference in Python.",
)
@click.option("--scenarios", is_flag=True, help="Each input line is a whole scenario, policies and all.")
def verdict(  # noqa: PLR0913 - one parameter an option
    *,
    policies: tuple[Path, ...],
    endpoints: Path | None,
    direction: str,
    endpoint: str | None,
    peer: str | None,
    port: int | None,
    engine: Literal["kernel", "model"],
    scenarios: bool,
) -> None:
    """Read streams (or scenarios) as JSON lines from stdin, print a verdict for each."""
    given = {
        "--policy": policies,
        "--endpoints": endpoints,
        "--endpoint": endpoint,
        "--peer": peer,
        "--port": port,
    }
    for option, value in given.items():
        if bool(value) is scenarios:
            message = f"{option} stands in each scenario" if scenarios else f"missing option {option}"
            raise click.UsageError(message)
    if sys.stdin is None:
        message = "stdin is closed: send streams or scenarios, one JSON object a line"
        raise click.UsageError(message)
    if scenarios:
        chosen = engine_named(engine)
        try:
            bad = judge_scenarios(chosen, sys.stdin, sys.stdout, sys.stderr)
        finally:
            chosen.close()
        sys.exit(2 if bad else 0)
    known = without_namespaces(Path(str(endpoints)))
    read = read_all_policies(policies)
    question = parse_question(
        known, direction=direction, endpoint=str(endpoint), peer=str(peer), port=int(port or 0)
    )
    chosen = engine_named(engine)
    try:
        case = Case(World(known), read, (), question)
        bad = judge_streams(chosen, case, sys.stdin, sys.stdout, sys.stderr)
    finally:
        chosen.close()
    sys.exit(2 if bad else 0)
