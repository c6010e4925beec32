# SPDX-License-Identifier: Apache-2.0
"""What policies mean: for which peer and port, and which rules."""

import pytest

from bpfast.errors import Bug
from bpfast.policy.meaning import HOST, WORLD, Allow, Deny, Inspect, Peer, PeerPolicy
from bpfast.policy.rules import HeaderMatch, HttpRule, RuleSet
from tests.policy.policies import (
    CLIENT,
    FROM_CLIENT,
    GET,
    OTHER,
    STRANGER,
    WEB,
    Object,
    at_web,
    lowered,
    peer,
    policy,
    port,
    rule,
    rule_names,
    word,
)


def words(*ingress: Object, number: int = 80) -> dict[str, str]:
    """Return what each peer may do at WEB's port under one policy with these entries."""
    web = at_web(policy(rule(*ingress)))
    peers = {"client": peer(CLIENT), "other": peer(OTHER), "stranger": peer(STRANGER), "world": WORLD}
    return {name: word(web.verdict(each, number)) for name, each in peers.items()}


def everybody(verdict: str) -> dict[str, str]:
    """Return the same word for every peer."""
    return dict.fromkeys(("client", "other", "stranger", "world"), verdict)


class TestDefaultDeny:
    """Who is closed at all."""

    def test_without_policies_everything_is_open(self) -> None:
        """An endpoint that no policy selects is not enforced and open to all peers."""
        web = at_web()

        assert not web.enforced
        assert Allow() == web.verdict(WORLD, 80)

    def test_default_deny_closes_endpoints_without_policies(self) -> None:
        """With ``default_deny`` an endpoint that no policy selects is closed to all but the host."""
        web = at_web(default_deny=True)

        assert web.enforced
        assert Deny() == web.verdict(peer(CLIENT), 80)
        assert Deny() == web.verdict(WORLD, 80)
        assert Allow() == web.verdict(HOST, 80)

    def test_a_policy_closes_what_it_does_not_open(self) -> None:
        """A selected endpoint denies every peer and port that no policy opens."""
        assert everybody("deny") | {"client": "inspect"} == words(FROM_CLIENT | {"toPorts": [port(80, GET)]})
        assert everybody("deny") == words(FROM_CLIENT | {"toPorts": [port(80, GET)]}, number=81)

    def test_an_empty_entry_opens_nothing(self) -> None:
        """``ingress: [{}]``, without peers and ports, turns default deny on and opens nothing."""
        assert everybody("deny") == words({})

    def test_an_empty_list_of_ports_is_as_if_absent(self) -> None:
        """``toPorts: []`` with peers opens every port, without peers nothing."""
        assert "allow" == words(FROM_CLIENT | {"toPorts": []})["client"]
        assert everybody("deny") == words({"toPorts": []})

    def test_other_endpoints_stay_open(self) -> None:
        """A policy for one endpoint does not close another one."""
        meaning = lowered(policy(rule({})))

        assert {"demo/web"} == {name for name, each in meaning.ingress.items() if each.enforced}

    def test_the_host_is_let_in(self) -> None:
        """The node's own addresses are let in through rules for everybody, HTTP rules included."""
        web = at_web(policy(rule({"toPorts": [port(80, GET)]})))

        assert Allow() == web.verdict(HOST, 80)
        assert Allow() == web.of(HOST).other


