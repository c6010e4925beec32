# SPDX-License-Identifier: Apache-2.0
"""How large tables of random URLs are, and how long they take to build: ``python -m bench.tables``.

The URLs are those of ``bench.chain``: 10 to 50 bytes, the same in each run.
"""

import statistics
import time

from bench.rows import allowing, urls
from bpfast.tables.build import build

ROUNDS = 3
SIZES = (10, 100, 1000)


def main() -> None:
    """Print a line for each number of rules."""
    print(f"{'URLs':>6}  {'bytes':>10}  {'bytes a URL':>11}  ms (median of {ROUNDS}, least to most)")
    for size in SIZES:
        rules = allowing(*urls(size))
        times = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            image = build(rules).image
            times.append((time.perf_counter() - began) * 1000)
        spread = f"{statistics.median(times):.0f}, {min(times):.0f} to {max(times):.0f}"
        print(f"{size:>6}  {len(image.data):>10,}  {len(image.data) // size:>11,}  {spread}")


if __name__ == "__main__":
    main()
