# SPDX-License-Identifier: Apache-2.0
"""Where Cilium and BPFast differ, and whether that is meant."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from e2e.scenarios.engines import Cilium, Ours, ask_bpfast, ask_judge
from e2e.scenarios.scenario import Scenario

# What a difference can be. Only the last two may be intended: there we are the stricter side.
ALLOWS = "we allow what Cilium denies"
SILENT = "Cilium refuses a policy that we do not report"
BROKEN = "the judge cannot judge this scenario"
DENIES = "we deny what Cilium allows"
REFUSES = "we refuse a policy that Cilium takes"


@dataclass(frozen=True, slots=True)
class Case:
    """A scenario with both answers."""

    scenario: Scenario
    cilium: Cilium
    ours: Ours

    def name_of(self, number: int) -> str | None:
        """Return how we call a policy of the list, None when its text cannot say."""
        policy = self.scenario.policies[number]
        if isinstance(policy, str):
            return None
        metadata = policy["metadata"]
        if policy.get("kind") == "CiliumClusterwideNetworkPolicy":
            return str(metadata["name"])
        return f"{metadata.get('namespace', 'default')}/{metadata['name']}"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference; ``request`` is the number of the request, None for what is about all of it."""

    case: Case
    kind: str
    request: int | None
    detail: str

    @property
    def strict(self) -> bool:
        """True when we are the stricter side."""
        return self.kind in (DENIES, REFUSES)

    def __str__(self) -> str:
        """Return the difference with everything that is needed to see it again."""
        cilium, ours = self.case.cilium, self.case.ours
        verdicts = " ".join(f"{each.verdict}({each.reason})" for each in ours.requests)
        return "\n".join(
            (
                f"{self.kind}: {self.detail}",
                f"  Cilium: {cilium.l34 or cilium.stage} {' '.join(cilium.requests)} {cilium.error}",
                f"  BPFast: {ours.l34} {verdicts}",
                *(f"  BPFast: {each.policy} {each.path}: {each.reason}" for each in ours.refused),
                str(self.case.scenario),
            )
        )


def compared(scenarios: Sequence[Scenario], engine: str) -> list[Case]:
    """Ask both sides."""
    both = zip(scenarios, ask_judge(scenarios), ask_bpfast(scenarios, engine), strict=True)
    return [Case(scenario, cilium, ours) for scenario, cilium, ours in both]


def differences(case: Case) -> Iterator[Difference]:
    """Give every difference of a case."""
    if case.cilium.stage in ("input", "panic"):
        yield Difference(case, BROKEN, None, f"{case.cilium.stage}: {case.cilium.error}")
        return
    if case.cilium.stage:
        # The endpoint keeps its last policy, so there is no verdict; somebody has to hear of it.
        if not case.ours.refused:
            yield Difference(case, SILENT, None, f"the endpoint's policy at stage {case.cilium.stage}")
        return
    yield from _about_policies(case)
    yield from _about_verdicts(case)


def _about_policies(case: Case) -> Iterator[Difference]:
    there = dict(case.cilium.refused)
    here = {each.policy for each in case.ours.refused if not each.stays}
    for number, stage in there.items():
        name = case.name_of(number)
        if (name is None and not here) or (name is not None and name not in here):
            yield Difference(case, SILENT, None, f"policy {number} ({name}) at stage {stage}")
    taken = {case.name_of(number) for number in range(len(case.scenario.policies)) if number not in there}
    for complaint in case.ours.refused:
        if not complaint.stays and complaint.policy in taken:
            yield Difference(case, REFUSES, None, f"{complaint.policy} {complaint.path}: {complaint.reason}")


def _about_verdicts(case: Case) -> Iterator[Difference]:
    cilium, ours = case.cilium, case.ours
    if (cilium.l34 == "deny") != (ours.l34 == "deny"):
        yield Difference(
            case, ALLOWS if cilium.l34 == "deny" else DENIES, None, f"l34 {cilium.l34} {ours.l34}"
        )
    for number, (there, here) in enumerate(zip(cilium.requests, ours.requests, strict=True)):
        if there != here.verdict:
            kind = DENIES if here.verdict == "deny" else ALLOWS
            yield Difference(case, kind, number, f"request {number}: {there}, {here.verdict} ({here.reason})")