class TestSubjects:
    """Which endpoints a policy is about."""

    @staticmethod
    def enforced(selector: Object, namespace: str = "demo") -> set[str]:
        """Return the endpoints that a selector closes."""
        meaning = lowered(policy(rule({}, endpointSelector=selector), namespace=namespace))
        return {name for name, each in meaning.ingress.items() if each.enforced}

    def test_an_empty_selector_is_the_whole_namespace(self) -> None:
        """``endpointSelector: {}`` selects every endpoint of the policy's namespace and no other."""
        assert {"demo/web", "demo/client", "demo/other"} == self.enforced({})
        assert {"prod/client"} == self.enforced({}, "prod")

    def test_empty_match_labels_select_the_whole_namespace(self) -> None:
        """``matchLabels: {}`` is the same as none."""
        assert {"prod/client"} == self.enforced({"matchLabels": {}}, "prod")

    def test_labels_select_in_the_own_namespace_only(self) -> None:
        """Endpoints with the labels in another namespace are not selected."""
        assert {"demo/client"} == self.enforced({"matchLabels": {"app": "client"}})

    def test_all_labels_must_be_there(self) -> None:
        """Labels are ANDed."""
        assert {"demo/web"} == self.enforced({"matchLabels": {"app": "web", "tier": "front"}})
        assert set() == self.enforced({"matchLabels": {"app": "web", "tier": "back"}})

    @pytest.mark.parametrize("key", ("k8s:app", "any:app", "app"))
    def test_a_source_before_a_key_asks_for_the_same_label(self, key: str) -> None:
        """``k8s:`` and ``any:`` before a key select the labels that Kubernetes gives."""
        assert {"demo/web"} == self.enforced({"matchLabels": {key: "web"}})

    def test_the_own_namespace_may_be_named(self) -> None:
        """A selector may say which namespace it is in, as long as it is its own."""
        assert {"demo/web"} == self.enforced(
            {"matchLabels": {"app": "web", "k8s:io.kubernetes.pod.namespace": "demo"}}
        )

    def test_a_service_account_selects(self) -> None:
        """The service account is a label that selectors can ask for."""
        selector = {"matchLabels": {"io.cilium.k8s.policy.serviceaccount": "till"}}

        assert {"prod/client"} == self.enforced(selector, "prod")
        assert set() == self.enforced(selector)

    def test_a_policy_without_namespace_is_in_default(self) -> None:
        """Without ``metadata.namespace`` a policy selects nothing outside of ``default``."""
        whole = policy(rule({}, endpointSelector={}))
        del whole["metadata"]["namespace"]

        assert not any(each.enforced for each in lowered(whole).ingress.values())


class TestPeers:
    """Whom an entry lets in."""

    def test_labels_name_peers_in_the_own_namespace(self) -> None:
        """``fromEndpoints`` by labels means peers of the policy's namespace, no namesakes elsewhere."""
        assert everybody("deny") | {"client": "allow"} == words(FROM_CLIENT)

    def test_an_empty_peer_selector_is_the_whole_namespace(self) -> None:
        """``fromEndpoints: [{}]`` is every endpoint of the policy's namespace, not the world."""
        assert everybody("deny") | {"client": "allow", "other": "allow"} == words({"fromEndpoints": [{}]})

    def test_an_empty_list_of_peers_is_nobody(self) -> None:
        """``fromEndpoints: []`` selects nobody, with ports and without."""
        assert everybody("deny") == words({"fromEndpoints": []})
        assert everybody("deny") == words({"fromEndpoints": [], "toPorts": [port(80)]})

    def test_without_peers_everybody_is_meant(self) -> None:
        """Without ``fromEndpoints`` a port is opened to every peer, unknown addresses included."""
        assert everybody("allow") == words({"toPorts": [port(80)]})
        assert everybody("inspect") == words({"toPorts": [port(80, GET)]})

    def test_several_selectors_are_alternatives(self) -> None:
        """A peer that one of several selectors matches is let in."""
        apps = [{"matchLabels": {"app": app}} for app in ("client", "other")]

        assert everybody("deny") | {"client": "allow", "other": "allow"} == words({"fromEndpoints": apps})

    @pytest.mark.parametrize("source", ("", "k8s:", "any:"))
    def test_a_namespace_can_be_named(self, source: str) -> None:
        """The label ``io.kubernetes.pod.namespace`` selects peers of another namespace."""
        labels = {f"{source}io.kubernetes.pod.namespace": "prod"}

        assert everybody("deny") | {"stranger": "allow"} == words(
            {"fromEndpoints": [{"matchLabels": labels}]}
        )

    @pytest.mark.parametrize("source", ("", "k8s:", "any:"))
    def test_labels_of_a_namespace_lift_the_own_namespace(self, source: str) -> None:
        """A selector by labels of namespaces is not bound to the policy's own."""
        labels = {f"{source}io.cilium.k8s.namespace.labels.team": "shop"}

        assert everybody("deny") | {"stranger": "allow"} == words(
            {"fromEndpoints": [{"matchLabels": labels}]}
        )

    def test_every_namespace_has_its_name_as_a_label(self) -> None:
        """``kubernetes.io/metadata.name`` is there without being written in the endpoints file."""
        key = "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name"

        assert "allow" == words({"fromEndpoints": [{"matchLabels": {key: "prod"}}]})["stranger"]

    def test_a_service_account_alone_stays_in_the_own_namespace(self) -> None:
        """A service account does not lift the policy's namespace."""
        key = "io.cilium.k8s.policy.serviceaccount"

        assert everybody("deny") == words({"fromEndpoints": [{"matchLabels": {key: "till"}}]})

    def test_the_cluster_has_a_name(self) -> None:
        """The label of the cluster is ``default``, as Cilium's is."""
        key = "io.cilium.k8s.policy.cluster"

        assert "allow" == words({"fromEndpoints": [{"matchLabels": {key: "default"}}]})["client"]
        assert "deny" == words({"fromEndpoints": [{"matchLabels": {key: "east"}}]})["client"]

    def test_an_endpoint_can_be_its_own_peer(self) -> None:
        """An endpoint that a selector matches may connect to itself."""
        web = at_web(policy(rule({"fromEndpoints": [{"matchLabels": {"app": "web"}}]})))

        assert Allow() == web.verdict(peer(WEB), 80)

    def test_an_unknown_peer_is_a_bug(self) -> None:
        """Asking for a peer that lowering was not told of is an error, never a verdict."""
        with pytest.raises(Bug, match="peer 'demo/ghost' was not there"):
            at_web(policy(rule({}))).verdict(Peer.endpoint("demo/ghost"), 80)


