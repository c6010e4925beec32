# SPDX-License-Identifier: Apache-2.0
"""Files to policies: what is taken, and the exact words for what is not."""

import json
from pathlib import Path

import pytest

from bpfast.errors import BadInput
from bpfast.policy.reader import Text, examine, read_policies
from tests.policy.policies import GET, policy, port, rule

BROKEN = Path(__file__).resolve().parents[1] / "data" / "cnp" / "broken"


def unbalanced(regex: str) -> str | None:
    """Stand in for a regex engine: only brackets are looked at."""
    return "missing )" if regex.count("(") > regex.count(")") else None


def text(*policies: object, source: str = "p.json") -> Text:
    """Return a file that holds these policies as documents."""
    return Text(source, "\n---\n".join(json.dumps(each) for each in policies))


@pytest.mark.parametrize("path", sorted(BROKEN.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_broken_policy_gets_its_exact_messages(path: Path) -> None:
    """Every fault of a file is told at once, in the order of the file, in exactly these words."""
    with pytest.raises(BadInput) as caught:
        read_policies([Text(path.name, path.read_text())], unbalanced)

    assert path.with_suffix(".expected").read_text().splitlines() == str(caught.value).splitlines()


def test_every_expectation_has_its_file() -> None:
    """No expected message is left over from a file that is gone, and there are enough of both."""
    files, expected = ({path.stem for path in BROKEN.glob(f"*.{end}")} for end in ("yaml", "expected"))

    assert files == expected
    assert len(files) >= 30


class TestTexts:
    """What is read as one text, and what as several."""

    def test_documents_are_policies_in_their_order(self) -> None:
        """Several documents of one file are several policies; empty documents are none."""
        b, a = (json.dumps(policy(rule({}), name=name)) for name in "ba")
        read = read_policies([Text("p.yaml", f"---\n{b}\n---\n---\n# nothing\n---\n{a}\n")])

        assert ["demo/b", "demo/a"] == [each.full_name for each in read]

    def test_a_name_may_be_used_once_in_all_files(self) -> None:
        """The same namespace and name in a second file is a fault that names the first."""
        one = policy(rule({}))
        with pytest.raises(BadInput) as caught:
            read_policies([text(one, source="a.json"), text(one, source="b.json")])

        assert "b.json: demo/p: metadata.name: 'demo/p' is given twice, first in a.json" == str(caught.value)

    def test_the_same_name_in_two_namespaces_is_two_policies(self) -> None:
        """Namespace and name together name a policy."""
        both = text(policy(rule({})), policy(rule({}), namespace="prod"))

        assert ["demo/p", "prod/p"] == [each.full_name for each in read_policies([both])]

    def test_faults_of_all_files_are_told_at_once(self) -> None:
        """A fault in one file does not hide those of the next."""
        with pytest.raises(BadInput) as caught:
            read_policies([Text("a", "{"), text(policy(rule({}))), Text("c", "")])

        assert ["a", "c"] == [fault.source for fault in caught.value.faults]

    def test_examine_keeps_what_is_right(self) -> None:
        """The policies without a fault are there beside the faults of the others."""
        reading = examine([text(policy(rule({})), policy(None, name="q"))])

        assert ["demo/p"] == [each.full_name for each in reading.policies]
        assert ["demo/q"] == [fault.policy for fault in reading.faults]

    def test_an_endpoints_file_in_a_folder_is_passed_over(self) -> None:
        """A file of endpoints that was found in a folder is nobody's fault; only a named one is."""
        endpoints = "endpoints: [{name: web, netns: web}]"

        assert () == read_policies([Text("endpoints.yaml", endpoints, found=True)])
        assert 1 == len(examine([Text("endpoints.yaml", endpoints)]).faults)

    def test_control_characters_do_not_reach_the_messages(self) -> None:
        """What a terminal would obey is escaped or left out where a message shows it."""
        whole = policy(rule({}, endpointSelector={"matchLabels": {"a\x1b[2J": "b"}}), name="p\x1b[2J")
        faults = examine([text(whole)]).faults

        assert 2 == len(faults)
        assert all(str(fault).isprintable() for fault in faults)

    def test_long_values_are_cut(self) -> None:
        """A message shows the beginning of a long value only."""
        (fault,) = examine([text(policy(rule({}), name="N" * 10_000))]).faults

        assert 400 > len(str(fault))


class TestObjects:
    """What may stand in a policy without meaning anything."""

    def test_what_a_cluster_writes_is_taken(self) -> None:
        """The output of ``kubectl get -o yaml`` can be read as it is."""
        whole = policy(rule({}, description="d", labels=[{"key": "a", "value": "b", "source": "k8s"}]))
        whole["metadata"] |= {
            "uid": "1",
            "generation": 1,
            "creationTimestamp": None,
            "managedFields": [{"f:a": {}}],
        }
        whole["metadata"] |= {"labels": None, "annotations": {"a": "b"}}
        whole["status"] = {"conditions": [{"type": "Valid"}]}

        assert ["demo/p"] == [each.full_name for each in read_policies([text(whole)])]

    def test_yaml_and_json_read_alike(self) -> None:
        """The same policy in both forms gives equal rules."""
        yaml = """
            apiVersion: cilium.io/v2
            kind: CiliumNetworkPolicy
            metadata: {name: p, namespace: demo}
            spec:
              endpointSelector:
                matchLabels: {app: web}
              ingress:
              - toPorts:
                - ports: [{port: "80", protocol: TCP}]
                  rules: {http: [{method: GET}]}
        """
        (from_yaml,) = read_policies([Text("p", yaml)])
        (from_json,) = read_policies([text(policy(rule({"toPorts": [port(80, GET)]})), source="p")])

        assert from_json == from_yaml

    def test_the_paths_of_the_rules_are_kept(self) -> None:
        """``spec`` comes first, then each of ``specs`` with its number."""
        (both,) = read_policies([text(policy(rule({}), specs=[rule({}), rule({})]))])

        assert ["spec", "specs[0]", "specs[1]"] == [path for path, _ in both.rules]


class TestRegexes:
    """What the caller's engine is asked."""

    def test_every_regex_is_asked_about(self) -> None:
        """Path, method and host go to the check; empty texts and headers do not."""
        asked: list[str] = []
        http = {"path": "/a", "method": "GET", "host": "h", "headers": ["X-A: ("]}

        def check(regex: str) -> str | None:
            asked.append(regex)
            return None

        read_policies([text(policy(rule({"toPorts": [port(80, http, {"path": ""})]})))], check)

        assert {"/a", "GET", "h"} == set(asked)

    def test_without_a_check_regexes_are_taken(self) -> None:
        """Reading alone does not judge regexes."""
        assert 1 == len(read_policies([text(policy(rule({"toPorts": [port(80, {"path": "("})]})))]))
