# SPDX-License-Identifier: Apache-2.0
"""What a policy that could not be taken may have meant, as far as it can be read.

A policy with a fault opens nothing. What it may have closed stays closed: its
endpoints are those that its selector names, where the selector is right, and its
directions those of its sections. Whatever cannot be read could be anything.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from bpfast.policy.budget import BUDGET, TooManyFaults
from bpfast.policy.cnp import EndpointSelector
from bpfast.policy.document import Flaw, Path
from bpfast.policy.kinds import CCNP, CNP, is_network_policy, name_of, namespace_of

_SECTIONS: Final = ("ingress", "ingressDeny", "egress", "egressDeny")
_HARMLESS: Final = frozenset(
    (*_SECTIONS, "description", "enableDefaultDeny", "endpointSelector", "labels", "log")
)


@dataclass(frozen=True, slots=True)
class Refused:
    """A rule that could not be taken.

    ``namespace`` None is all of them, ``selector`` None every endpoint there.
    ``ingress`` and ``egress`` say which directions it may have closed,
    ``denies_ingress`` and ``denies_egress`` where it may have denied what other
    policies allow.
    """

    source: str
    kind: str = ""
    namespace: str | None = None
    name: str = ""
    selector: EndpointSelector | None = None
    ingress: bool = True
    egress: bool = True
    denies_ingress: bool = True
    denies_egress: bool = True


def refused(source: str, value: object, flaws: Iterable[Flaw]) -> tuple[Refused, ...]:
    """Return what an object with faults may have meant, one value a rule.

    ``flaws`` are those of its text: what stands beside them may be lost.
    """
    lost = [flaw.path for flaw in flaws]
    if not isinstance(value, dict) or any(len(path) <= 1 or path[0] == "metadata" for path in lost):
        return (Refused(source),)
    if is_network_policy(value):
        return (_of_network_policy(source, value),)
    kind = value.get("kind")
    namespace = namespace_of(value)
    if kind not in (CNP, CCNP) or (kind == CNP and namespace is None):
        return (Refused(source),)
    rules = list(_rules(value))
    found = [
        _of_rule(Refused(source, kind, namespace, name_of(value)), rule, path, lost) for path, rule in rules
    ]
    unknown = not rules or not value.keys() <= {"apiVersion", "kind", "metadata", "spec", "specs", "status"}
    return (
        *(each for each in found if each),
        *((Refused(source, kind, namespace, name_of(value)),) * unknown),
    )


def _rules(value: dict[str, Any]) -> Iterator[tuple[Path, object]]:
    """Yield the rules of an object, whatever stands in their place."""
    if "spec" in value:
        yield ("spec",), value["spec"]
    specs = value.get("specs", [])
    for number, rule in enumerate(specs if isinstance(specs, list) else [specs]):
        yield ("specs", number), rule


def _of_rule(whole: Refused, rule: object, path: Path, lost: Iterable[Path]) -> Refused | None:
    """Return what one rule may have meant; None if it is about nodes and so about no endpoint."""
    inside = [each[len(path) :] for each in lost if each[: len(path)] == path]
    if not isinstance(rule, dict) or not rule.keys() <= {*_HARMLESS, "nodeSelector"}:
        return whole
    if any(not each or (len(each) == 1 and each[0] != "description") for each in inside):
        return whole
    if whole.kind == CCNP and "nodeSelector" in rule and "endpointSelector" not in rule:
        return None
    readable = not any(each[0] == "endpointSelector" for each in inside)
    return Refused(
        whole.source,
        whole.kind,
        whole.namespace,
        whole.name,
        _selector(rule.get("endpointSelector")) if readable else None,
        ingress="ingress" in rule or "ingressDeny" in rule,
        egress="egress" in rule or "egressDeny" in rule,
        denies_ingress="ingressDeny" in rule,
        denies_egress="egressDeny" in rule,
    )


def _selector(value: object) -> EndpointSelector | None:
    try:
        return EndpointSelector.model_validate(value, context={BUDGET: [0]})
    except (ValidationError, TooManyFaults):
        return None


def _of_network_policy(source: str, value: dict[str, Any]) -> Refused:
    """Return what a NetworkPolicy of Kubernetes closes: it denies nothing that others allow."""
    spec = value.get("spec")
    namespace = namespace_of(value)
    if not isinstance(spec, dict) or namespace is None:
        return Refused(source)
    types = spec.get("policyTypes", ["Ingress"])
    named = types if isinstance(types, list) else ["Ingress", "Egress"]
    return Refused(
        source,
        str(value["kind"]),
        namespace,
        name_of(value),
        _selector(spec.get("podSelector")),
        ingress="Ingress" in named,
        egress="Egress" in named or "egress" in spec,
        denies_ingress=False,
        denies_egress=False,
    )
