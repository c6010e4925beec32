# SPDX-License-Identifier: Apache-2.0
"""What a run over many scenarios found, in figures."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from e2e.scenarios.compare import Case, Difference, differences
from e2e.scenarios.engines import Json
from e2e.scenarios.intended import INTENDED, intended


@dataclass(slots=True)
class Figures:
    """Counts over all cases so far, and the differences that nothing explains."""

    scenarios: int = 0
    layer4: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    inspected: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    shipped: int = 0
    intended: Counter[str] = field(default_factory=Counter)
    unexplained: list[Difference] = field(default_factory=list)

    def add(self, cases: Sequence[Case]) -> None:
        """Count some cases."""
        for case in cases:
            self._count(case)
            found = [(difference, intended(difference)) for difference in differences(case)]
            self.intended.update({each.name for _, each in found if each is not None})
            self.unexplained += [difference for difference, each in found if each is None]

    def _count(self, case: Case) -> None:
        cilium = case.cilium
        self.scenarios += 1
        self.layer4[cilium.l34 or "none"] += 1
        self.requests.update(cilium.requests)
        if cilium.l34 == "redirect":
            self.inspected.update(cilium.requests)
        self.refused.update(stage for _, stage in cilium.refused)
        if cilium.stage:
            self.refused[f"{cilium.stage} (the whole endpoint)"] += 1
        self.shipped += bool(cilium.shipped)

    def record(self) -> Json:
        """Return all of it as one object."""
        return {
            "scenarios": self.scenarios,
            "layer4": dict(self.layer4),
            "requests": dict(self.requests),
            "inspected": dict(self.inspected),
            "refused": dict(self.refused),
            "shipped_envoy_differs": self.shipped,
            "differences": len({each.case.scenario.id for each in self.unexplained}),
            "intended": dict(self.intended),
        }

    def lines(self) -> list[str]:
        """Return all of it for a person."""
        return [
            f"layer 3 and 4, by Cilium: {shares(self.layer4)}",
            f"requests, by Cilium:      {shares(self.requests)}",
            f"those that it inspected:  {shares(self.inspected)}",
            f"policies refused by Cilium, by stage: {counts(self.refused)}",
            f"scenarios where the Envoy that it ships loses an allow-all entry: {self.shipped}",
            f"scenarios with an unexplained difference: {self.record()['differences']}",
            "scenarios with an intended difference, all on the strict side:",
            *(f"  {self.intended[each.name]:6} {each.name}: {each.why}" for each in INTENDED),
        ]


def shares(counter: Counter[str]) -> str:
    """Return counts with their shares."""
    whole = max(1, counter.total())
    return ", ".join(
        f"{key} {number} ({100 * number / whole:.0f} %)" for key, number in sorted(counter.items())
    )


def counts(counter: Counter[str]) -> str:
    """Return counts."""
    return ", ".join(f"{key} {number}" for key, number in sorted(counter.items())) or "none"
