# SPDX-License-Identifier: Apache-2.0
"""What a policy says and standalone mode does not do: said by name, never in silence.

There is no Envoy beside ``bpfast run``. An entry that would stay there opens
nothing (``policy.lower``), so the user hears of it; a section that would be
passed over altogether is refused before anything is attached.
"""

from collections.abc import Sequence

from bpfast.errors import Fault, Unsupported
from bpfast.policy.envoy import Finding, Where, entries
from bpfast.policy.grants import flatten
from bpfast.policy.meaning import Direction
from bpfast.policy.peers import facts_of_subject
from bpfast.policy.reader import Policy
from bpfast.policy.subject import Subject


def entries_that_stay(
    policies: Sequence[Policy], subjects: Sequence[Subject], direction: Direction
) -> tuple[Finding, ...]:
    """Return the entries of one direction that open nothing here and are about any of ``subjects``.

    Entries that would stay only because they meet such a one are enforced: there
    is no Envoy that they would have to share connections with. Nor is it asked
    here whether the endpoints' way out can be trusted.
    """
    known = [facts_of_subject(subject) for subject in subjects]
    return tuple(
        Finding(entry.policy.full_name, entry.path, Where.ENVOY, "; ".join(entry.reasons))
        for entry in entries(policies, trusted_egress=True)
        for scope in [entry.scope]
        if entry.reasons
        and scope.direction is direction
        and scope.subject is not None
        and any(scope.subject.matches(facts) for facts in known)
    )


def refuse_egress(policies: Sequence[Policy], subjects: Sequence[Subject]) -> None:
    """Raise Unsupported for every egress section that is about any of ``subjects``."""
    found = []
    for policy in policies:
        rules = [(path, rule) for path, rule in policy.rules if rule.endpoint_selector is not None]
        for (path, rule), flat in zip(rules, flatten(policy), strict=True):
            names = [one.full_name for one in subjects if flat.subject.matches(facts_of_subject(one))]
            if not names or not flat.egress.present:
                continue
            where = f"{path}.{'egress' if rule.egress else 'egressDeny'}"
            message = f"'run' does not enforce egress yet, and it is about {', '.join(map(repr, names))}"
            line = policy.line(where) or 0
            found.append(Fault(policy.source, policy.full_name, where, message, line))
    if found:
        raise Unsupported("\n".join(map(str, found)))
