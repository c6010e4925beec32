# SPDX-License-Identifier: Apache-2.0
"""Random policies about a question: entries, sections, rules, objects."""

from e2e.scenarios import selectors
from e2e.scenarios.dice import Dice
from e2e.scenarios.peers import peers
from e2e.scenarios.ports import icmps, to_ports
from e2e.scenarios.scenario import Object
from e2e.scenarios.world import NAMESPACES, Question

# How often each term of an entry is made to fit the question.
AIM = 0.85
DENY_AIM = 0.6


def policies(dice: Dice, question: Question) -> tuple[Object, ...]:
    """Return one to four policies with different names."""
    count = dice.weighted({1: 4, 2: 3, 3: 1.5, 4: 0.5})
    return tuple(_policy(dice, question, f"policy-{number}") for number in range(count))


def _policy(dice: Dice, question: Question, name: str) -> Object:
    clusterwide = dice.chance(0.25)
    metadata: Object = {"name": name}
    namespace = question.subject["namespace"]
    if not clusterwide:
        namespace = namespace if dice.chance(0.93) else dice.one(tuple(NAMESPACES))
        if namespace != "default" or dice.chance(0.8):
            metadata["namespace"] = namespace
    rules = dice.several(1, 2, lambda: _rule(dice, question))
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumClusterwideNetworkPolicy" if clusterwide else "CiliumNetworkPolicy",
        "metadata": metadata,
        **({"spec": rules[0]} if dice.chance(0.8) else {"specs": rules}),
    }


def _rule(dice: Dice, question: Question) -> Object:
    rule: Object = {"endpointSelector": selectors.subject(dice, question.subject)}
    sections = {"allow": 8.0, "both": 1.2, "deny": 0.7, "closed": 0.15, "elsewhere": 0.4}
    kind = dice.weighted(sections)
    here = question.direction
    there = "egress" if question.ingress else "ingress"
    if kind in ("allow", "both"):
        rule[here] = dice.several(1, 2, lambda: _entry(dice, question, AIM))
    if kind in ("deny", "both"):
        rule[f"{here}Deny"] = dice.several(1, 2, lambda: _deny_entry(dice, question))
    if kind == "closed":
        rule[here] = [{}]
    if kind == "elsewhere" or dice.chance(0.12):
        rule[there] = dice.one(([{}], [{"toPorts": [{"ports": [{"port": "80"}]}]}]))
    if kind == "elsewhere" and dice.chance(0.5):
        rule[here] = []
    if dice.chance(0.1):
        rule["enableDefaultDeny"] = {
            direction: dice.chance(0.4) for direction in dice.some(("ingress", "egress"), 1, 2)
        }
    if dice.chance(0.05):
        rule["description"] = "for a test"
    return rule


def _entry(dice: Dice, question: Question, aim: float) -> Object:
    entry = peers(dice, question, aim)
    if not question.ingress and dice.chance(0.02):
        entry = {"toFQDNs": [{"matchName": "server.example"}]}
    form = dice.weighted({"http": 8, "ports": 1.2, "none": 0.6, "empty": 0.15, "icmp": 0.15})
    if form == "http":
        entry["toPorts"] = to_ports(dice, question, aim, http=0.96)
    elif form == "ports":
        entry["toPorts"] = to_ports(dice, question, 0.5, http=0.0)
    elif form == "empty":
        entry["toPorts"] = []
    elif form == "icmp":
        entry["icmps"] = icmps(dice)
    return entry


def _deny_entry(dice: Dice, question: Question) -> Object:
    entry = peers(dice, question, DENY_AIM)
    form = dice.weighted({"ports": 4, "none": 1, "icmp": 0.3})
    if form == "ports":
        entry["toPorts"] = to_ports(dice, question, DENY_AIM, http=0.0)
    elif form == "icmp":
        entry["icmps"] = icmps(dice)
    return entry
