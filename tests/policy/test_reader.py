# SPDX-License-Identifier: Apache-2.0
"""Files to policies: what is taken, and the exact words for what is not."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfast.errors import BadInput
from bpfast.policy.document import read_documents
from bpfast.policy.fields import Where
from bpfast.policy.reader import PassedOver, Text, examine, read_policies
from bpfast.policy.supported import all_fields
from tests.policy.policies import GET, clusterwide, policy, port, rule

DATA = Path(__file__).resolve().parents[1] / "data" / "cnp"
BROKEN = DATA / "broken"


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
    assert len(files) >= 80


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

        assert "b.json:1: demo/p: metadata.name: 'demo/p' is given twice, first in a.json" == str(
            caught.value
        )

    def test_a_clusterwide_policy_may_have_the_name_of_another(self) -> None:
        """Names are of a kind: a clusterwide policy ``p`` stands beside ``demo/p``."""
        read = read_policies([text(policy(rule({})), clusterwide(rule({}), name="p"))])

        assert ["demo/p", "p"] == [each.full_name for each in read]

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

    def test_objects_of_others_are_passed_over_by_name(self) -> None:
        """What is no policy and can be meant as none is not read, but told."""
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop", "namespace": "demo"}}
        envoy = {"apiVersion": "cilium.io/v2", "kind": "CiliumEnvoyConfig", "metadata": {"name": "a"}, "x": 1}
        reading = examine([text(service, policy(rule({})), envoy)])

        assert () == reading.faults
        assert ["demo/p"] == [each.full_name for each in reading.policies]
        assert (
            PassedOver("p.json", "Service", "demo/shop", 1),
            PassedOver("p.json", "CiliumEnvoyConfig", "default/a", 5),
        ) == reading.passed_over

    def test_a_file_of_others_is_a_fault_only_if_it_was_named(self) -> None:
        """A file with no policy at all was given by mistake, unless it was found in a folder."""
        service = json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"}})
        found, named = (examine([Text("s.json", service, found=found)]) for found in (True, False))

        assert () == found.faults
        assert 1 == len(found.passed_over) == len(named.passed_over)
        assert ["s.json: holds no policy; passed over: Service"] == [str(fault) for fault in named.faults]

    @pytest.mark.parametrize(
        ("version", "kind"),
        (
            ("v1", "CiliumNetworkPolicy"),
            ("cilium.io/v2", "CiliumNetworkPolcy"),
            ("cilium.io/v2", "Service"),
            ("cilum.io/v2", "CiliumClusterwideNetworkpolicy"),
            ("networking.k8s.io/v1", "NetworkPolicy"),
            ("extensions/v1beta1", "NetworkPolicy"),
            (None, "Service"),
            ("v1", None),
            ("v1", ["Service"]),
            ("v1", "\x1b[2J"),
            (1, "Service"),
        ),
    )
    def test_what_could_be_meant_as_a_policy_is_never_passed_over(
        self, version: object, kind: object
    ) -> None:
        """A misspelt kind or version, or a policy of Kubernetes, is a fault."""
        reading = examine([text({"apiVersion": version, "kind": kind, "metadata": {"name": "p"}})])

        assert () == reading.passed_over
        assert reading.faults

    def test_the_items_of_a_list_are_policies(self) -> None:
        """``kubectl get -o yaml`` gives a list; in a typed list the items need not say what they are."""
        one, other = (policy(rule({}), name=name) for name in "ab")
        bare = {key: other[key] for key in ("metadata", "spec")}
        whole = {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": [one]}
        typed = {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicyList", "items": [bare]}

        assert ["demo/a", "demo/b"] == [each.full_name for each in read_policies([text(whole, typed)])]

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

    def test_words_of_a_regex_engine_are_made_printable(self) -> None:
        """What the caller's engine quotes of a pattern cannot reach the terminal either."""
        whole = policy(rule({"toPorts": [port(80, {"path": "\\\x1b[2J"})]}))
        (fault,) = examine([text(whole)], lambda regex: f"unknown escape {regex[:3]}").faults

        assert fault.message.endswith("unknown escape \\\\x1b[")

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

    def test_every_field_of_ciliums_is_read(self) -> None:
        """Two policies with every field of the table that is not refused are right, and do have them all."""
        text = (DATA / "every-field.yaml").read_text()
        used = {path for document in read_documents(text) for path in paths(document.value)}
        used |= {"spec" + path.removeprefix("specs[]") for path in used if path.startswith("specs[].")}
        wanted = {
            path
            for path, field in all_fields()
            if field.where not in (Where.REFUSED, Where.FREE) and not path.startswith("specs[].")
        }

        assert ["demo/every-field", "every-field"] == [
            each.full_name for each in read_policies([Text("e", text)])
        ]
        assert set() == {path for path in wanted - used if not path.startswith(NOT_ON_INGRESS)}

    def test_ports_by_name_are_kept_in_lower_case(self) -> None:
        """Cilium compares names of ports without regard to case."""
        spec = rule({"toPorts": [{"ports": [{"port": "HTTP-Web"}]}]})
        (read,) = read_policies([text(policy(spec))])

        assert "http-web" == read.rules[0][1].ingress[0].to_ports[0].ports[0].port


