# SPDX-License-Identifier: Apache-2.0
"""curl as one of the clients: all orders are one command, so that connections are kept."""

import subprocess
import sys
import tempfile
from pathlib import Path

from e2e.clients.body import Line, arguments, lines, report

SECONDS = "30"
_MARK = "%{http_code} %{exitcode} %{errormsg}\n"


def words(line: Line, url: str, directory: Path, number: int) -> list[str]:
    """Return curl's arguments for one order; what comes goes into a file."""
    said = ["--silent", "--show-error", "--globoff", "--max-time", SECONDS, "--write-out", _MARK]
    said += ["--head"] if line.method == "HEAD" else ["--request", line.method]
    for name, value in line.headers.items():
        said += ["--header", f"{name}: {value}"]
    if line.data is not None:
        sent = directory / f"sent-{number}"
        sent.write_bytes(line.data)
        # Unasked, curl would wait for 100 Continue before each larger body.
        said += ["--data-binary", f"@{sent}", "--header", "Content-Type:"]
        said += ["--header", "Expect: 100-continue" if line.asked else "Expect:"]
        said += ["--header", "Transfer-Encoding: chunked"] if line.framing == "chunked" else []
    # The head that --head prints is not the body.
    out = "/dev/null" if line.method == "HEAD" else str(directory / f"got-{number}")
    return [*said, "--output", out, url + line.path]


def main() -> None:
    """Run curl and report what each order came to."""
    base, keep = arguments()
    orders = lines()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        command = ["curl"]
        for number, line in enumerate(orders):
            command += ["--next"] if number else []
            command += [] if keep else ["--header", "Connection: close"]
            command += words(line, base, directory, number)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = [row for row in done.stdout.splitlines() if row]
        for number, row in enumerate(said):
            status, code, error = row.split(" ", 2)
            got = directory / f"got-{number}"
            data = got.read_bytes() if got.exists() else b""
            report(int(status), data, "" if code == "0" else f"{code} {error}")
    sys.stderr.write(done.stderr)


if __name__ == "__main__":
    main()
