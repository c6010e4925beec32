# SPDX-License-Identifier: Apache-2.0
"""Tables by their content: what was built once is not built again.

The names of rules are no part of a table's words, so rule sets that differ in
names only share one.
"""

from collections import OrderedDict
from dataclasses import replace

from bpfast.policy.rules import RuleSet
from bpfast.tables.bound import surely_fit
from bpfast.tables.build import Built, Refusal, build
from bpfast.tables.image import TableImage

_KEPT = 256


class Tables:
    """Builds tables, and keeps the last ones."""

    def __init__(self, kept: int = _KEPT) -> None:
        """Keep at most so many."""
        self._kept = kept
        self._built: OrderedDict[RuleSet, Built] = OrderedDict()

    def build(self, rules: RuleSet) -> Built:
        """Return the table of ``rules`` and what is not in it, under the names that they have."""
        names = [rule.name for rule in rules.rules]
        plain = RuleSet(tuple(replace(rule, name=str(number)) for number, rule in enumerate(rules.rules)))
        built = self._built.get(plain)
        if built is None:
            built = self._built[plain] = build(plain)
            if len(self._built) > self._kept:
                self._built.popitem(last=False)
        self._built.move_to_end(plain)
        image = TableImage(built.image.data, tuple(names[int(number)] for number in built.image.rules))
        refused = tuple(Refusal(names[int(each.rule)], each.reason) for each in built.refused)
        return Built(image, refused)

    def refused(self, rules: RuleSet) -> tuple[Refusal, ...]:
        """Return the rules that no table takes; where all surely fit none is built."""
        return () if surely_fit(rules) else self.build(rules).refused
