# SPDX-License-Identifier: Apache-2.0
"""Every example can be used as it is, and does to requests what the list beside it says.

An example is a policy in ``manifests/examples``; its requests are in
``tests/data/examples``, one line each: ``METHOD TARGET | Header: value``. They are
tried by ``bpfast verdict --scenarios`` with the model and with the real programs.
"""

import base64
import json
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import re2
import yaml

from bpfast.controller.compile import compile_policies
from bpfast.policy.lower import lower
from bpfast.policy.meaning import WORLD, Allow, Direction, EndpointPolicy, Inspect, Peer
from bpfast.policy.reader import read_policies
from bpfast.standalone.files import read_endpoints, read_texts
from tests.conftest import ROOT

EXAMPLES = ROOT / "manifests" / "examples"
ENDPOINTS = EXAMPLES / "endpoints.yaml"
REQUESTS = ROOT / "tests" / "data" / "examples"
POLICIES = sorted(set(EXAMPLES.glob("*.yaml")) - {ENDPOINTS})
COMMAND = Path(sys.executable).with_name("bpfast")

Json = dict[str, Any]


def stem(path: Path) -> str:
    """Return what a test is called."""
    return path.stem


def re2_error(regex: str) -> str | None:
    """Return what RE2, the engine of Envoy, says against a regex."""
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(regex, options)
    except re2.error as error:
        return str(error)
    return None


def cases(path: Path) -> list[Json]:
    """Return what is written about an example: one entry a peer and port."""
    listed: list[Json] = tomllib.loads((REQUESTS / f"{path.stem}.toml").read_text())["case"]
    return [{"endpoint": "demo/shop", "direction": "ingress", "stays": []} | case for case in listed]


def as_bytes(line: str) -> bytes:
    """Return the head of a request written as ``METHOD TARGET | Name: value | ...``."""
    first, *headers = line.split(" | ")
    if not any(header.startswith("Host:") for header in headers):
        headers.append("Host: demo")
    return "\r\n".join((f"{first} HTTP/1.1", *headers, "", "")).encode()


def scenario(path: Path, number: int, case: Json) -> Json:
    """Return a case as a line for ``verdict --scenarios``."""
    requests = (*case.get("allow", ()), *case.get("deny", ()))
    return {
        "id": f"{path.stem} {number}",
        "policies": [path.read_text()],
        "endpoints": yaml.safe_load((REQUESTS / "endpoints.yaml").read_text())["endpoints"],
        "direction": case["direction"],
        "endpoint": case["endpoint"],
        "peer": case["peer"],
        "port": case["port"],
        "streams": [
            {"id": line, "segments": [base64.b64encode(as_bytes(line)).decode()]} for line in requests
        ],
    }


