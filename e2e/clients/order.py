# SPDX-License-Identifier: Apache-2.0
"""What a client is told to ask for, what it should see, and what it saw."""

import hashlib
import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from e2e.clients.body import body
from e2e.namespace import PATIENCE
from e2e.topology import Pod

Framing = Literal["none", "length", "chunked"]

SECONDS = 40
_ROOT = Path(__file__).resolve().parents[2]
_HERE = Path(__file__).resolve().parent
_BUILT = _ROOT / "build/clients"
_IN_PYTHON = ("env", f"PYTHONPATH={_ROOT}", sys.executable, "-m")
# A short life: no time for the second compiler, no need of the parallel collector.
_JAVA = ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", str(_BUILT))


@dataclass(frozen=True, slots=True)
class Client:
    """A client of one make, and what it can: ask for ``100 Continue``, and take a no for an answer."""

    command: tuple[str, ...]
    asks: bool = True
    takes_no: bool = True


CLIENTS: Mapping[str, Client] = MappingProxyType(
    {
        "curl": Client((*_IN_PYTHON, "e2e.clients.with_curl")),
        "requests": Client((*_IN_PYTHON, "e2e.clients.with_requests"), asks=False, takes_no=False),
        "aiohttp": Client((*_IN_PYTHON, "e2e.clients.with_aiohttp")),
        "go": Client((str(_BUILT / "with_go"),)),
        "node": Client(("node", str(_HERE / "with_node.mjs"))),
        # Before Java 20 it waits for ever where another status comes than 100 (JDK-8286171).
        "java": Client((*_JAVA, "WithJava"), takes_no=False),
        "java-default": Client(("env", "BPFAST_HTTP=2", *_JAVA, "WithJava"), takes_no=False),
    }
)
MAKES = tuple(name for name in CLIENTS if name != "java-default")
"""``make setup`` builds those in Go and Java (tools/clients)."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client says of one order."""

    status: int
    sha256: str
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One request, and the answer that an honest client should see.

    ``sha256`` is that of the answer's body; None where the server's own words
    do not matter.
    """

    method: str = "GET"
    path: str
    size: int = 0
    framing: Framing = "none"
    asked: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    sha256: str | None

    def line(self) -> str:
        """Return it as a client reads it."""
        when = "asked" if self.asked else "now"
        words = [self.method, self.path, str(self.size), self.framing, when]
        return "\t".join([*words, *(f"{name}: {value}" for name, value in self.headers.items())])

    def expected(self, seen: Seen) -> Seen:
        """Return what should have been seen where ``seen`` was."""
        return Seen(self.status, seen.sha256 if self.sha256 is None else self.sha256)


def sha256(data: bytes) -> str:
    """Return a checksum."""
    return hashlib.sha256(data).hexdigest()


@cache
def body_sha256(size: int) -> str:
    """Return the checksum of a body of ``size`` bytes."""
    return sha256(body(size))


def ask(pod: Pod, make: str, base: str, orders: Sequence[Order], *, keep: bool = True) -> list[Seen]:
    """Let a client of one make carry out orders from within a pod; return what it saw."""
    command = (*CLIENTS[make].command, base, "keep" if keep else "close")
    text = "".join(f"{order.line()}\n" for order in orders)
    done = pod.namespace.run(*command, check=False, timeout=SECONDS * PATIENCE, text=text)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode != 0 or len(orders) != len(rows):
        raise RuntimeError(
            f"{make} answered {len(rows)} of {len(orders)} orders and ended with {done.returncode}: "
            f"{done.stderr.strip()!r}"
        )
    return [Seen(row["status"], row["sha256"], row["error"]) for row in rows]


def assert_seen(orders: Sequence[Order], seen: Sequence[Seen]) -> None:
    """Every order has been answered as it should; a failure shows those that were not, order and all."""
    wrong = [
        (order.line(), order.expected(found), found)
        for order, found in itertools.zip_longest(orders, seen)
        if order.expected(found) != found
    ]
    assert wrong == []
