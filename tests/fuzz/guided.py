# SPDX-License-Identifier: Apache-2.0
"""Fuzz the reader by coverage: ``python -m tests.fuzz.guided --runs 1000000``.

atheris instruments ``bpfast.policy``, keeps the documents that reach new code, and
goes on from those; nine of ten mutations are ours, since bytes by chance seldom
get past the scanner. What it keeps stays in the folder given by ``--keep`` and is
where the next run begins.
"""

import importlib
import random
import sys
from collections.abc import Sequence
from pathlib import Path

# Not an import statement: it has no types, and nothing else needs it.
atheris = importlib.import_module("atheris")
with atheris.instrument_imports(include=["bpfast.policy"]):
    from tests.fuzz.mutate import LONGEST, Corpus
    from tests.fuzz.policies import Count, parse, say, tried


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until the documents or the time are used up; does not return."""
    options = parse(__doc__, arguments)
    corpus, count = Corpus.read(), Count()
    folder = options.keep / "corpus"
    _fill(folder, corpus)

    def one(data: bytes) -> None:
        if not tried(data.decode("utf-8", "replace"), count, options.keep):
            raise SystemExit(1)
        if count.documents in (options.runs, 100_000 * (count.documents // 100_000)):
            say(count.line())

    def mutation(data: bytes, longest: int, number: int) -> bytes:
        chance = random.Random(number)
        if chance.randrange(10) == 0:
            return bytes(atheris.Mutate(data, longest))
        return corpus.mutated(data.decode("utf-8", "replace"), chance).encode("utf-8", "replace")[:longest]

    flags = {"runs": options.runs, "max_total_time": int(options.seconds), "seed": options.seed}
    flags |= {"max_len": LONGEST, "rss_limit_mb": 0, "print_final_stats": 1, "verbosity": 0}
    atheris.Setup(
        [sys.argv[0], *(f"-{name}={value}" for name, value in flags.items()), str(folder)],
        one,
        custom_mutator=mutation,
    )
    atheris.Fuzz()


def _fill(folder: Path, corpus: Corpus) -> None:
    """Write the documents of the repository to where atheris looks for them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(corpus.right + corpus.wrong):
        (folder / f"{number}.yaml").write_text(text)


if __name__ == "__main__":
    main()
