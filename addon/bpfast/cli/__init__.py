# SPDX-License-Identifier: Apache-2.0
"""The command ``bpfast``: parsing and printing only, one module a verb.

Exit codes: 0 done, 1 something failed, 2 bad input or not supported. Errors go
to stderr, one line each.
"""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from bpfast import __version__, log
from bpfast.cli.check import check
from bpfast.cli.compile import compile_
from bpfast.cli.doctor import examine
from bpfast.cli.run import run
from bpfast.cli.verdict import verdict
from bpfast.errors import BadInput, BPFastError, Unsupported


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="bpfast")
def cli() -> None:
    """Enforce the HTTP rules of CiliumNetworkPolicies in the kernel."""


for _verb in (run, verdict, check, compile_, examine):
    cli.add_command(_verb)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    log.set_up()
    if sys.stdout is None:
        click.echo("stdout is closed: there is nowhere to print to", err=True)
        sys.exit(1)
    try:
        cli.main(args=arguments, prog_name="bpfast", standalone_mode=False)
        sys.stdout.flush()
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
    except OSError as error:
        _give_up_output(error)
    sys.exit(0)


def _give_up_output(error: OSError) -> NoReturn:
    """End with 1 when nobody reads what is printed, or the disk is full; say so where that can be heard."""
    # The interpreter flushes once more on its way out.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not isinstance(error, BrokenPipeError):
        click.echo(f"the output cannot be written: {error.strerror}", err=True)
    sys.exit(1)