# Values that the schema of both directions has, but that Cilium refuses on ingress.
NOT_ON_INGRESS = (
    "spec.ingress[].toPorts[].listener",
    "spec.ingress[].toPorts[].rules.dns",
    "spec.nodeSelector.matchExpressions[].values",
)


def paths(value: object, start: str = "") -> Iterator[str]:
    """Yield the paths of all fields in a value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            path = f"{start}.{key}" if start else key
            yield path
            yield from paths(inner, path)
    elif isinstance(value, list):
        for entry in value:
            yield from paths(entry, f"{start}[]")


class TestLines:
    """Where things stand in the file."""

    TEXT = """# A policy.
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: p, namespace: demo}
spec:
  endpointSelector:
    matchLabels:
      k8s:app: web
  ingress:
  - toPorts:
    - ports: [{port: "80", protocol: TCP}]
      rules:
        http:
        - method: GET
        - method: HEAD
          path: /
"""

    @pytest.mark.parametrize(
        ("path", "line"),
        (
            ("spec", 6),
            ("spec.endpointSelector", 7),
            ('spec.endpointSelector.matchLabels["k8s:app"]', 9),
            ("spec.ingress[0]", 11),
            ("spec.ingress[0].toPorts[0]", 12),
            ("spec.ingress[0].toPorts[0].ports[0].port", 12),
            ("spec.ingress[0].toPorts[0].rules.http[1]", 16),
            ("spec.ingress[0].toPorts[0].rules.http[1].path", 17),
            ("spec.ingress[0].toPorts[0].rules.http[1].host", 16),
            ("spec.ingress[1]", 10),
            ("specs[0]", 3),
        ),
    )
    def test_a_policy_knows_the_lines_of_its_paths(self, path: str, line: int) -> None:
        """A path stands where its key stands; what is not there, where the nearest above it does."""
        (read,) = read_policies([Text("p", self.TEXT)])

        assert line == read.line(path)

    def test_a_policy_in_a_list_knows_its_lines(self) -> None:
        """Paths of a policy begin at the policy, its lines at the file."""
        item = "- {apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: %s},\n   spec: %s}\n"
        items = item % ("a", json.dumps(rule({}))) + item % ("b", json.dumps(rule({})))
        a, b = read_policies([Text("p", f"kind: List\napiVersion: v1\nitems:\n{items}")])

        assert [(4, 5), (6, 7)] == [(each.line("metadata.name"), each.line("spec")) for each in (a, b)]

    def test_faults_have_lines(self) -> None:
        """Each fault is told with its line, the second of two equal keys with its own."""
        broken = self.TEXT.replace("HEAD", "1").replace("path: /", "path: /\n          method: PUT")
        faults = examine([Text("p", broken)]).faults

        assert [(16, "must be"), (18, "given twice")] == [
            (fault.line, fault.message.split(" a ")[0]) for fault in faults
        ]


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
