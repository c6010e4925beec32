# SPDX-License-Identifier: Apache-2.0
"""What each program costs the verifier: ``python -m bench.stages``.

The table of ``bpf/README.md`` is this one's output; the kernel's limit is a
million instructions for each program.
"""

import platform

from bpfast import settings
from bpfast.kernel.compiler import compiled
from bpfast.kernel.trial import Trial


def main() -> None:
    """Load everything once more with the verifier's statistics on, and print them."""
    code = compiled(settings.bpf_directory(), settings.cache_directory())
    with Trial(code) as trial:
        costs = trial.programs.verifier_costs()
    print(f"Linux {platform.release()}, {platform.machine()}")
    print("program             instructions  processed by the verifier")
    for name, processed in costs.items():
        print(f"{name:19} {len(code[name]) // 8:12,} {processed:26,}")


if __name__ == "__main__":
    main()
