# SPDX-License-Identifier: Apache-2.0
"""The client in Python's requests, which is urllib3's and http.client's HTTP."""

import requests

from e2e.clients.body import Line, arguments, chunks, lines, report

SECONDS = 30


def carry_out(session: requests.Session, base: str, line: Line) -> None:
    """Send one request and say what came; requests sends a generator in chunks."""
    data = chunks(line.size) if line.framing == "chunked" else line.data
    try:
        answer = session.request(
            line.method, base + line.path, data=data, headers=line.headers, timeout=SECONDS
        )
    except requests.RequestException as error:
        report(0, b"", repr(error))
    else:
        report(answer.status_code, answer.content)


def main() -> None:
    """Carry out all orders."""
    base, keep = arguments()
    with requests.Session() as session:
        if not keep:
            session.headers["Connection"] = "close"
        for line in lines():
            carry_out(session, base, line)


if __name__ == "__main__":
    main()