class TestPorts:
    """Where an entry lets peers in."""

    def test_without_ports_every_port_is_open(self) -> None:
        """An entry with peers and without ``toPorts`` allows them at every port."""
        web = at_web(policy(rule(FROM_CLIENT)))

        assert Allow() == web.verdict(peer(CLIENT), 1)
        assert PeerPolicy(Allow()) == web.of(peer(CLIENT))

    def test_the_ports_that_matter_are_listed(self) -> None:
        """Segments are the ports that some policy speaks of; the rest is one verdict."""
        first = rule(FROM_CLIENT | {"toPorts": [port(80, GET), port(81)]})
        second = rule({"toPorts": [port(8443, ports=(9100,))]})
        web = at_web(policy(first, name="a"), policy(second, name="b"))

        assert [80, 81, 8443, 9100] == [each.first for each in web.of(peer(CLIENT)).segments]
        assert Deny() == web.of(peer(CLIENT)).other

    def test_several_ports_share_their_rules(self) -> None:
        """Every port of a ``toPorts`` entry gets its rules."""
        web = at_web(policy(rule({"toPorts": [port(80, GET, ports=(8080,))]})))

        assert web.verdict(WORLD, 80) == web.verdict(WORLD, 8080)
        assert "inspect" == word(web.verdict(WORLD, 80))

    def test_a_port_given_twice_has_its_rules_once(self) -> None:
        """The same port twice in one entry changes nothing."""
        web = at_web(policy(rule({"toPorts": [port(80, GET, ports=(80,))]})))

        assert ["demo/p spec.ingress[0].toPorts[0].rules.http[0]"] == rule_names(web.verdict(WORLD, 80))

    @pytest.mark.parametrize("entry", ({"ports": []}, {}, {"rules": {"http": [GET]}}))
    def test_an_entry_without_ports_opens_nothing(self, entry: Object) -> None:
        """``ports: []`` or none inside of ``toPorts`` opens no port at all."""
        assert everybody("deny") == words({"toPorts": [entry]})

    def test_the_first_and_the_last_port_can_be_opened(self) -> None:
        """Ports 1 and 65535 are ports like any other."""
        web = at_web(policy(rule({"toPorts": [port(1, ports=(65535,))]})))

        assert [(1, 1), (65535, 65535)] == [(each.first, each.last) for each in web.of(WORLD).segments]


