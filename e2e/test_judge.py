# SPDX-License-Identifier: Apache-2.0
"""BPFast and Cilium's own policy engine, asked the same questions.

``python -m e2e.scenarios 5000`` is the long run.
"""

import json
import subprocess
from collections import Counter
from dataclasses import replace

import pytest

from e2e.scenarios.compare import ALLOWS, DENIES, REFUSES, Case, Difference, compared, differences
from e2e.scenarios.engines import JUDGE, Cilium, Complaint, Json, Ours, Verdict, ask_bpfast, ask_judge
from e2e.scenarios.figures import Figures
from e2e.scenarios.generate import scenario
from e2e.scenarios.intended import INTENDED, intended
from e2e.scenarios.minimise import minimised
from e2e.scenarios.scenario import Request, Scenario
from e2e.scenarios.written import Written, names, written

pytestmark = pytest.mark.slow

RANDOM = 500
KERNEL = 150


def judged(*lines: object) -> list[Json]:
    """Return what the judge says to some lines, objects or texts."""
    text = "".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in lines)
    done = subprocess.run([str(JUDGE)], input=text, capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


PODS = [
    {
        "name": "server",
        "labels": {"app": "server"},
        "addresses": ["10.0.0.1"],
        "ports": {"http": 80, "dns": "53/UDP"},
    },
    {
        "name": "client",
        "labels": {"app": "client"},
        "addresses": ["10.0.0.2"],
        "ports": {"http": 81, "web": 82},
    },
]


def question(*entries: object, **changes: object) -> Json:
    """Return an input line for the judge: a policy with these ingress entries, one request for /a and /b."""
    policy = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "p"},
        "spec": {"endpointSelector": {"matchLabels": {"app": "server"}}, "ingress": list(entries)},
    }
    line = {
        "id": "x",
        "policies": [json.dumps(policy)],
        "endpoints": PODS,
        "direction": "ingress",
        "endpoint": "default/server",
        "peer": "default/client",
        "port": 80,
        "requests": [{"path": "/a"}, {"path": "/b"}],
    }
    return {**line, **changes}


def ports(port: str, **more: object) -> Json:
    """Return an entry for one TCP port and everybody, with HTTP rules if there are any."""
    rules = {"rules": {"http": more["http"]}} if "http" in more else {}
    return {"toPorts": [{"ports": [{"port": port, "protocol": "TCP"}], **rules}]}


def test_the_judge_knows_what_is_plain() -> None:
    """HTTP rules redirect and filter, layer 4 rules allow, everything else is denied."""
    http, plain, closed = judged(
        question(ports("80", http=[{"path": "/a"}])), question(ports("80")), question(ports("81"))
    )

    assert {"id": "x", "l34": "redirect", "requests": ["allow", "deny"]} == http
    assert {"id": "x", "l34": "allow", "requests": ["allow", "allow"]} == plain
    assert {"id": "x", "l34": "deny", "requests": ["deny", "deny"]} == closed


def test_the_judge_goes_on_without_a_refused_policy() -> None:
    """A policy that the agent refuses is named with its stage, and counts no more."""
    (answer,) = judged(question(ports("80", http=[{"path": "/("}])))

    assert ("allow", [(0, "sanitize")]) == (
        answer["l34"],
        [(r["policy"], r["stage"]) for r in answer["refused"]],
    )


def test_the_judge_takes_named_ports_of_all_pods_on_egress() -> None:
    """On ingress they are the server's own, on egress those of all pods, unless two pods disagree."""
    manifest = json.dumps(
        {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumNetworkPolicy",
            "metadata": {"name": "p"},
            "spec": {"endpointSelector": {}, "egress": [ports("web"), ports("http")]},
        }
    )
    egress = {"policies": [manifest], "direction": "egress"}
    answers = judged(
        question(ports("http")),
        question(ports("web"), port=82),
        question(**egress, port=82),
        question(**egress),
        question(**egress, port=81),
    )

    assert ["allow", "deny", "allow", "deny", "deny"] == [answer["l34"] for answer in answers]


