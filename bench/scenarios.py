# SPDX-License-Identifier: Apache-2.0
"""Scenarios a second through ``bpfast verdict --scenarios``: ``python -m bench.scenarios [NUMBER]``.

Scenarios are those of the comparison with Cilium (``e2e.scenarios.generate``);
everything is included, the start of the process too. Also says on how many the
two engines differ, which must be none.
"""

import platform
import subprocess
import sys
import time

from e2e.bpfast import COMMAND
from e2e.scenarios.generate import scenario

NUMBER = 1000
ENGINES = ("model", "kernel")


def main() -> None:
    """Run both engines on the same scenarios and print their speed."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else NUMBER
    text = "".join(f"{scenario(each).for_bpfast()}\n" for each in range(number))
    print(f"Linux {platform.release()}, {platform.machine()}; {number:,} scenarios")
    print("engine  scenarios a second  seconds in all")
    answers = []
    for engine in ENGINES:
        words = [str(COMMAND), "verdict", "--scenarios", "--engine", engine]
        began = time.perf_counter()
        done = subprocess.run(words, input=text, capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - began
        print(f"{engine:7} {number / seconds:18.0f} {seconds:15.1f}")
        answers.append(done.stdout.splitlines())
    print(f"answers that differ: {sum(one != other for one, other in zip(*answers, strict=True))}")


if __name__ == "__main__":
    main()