class TestHttp:
    """Which rules requests are held against."""

    def test_an_empty_list_of_rules_is_no_inspection(self) -> None:
        """``http: []`` opens the port for every byte."""
        entry = port(80) | {"rules": {"http": []}}

        assert everybody("allow") == words({"toPorts": [entry]})

    def test_an_empty_rule_allows_every_request(self) -> None:
        """``http: [{}]`` is inspected by a rule without conditions."""
        web = at_web(policy(rule({"toPorts": [port(80, {})]})))
        name = "demo/p spec.ingress[0].toPorts[0].rules.http[0]"

        assert Inspect(RuleSet((HttpRule(name),))) == web.verdict(WORLD, 80)

    def test_fields_are_kept_as_written(self) -> None:
        """Path, method and host stay the regexes that the user wrote."""
        http = {"path": "/a.*", "method": "GET|PUT", "host": "^shop$", "headers": ["X-A: 1"]}
        web = at_web(policy(rule({"toPorts": [port(80, http)]})))
        name = "demo/p spec.ingress[0].toPorts[0].rules.http[0]"
        expected = HttpRule(name, "GET|PUT", "/a.*", "^shop$", (HeaderMatch("X-A", "1"),))

        assert Inspect(RuleSet((expected,))) == web.verdict(WORLD, 80)

    def test_an_empty_text_asks_for_nothing(self) -> None:
        """An empty path, method or host is the same as none, as in Cilium."""
        web = at_web(
            policy(rule({"toPorts": [port(80, {"path": "", "method": "", "host": "", "headers": []})]}))
        )
        name = "demo/p spec.ingress[0].toPorts[0].rules.http[0]"

        assert Inspect(RuleSet((HttpRule(name),))) == web.verdict(WORLD, 80)

    @pytest.mark.parametrize(
        ("text", "expected"),
        (
            ("X-Token: 42", HeaderMatch("X-Token", "42")),
            ("X-Token 42", HeaderMatch("X-Token", "42")),
            ("X-Token:: 42", HeaderMatch("X-Token", "42")),
            ("X-Token: a b ", HeaderMatch("X-Token", "a b ")),
            ("X-Token:  42", HeaderMatch("X-Token", " 42")),
            ("X-Token", HeaderMatch("X-Token", None)),
            ("X-Token ", HeaderMatch("X-Token", "")),
            ("X-Token:42", HeaderMatch("X-Token:42", None)),
            ("X-Token:", HeaderMatch("X-Token:", None)),
        ),
    )
    def test_headers_are_split_at_the_first_space(self, text: str, expected: HeaderMatch) -> None:
        """Colons go off a name that a space follows; without a space the whole text is a name to be there."""
        verdict = at_web(policy(rule({"toPorts": [port(80, {"headers": [text]})]}))).verdict(WORLD, 80)

        assert isinstance(verdict, Inspect)
        assert (expected,) == verdict.rules.rules[0].headers

    def test_names_say_where_a_rule_stands(self) -> None:
        """A rule's name is its policy and YAML path, counted from 0 at each level."""
        http = port(80, {"path": "/a"}, {"path": "/b"})
        web = at_web(policy(rule({}, {"toPorts": [port(81), http]})))
        start = "demo/p spec.ingress[1].toPorts[1].rules.http"

        assert [f"{start}[0]", f"{start}[1]"] == rule_names(web.verdict(WORLD, 80))

    def test_names_in_specs_have_the_number_of_the_spec(self) -> None:
        """A rule under ``specs`` is named by ``specs[i]``; ``spec`` beside it comes first."""
        one = rule({"toPorts": [port(80, GET)]})
        web = at_web(policy(one, specs=[rule({}), one]))
        end = "ingress[0].toPorts[0].rules.http[0]"

        assert [f"demo/p spec.{end}", f"demo/p specs[1].{end}"] == rule_names(web.verdict(WORLD, 80))