@pytest.mark.parametrize(
    ("changes", "error"),
    (
        ({"endpoint": "default/nobody"}, 'endpoint "default/nobody" is not in the list'),
        ({"peer": "nobody"}, 'peer "nobody" is no endpoint, address or entity'),
        ({"peer": "entity:all"}, 'entity "all" is not a single identity'),
        ({"direction": "up"}, 'direction "up", port 80'),
        ({"port": 0}, 'direction "ingress", port 0'),
        ({"policies": question(ports("80"))["policies"] * 2}, "two policies named cnp/default/p: the second"),
    ),
)
def test_the_judge_refuses_a_question_without_an_answer(changes: Json, error: str) -> None:
    """What is wrong with the scenario itself is no verdict."""
    (answer,) = judged(question(ports("80"), **changes))

    assert ("input", True) == (answer["stage"], answer["error"].startswith(error))


def test_the_judge_answers_every_line_in_order() -> None:
    """Also those that are no JSON."""
    lines = [question(ports("80"), id=number) if number % 3 else "{" for number in range(300)]

    assert [number if number % 3 else None for number in range(300)] == [
        each["id"] for each in judged(*lines)
    ]


def test_a_number_is_always_the_same_scenario() -> None:
    """And another number another one."""
    assert scenario(7) == scenario(7)
    assert len({scenario(number).for_judge().partition("policies")[2] for number in range(50)}) == 50


@pytest.fixture(scope="module")
def random_cases() -> list[Case]:
    """Both answers to the random scenarios."""
    return compared([scenario(number) for number in range(RANDOM)], "model")


@pytest.fixture(scope="module")
def written_cases() -> dict[str, Case]:
    """Both answers to the written questions."""
    cases = compared([each.scenario for each in written()], "model")
    return {case.scenario.id: case for case in cases}


def test_cilium_takes_what_was_not_damaged(random_cases: list[Case]) -> None:
    """The generator makes valid policies, so that its scenarios are about meaning."""
    valid = [case for case in random_cases if case.scenario.id.count("-") == 1]

    assert len(valid) > RANDOM * 0.8
    assert [] == [case.scenario.id for case in valid if case.cilium.stage or case.cilium.refused]


def test_the_random_scenarios_are_balanced(random_cases: list[Case]) -> None:
    """Every verdict is common enough to be missed when it is wrong."""
    figures = Figures()
    figures.add(random_cases)

    assert min(figures.layer4[each] for each in ("allow", "deny", "redirect")) > RANDOM * 0.1
    assert 0.35 < figures.requests["allow"] / figures.requests.total() < 0.65
    assert figures.inspected["deny"] > figures.inspected.total() * 0.2


def test_random_scenarios_have_the_same_verdicts(random_cases: list[Case]) -> None:
    """No difference is left that is not written down as intended."""
    found = [each for case in random_cases for each in differences(case) if intended(each) is None]

    assert [] == found, minimised(found[0], "model")


def test_there_are_enough_written_scenarios() -> None:
    """At least 120, each with a name of its own; Cilium's own three bugs are among them."""
    assert len(names()) >= 120
    assert len(names()) == len(set(names()))
    for bug in ("CVE-2023-30851", "CVE-2024-28248", "CVE-2026-33726"):
        assert any(bug in name for name in names())


@pytest.mark.parametrize("expected", written(), ids=[each.scenario.id for each in written()])
def test_written_scenario(expected: Written, written_cases: dict[str, Case]) -> None:
    """Cilium and BPFast say what is written down, and differ only where that is intended."""
    case = written_cases[expected.scenario.id]
    refused = [each for each in case.ours.refused if not each.stays]

    assert [] == [str(each) for each in differences(case) if intended(each) is None]
    if expected.refused:
        stages = [case.cilium.stage] if case.cilium.stage else [stage for _, stage in case.cilium.refused]
        assert [expected.refused] == stages, case.cilium.error
        assert case.ours.refused
        return
    assert expected.cilium == case.cilium.requests, case.cilium
    assert expected.ours == tuple(each.verdict for each in case.ours.requests), case.ours
    assert expected.refuses == bool(refused), refused
    if expected.decided:
        assert (expected.cilium[0] == "deny") == (case.ours.l34 == "deny"), case.ours


