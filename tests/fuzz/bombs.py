# SPDX-License-Identifier: Apache-2.0
"""Documents that are made to exhaust something, and a command that reads one under a limit of memory.

``python -m tests.fuzz.bombs NAME`` prints what came of it as JSON. Each is read in
a process of its own: a limit of memory cannot be taken back.
"""

import json
import resource
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from bpfast.policy.reader import Text, examine

MEMORY: Final = 1 << 30
"""Bytes of address space for a document of 10 MB; the interpreter and pydantic have 150 MB of it."""
_BIG: Final = 10_000_000


def _policy(**spec: object) -> str:
    return json.dumps(
        {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumNetworkPolicy",
            "metadata": {"name": "p", "namespace": "demo"},
            "spec": {"endpointSelector": {}, "ingress": [{}]} | spec,
        }
    )


def _http(number: int) -> dict[str, object]:
    rules = {"http": [{"method": "GET", "path": f"/page-{number}.html"}]}
    return {"toPorts": [{"ports": [{"port": "80", "protocol": "TCP"}], "rules": rules}]}


def _aliases() -> str:
    """Nine levels of nine aliases each stand for 387 million values."""
    names = "abcdefghi"
    lines = [f"{names[0]}: &{names[0]} [{', '.join(['x'] * 9)}]"]
    lines += (f"{name}: &{name} [{', '.join([f'*{last}'] * 9)}]" for last, name in pairwise(names))
    return "\n".join(lines)


BOMBS: Final[dict[str, Callable[[], str]]] = {
    "10,000 rules": lambda: _policy(ingress=[_http(number) for number in range(10_000)]),
    "10 MB of rules": lambda: _policy(ingress=[{"fromCIDR": ["10.0.0.0/8"] * 800_000}]),
    "10 MB of text": lambda: _policy(description="x" * _BIG),
    "a key of 10 MB": lambda: f"? {'x' * _BIG}\n: 1",
    "a number of 10 MB": lambda: f"a: {'9' * _BIG}",
    "a hexadecimal number of 10 MB": lambda: f"a: 0x{'f' * _BIG}",
    "aliases of aliases": _aliases,
    "brackets": lambda: "[" * 5_000_000,
    "mappings in mappings": lambda: "{a: " * 1_000_000,
    "documents": lambda: "---\na: 1\n" * 100_000,
    "passed over": lambda: "---\n{apiVersion: v1, kind: Service}\n" * 50_000,
    "items of a list": lambda: "kind: List\nitems:\n" + "- {a: 1, a: 2}\n" * 100_000,
    "one key again and again": lambda: "{" + "a: 1, " * 500_000 + "}",
    "unknown fields": lambda: _policy(**{f"field{number}": 1 for number in range(100_000)}),
    "wrong entries": lambda: _policy(ingress=[{"fromEndpoints": ["a"] * 300_000}]),
    "wrong labels": lambda: _policy(
        endpointSelector={"matchLabels": {f"a {n}": "b" for n in range(150_000)}}
    ),
    "names": lambda: _policy(egress=[{"toPorts": [{"serverNames": [f"a{n}" for n in range(100_000)]}]}]),
}


def read(name: str) -> dict[str, object]:
    """Read a bomb under the limit; return what came of it, and the megabytes and seconds that it took."""
    text = BOMBS[name]()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    before = resource.getrusage(resource.RUSAGE_SELF)
    reading = examine([Text("bomb", text)])
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "policies": len(reading.policies),
        "faults": len(reading.faults),
        "refused": len(reading.refused),
        "passed_over": len(reading.passed_over),
        "seconds": round(after.ru_utime - before.ru_utime, 2),
        "megabytes": (after.ru_maxrss - before.ru_maxrss) // 1024,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(read(sys.argv[1])) + "\n")
