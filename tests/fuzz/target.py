# SPDX-License-Identifier: Apache-2.0
"""What must hold for any text at all that is read as policies."""

import time
from dataclasses import dataclass
from typing import Final

from bpfast.controller.read import regex_fault
from bpfast.policy.lower import lower
from bpfast.policy.reader import Reading, Text, examine
from bpfast.policy.subject import Subject

LONGEST_SECONDS: Final = 2.0
SUBJECTS: Final = (
    Subject("demo", "web", {"app": "web", "tier": "front"}, ports={"http": ((8080, "TCP"),)}),
    Subject("demo", "client", {"app": "client"}),
    Subject("prod", "client", {"app": "client"}, {"team": "shop"}, "till"),
)


class Broken(AssertionError):
    """A text for which something does not hold."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a text, and how much time of a processor it took."""

    reading: Reading
    seconds: float


def check(text: str) -> Outcome:
    """Read ``text``, and give what is read its meaning; raise where the reader breaks its word.

    Reading never raises; a document is a policy, passed over or a fault; every
    message can be printed; a fault that is no policy's end leaves something refused.
    """
    started = time.process_time()
    reading = examine([Text("fuzz", text)], regex_fault)
    for fault in reading.faults:
        if not str(fault).isprintable():
            raise Broken(f"a message that cannot be printed: {fault!r}")
        if fault.line < 0 or fault.line > len(text) + 1:
            raise Broken(f"a line that is not there: {fault!r}")
    if not (reading.policies or reading.faults or reading.passed_over):
        raise Broken("nothing came of it")
    for policy in reading.policies:
        if not policy.rules or any((policy.line(path) or 0) < 1 for path, _ in policy.rules):
            raise Broken(f"{policy.full_name} has no rules, or no lines")
    if reading.policies:
        lower(reading.policies, SUBJECTS, refused=reading.refused)
    seconds = time.process_time() - started
    if seconds > LONGEST_SECONDS:
        raise Broken(f"took {seconds:.1f} s")
    return Outcome(reading, seconds)
