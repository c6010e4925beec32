# SPDX-License-Identifier: Apache-2.0
"""Fuzz the reader by chance: ``python -m tests.fuzz.policies --runs 1000000``.

Documents are mutations of the corpus. One that breaks something is written to the
folder given by ``--keep``, and the command ends with 1; ``--file`` tries it again.
``tests.fuzz.guided`` is the same by coverage.
"""

import argparse
import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.fuzz.mutate import Corpus
from tests.fuzz.target import Outcome, check

MEMORY: Final = 1 << 30
"""Bytes of address space that the whole run may have."""


@dataclass(slots=True)
class Count:
    """What came of the documents so far."""

    documents: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def add(self, outcome: Outcome) -> None:
        """Count one document."""
        reading = outcome.reading
        self.documents += 1
        self.slowest = max(self.slowest, outcome.seconds)
        self.outcomes["refused" if reading.faults else "taken" if reading.policies else "passed over"] += 1

    def line(self) -> str:
        """Return the count as one JSON object."""
        seconds = time.monotonic() - self.started
        return json.dumps(
            {
                "documents": self.documents,
                "seconds": round(seconds, 1),
                "per_second": round(self.documents / max(seconds, 0.001)),
                "slowest_ms": round(self.slowest * 1000, 1),
                "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                **self.outcomes,
            }
        )


def say(line: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def by_chance(runs: int, seconds: float, seed: int, keep: Path) -> int:
    """Try mutations of the corpus; return 1 if one of them broke something."""
    chance, count = random.Random(seed), Count()
    corpus = Corpus.read()
    while count.documents < runs and time.monotonic() - count.started < seconds:
        text = corpus.mutation(chance)
        if not tried(text, count, keep):
            return 1
        if count.documents % 100_000 == 0:
            say(count.line())
    say(count.line())
    return 0


def tried(text: str, count: Count, keep: Path) -> bool:
    """Try one text; write it down and return False if it breaks something."""
    try:
        count.add(check(text))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what we look for
        keep.mkdir(parents=True, exist_ok=True)
        path = keep / f"broken-{count.documents}.yaml"
        path.write_text(text, errors="surrogatepass")
        say(f"{path}: {type(error).__name__}: {error}")
        return False
    return True


def parse(description: str | None, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line asks for, and bound the memory."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100_000, help="documents to try")
    parser.add_argument("--seconds", type=float, default=3600.0, help="most time to take")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31), help="chance")
    parser.add_argument(
        "--keep", type=Path, default=Path("build/fuzz"), help="folder for what breaks something"
    )
    parser.add_argument("--file", type=Path, help="try this one text")
    options = parser.parse_args(arguments)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    say(json.dumps({"seed": options.seed, "runs": options.runs}))
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 if nothing broke."""
    options = parse(__doc__, arguments)
    if options.file is not None:
        say(str(check(options.file.read_text(errors="surrogatepass")).reading))
        return 0
    return by_chance(options.runs, options.seconds, options.seed, options.keep)


if __name__ == "__main__":
    sys.exit(main())
