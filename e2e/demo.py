# SPDX-License-Identifier: Apache-2.0
"""``make demo``: pods, real web servers, and every request answered in the kernel, in and out.

What it prints was observed: the verdict comes from the kernel's event, the
status from curl, the log line from nginx. It fails when the three disagree
with what the policy says.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from e2e.bpfast import BPFast, Event, endpoint, pin_directory, write_endpoints
from e2e.curl import curl
from e2e.raw import RawClient
from e2e.servers import Nginx, Server
from e2e.topology import Pod, Topology, scratch_directory, undisturbed

ROOT = Path(__file__).resolve().parents[1]
POLICIES = Path("manifests", "examples")
NAMESPACE = "demo"
ANSWER_SECONDS = 5
CUT_OFF = "400"
"""What nginx logs for a head that was reset before its end: it has seen a beginning, not a request."""

_NEXT = """\
(400: a head that came in pieces was cut off before its end; nothing was served.)

What to try next: change a policy in {policies} and run `make demo` again;
one that is wrong is refused with the place in its file.
`.venv/bin/bpfast doctor` tells whether another machine will do, and
`.venv/bin/bpfast run --help` how to police pods of your own.
All that the demo made is gone.
"""


@dataclass(frozen=True, slots=True)
class Request:
    """What the client sends: a request line, curl's further words, or one byte a packet."""

    method: str
    path: str
    allowed: bool
    words: tuple[str, ...] = ()
    note: str = ""
    crumbs: bool = False
    way: str = "into web"

    def send(self, client: Pod, server: Server) -> int:
        """Send it and return the status of the answer; 0 when there is none."""
        if self.crumbs:
            return _send_crumbs(client, server, self)
        words = ("--request", self.method, *self.words)
        return curl(client, server.url + self.path, *words, seconds=ANSWER_SECONDS).status

    def __str__(self) -> str:
        """Return it as it stands in the table."""
        return f"{self.method} {self.path}{self.note}"


REQUESTS = (
    Request("GET", "/public/news?page=2", allowed=True),
    Request("GET", "/items/42", allowed=True),
    Request("GET", "/assets/app-1.css", allowed=True),
    Request("GET", "/admin", allowed=True, words=("--header", "X-Token: 42"), note=", X-Token: 42"),
    Request("GET", "/admin", allowed=False),
    Request("GET", "/admin", allowed=False, words=("--header", "X-Token: 41"), note=", X-Token: 41"),
    Request("DELETE", "/items/42", allowed=False),
    Request("GET", "/public/../admin", allowed=False),
    Request("GET", "/items/43", allowed=True, note=", a byte a packet", crumbs=True),
    Request("GET", "/secret", allowed=False, note=", a byte a packet", crumbs=True),
    Request("GET", "/prices/7", allowed=True, way="out of cart"),
    Request("DELETE", "/prices/7", allowed=False, way="out of cart"),
    Request("GET", "/orders", allowed=False, way="out of cart"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """What happened to one request, as each party saw it."""

    request: Request
    verdict: Event
    status: int
    logged: str

    @property
    def as_expected(self) -> bool:
        """Whether policy, kernel, client and server agree."""
        if self.request.allowed:
            return self.verdict["verdict"] == "allow" and self.status == 200 and self.logged != ""
        unserved = self.logged == "" or (self.request.crumbs and self.logged.startswith(CUT_OFF))
        return self.verdict["verdict"] == "deny" and self.status == 403 and unserved

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        event = self.verdict
        # A rule is "namespace/policy path", of which the policy is enough here.
        why = str(event["rule"]).split()[0].rpartition("/")[2] if event["rule"] else event["reason"]
        verdict = f"{event['verdict']}: {why}"
        return (
            self.request.way,
            str(self.request),
            verdict,
            str(self.status or "none"),
            self.logged or "-",
            str(self.verdict.get("ns", "-")),
        )


HEADINGS = ("way", "request", "verdict", "status", "server's log", "ns")


def main() -> int:
    """Run the demo; 0 when everything was as the policy says."""
    try:
        with ExitStack() as stack:
            rows = list(_observe(stack))
            print(table([row.cells() for row in rows]), flush=True)
            with undisturbed():
                stack.close()
    except KeyboardInterrupt:
        print("\nstopped; everything is taken away", file=sys.stderr)
        return 130
    print()
    print(_NEXT.format(policies=POLICIES))
    wrong = [str(row.request) for row in rows if not row.as_expected]
    if wrong:
        print(f"not as the policy says: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


def _observe(stack: ExitStack) -> Iterator[Row]:
    """Set everything up and send the requests, one after the other."""
    topology = stack.enter_context(Topology("client", "web", "cart", "prices"))
    servers = {name: stack.enter_context(Nginx(topology[name])) for name in ("web", "prices")}
    # Whose rules count: those of the server, and those of a client that cannot craft packets.
    ways = {
        "into web": (topology["client"], servers["web"]),
        "out of cart": (topology["cart"], servers["prices"]),
    }
    pins = stack.enter_context(pin_directory())
    files = Path(stack.enter_context(scratch_directory()))
    entries = [
        replace(endpoint(each, namespace=NAMESPACE), trusted_egress=each.name == "cart")
        for each in topology.pods.values()
    ]
    endpoints = write_endpoints(files / "endpoints.yaml", entries)
    options = ("--events", "all", "--timing")
    run = BPFast(topology.host, pins, endpoints=endpoints, policies=[ROOT / POLICIES], options=options)
    bpfast = stack.enter_context(run)
    for way, (client, server) in ways.items():
        ends = f"pod {client.name} {client.address} -> pod {server.pod.name} {server.pod.address}:80 (nginx)"
        print(f"{way}: {ends}, policed by {POLICIES}")
    print(flush=True)
    for number, request in enumerate(REQUESTS, 1):
        client, server = ways[request.way]
        before = len(server.requests())
        status = request.send(client, server)
        verdict = bpfast.verdicts(number)[number - 1]
        logged = [f"{entry.status} {entry.request}" for entry in server.requests()[before:]]
        yield Row(request, verdict, status, "; ".join(logged))


def table(rows: list[tuple[str, ...]]) -> str:
    """Return rows under their headings, columns as wide as they need to be."""
    lines = [HEADINGS, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    ruled = [HEADINGS, tuple("-" * width for width in widths), *rows]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in ruled]
    return "\n".join("  ".join(line).rstrip() for line in padded)


def _send_crumbs(client: Pod, server: Server, request: Request) -> int:
    """Send a request one byte a packet, and return the status of the answer."""
    head = f"{request.method} {request.path} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"
    with RawClient(client, server.pod.address, server.port) as raw:
        raw.connect()
        raw.crumble(head.encode())
        answer = raw.read(ANSWER_SECONDS).data
    words = answer.split(b" ", 2)
    return int(words[1]) if words[0] == b"HTTP/1.1" else 0


if __name__ == "__main__":
    sys.exit(main())
