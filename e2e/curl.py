# SPDX-License-Identifier: Apache-2.0
"""curl in a pod, and what it saw."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from e2e.namespace import PATIENCE
from e2e.topology import Pod

SECONDS = 10
# Written out after each URL, and nowhere else: what stands before it is head and body.
_MARK = "\n<bpfast-curl %{http_code} %{num_connects}>\n"
_MARKED = re.compile(r"(.*?)\n<bpfast-curl (\d+) (\d+)>\n", re.DOTALL)
# A 100 Continue comes before the answer; the last head counts.
_HEADS = re.compile(r"(?:HTTP/1\.1 1\d\d.*?\n\n)*(HTTP/1\.1 \d{3}.*?\n\n)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Answer:
    """What curl saw of one URL; ``status`` is 0 when there was no answer.

    ``head`` is the status line and the headers, ``connections`` how many it
    opened for this URL (0: an old one was used again); ``code`` is the exit
    code of the whole (52 empty reply, 56 reset) and ``error`` its reason.
    """

    status: int
    head: str
    body: str
    connections: int
    code: int
    error: str


def curl(pod: Pod, url: str, *words: str, seconds: float = SECONDS) -> Answer:
    """Ask for ``url`` from within a pod; ``words`` are further arguments of curl.

    The path goes out as it is written. What is saved by ``--output`` is not
    in the answer, head included.
    """
    return curl_all(pod, [url], *words, seconds=seconds)[0]


def curl_all(pod: Pod, urls: Sequence[str], *words: str, seconds: float = SECONDS) -> list[Answer]:
    """Ask for several URLs one after the other, over one connection as long as the server keeps it."""
    seconds *= PATIENCE
    command = ["curl", "--silent", "--show-error", "--include", "--path-as-is", "--globoff"]
    command += ["--max-time", str(seconds), "--write-out", _MARK, *words, *urls]
    done = pod.namespace.run(*command, check=False, timeout=seconds * len(urls) + 5)
    answers = []
    for text, status, connections in _MARKED.findall(done.stdout):
        match = _HEADS.fullmatch(text)
        head, body = match.groups() if match else ("", text)
        answers.append(
            Answer(int(status), head, body, int(connections), done.returncode, done.stderr.strip())
        )
    return answers
