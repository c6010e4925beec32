# SPDX-License-Identifier: Apache-2.0
"""What a policy says and standalone mode does not do: said by name, never in silence.

There is no Envoy beside ``bpfast run``. An entry that would stay there opens
nothing (``policy.lower``), so the user hears of it.
"""

from collections.abc import Collection, Sequence

from bpfast.policy.envoy import Entry, Finding, Where, entries
from bpfast.policy.meaning import Direction
from bpfast.policy.peers import facts_of_subject
from bpfast.policy.reader import Policy
from bpfast.policy.subject import Subject


def entries_that_stay(
    policies: Sequence[Policy],
    subjects: Sequence[Subject],
    direction: Direction,
    *,
    untrusted: Collection[str] = (),
) -> tuple[Finding, ...]:
    """Return the entries of one direction that open nothing here and are about any of ``subjects``.

    Entries that would stay only because they meet such a one are enforced: there
    is no Envoy that they would have to share connections with. ``untrusted`` are
    the endpoints (``ns/name``) whose way out cannot be held to HTTP rules.
    """
    found = []
    for entry in entries(policies, trusted_egress=True):
        if entry.scope.direction is not direction:
            continue
        names = _selected(entry, subjects)
        reasons = [*entry.reasons] if names else []
        distrusted = [name for name in names if name in untrusted]
        if entry.http and direction is Direction.EGRESS and distrusted:
            reasons.append(
                f"egress HTTP rules hold only against endpoints that cannot craft packets: "
                f"say 'trusted_egress: true' of {', '.join(map(repr, distrusted))}, "
                "if they have neither NET_RAW nor NET_ADMIN"
            )
        if reasons:
            found.append(Finding(entry.policy.full_name, entry.path, Where.ENVOY, "; ".join(reasons)))
    return tuple(found)


def _selected(entry: Entry, subjects: Sequence[Subject]) -> list[str]:
    """Return the names of the endpoints that an entry is about."""
    selector = entry.scope.subject
    if selector is None:
        return []
    return [one.full_name for one in subjects if selector.matches(facts_of_subject(one))]
