# SPDX-License-Identifier: Apache-2.0
"""Random label selectors that often, but not always, mean a given pod."""

from e2e.scenarios.dice import Dice
from e2e.scenarios.scenario import Object
from e2e.scenarios.world import ACCOUNTS, ENTITIES, LABELS, NAMESPACES

NAMESPACE = "io.kubernetes.pod.namespace"
NAMESPACE_LABEL = "io.cilium.k8s.namespace.labels."
ACCOUNT = "io.cilium.k8s.policy.serviceaccount"
CLUSTER = "io.cilium.k8s.policy.cluster"

PREFIXES = {"": 8.0, "k8s:": 3.0, "any:": 2.0, "k8s.": 0.04, "container:": 0.02, "reserved:": 0.02}


def selector(dice: Dice, pod: Object | None, aim: float) -> Object:
    """Return a selector; with ``aim`` as its chance, each of its terms is true of the pod."""
    form = dice.weighted({"empty": 1, "labels": 5, "expressions": 2, "both": 1, "reserved": 0.4})
    if form == "reserved":
        return reserved(dice)
    result: Object = {}
    if form in ("labels", "both"):
        result["matchLabels"] = match_labels(dice, pod, aim)
    elif dice.chance(0.2):
        result["matchLabels"] = {}
    if form in ("expressions", "both"):
        result["matchExpressions"] = dice.several(1, 2, lambda: expression(dice, pod, aim))
    elif dice.chance(0.1):
        result["matchExpressions"] = []
    return result


def subject(dice: Dice, pod: Object) -> Object:
    """Return an endpointSelector; it seldom names a namespace, which is the policy's own business."""
    form = dice.weighted({"empty": 3, "labels": 5, "expression": 2, "anything": 1})
    keys = [key for key in LABELS if key in pod["labels"]]
    if form == "empty":
        return {}
    if form == "labels":
        chosen = dice.some(keys, 1, 2)
        return {"matchLabels": {_written(dice, key): pod["labels"][key] for key in chosen}}
    if form == "expression":
        return {"matchExpressions": [_about(dice, dice.one(keys), pod["labels"], 0.9)]}
    return selector(dice, pod, 0.7)


def match_labels(dice: Dice, pod: Object | None, aim: float) -> dict[str, str]:
    """Return one or two labels, most of them the pod's."""
    facts = _facts(pod)
    keys = dice.some(sorted(facts), 1, 2)
    return {_written(dice, key): _value(dice, key, facts, aim) for key in keys}


def expression(dice: Dice, pod: Object | None, aim: float) -> Object:
    """Return one term of matchExpressions."""
    facts = _facts(pod)
    return _about(dice, dice.one(sorted(facts)), facts, aim)


def reserved(dice: Dice) -> Object:
    """Return a selector that names what is no pod."""
    key = f"reserved:{dice.weighted(dict.fromkeys(ENTITIES, 1.0) | {'world-ipv4': 0.1, 'none': 0.1})}"
    if dice.chance(0.6):
        return {"matchLabels": {key: ""}}
    return {"matchExpressions": [{"key": key, "operator": dice.one(("Exists", "DoesNotExist"))}]}


def _facts(pod: Object | None) -> dict[str, str]:
    """Return all that is true of a pod, by label key; of no pod in particular when there is none."""
    if pod is None:
        return {"app": "server", "tier": "front", NAMESPACE: "default", f"{NAMESPACE_LABEL}env": "prod"}
    facts = dict(pod["labels"])
    facts[NAMESPACE] = pod["namespace"]
    facts[ACCOUNT] = pod["service_account"]
    facts[CLUSTER] = "default"
    for key, value in pod["namespace_labels"].items():
        facts[NAMESPACE_LABEL + key] = value
    facts[f"{NAMESPACE_LABEL}kubernetes.io/metadata.name"] = pod["namespace"]
    return facts


def _written(dice: Dice, key: str) -> str:
    return dice.weighted(PREFIXES) + key


def _value(dice: Dice, key: str, facts: dict[str, str], aim: float) -> str:
    if dice.chance(aim):
        return facts[key]
    others = {NAMESPACE: tuple(NAMESPACES), ACCOUNT: ACCOUNTS, CLUSTER: ("default", "other")}
    return dice.one(others.get(key, LABELS.get(key, ("prod", "dev"))))


def _about(dice: Dice, key: str, facts: dict[str, str], aim: float) -> Object:
    operator = dice.weighted({"In": 4, "NotIn": 2, "Exists": 2, "DoesNotExist": 1})
    if operator in ("Exists", "DoesNotExist"):
        known = dice.chance(aim) == (operator == "Exists")
        return {"key": _written(dice, key if known else "absent"), "operator": operator}
    values = dice.several(0, 1, lambda: _value(dice, key, facts, 0))
    right = dice.chance(aim)
    if right == (operator == "In"):
        values.append(facts[key])
    else:
        values = [value for value in values if value != facts[key]] or ["other"]
    return {"key": _written(dice, key), "operator": operator, "values": values}
