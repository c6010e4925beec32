# SPDX-License-Identifier: Apache-2.0
"""Everything that BPFast raises, and what the caller should do about it.

* BPFastError
  x BadInput         the user's files or flags are wrong: show every fault, exit 2
  x Unsupported      right, but not for this version or machine: name it, exit 2
  x LimitExceeded    a rule is too big for its table: refuse that rule alone
  x Failure          something outside failed: say what, exit 1
    + KernelFailure  a system call or the verifier refused
    + CompileFailure clang refused the text
  x Bug              cannot happen; please report, exit 1

Exceptions of foreign libraries are mapped at the seam that uses the library
and chained (``raise ... from error``), so that no caller has to know it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing that is wrong in the user's input.

    ``source`` is the file as the user named it, ``policy`` is ``ns/name`` or
    "" where no policy is known yet, ``path`` the YAML path
    (``spec.ingress[0].toPorts[0].rules.http[2].path``) or "", and ``message``
    says what is wrong, shows the value and names the valid ones. ``line`` is
    where it stands in the file, from 1; 0 where that is not known.
    """

    source: str
    policy: str
    path: str
    message: str
    line: int = 0

    def __str__(self) -> str:
        """Return ``source:line: policy: path: message`` without the empty parts."""
        place = f"{self.source}:{self.line}" if self.line else self.source
        return ": ".join(part for part in (place, self.policy, self.path, self.message) if part)


class BPFastError(Exception):
    """The root: catch this to catch everything that BPFast raises."""


class BadInput(BPFastError):
    """The user's files or flags are wrong; ``faults`` holds every fault found."""

    def __init__(self, faults: "tuple[Fault, ...] | list[Fault]") -> None:
        """Keep all faults; the text is one line a fault."""
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class Unsupported(BPFastError):
    """What was asked for is right but not available here; the text names it."""


class LimitExceeded(BPFastError):
    """A construction would pass its limit.

    ``what`` is the thing counted (``states``), ``limit`` the most allowed.
    """

    def __init__(self, what: str, limit: int) -> None:
        """Say which limit was passed."""
        self.what = what
        self.limit = limit
        super().__init__(f"more than {limit} {what}")


class Failure(BPFastError):
    """Something outside of BPFast failed; the text says what and where."""


class KernelFailure(Failure):
    """The kernel refused; the text has the call and the error."""


class CompileFailure(Failure):
    """The compiler refused the C text; the text has its output."""


class Bug(BPFastError):
    """An invariant of BPFast itself is broken. Please report."""
