# SPDX-License-Identifier: Apache-2.0
"""Policy files as text to policies, or to every fault of all of them at once.

A policy is taken whole or not at all: with half of its rules it would mean
something that nobody wrote. Regexes are compiled by a function that the caller
brings, since the engine is none of policy's business.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from bpfast.errors import BadInput, Fault
from bpfast.policy import supported
from bpfast.policy.cnp import CHECK_REGEX, CiliumNetworkPolicy, RegexCheck, Rule
from bpfast.policy.document import Document, Flaw, read_documents, shown
from bpfast.policy.faults import MISSING, flaws_of, in_file_order, name_in, yaml_path
from bpfast.policy.names import EMPTY, split_source
from bpfast.policy.subject import POD_NAMESPACE

KIND: Final = "CiliumNetworkPolicy"
_KINDS_LATER: Final = ("CiliumClusterwideNetworkPolicy", "NetworkPolicy", "List", "CiliumNetworkPolicyList")
# A field that may be missing if one of these stands in its place: those are faults already.
_INSTEAD: Final = {
    "endpointSelector": {"nodeSelector"},
    "ingress": {"ingressDeny", "egress", "egressDeny"},
    "http": {"dns", "kafka", "l7", "l7proto"},
}
# Faults for which the general text does not say enough.
_MORE: Final = {
    ("ingress", MISSING): "is required: a rule without any section is refused by Cilium",
    ("ingress", EMPTY): "must hold at least one entry: write '- {}' to allow nobody",
    ("endpointSelector", MISSING): "is required: write {} to select every endpoint of the namespace",
    ("protocol", MISSING): "is required: absent means ANY, which is not supported yet; valid: TCP",
    ("http", MISSING): "is required: leave out 'rules' to allow every byte",
}


@dataclass(frozen=True, slots=True)
class Text:
    """A file's text. ``source`` is the file as the user named it.

    ``found`` says that the user named the folder and not the file: a file that
    is for somebody else is then passed over.
    """

    source: str
    text: str
    found: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as it was written: ``rules`` with the path of each, ``spec`` or ``specs[0]``."""

    source: str
    namespace: str
    name: str
    rules: tuple[tuple[str, Rule], ...]

    @property
    def full_name(self) -> str:
        """Return ``namespace/name``."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of reading: the policies that are right, and all faults of the others."""

    policies: tuple[Policy, ...]
    faults: tuple[Fault, ...]


def read_policies(texts: Iterable[Text], check_regex: RegexCheck | None = None) -> tuple[Policy, ...]:
    """Return the policies of all ``texts`` in their order; raise BadInput with every fault found."""
    reading = examine(texts, check_regex)
    if reading.faults:
        raise BadInput(reading.faults)
    return reading.policies


def examine(texts: Iterable[Text], check_regex: RegexCheck | None = None) -> Reading:
    """Return the policies that are right and the faults of the others.

    ``check_regex`` returns what is wrong with a regex, or None; without it
    regexes are taken as they are.
    """
    policies: dict[str, Policy] = {}
    faults: list[Fault] = []
    for text in texts:
        for policy in _examine_text(text, check_regex, faults):
            first = policies.setdefault(policy.full_name, policy)
            if first is not policy:
                message = f"{policy.full_name!r} is given twice, first in {first.source}"
                faults.append(Fault(policy.source, policy.full_name, "metadata.name", message))
    return Reading(tuple(policies.values()), tuple(faults))


def _examine_text(text: Text, check_regex: RegexCheck | None, faults: list[Fault]) -> list[Policy]:
    """Return the policies of one text; what is wrong goes to ``faults``."""
    documents = read_documents(text.text)
    if not documents:
        faults.append(Fault(text.source, "", "", "holds no policy"))
    policies = []
    for number, document in enumerate(documents, start=1):
        value = document.value
        if text.found and _is_endpoints_file(value):
            continue
        name = name_in(value.get("metadata")) if isinstance(value, dict) else ""
        place = text.source if name or len(documents) == 1 else f"{text.source} (document {number})"
        model, flaws = _examine_document(document, check_regex)
        faults.extend(Fault(place, name, yaml_path(flaw.path), flaw.message) for flaw in flaws)
        if model is not None and not flaws:
            policies.append(_policy(text.source, model))
    return policies