class TestUnion:
    """What several rules mean together."""

    def test_policies_are_united_in_the_order_given(self) -> None:
        """All rules of all policies for a peer and port are alternatives, in file order."""
        one = rule({"toPorts": [port(80, GET)]})
        web = at_web(policy(one, name="b"), policy(one, name="a"))
        end = "spec.ingress[0].toPorts[0].rules.http[0]"

        assert [f"demo/b {end}", f"demo/a {end}"] == rule_names(web.verdict(WORLD, 80))

    def test_a_peer_gets_the_rules_that_mean_it(self) -> None:
        """Rules for everybody and rules for one peer are united for that peer alone."""
        web = at_web(
            policy(rule({"toPorts": [port(80, GET)]}, FROM_CLIENT | {"toPorts": [port(80, {"path": "/a"})]}))
        )

        assert 2 == len(rule_names(web.verdict(peer(CLIENT), 80)))
        assert 1 == len(rule_names(web.verdict(peer(OTHER), 80)))

    def test_an_entry_for_the_port_alone_cancels_http(self) -> None:
        """An L4-only allow for the same peer and port lets every request through."""
        entries = FROM_CLIENT | {"toPorts": [port(80, GET)]}, FROM_CLIENT | {"toPorts": [port(80)]}

        assert "allow" == words(*entries)["client"]
        assert "allow" == words(*reversed(entries))["client"]

    def test_an_entry_for_all_ports_cancels_http(self) -> None:
        """An L3-only allow for the same peer lets every request through."""
        assert "allow" == words(FROM_CLIENT | {"toPorts": [port(80, GET)]}, FROM_CLIENT)["client"]

    def test_an_entry_for_everybody_cancels_http_of_one_peer(self) -> None:
        """An allow of the port for everybody cancels HTTP rules for a single peer."""
        assert everybody("allow") == words(
            FROM_CLIENT | {"toPorts": [port(80, GET)]}, {"toPorts": [port(80)]}
        )

    def test_an_entry_of_another_policy_cancels_http(self) -> None:
        """It does not matter in which policy the allow without rules stands."""
        inspected = policy(rule(FROM_CLIENT | {"toPorts": [port(80, GET)]}), name="a")
        opened = policy(rule(FROM_CLIENT), name="b")

        assert Allow() == at_web(inspected, opened).verdict(peer(CLIENT), 80)

    def test_another_peer_does_not_cancel_http(self) -> None:
        """An allow without rules for one peer leaves the HTTP rules of the others alone."""
        entries = {"toPorts": [port(80, GET)]}, FROM_CLIENT | {"toPorts": [port(80)]}

        assert everybody("inspect") | {"client": "allow"} == words(*entries)

    def test_another_port_does_not_cancel_http(self) -> None:
        """An allow without rules for one port leaves the HTTP rules of the others alone."""
        assert everybody("inspect") == words({"toPorts": [port(80, GET), port(81)]})

    def test_a_rule_that_opens_nothing_cancels_nothing(self) -> None:
        """A policy that only turns default deny on does not touch what others allow."""
        web = at_web(policy(rule({}), name="a"), policy(rule({"toPorts": [port(80, GET)]}), name="b"))

        assert "inspect" == word(web.verdict(WORLD, 80))


class TestValues:
    """The result as a value."""

    def test_the_same_policies_mean_the_same(self) -> None:
        """Lowering twice gives equal values, so a reload can be compared."""
        one = policy(rule(FROM_CLIENT | {"toPorts": [port(80, GET)]}))

        assert lowered(one) == lowered(one)
        assert lowered(one) != lowered(policy(rule(FROM_CLIENT | {"toPorts": [port(80)]})))

    def test_equal_rule_sets_are_listed_once(self) -> None:
        """A rule set that several peers and endpoints share is one rule set."""
        both = policy(rule({"fromEndpoints": [{}], "toPorts": [port(80, GET)]}, endpointSelector={}))

        assert 1 == len(lowered(both).rule_sets())

    def test_rule_sets_stand_in_order_of_first_use(self) -> None:
        """Different rule sets are all listed."""
        entries = FROM_CLIENT | {"toPorts": [port(80, GET)]}, {"toPorts": [port(81, {"path": "/a"})]}

        assert 2 == len(lowered(policy(rule(*entries))).rule_sets())

    def test_labels_that_cilium_gives_cannot_be_claimed(self) -> None:
        """A pod's own label with the name of one of Cilium's is left out."""
        claimed = STRANGER.identity_labels() | {"io.kubernetes.pod.namespace": "demo"}
        liar = type(STRANGER)("prod", "client", claimed)

        assert "prod" == liar.identity_labels()["io.kubernetes.pod.namespace"]
        assert "default" == liar.identity_labels()["io.cilium.k8s.policy.serviceaccount"]

    def test_peers_can_be_shown(self) -> None:
        """A peer prints as the command line takes it."""
        assert ["demo/client", "entity:world"] == [str(peer(CLIENT)), str(WORLD)]
