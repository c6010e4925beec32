# SPDX-License-Identifier: Apache-2.0
"""Real traffic with and without bpfast, in turn: ``python -m bench.traffic [ROUNDS]``.

Two pods, nginx, wrk and curl. Each round measures every mode once, in random
order; a figure is the median over the rounds of (mode / none) of that round,
with the smallest and the largest. The policy has URLS rules.
"""

import contextlib
import platform
import random
import re
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from e2e.bpfast import BPFast, endpoint, pin_directory, write_endpoints
from e2e.servers import Nginx
from e2e.topology import Pod, Topology

ROUNDS = 5
URLS = 20
SECONDS = 2
BULK_BYTES = 512 << 20
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")

Measure = Callable[[Pod, Nginx], float]


def policy(urls: int) -> str:
    """Return a CNP with so many rules; half of the paths have an unescaped dot."""
    rules = [f'        - {{method: GET, path: "/item/{n}{".html" if n % 2 else ""}"}}' for n in range(urls)]
    rules.append('        - {method: "GET|PUT", path: "/files/.*"}')
    return "\n".join(
        [
            "apiVersion: cilium.io/v2",
            "kind: CiliumNetworkPolicy",
            "metadata: {name: bench, namespace: default}",
            "spec:",
            "  endpointSelector: {matchLabels: {app: server}}",
            "  ingress:",
            "  - toPorts:",
            '    - ports: [{port: "80", protocol: TCP}]',
            "      rules:",
            "        http:",
            *rules,
            "",
        ]
    )


def _wrk(client: Pod, server: Nginx, *words: str) -> float:
    url = f"{server.url}/item/{URLS - 2}"
    done = client.namespace.run("wrk", "-t2", "-c32", f"-d{SECONDS}s", *words, url, timeout=60)
    found = _RATE.search(done.stdout)
    if found is None or "Non-2xx" in done.stdout:
        raise RuntimeError(done.stdout)
    return float(found[1])


def kept(client: Pod, server: Nginx) -> float:
    """Return requests per second over kept connections."""
    return _wrk(client, server)


def new(client: Pod, server: Nginx) -> float:
    """Return new connections per second, one request each."""
    return _wrk(client, server, "-H", "Connection: close")


def download(client: Pod, server: Nginx) -> float:
    """Return bytes per second of one large response."""
    done = client.namespace.run(
        "curl",
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code} %{speed_download}",
        f"{server.url}/files/bulk",
        timeout=60,
    )
    code, speed = done.stdout.split()
    if code != "200":
        raise RuntimeError(done.stdout)
    return float(speed)


MEASURES: dict[str, Measure] = {
    "requests/s, kept connections": kept,
    "connections/s, one request each": new,
    "bytes/s, bulk download": download,
}


@contextlib.contextmanager
def enforced(topology: Topology, folder: Path, *options: str) -> Iterator[None]:
    """Run bpfast on all pods for the time of the block."""
    path = folder / "policy.yaml"
    path.write_text(policy(URLS))
    endpoints = write_endpoints(folder / "endpoints.yaml", [endpoint(pod) for pod in topology.pods.values()])
    with (
        pin_directory() as pins,
        BPFast(topology.host, pins, endpoints=endpoints, policies=[path], options=options),
    ):
        yield


def measure(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return name -> mode -> one value a round."""
    modes = {
        "none": None,
        "bpfast, denied events": ("--events", "denied"),
        "bpfast, all events": ("--events", "all"),
    }
    found: dict[str, dict[str, list[float]]] = {name: {mode: [] for mode in modes} for name in MEASURES}
    with contextlib.ExitStack() as stack:
        topology = stack.enter_context(Topology("client", "server"))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server = stack.enter_context(Nginx(topology["server"]))
        server.add_file("bulk", size=BULK_BYTES)
        for _round in range(rounds):
            for mode in random.sample(list(modes), len(modes)):
                options = modes[mode]
                block = (
                    contextlib.nullcontext()
                    if options is None
                    else enforced(topology, Path(folder), *options)
                )
                with block:
                    for name, one in MEASURES.items():
                        found[name][mode].append(one(topology["client"], server))
    return found


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    print(f"Linux {platform.release()}, {platform.machine()}, {rounds} rounds, {URLS + 1} rules")
    for name, modes in measure(rounds).items():
        base = modes["none"]
        print(f"{name}: none {statistics.median(base):,.0f}")
        for mode, values in modes.items():
            if mode == "none":
                continue
            ratios = [value / other for value, other in zip(values, base, strict=True)]
            print(f"  {mode:24} {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