@cache
def answers(engine: str) -> dict[str, Json]:
    """Return what one engine says to the cases of all examples, by the names of the scenarios."""
    lines = [
        json.dumps(scenario(path, number, case))
        for path in POLICIES
        for number, case in enumerate(cases(path))
    ]
    done = subprocess.run(
        [str(COMMAND), "verdict", "--scenarios", "--engine", engine],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    return {answer["id"]: answer for answer in map(json.loads, done.stdout.splitlines())}


def expected(case: Json) -> Json:
    """Return what is to be said to a case: on layers 3 and 4, to each request, and of what stays."""
    said = [(line, "allow") for line in case.get("allow", ())]
    said += [(line, "deny") for line in case.get("deny", ())]
    return {"l34": case["l34"], "requests": said, "stays": case["stays"]}


def given(answer: Json) -> Json:
    """Return the same of an answer."""
    assert all(each["reason"].startswith("stays on Envoy: ") for each in answer["refused"])
    return {
        "l34": answer["l34"],
        "requests": [(stream["id"], stream["verdict"]) for stream in answer["streams"]],
        "stays": [each["path"] for each in answer["refused"]],
    }


def test_there_are_examples() -> None:
    """The folder that is tested here is not empty."""
    assert len(POLICIES) >= 25


@pytest.mark.parametrize("path", POLICIES, ids=stem)
def test_each_example_is_one_policy_named_like_its_file(path: Path) -> None:
    """A file shows one thing, its name says which, and its first comment why."""
    (policy,) = read_policies(read_texts([path]), re2_error)

    assert path.stem == policy.name
    assert path.read_text().splitlines()[1].startswith("# ")


@pytest.mark.parametrize("path", POLICIES, ids=stem)
def test_each_example_has_requests_that_show_it(path: Path) -> None:
    """No example is without requests; where rules are inspected, one request at least is denied."""
    written = cases(path)

    assert all(case.get("allow") or case.get("deny") for case in written)
    assert sum(len(case.get("allow", ())) + len(case.get("deny", ())) for case in written) >= 2
    if any(case["l34"] == "inspect" for case in written):
        assert any(case.get("deny") for case in written if case["l34"] == "inspect")


def test_no_requests_are_left_of_an_example_that_is_gone() -> None:
    """Each list of requests belongs to an example."""
    assert {path.stem for path in POLICIES} == {path.stem for path in REQUESTS.glob("*.toml")}


@pytest.mark.parametrize("path", POLICIES, ids=stem)
def test_the_model_says_what_is_written(path: Path) -> None:
    """Layers 3 and 4, every request, and what stays on Envoy."""
    for number, case in enumerate(cases(path)):
        assert expected(case) == given(answers("model")[f"{path.stem} {number}"])


@pytest.mark.privileged
@pytest.mark.parametrize("path", POLICIES, ids=stem)
def test_the_kernel_says_what_is_written(path: Path) -> None:
    """The same of the real programs."""
    for number, case in enumerate(cases(path)):
        assert expected(case) == given(answers("kernel")[f"{path.stem} {number}"])


@pytest.mark.parametrize("path", POLICIES, ids=stem)
def test_every_rule_gets_into_a_table(path: Path) -> None:
    """All HTTP rules of an example compile, and none is refused for its size."""
    compiled = compile_policies(read_policies(read_texts([path])))
    rules = sum(len(image.rules) for image in compiled.images)
    written = path.read_text().count("http:")

    assert () == compiled.refused
    assert (rules + compiled.staying > 0) == (written > 0)


def test_the_endpoints_are_those_of_the_demo() -> None:
    """The example of an endpoints file has the two pods that some of the policies speak of."""
    web, client = read_endpoints(ENDPOINTS)

    assert ["demo/web", "demo/client"] == [web.full_name, client.full_name]
    assert ["bpfast-web", "bpfast-client"] == [str(web.netns), str(client.netns)]


@pytest.fixture(scope="module")
def demo() -> dict[str, EndpointPolicy]:
    """What all examples together mean for the pods of the demo."""
    subjects = [endpoint.subject() for endpoint in read_endpoints(ENDPOINTS)]
    return dict(lower(read_policies(read_texts([EXAMPLES])), subjects).of(Direction.INGRESS))


def test_only_the_server_is_enforced(demo: dict[str, EndpointPolicy]) -> None:
    """The policies of the examples close demo/web and leave demo/client alone."""
    assert [True, False] == [demo[name].enforced for name in ("demo/web", "demo/client")]


def test_all_examples_together_stay_what_each_of_them_is(demo: dict[str, EndpointPolicy]) -> None:
    """The client has the rules of six examples at port 80, the world one, and port 9100 is open."""
    web, client = demo["demo/web"], Peer.endpoint("demo/client")
    inspected, world = web.verdict(client, 80), web.verdict(WORLD, 80)

    assert isinstance(inspected, Inspect)
    assert isinstance(world, Inspect)
    assert 7 == len(inspected.rules.rules)
    assert ["demo/health-from-everyone"] == [rule.name.split()[0] for rule in world.rules.rules]
    assert Allow() == web.verdict(client, 9100)