def _is_endpoints_file(value: object) -> bool:
    return isinstance(value, dict) and value.keys() == {"endpoints"}


def _examine_document(
    document: Document, check_regex: RegexCheck | None
) -> tuple[CiliumNetworkPolicy | None, list[Flaw]]:
    """Return the model of a document, if it can be made, and all that is wrong with it."""
    value, flaws = document.value, list(document.flaws)
    if not document.complete:
        return None, flaws
    stranger = _stranger(value)
    if stranger is not None or not isinstance(value, dict):
        return None, [*flaws, *([stranger] if stranger else [])]
    model = None
    try:
        model = CiliumNetworkPolicy.model_validate(value, context={CHECK_REGEX: check_regex})
    except ValidationError as error:
        found = flaws_of(error, supported.refusal)
        flaws += [_with_more(flaw) for flaw in found if not _explained(flaw, value)]
    flaws += _missing_spec(value)
    if model is not None:
        flaws += _other_namespaces(model)
    return model, in_file_order(flaws, value)


def _stranger(value: object) -> Flaw | None:
    """Return what is wrong with a document that is no CiliumNetworkPolicy at all."""
    if not isinstance(value, dict):
        return Flaw((), f"a policy must be a mapping, not {shown(value)}")
    kind = value.get("kind")
    if kind is None and _is_endpoints_file(value):
        return Flaw((), "this is an endpoints file, not a policy")
    if isinstance(kind, str) and kind != KIND:
        later = " is not supported yet" if kind in _KINDS_LATER else " is no policy"
        return Flaw(("kind",), f"{shown(kind)}{later}; valid: {KIND!r}")
    return None


def _explained(flaw: Flaw, value: object) -> bool:
    """Return whether another field stands in the place of the one that ``flaw`` misses."""
    if not flaw.path or flaw.message not in (MISSING, EMPTY):
        return False
    for step in flaw.path[:-1]:
        value = value[step]  # type: ignore[index]  # pydantic has walked this way
    instead = _INSTEAD.get(str(flaw.path[-1]), set())
    return isinstance(value, dict) and not instead.isdisjoint(value)


def _with_more(flaw: Flaw) -> Flaw:
    """Return ``flaw`` with the way out where there is a special one."""
    last = str(flaw.path[-1]) if flaw.path else ""
    return Flaw(flaw.path, _MORE.get((last, flaw.message), flaw.message))


def _missing_spec(value: dict[str, object]) -> list[Flaw]:
    return [] if "spec" in value or "specs" in value else [Flaw(("spec",), "is required, or 'specs'")]


def _other_namespaces(model: CiliumNetworkPolicy) -> list[Flaw]:
    """Return a flaw for each endpointSelector that names another namespace.

    Cilium takes such a label out of the selector, with a warning in the
    agent's log: the policy then selects endpoints that its author did not mean.
    """
    flaws = []
    for path, rule in _rules(model):
        for key, wanted in rule.endpoint_selector.match_labels.items():
            if split_source(key)[1] == POD_NAMESPACE and wanted != model.metadata.namespace:
                own = model.metadata.namespace
                message = (
                    f"{shown(wanted)} is not the policy's own namespace {own!r}, the only one it selects in"
                )
                flaws.append(Flaw((*path, "endpointSelector", "matchLabels", key), message))
    return flaws


def _rules(model: CiliumNetworkPolicy) -> list[tuple[tuple[str | int, ...], Rule]]:
    """Return the rules of a policy with their paths."""
    rules: list[tuple[tuple[str | int, ...], Rule]] = [] if model.spec is None else [(("spec",), model.spec)]
    return rules + [(("specs", number), rule) for number, rule in enumerate(model.specs)]


def _policy(source: str, model: CiliumNetworkPolicy) -> Policy:
    rules = tuple((yaml_path(path), rule) for path, rule in _rules(model))
    return Policy(source, model.metadata.namespace, model.metadata.name, rules)
