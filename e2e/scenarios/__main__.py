# SPDX-License-Identifier: Apache-2.0
"""``python -m e2e.scenarios 5000``: random scenarios and all written ones, with Cilium's engine as judge.

Prints figures. The first unexplained differences are printed minimised, and the
exit code is 1.
"""

import argparse
import json
import sys
import time

from e2e.scenarios.compare import compared
from e2e.scenarios.figures import Figures
from e2e.scenarios.generate import scenario
from e2e.scenarios.minimise import minimised
from e2e.scenarios.written import written

AT_ONCE = 1000
SHOWN = 5


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m e2e.scenarios", description="BPFast against Cilium's engine"
    )
    parser.add_argument("count", type=int, help="how many random scenarios")
    parser.add_argument("--first", type=int, default=0, help="the number of the first one")
    parser.add_argument("--engine", choices=("model", "kernel"), default="model")
    parser.add_argument("--json", action="store_true", help="figures as one JSON object")
    words = parser.parse_args()

    began = time.monotonic()
    numbers = range(words.first, words.first + words.count)
    random_ones, written_ones = Figures(), Figures()
    for start in range(0, words.count, AT_ONCE):
        random_ones.add(compared([scenario(each) for each in numbers[start : start + AT_ONCE]], words.engine))
    written_ones.add(compared([each.scenario for each in written()], words.engine))
    seconds = round(time.monotonic() - began, 1)

    faults = random_ones.unexplained + written_ones.unexplained
    for fault in faults[:SHOWN]:
        print(minimised(fault, words.engine), "\n", file=sys.stderr)
    if words.json:
        run = {"engine": words.engine, "first": words.first, "seconds": seconds}
        print(json.dumps({**run, "random": random_ones.record(), "written": written_ones.record()}))
        return bool(faults)
    print(
        f"{words.count} random scenarios from number {words.first}, engine {words.engine}, {seconds} s in all"
    )
    print("\n".join(random_ones.lines()))
    faulty = written_ones.record()["differences"]
    print(f"{written_ones.scenarios} written questions: {faulty} unexplained differences")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
