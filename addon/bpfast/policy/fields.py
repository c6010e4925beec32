# SPDX-License-Identifier: Apache-2.0
"""Every field of Cilium's policies, and what becomes of it: the data of ``supported``.

Fields stand in groups, one a kind of mapping, since many mappings of a policy are
alike. A group names the group that a field's own value has.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Where(Enum):
    """What is done with a field."""

    KERNEL = "in the kernel"
    ENVOY = "stays on Envoy"
    IGNORED = "read, means nothing"
    FREE = "taken as it is"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Field:
    """One field: what is done with it, its meaning or the reason, the test that shows it.

    ``group`` is the group of its value; ``many``: the value is a list.
    """

    name: str
    where: Where
    note: str
    test: str
    group: str = ""
    many: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """A kind of mapping: where it stands, and its fields."""

    place: str
    fields: tuple[Field, ...]


_K: Final = Where.KERNEL
_E: Final = Where.ENVOY

_LOWER: Final = "test_lower.py::"
_PEERS: Final = "test_lower_peers.py::"
_PORTS: Final = "test_lower_ports.py::"
_DENY: Final = "test_lower_deny.py::"
_READER: Final = "test_reader.py::"
_BROKEN: Final = f"{_READER}test_a_broken_policy_gets_its_exact_messages"
_LIVE: Final = f"{_READER}TestObjects::test_what_a_cluster_writes_is_taken"
_EVERYTHING: Final = f"{_READER}TestObjects::test_every_field_of_ciliums_is_read"
_UNKNOWN: Final = f"{_PEERS}TestUnknownPeers::test_they_open_nothing"
_HELD: Final = f"{_DENY}TestHeld::test_nothing_passes_where_they_fit"
_LISTENER: Final = f"{_DENY}TestHeld::test_a_listener_is_held"

_FREE_METADATA: Final = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
)


def _section(name: str, group: str, note: str, test: str) -> Field:
    return Field(name, _K, note, test, group, many=True)


def _peers(way: str) -> tuple[Field, ...]:
    """Return the fields for peers that both directions have; ``way`` is ``from`` or ``to``."""
    return (
        Field(f"{way}Endpoints", _K, "absent: everybody, the world too; `[]`: nobody",
              f"{_LOWER}TestPeers::test_without_peers_everybody_is_meant", "endpoint selector", many=True),
        Field(f"{way}CIDR", _K, "addresses outside of the cluster, host bits may be set; `[]`: nobody",
              f"{_PEERS}TestNetworks::test_addresses_inside_are_let_in"),
        Field(f"{way}CIDRSet", _K, "networks with exceptions; `[]`: nobody",
              f"{_PEERS}TestNetworks::test_exceptions_are_left_out", "network", many=True),
        Field(f"{way}Entities", _K, "all, cluster, health, host, ingress, init, kube-apiserver, "
              "none, remote-node, unmanaged, world; `[]`: nobody",
              f"{_PEERS}TestEntities::test_an_entity_is_one_identity"),
        Field(f"{way}Nodes", _E, "the labels of nodes are known to a cluster only", _UNKNOWN,
              "plain selector", many=True),
        Field(f"{way}Groups", _E, "the addresses are known to a cloud provider only", _UNKNOWN,
              "group", many=True),
        Field(f"{way}Requires", Where.REFUSED, "gone from Cilium: name the peers in each entry",
              f"{_BROKEN}[requires]"),
    )  # fmt: skip


def _entry(way: str, *, denies: bool) -> tuple[Field, ...]:
    """Return the fields of an entry of a section."""
    outgoing = way == "to"
    services = Field("toServices", _E, "the addresses of services are known to a cluster only",
                     f"{_PEERS}TestUnknownPeers::test_services_may_be_anybody",
                     "service", many=True)  # fmt: skip
    names = Field("toFQDNs", _E, "the addresses are learnt by Cilium's DNS proxy",
                  f"{_DENY}TestCiliumsOwnBugs::test_only_names_in_a_rule_do_not_open_others",
                  "DNS name", many=True)  # fmt: skip
    auth = Field("authentication", _E, "Cilium's agent does it; `mode: disabled` is as if absent",
                 f"{_DENY}TestHeld::test_authentication_is_held_unless_disabled",
                 "authentication")  # fmt: skip
    return (
        *_peers(way),
        *((services,) if outgoing else ()),
        *((names,) if outgoing and not denies else ()),
        Field("icmps", _K, "message types; not beside `toPorts`",
              f"{_PORTS}TestProtocols::test_message_types",
              "ICMP rule", many=True),
        Field("toPorts", _K, "absent or `[]`: every port",
              f"{_LOWER}TestPorts::test_without_ports_every_port_is_open",
              "denied ports" if denies else "port rule", many=True),
        *(() if denies else (auth,)),
    )  # fmt: skip


_SELECTOR_TEST: Final = f"{_PEERS}TestExpressions::"
_HTTP: Final = f"{_LOWER}TestHttp::"
_OTHER_L7: Final = f"{_DENY}TestOtherProtocols::test_names_open_nothing"

GROUPS: Final = {
    "policy": Group("the whole object", (
        Field("apiVersion", _K, "`cilium.io/v2`", f"{_BROKEN}[wrong-version]"),
        Field("kind", _K, "`CiliumNetworkPolicy`, or `CiliumClusterwideNetworkPolicy`: of no namespace",
              f"{_PEERS}TestClusterwide::test_it_selects_in_every_namespace"),
        Field("metadata", _K, "who the policy is", _LIVE, "metadata"),
        Field("spec", _K, "one rule", f"{_READER}TestObjects::test_the_paths_of_the_rules_are_kept", "rule"),
        Field("specs", _K, "several rules; beside `spec` both count",
              f"{_LOWER}TestHttp::test_names_in_specs_have_the_number_of_the_spec", "rule", many=True),
        Field("status", Where.FREE, "as the cluster writes it", _LIVE),
    )),
    "metadata": Group("`metadata`", (
        Field("name", _K, "one policy of a kind, namespace and name",
              f"{_READER}TestTexts::test_a_name_may_be_used_once_in_all_files"),
        Field("namespace", _K, "`default` if absent; not in a clusterwide policy",
              f"{_LOWER}TestSubjects::test_a_policy_without_namespace_is_in_default"),
        Field("labels", Where.IGNORED, "select nothing", _LIVE),
        Field("annotations", Where.IGNORED, "for people and tools", _LIVE),
        *(Field(name, Where.FREE, "as the cluster writes it", _LIVE) for name in _FREE_METADATA),
    )),
    "rule": Group("`spec`, `specs[]`", (
        Field("endpointSelector", _K, "in the policy's own namespace; `{}` selects all of it",
              f"{_LOWER}TestSubjects::test_an_empty_selector_is_the_whole_namespace", "endpoint selector"),
        Field("nodeSelector", _E, "in a clusterwide policy only; its rules are about nodes, never about pods",
              f"{_PEERS}TestClusterwide::test_rules_about_nodes_are_not_about_endpoints", "plain selector"),
        _section("ingress", "entry of `ingress`", "closes incoming connections to all that no entry opens",
                 f"{_LOWER}TestDefaultDeny::test_a_policy_closes_what_it_does_not_open"),
        _section("ingressDeny", "entry of `ingressDeny`", "wins over every entry that allows",
                 f"{_DENY}TestDenials::test_a_denial_wins_over_every_allow"),
        _section("egress", "entry of `egress`", "the same for outgoing connections; HTTP rules hold only "
                 "against endpoints with `trusted_egress`",
                 f"{_DENY}TestDenials::test_directions_do_not_mix"),
        _section("egressDeny", "entry of `egressDeny`", "wins over every entry that allows",
                 f"{_DENY}TestDenials::test_directions_do_not_mix"),
        Field("enableDefaultDeny", _K, "whether the rule closes its endpoints", f"{_DENY}TestDefaultDeny::"
              "test_it_can_be_switched_off", "default deny"),
        Field("description", Where.IGNORED, "for people", _LIVE),
        Field("labels", Where.IGNORED, "the rule's own labels select nothing", _LIVE,
              "rule label", many=True),
        Field("log", Where.IGNORED, "a text for Cilium's own flow log", _EVERYTHING, "log"),
    )),
    "entry of `ingress`": Group("`ingress[]`", _entry("from", denies=False)),
    "entry of `ingressDeny`": Group("`ingressDeny[]`", _entry("from", denies=True)),
    "entry of `egress`": Group("`egress[]`", _entry("to", denies=False)),
    "entry of `egressDeny`": Group("`egressDeny[]`", _entry("to", denies=True)),
    "endpoint selector": Group("`endpointSelector`, `fromEndpoints[]`, `toEndpoints[]`", (
        Field("matchLabels", _K, "all must hold; keys may begin with `k8s:`, `any:` or `reserved:`",
              f"{_LOWER}TestSubjects::test_all_labels_must_be_there"),
        Field("matchExpressions", _K, "all must hold", f"{_SELECTOR_TEST}test_all_expressions_must_hold",
              "expression", many=True),
    )),
    "plain selector": Group("`nodeSelector`, `fromNodes[]`, `toNodes[]`, `cidrGroupSelector`, "
                            "`k8sServiceSelector.selector`", (
        Field("matchLabels", _E, "of objects that only a cluster knows", _EVERYTHING),
        Field("matchExpressions", _E, "of objects that only a cluster knows", _EVERYTHING,
              "expression", many=True),
    )),
    "expression": Group("`matchExpressions[]`", (
        Field("key", _K, "as in `matchLabels`", f"{_SELECTOR_TEST}test_a_label_of_the_own_namespace"),
        Field("operator", _K, "`In`, `NotIn`, `Exists`, `DoesNotExist`",
              f"{_SELECTOR_TEST}test_a_label_of_the_own_namespace"),
        Field("values", _K, "for `In` and `NotIn`, at least one", f"{_BROKEN}[expressions]"),
    )),
    "network": Group("`fromCIDRSet[]`, `toCIDRSet[]`: one of the first three", (
        Field("cidr", _K, "a network", f"{_PEERS}TestNetworks::test_exceptions_are_left_out"),
        Field("cidrGroupRef", _E, "the networks are known to a cluster only", _UNKNOWN),
        Field("cidrGroupSelector", _E, "the networks are known to a cluster only", _UNKNOWN,
              "plain selector"),
        Field("except", _K, "networks inside of `cidr` that are not meant",
              f"{_PEERS}TestNetworks::test_exceptions_are_left_out"),
    )),
    "group": Group("`fromGroups[]`, `toGroups[]`", (
        Field("aws", _E, "the addresses are known to a cloud provider only", _UNKNOWN, "AWS group"),
    )),
    "AWS group": Group("`aws`", (
        Field("labels", _E, "asked of the provider", _EVERYTHING),
        Field("region", _E, "asked of the provider", _EVERYTHING),
        Field("securityGroupsIds", _E, "asked of the provider", _EVERYTHING),
        Field("securityGroupsNames", _E, "asked of the provider", _EVERYTHING),
    )),
    "service": Group("`toServices[]`", (
        Field("k8sService", _E, "known to a cluster only", _EVERYTHING, "service by name"),
        Field("k8sServiceSelector", _E, "known to a cluster only", _EVERYTHING, "service by labels"),
    )),
    "service by name": Group("`k8sService`", (
        Field("serviceName", _E, "known to a cluster only", _EVERYTHING),
        Field("namespace", _E, "known to a cluster only", _EVERYTHING),
    )),
    "service by labels": Group("`k8sServiceSelector`", (
        Field("selector", _E, "known to a cluster only", _EVERYTHING, "plain selector"),
        Field("namespace", _E, "known to a cluster only", _EVERYTHING),
    )),
    "DNS name": Group("`toFQDNs[]`, `rules.dns[]`: one of the two", (
        Field("matchName", _E, "learnt by Cilium's DNS proxy", _OTHER_L7),
        Field("matchPattern", _E, "learnt by Cilium's DNS proxy", _OTHER_L7),
    )),
    "ICMP rule": Group("`icmps[]`", (
        Field("fields", _K, "at most 40", f"{_PORTS}TestProtocols::test_message_types",
              "ICMP type", many=True),
    )),
    "ICMP type": Group("`icmps[].fields[]`", (
        Field("family", _K, "`IPv4` (if absent) or `IPv6`", f"{_PORTS}TestProtocols::test_message_types"),
        Field("type", _K, "a number to 255 or a name", f"{_PORTS}TestProtocols::test_message_types"),
    )),
    "authentication": Group("`authentication`", (
        Field("mode", _E, "`disabled`, `required`, `test-always-fail`",
              f"{_DENY}TestHeld::test_authentication_is_held_unless_disabled"),
    )),
    "denied ports": Group("`toPorts[]` of `ingressDeny` and `egressDeny`", (
        Field("ports", _K, "at most 40; absent or `[]` denies nothing",
              f"{_DENY}TestDenials::test_a_denial_of_a_port_leaves_the_others", "port", many=True),
    )),
    "port rule": Group("`toPorts[]` of `ingress` and `egress`", (
        Field("ports", _K, "at most 40; absent or `[]` opens nothing",
              f"{_LOWER}TestPorts::test_an_entry_without_ports_opens_nothing", "port", many=True),
        Field("rules", _K, "absent: every byte may pass, HTTP or not; one of `http`, `dns`, `kafka`, "
              "`l7proto`",
              f"{_LOWER}TestUnion::test_an_entry_for_the_port_alone_cancels_http", "L7 rules"),
        Field("terminatingTLS", _E, "the kernel sees encrypted bytes only", _HELD, "TLS context"),
        Field("originatingTLS", _E, "the kernel sees encrypted bytes only", _HELD, "TLS context"),
        Field("serverNames", _E, "the kernel does not take TLS apart", _HELD),
        Field("listener", _E, "sends the connection to a proxy of the user's; on egress only", _LISTENER,
              "listener"),
    )),
    "port": Group("`ports[]`", (
        Field("port", _K, "a number, `0` for all, or a name", f"{_PORTS}TestNames::"
              "test_on_the_way_in_a_name_is_the_endpoints_own"),
        Field("endPort", _K, "the last port of a range", f"{_PORTS}TestRanges::test_a_range_has_both_ends"),
        Field("protocol", _K, "`TCP`, `UDP`, `SCTP` or `ANY` (if absent), which is these three",
              f"{_PORTS}TestProtocols::test_any_is_tcp_udp_and_sctp"),
    )),
    "TLS context": Group("`terminatingTLS`, `originatingTLS`", (
        Field("secret", _E, "known to a cluster only", _HELD, "secret"),
        Field("trustedCA", _E, "an item of the secret", _EVERYTHING),
        Field("certificate", _E, "an item of the secret", _EVERYTHING),
        Field("privateKey", _E, "an item of the secret", _EVERYTHING),
    )),
    "secret": Group("`secret`", (
        Field("name", _E, "known to a cluster only", _HELD),
        Field("namespace", _E, "known to a cluster only", _EVERYTHING),
    )),
    "listener": Group("`listener`", (
        Field("envoyConfig", _E, "known to a cluster only", _LISTENER, "Envoy config"),
        Field("name", _E, "known to a cluster only", _LISTENER),
        Field("priority", _E, "from 1 to 100", _EVERYTHING),
    )),
    "Envoy config": Group("`envoyConfig`", (
        Field("kind", _E, "`CiliumEnvoyConfig` or `CiliumClusterwideEnvoyConfig`", _EVERYTHING),
        Field("name", _E, "known to a cluster only", _LISTENER),
    )),
    "L7 rules": Group("`rules`", (
        Field("http", _K, "`[]`: the same as no `rules`; `[{}]`: every request",
              f"{_HTTP}test_an_empty_list_of_rules_is_no_inspection", "HTTP rule", many=True),
        Field("dns", _E, "Cilium's DNS proxy answers; on egress only", _OTHER_L7, "DNS name", many=True),
        Field("kafka", _E, "another protocol; gone from newer Ciliums", _EVERYTHING, "Kafka rule", many=True),
        Field("l7proto", _E, "another protocol; gone from newer Ciliums", _EVERYTHING),
        Field("l7", _E, "another protocol; gone from newer Ciliums", _EVERYTHING),
    )),
    "HTTP rule": Group("`http[]`", (
        Field("path", _K, "regex over the whole target, query included",
              f"{_HTTP}test_fields_are_kept_as_written"),
        Field("method", _K, "regex over the whole method", f"{_HTTP}test_fields_are_kept_as_written"),
        Field("host", _K, "regex over the whole `Host`, port included",
              f"{_HTTP}test_fields_are_kept_as_written"),
        Field("headers", _K, "`Name` (there) or `Name: value` (equal)",
              f"{_HTTP}test_headers_are_split_at_the_first_space"),
        Field("headerMatches", _K, "conditions without `mismatch` and `secret` as in `headers`",
              f"{_DENY}TestHeld::test_header_matches_without_mismatch_are_conditions", "header match",
              many=True),
    )),
    "header match": Group("`headerMatches[]`", (
        Field("name", _K, "of a header",
              f"{_DENY}TestHeld::test_header_matches_without_mismatch_are_conditions"),
        Field("value", _K, "empty: the header must be there",
              f"{_DENY}TestHeld::test_header_matches_without_mismatch_are_conditions"),
        Field("mismatch", _E, "the proxy rewrites requests; a rule with `LOG` never allows anything here",
              f"{_DENY}TestHeld::test_a_rule_that_only_logs_is_left_out"),
        Field("secret", _E, "the value is known to a cluster only", _HELD, "secret"),
    )),
    "Kafka rule": Group("`kafka[]`", tuple(
        Field(name, _E, "another protocol; gone from newer Ciliums", _EVERYTHING)
        for name in ("role", "apiKey", "apiVersion", "clientID", "topic")
    )),
    "default deny": Group("`enableDefaultDeny`", (
        Field("ingress", _K, "absent: true if there is `ingress` or `ingressDeny`",
              f"{_DENY}TestDefaultDeny::test_it_can_be_switched_off"),
        Field("egress", _K, "absent: true if there is `egress` or `egressDeny`",
              f"{_DENY}TestDefaultDeny::test_it_can_be_switched_off"),
    )),
    "rule label": Group("`labels[]` of a rule", tuple(
        Field(name, Where.IGNORED, "selects nothing", _LIVE) for name in ("key", "value", "source")
    )),
    "log": Group("`log`", (
        Field("value", Where.IGNORED, "at most 32 characters", _EVERYTHING),
    )),
}  # fmt: skip
"""The groups by name; the first is the whole object."""
