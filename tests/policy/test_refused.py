# SPDX-License-Identifier: Apache-2.0
"""What is known of policies that could not be taken."""

import json

import pytest

from bpfast.policy.cnp import EndpointSelector
from bpfast.policy.reader import Refused, Text, examine
from tests.policy.policies import Object, clusterwide, policy, rule

WEB = EndpointSelector.model_validate({"matchLabels": {"app": "web"}})
CNP = "CiliumNetworkPolicy"
CCNP = "CiliumClusterwideNetworkPolicy"
WRONG: Object = {"toPorts": 1}


def refused(value: Object | str) -> tuple[Refused, ...]:
    """Return what is refused of one document, given as text or as a value."""
    reading = examine([Text("p", value if isinstance(value, str) else json.dumps(value))])
    assert () == reading.policies
    assert reading.faults
    return reading.refused


def of_web(*closed: str, selector: EndpointSelector | None = WEB) -> Refused:
    """Return a refused rule of ``demo/p`` about WEB that may close these directions or deny there."""
    flags = {name: name in closed for name in ("ingress", "egress", "denies_ingress", "denies_egress")}
    return Refused("p", CNP, "demo", "p", selector, **flags)


@pytest.mark.parametrize(
    ("spec", "expected"),
    (
        (rule(WRONG), of_web("ingress")),
        (rule(ingressDeny=[WRONG]), of_web("ingress", "denies_ingress")),
        (rule({}, egress=[WRONG]), of_web("ingress", "egress")),
        (rule({}, egressDeny=[WRONG]), of_web("ingress", "egress", "denies_egress")),
        (rule({}, description=1), of_web("ingress")),
        (rule({}, endpointSelector={"matchLabels": {"app": 1}}), of_web("ingress", selector=None)),
        (rule({}, ingresDeny=[{}]), Refused("p", CNP, "demo", "p")),
        ("text", Refused("p", CNP, "demo", "p")),
    ),
)
def test_a_rule_may_close_what_its_sections_name(spec: Object, expected: Refused) -> None:
    """Selector and sections are kept where they can be read; a field that nobody knows could be any."""
    assert (expected,) == refused(policy(spec))


def test_each_rule_of_a_refused_policy_counts() -> None:
    """A policy with one fault is refused with all of its rules."""
    whole = policy(rule({}), specs=[rule(WRONG), {"endpointSelector": {}, "egress": [{}]}])

    assert (
        of_web("ingress"),
        of_web("ingress"),
        of_web("egress", selector=EndpointSelector()),
    ) == refused(whole)


def test_a_clusterwide_policy_is_of_no_namespace() -> None:
    """Its selector reaches everywhere; its rules about nodes are about no endpoint."""
    whole = clusterwide(rule(WRONG)) | {"specs": [{"nodeSelector": {}, "ingress": [WRONG]}]}

    assert (
        Refused("p", CCNP, None, "c", WEB, egress=False, denies_ingress=False, denies_egress=False),
    ) == refused(whole)


def test_a_name_given_twice_refuses_the_second() -> None:
    """The first of two policies is taken, the second may still close what it selects."""
    reading = examine(
        [Text("p", json.dumps(policy(rule({})))), Text("p", json.dumps(policy(rule({}, egress=[{}]))))]
    )

    assert 1 == len(reading.policies)
    assert (of_web("ingress", "egress"),) == reading.refused


@pytest.mark.parametrize(
    "value",
    (
        "a: [",
        "[" * 100,
        "- 1",
        "kind: CiliumNetworkPolicy",
        json.dumps(policy(rule({}), namespace="De_mo")),
        json.dumps(policy(rule({})) | {"kind": "CiliumNetworkPolcy"}),
        json.dumps(policy(rule({})))[:-1] + ', "spec": {}}',
        json.dumps(policy(None)) + "\n---\n- 2",
    ),
)
def test_what_cannot_be_read_could_be_anything(value: str) -> None:
    """Where not even kind and namespace are sure, every endpoint may be meant, and denied."""
    assert Refused("p") in refused(value)


def test_a_policy_without_rules_may_have_meant_any_of_its_namespace() -> None:
    """Where no rule can be read, the namespace is all that is known."""
    assert (Refused("p", CNP, "demo", "p"),) == refused(policy(None))


def test_a_flaw_inside_of_a_section_leaves_the_rest_sure() -> None:
    """A key given twice deep inside of an entry says nothing about selector and sections."""
    text = json.dumps(policy(rule({"toPorts": []}))).replace('"toPorts": []', '"toPorts": [], "toPorts": []')

    assert (of_web("ingress"),) == refused(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    (
        ('"ingress": [{}]', Refused("p", CNP, "demo", "p")),
        ('"matchLabels": {"app": "web"}', of_web("ingress", selector=None)),
    ),
)
def test_a_flaw_in_the_rule_itself_makes_it_unsure(text: str, expected: Refused) -> None:
    """A section or a selector that is given twice may have meant something else."""
    assert (expected,) == refused(json.dumps(policy(rule({}))).replace(text, f"{text}, {text}"))


@pytest.mark.parametrize(
    ("spec", "directions"),
    (
        ({}, {"ingress"}),
        ({"egress": [{}]}, {"ingress", "egress"}),
        ({"policyTypes": ["Egress"]}, {"egress"}),
        ({"policyTypes": ["Ingress", "Egress"]}, {"ingress", "egress"}),
        ({"policyTypes": 1}, {"ingress", "egress"}),
    ),
)
def test_a_network_policy_of_kubernetes_closes_pods(spec: Object, directions: set[str]) -> None:
    """It is not read yet, but it would close the pods that it selects, and deny nothing that others allow."""
    value = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "p", "namespace": "demo"},
    }
    (only,) = refused(value | {"spec": {"podSelector": {"matchLabels": {"app": "web"}}} | spec})

    assert ("demo", "p", WEB, False, False) == (
        only.namespace, only.name, only.selector, only.denies_ingress, only.denies_egress,
    )  # fmt: skip
    assert directions == {name for name in ("ingress", "egress") if getattr(only, name)}


def test_what_is_passed_over_is_not_refused() -> None:
    """A Service closes nothing."""
    reading = examine([Text("p", '{"apiVersion": "v1", "kind": "Service"}', found=True)])

    assert () == reading.refused
