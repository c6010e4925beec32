# SPDX-License-Identifier: Apache-2.0
"""What closes: sections that deny, default deny by direction, entries that cannot be carried out here."""

import pytest

from bpfast.policy.cnp import EndpointSelector
from bpfast.policy.lower import lower
from bpfast.policy.meaning import HOST, WORLD, Allow, Deny, Inspect, Peer, PortVerdict
from bpfast.policy.refused import Refused
from tests.policy.policies import (
    CLIENT,
    FROM_CLIENT,
    GET,
    OTHER,
    SUBJECTS,
    WEB,
    Object,
    at_web,
    clusterwide,
    from_web,
    lowered,
    peer,
    policy,
    port,
    read,
    rule,
    rule_names,
    word,
)

TO_CLIENT: Object = {"toEndpoints": [{"matchLabels": {"app": "client"}}]}


class TestDenials:
    """``ingressDeny`` and ``egressDeny``."""

    def test_a_denial_wins_over_every_allow(self) -> None:
        """It does not matter in which policy either stands, or how narrow the allow is."""
        allows = policy(rule(FROM_CLIENT | {"toPorts": [port(80)]}), name="a")
        denies = policy(rule(ingress=[], ingressDeny=[{"fromEntities": ["cluster"]}]), name="b")

        assert Deny() == at_web(allows, denies).verdict(peer(CLIENT), 80)
        assert Deny() == at_web(denies, allows).verdict(peer(CLIENT), 80)

    def test_a_denial_of_a_port_leaves_the_others(self) -> None:
        """What is denied at one port may pass at another one."""
        web = at_web(policy(rule(FROM_CLIENT, ingressDeny=[{"toPorts": [port(80)]}])))

        assert Deny() == web.verdict(peer(CLIENT), 80)
        assert Allow() == web.verdict(peer(CLIENT), 81)

    def test_a_denial_of_a_peer_leaves_the_others(self) -> None:
        """Requests of other peers go on being inspected."""
        web = at_web(policy(rule({"toPorts": [port(80, GET)]}, ingressDeny=[FROM_CLIENT])))

        assert Deny() == web.verdict(peer(CLIENT), 80)
        assert "inspect" == word(web.verdict(peer(OTHER), 80))

    def test_a_denial_alone_opens_nothing(self) -> None:
        """A policy that only denies turns default deny on, as every policy does."""
        web = at_web(policy(rule(ingress=[], ingressDeny=[FROM_CLIENT])))

        assert Deny() == web.verdict(WORLD, 80)

    def test_an_empty_denial_denies_nobody_by_itself(self) -> None:
        """``ingressDeny: [{}]``, without peers and ports, takes nothing away from what is opened."""
        web = at_web(policy(rule({"toPorts": [port(80)]}, ingressDeny=[{}])))

        assert Allow() == web.verdict(WORLD, 80)

    def test_directions_do_not_mix(self) -> None:
        """A denial of connections out does not touch connections in."""
        one = policy(rule(FROM_CLIENT, egressDeny=[TO_CLIENT]))

        assert Allow() == at_web(one).verdict(peer(CLIENT), 80)
        assert Deny() == from_web(one).verdict(peer(CLIENT), 80)

    def test_exceptions_of_a_denied_network_are_not_denied(self) -> None:
        """``except`` works for denials, too."""
        ranges = [{"fromCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}]}]
        meaning = lowered(policy(rule({"fromEntities": ["world"]}, ingressDeny=ranges)))
        web = meaning.ingress["demo/web"]
        verdicts = {str(network): web.verdict(Peer.cidr(network), 80) for network in meaning.networks}

        assert {"10.0.0.0/8": Deny(), "10.1.0.0/16": Allow()} == verdicts

    @pytest.mark.parametrize("whole", ("0.0.0.0/0", "::/0"))
    def test_a_denied_family_may_be_the_whole_world(self, whole: str) -> None:
        """Where there is one address family, Cilium takes either ``/0`` of a CIDRSet for the world."""
        denies = rule({"fromEntities": ["world"]}, ingressDeny=[{"fromCIDRSet": [{"cidr": whole}]}])
        meaning = lowered(policy(denies))
        peers = [Peer.cidr("0.0.0.0/0"), Peer.cidr("::/0"), WORLD]

        assert [Deny()] * 3 == [meaning.ingress["demo/web"].verdict(each, 80) for each in peers]

    def test_an_allowed_family_is_itself_alone(self) -> None:
        """What may mean more is read as less when it opens something."""
        meaning = lowered(policy(rule({"fromCIDRSet": [{"cidr": "::/0"}]})))

        assert Deny() == meaning.ingress["demo/web"].verdict(Peer.cidr("0.0.0.0/0"), 80)
        assert Allow() == meaning.ingress["demo/web"].verdict(Peer.cidr("::/0"), 80)


class TestDefaultDeny:
    """Which directions a policy closes."""

    def test_a_direction_without_entries_stays_open(self) -> None:
        """A policy about connections out does not close connections in."""
        one = policy(rule(ingress=[], egress=[TO_CLIENT]))

        assert Allow() == at_web(one).verdict(WORLD, 80)
        assert Deny() == from_web(one).verdict(WORLD, 80)
        assert Allow() == from_web(one).verdict(peer(CLIENT), 80)

    def test_it_can_be_switched_off(self) -> None:
        """With ``enableDefaultDeny: false`` everything passes but what is denied."""
        one = policy(
            rule(
                {"toPorts": [port(80, GET)]},
                ingressDeny=[FROM_CLIENT],
                enableDefaultDeny={"ingress": False},
            )
        )

        assert Allow() == at_web(one).verdict(WORLD, 81)
        assert Deny() == at_web(one).verdict(peer(CLIENT), 81)

    def test_rules_filter_only_where_default_deny_is_on(self) -> None:
        """HTTP rules bind nobody, unless another policy closes the direction."""
        off = policy(rule({"toPorts": [port(80, GET)]}, enableDefaultDeny={"ingress": False}), name="a")
        on = policy(rule({}), name="b")

        assert Allow() == at_web(off).verdict(WORLD, 80)
        assert "inspect" == word(at_web(off, on).verdict(WORLD, 80))
        assert Deny() == at_web(off, on).verdict(WORLD, 81)

    def test_asking_for_it_without_entries_has_no_effect(self) -> None:
        """``enableDefaultDeny: true`` for a direction that the rule has nothing for closes nothing."""
        one = policy(rule({}, enableDefaultDeny={"ingress": True, "egress": True}))

        assert Allow() == from_web(one).verdict(WORLD, 80)

    def test_a_closed_default_closes_both_directions(self) -> None:
        """``default_deny`` closes directions that no policy speaks of; the host is still let in."""
        assert Deny() == from_web(policy(rule({})), default_deny=True).verdict(WORLD, 80)
        assert Deny() == from_web(default_deny=True).verdict(HOST, 80)
        assert Allow() == at_web(default_deny=True).verdict(HOST, 80)


SECRET: Object = {"secret": {"name": "certificate", "namespace": "demo"}}
EVERY_REQUEST: Object = {"rules": {"http": [{}]}}


class TestHeld:
    """Entries for which something must be done that only Cilium does."""

    @pytest.mark.parametrize(
        "fields",
        (
            EVERY_REQUEST | {"terminatingTLS": SECRET},
            EVERY_REQUEST | {"terminatingTLS": SECRET, "originatingTLS": SECRET},
            {"serverNames": ["shop.example"]},
            {"rules": {"http": [{"headerMatches": [{"name": "X-A", "value": "1", "mismatch": "ADD"}]}]}},
            {"rules": {"http": [{"headerMatches": [{"name": "X-A", "value": "1", "mismatch": "REPLACE"}]}]}},
            {"rules": {"http": [{"headerMatches": [{"name": "X-A", "value": "1", "mismatch": "DELETE"}]}]}},
            {"rules": {"http": [{"headerMatches": [{"name": "X-A", "secret": {"name": "token"}}]}]}},
        ),
    )
    def test_nothing_passes_where_they_fit(self, fields: Object) -> None:
        """At their peers and ports everything is denied, even what another policy opens."""
        held = policy(rule(FROM_CLIENT | {"toPorts": [port(80) | fields]}), name="a")
        opened = policy(rule({"toPorts": [port(80), port(81)]}), name="b")

        assert Deny() == at_web(held, opened).verdict(peer(CLIENT), 80)
        assert Allow() == at_web(held, opened).verdict(peer(OTHER), 80)
        assert Allow() == at_web(held, opened).verdict(peer(CLIENT), 81)

    def test_a_listener_is_held(self) -> None:
        """Connections that should go through a listener of Envoy do not pass beside it."""
        listener = {"envoyConfig": {"kind": "CiliumEnvoyConfig", "name": "shop"}, "name": "in"}
        one = policy(rule(ingress=[], egress=[TO_CLIENT | {"toPorts": [port(80) | {"listener": listener}]}]))

        assert Deny() == from_web(one).verdict(peer(CLIENT), 80)

    def test_http_rules_on_the_way_out_of_an_untrusted_endpoint(self) -> None:
        """They open nothing, not even beside an entry that allows; layer 4 and the way in are as written."""
        entries = [{"toPorts": [port(80, GET)]}, {"toPorts": [port(80), port(81)]}]
        one = policy(rule(ingress=[{"toPorts": [port(80, GET)]}], egress=entries))
        lowered = lower(read(one), SUBJECTS, untrusted={WEB.full_name})

        out, into = lowered.egress[WEB.full_name], lowered.ingress[WEB.full_name]
        assert Deny() == out.verdict(peer(CLIENT), 80)
        assert Allow() == out.verdict(peer(CLIENT), 81)
        assert isinstance(into.verdict(peer(CLIENT), 80), Inspect)

    @pytest.mark.parametrize(("mode", "expected"), (("required", Deny()), ("disabled", Allow())))
    def test_authentication_is_held_unless_disabled(self, mode: str, expected: object) -> None:
        """Nobody here can authenticate a peer."""
        one = rule(FROM_CLIENT | {"authentication": {"mode": mode}})
        again = rule(FROM_CLIENT)

        assert expected == at_web(policy(one, name="a"), policy(again, name="b")).verdict(peer(CLIENT), 80)

    def test_a_rule_that_only_logs_is_left_out(self) -> None:
        """A mismatch that is to be logged opens nothing here; the rules beside it stand."""
        logs = {"headerMatches": [{"name": "X-A", "value": "1", "mismatch": "LOG"}]}
        web = at_web(policy(rule({"toPorts": [port(80, logs, GET)]})))

        assert ["demo/p spec.ingress[0].toPorts[0].rules.http[1]"] == rule_names(web.verdict(WORLD, 80))

    def test_header_matches_without_mismatch_are_conditions(self) -> None:
        """They are the same as ``headers``: a value that must be equal, or a header that must be there."""
        matches = [{"name": "X-A", "value": "1 "}, {"name": "X-B"}]
        verdict = at_web(policy(rule({"toPorts": [port(80, {"headerMatches": matches})]}))).verdict(WORLD, 80)

        assert isinstance(verdict, Inspect)
        assert [("X-A", "1 "), ("X-B", None)] == [
            (each.name, each.value) for each in verdict.rules.rules[0].headers
        ]

    def test_the_host_is_not_held_by_wide_entries(self) -> None:
        """Entries for everybody do not bind the node itself, whatever they ask for."""
        web = at_web(policy(rule({"toPorts": [port(80) | {"serverNames": ["shop.example"]}]})))

        assert Allow() == web.verdict(HOST, 80)
        assert Deny() == web.verdict(WORLD, 80)


DNS: Object = {"rules": {"dns": [{"matchPattern": "*"}]}}


class TestOtherProtocols:
    """Rules of another layer 7 protocol."""

    def test_names_open_nothing(self) -> None:
        """Cilium's own proxy answers for ``rules.dns``; nothing here can."""
        one = policy(rule(ingress=[], egress=[TO_CLIENT | {"toPorts": [port(53) | DNS]}]))

        assert Deny() == from_web(one).verdict(peer(CLIENT), 53)

    def test_an_entry_without_rules_cancels_them(self) -> None:
        """An L4-only allow for the same peer and port lets everything through, as with HTTP."""
        entries = [TO_CLIENT | {"toPorts": [port(53) | DNS]}, TO_CLIENT | {"toPorts": [port(53)]}]

        assert Allow() == from_web(policy(rule(ingress=[], egress=entries))).verdict(peer(CLIENT), 53)

    def test_two_protocols_are_not_saved_by_an_entry_without_rules(self) -> None:
        """What Cilium cannot unite stays denied whatever is opened beside it."""
        entries = [port(53) | DNS, port(53, GET), port(53)]
        one = policy(rule(ingress=[], egress=[TO_CLIENT | {"toPorts": [each]} for each in entries]))

        assert Deny() == from_web(one).verdict(peer(CLIENT), 53)

    def test_two_protocols_at_one_port_are_denied(self) -> None:
        """Cilium refuses to unite two protocols for the same peers and port; here nothing passes."""
        entries = [TO_CLIENT | {"toPorts": [port(53) | DNS]}, TO_CLIENT | {"toPorts": [port(53, GET)]}]

        assert Deny() == from_web(policy(rule(ingress=[], egress=entries))).verdict(peer(CLIENT), 53)


class TestHandover:
    """Policies that were split between Envoy and the kernel (design section 8)."""

    @staticmethod
    def selector(operator: str, key: str = "k8s:bpfast.io/enforcing") -> Object:
        """Return an endpointSelector with a term about who enforces."""
        return {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": key, "operator": operator}]}

    @pytest.mark.parametrize(
        "key", ("bpfast.io/enforcing", "k8s:bpfast.io/enforcing", "any:bpfast.io/enforcing")
    )
    def test_the_term_of_an_original_is_read_as_absent(self, key: str) -> None:
        """``DoesNotExist`` says who enforces the rules, not whom they are about."""
        entry = {"toPorts": [port(80, GET)]}
        split = policy(rule(entry, endpointSelector=self.selector("DoesNotExist", key)))

        assert at_web(policy(rule(entry))) == at_web(split)

    def test_what_a_generated_half_opens_is_skipped(self) -> None:
        """Its allow without rules would cancel the rules of its original."""
        original = policy(
            rule({"toPorts": [port(80, GET)]}, endpointSelector=self.selector("DoesNotExist")), name="a"
        )
        half = policy(rule({"toPorts": [port(80)]}, endpointSelector=self.selector("Exists")), name="b")

        assert at_web(original) == at_web(original, half)

    def test_what_a_generated_half_closes_counts(self) -> None:
        """Denials and default deny of such a policy are never lost, whoever wrote it."""
        half = policy(rule({}, ingressDeny=[FROM_CLIENT], endpointSelector=self.selector("Exists")), name="b")
        opened = policy(rule(FROM_CLIENT, {"fromEntities": ["world"]}), name="a")

        assert Deny() == at_web(opened, half).verdict(peer(CLIENT), 80)
        assert Allow() == at_web(opened, half).verdict(WORLD, 80)
        assert Deny() == at_web(half).verdict(WORLD, 80)


class TestRefused:
    """Policies that could not be read."""

    ALLOWS = rule({"toPorts": [port(80)]})

    def web(self, *refused: Refused) -> PortVerdict:
        """Return what the world may do at WEB's port 80 beside a policy that allows it."""
        return (
            lower(read(policy(self.ALLOWS)), SUBJECTS, refused=refused).ingress["demo/web"].verdict(WORLD, 80)
        )

    def test_they_open_nothing_and_close_whom_they_may_be_about(self) -> None:
        """An endpoint that a policy selects is closed, even though its entries are unknown."""
        selector = EndpointSelector.model_validate({"matchLabels": {"app": "client"}})
        refused = Refused(
            "f", namespace="demo", selector=selector, denies_ingress=False, denies_egress=False, egress=False
        )
        meaning = lower((), SUBJECTS, refused=(refused,))

        assert {"demo/client"} == {name for name, each in meaning.ingress.items() if each.enforced}
        assert not any(each.enforced for each in meaning.egress.values())

    def test_a_label_for_another_namespace_is_the_own_one(self) -> None:
        """Cilium puts the policy's own namespace in the place of one that a label names."""
        labels = {"k8s:io.kubernetes.pod.namespace": "prod"}
        selector = EndpointSelector.model_validate({"matchLabels": labels})
        meaning = lower((), SUBJECTS, refused=(Refused("f", namespace="demo", selector=selector),))

        assert {"demo/web", "demo/client", "demo/other"} == {
            name for name, each in meaning.ingress.items() if each.enforced
        }

    def test_they_do_not_take_away_what_others_allow(self) -> None:
        """One policy that is wrong leaves the others alone."""
        assert Allow() == self.web(Refused("f", namespace="demo", denies_ingress=False))

    def test_what_they_may_deny_is_denied(self) -> None:
        """A denial that cannot be read could be one of everything."""
        assert Deny() == self.web(Refused("f", namespace="demo"))
        assert Allow() == self.web(Refused("f", namespace="prod"))

    def test_without_a_namespace_they_are_about_everybody(self) -> None:
        """A policy whose namespace is unknown can be about any endpoint."""
        assert Deny() == self.web(Refused("f"))


class TestCiliumsOwnBugs:
    """Three ways in which Cilium once allowed what its policies denied."""

    def test_cve_2023_30851(self) -> None:
        """Several peers in one entry, one of them everybody: rules bind the others as they do everybody."""
        several = {"toEndpoints": [{}, {"matchLabels": {"app": "client"}}], "toPorts": [port(80, GET)]}
        web = from_web(policy(rule(ingress=[], egress=[several])))

        assert ["inspect", "inspect"] == [word(web.verdict(peer(each), 80)) for each in (CLIENT, OTHER)]

    def test_only_names_in_a_rule_do_not_open_others(self) -> None:
        """A clusterwide rule about one namespace says nothing about pods of another one."""
        selector = {"matchLabels": {"k8s:io.kubernetes.pod.namespace": "demo"}}
        meaning = lowered(clusterwide(rule({"toPorts": [port(80)]}, endpointSelector=selector)))

        assert not meaning.ingress["prod/client"].enforced


def test_a_refused_policy_may_bind_the_host_by_name() -> None:
    """The node itself is not let in where rules that name it could not be read."""
    meaning = lower((), SUBJECTS, refused=(Refused("f", namespace="demo", denies_ingress=False),))

    assert Deny() == meaning.ingress["demo/web"].verdict(HOST, 80)
    assert Allow() == meaning.ingress["prod/client"].verdict(HOST, 80)
