# SPDX-License-Identifier: Apache-2.0
"""``--engine model``: the reference in Python, which knows no kernel and no table.

Only the limits of tables are asked for where rules could pass them: a rule that
the kernel refuses opens nothing in the model either.
"""

from collections.abc import Sequence

from bpfast.controller.verdict.engine import Case, Layer34
from bpfast.controller.verdict.tables import Tables
from bpfast.model import http
from bpfast.model.judgement import Judgement
from bpfast.model.policy import decide
from bpfast.policy.meaning import Allow, Deny, Inspect, Peer, PortVerdict
from bpfast.policy.rules import RuleSet

_LAYER_34: dict[type[PortVerdict], Layer34] = {Allow: "allow", Deny: "deny", Inspect: "inspect"}


class ModelEngine:
    """Reads policies, not maps."""

    def __init__(self) -> None:
        """Nothing is needed but the limits."""
        self._tables = Tables()

    def open(self, case: Case) -> "ModelSession":
        """Decide the case's layers 3 and 4."""
        return ModelSession(case, self._tables)

    def close(self) -> None:
        """Nothing is held."""


class ModelSession:
    """One case."""

    def __init__(self, case: Case, tables: Tables) -> None:
        """Decide layers 3 and 4, and leave out the rules that no table takes."""
        asked = case.question
        subjects = [endpoint.subject() for endpoint in case.world.endpoints]
        peer = asked.peer if isinstance(asked.peer, Peer) else case.world.owner(asked.peer) or asked.peer
        verdict = decide(
            case.policies,
            subjects,
            asked.direction,
            asked.endpoint,
            peer,
            asked.port,
            refused=case.refused,
        )
        inspected = verdict.rules if isinstance(verdict, Inspect) else RuleSet(())
        self.l34: Layer34 = _LAYER_34[type(verdict)]
        self.refused = tables.refused(inspected)
        bad = {refusal.rule for refusal in self.refused}
        self._rules = RuleSet(tuple(rule for rule in inspected.rules if rule.name not in bad))

    def judge(self, segments: Sequence[bytes]) -> Judgement:
        """Judge one stream."""
        return http.judge(self._rules, segments) if self.l34 == "inspect" else Judgement(self.l34)