@pytest.mark.privileged
def test_the_kernel_says_what_the_model_says(
    random_cases: list[Case], written_cases: dict[str, Case]
) -> None:
    """The real programs give the same verdicts as the reference, on written and on random scenarios."""
    cases = [*written_cases.values(), *random_cases[:KERNEL]]
    kernel = ask_bpfast([case.scenario for case in cases], "kernel")

    def verdicts(ours: Ours) -> tuple[object, ...]:
        return ours.l34, tuple(each.verdict for each in ours.requests)

    different = [
        (case.scenario.id, case.ours, other)
        for case, other in zip(cases, kernel, strict=True)
        if verdicts(case.ours) != verdicts(other)
    ]
    assert [] == different


CILIUM = Cilium(l34="deny", requests=("deny",), shipped=(), refused=(), stage="", error="", notes=())
OURS = Ours(l34="inspect", requests=(Verdict("allow", "rule"),), refused=())
FAULT = (Complaint("default/p", "spec.ingress[0]", "'010' is octal to Cilium: leave the zero out"),)


def made(cilium: Cilium, ours: Ours) -> list[Difference]:
    """Return the differences of made-up answers."""
    policy = {"kind": "CiliumNetworkPolicy", "metadata": {"name": "p"}}
    asked = replace(scenario(0), policies=(policy,), requests=(Request(),))
    return list(differences(Case(asked, cilium, ours)))


def test_to_allow_more_is_never_intended() -> None:
    """Whatever else is the matter with a scenario, a request that we allow and Cilium denies is a fault."""
    found = made(CILIUM, replace(OURS, refused=FAULT))

    assert Counter({ALLOWS: 2, REFUSES: 1}) == Counter(each.kind for each in found)
    assert [ALLOWS, ALLOWS] == [each.kind for each in found if intended(each) is None]


def test_to_deny_more_needs_a_reason() -> None:
    """Without one it is a fault, with one it is counted under its name."""
    cilium = replace(CILIUM, l34="redirect", requests=("allow",))
    plain = replace(OURS, requests=(Verdict("deny", "no_rule"),))
    odd = replace(OURS, requests=(Verdict("deny", "bad_path"),))
    closed = replace(plain, refused=FAULT)

    assert [(DENIES, None)] == [(each.kind, intended(each)) for each in made(cilium, plain)]
    assert ["path-not-canonical"] == [str(getattr(intended(each), "name", "")) for each in made(cilium, odd)]
    assert ["octal-port", "refused-policy-closes"] == [
        str(getattr(intended(each), "name", "")) for each in made(cilium, closed)
    ]


def test_intended_differences_have_names_of_their_own() -> None:
    """And each says why it is meant."""
    assert len({each.name for each in INTENDED}) == len(INTENDED)
    assert all(each.why for each in INTENDED)


def test_a_difference_is_made_small() -> None:
    """What has nothing to do with it is taken away."""
    odd = {"toPorts": [{"ports": [{"port": "010"}]}]}
    policies: list[Json] = [
        json.loads(
            question(ports("80", http=[{"path": "/a"}]), {"fromEndpoints": [{}]}, *more)["policies"][0]
        )
        for more in ((), (odd,))
    ]
    policies[1]["metadata"]["name"] = "q"
    asked = Scenario(
        id="small",
        policies=tuple(policies),
        endpoints=tuple(PODS),
        direction="ingress",
        endpoint="default/server",
        peer="default/client",
        port=80,
        requests=(Request(),),
    )
    (case,) = compared([asked], "model")
    refusal = next(each for each in differences(case) if each.kind == REFUSES)

    (policy,) = minimised(refusal, "model").case.scenario.policies
    assert isinstance(policy, dict)
    assert {"endpointSelector": {}, "ingress": [odd]} == policy["spec"]


def test_both_stacks_are_judged() -> None:
    """On a dual-stack cluster 0.0.0.0/0 is IPv4 alone."""
    entry = {"fromCIDR": ["0.0.0.0/0"]}
    policy = json.loads(question(entry)["policies"][0])
    asked = Scenario(
        id="4",
        policies=(policy,),
        endpoints=tuple(PODS),
        direction="ingress",
        endpoint="default/server",
        peer="192.0.2.7",
        port=80,
        requests=(),
    )
    answers = ask_judge([asked, replace(asked, id="6", peer="2001:db8::7", dual_stack=True)])

    assert ["allow", "deny"] == [answer.l34 for answer in answers]
