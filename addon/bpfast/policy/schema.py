# SPDX-License-Identifier: Apache-2.0
"""What may not stand together in a rule: the checks that no field can make for itself.

They look at the plain values, not at the models, and pass over whatever has the
wrong type, so that their faults come together with those of the fields. The rules
are those of the CRD's ``oneOf`` and ``required`` and of Cilium's ``Sanitize``
(``pkg/policy/api/rule_validation.go``, v1.18.4).
"""

from collections.abc import Iterator
from typing import Any, Final

from bpfast.policy.document import Flaw, Path
from bpfast.policy.kinds import CCNP
from bpfast.policy.names import split_source
from bpfast.policy.subject import POD_NAMESPACE

SECTIONS: Final = ("ingress", "ingressDeny", "egress", "egressDeny")
FROM: Final = ("fromEndpoints", "fromCIDR", "fromCIDRSet", "fromEntities", "fromNodes", "fromGroups")
TO: Final = (
    "toEndpoints",
    "toCIDR",
    "toCIDRSet",
    "toEntities",
    "toServices",
    "toFQDNs",
    "toGroups",
    "toNodes",
)
_L7_TYPES: Final = ("http", "dns", "kafka", "l7proto")

_DIGITS: Final = 5

_Object = dict[str, Any]


def flaws_in(value: _Object, namespace: str | None) -> Iterator[Flaw]:
    """Yield what is wrong in a policy as a whole; ``namespace`` is its own, None of a clusterwide one."""
    clusterwide = value.get("kind") == CCNP
    metadata = value.get("metadata")
    if clusterwide and isinstance(metadata, dict) and "namespace" in metadata:
        yield Flaw(("metadata", "namespace"), f"must be left out: a {CCNP} is in no namespace")
    if "spec" not in value and "specs" not in value:
        yield Flaw(("spec",), "is required, or 'specs'")
    for path, rule in _rules(value):
        yield from _rule(path, rule, clusterwide=clusterwide)
        if namespace is not None:
            yield from _other_namespace(path, rule, namespace)


def _rules(value: _Object) -> Iterator[tuple[Path, _Object]]:
    """Yield the rules that are mappings, with their paths."""
    if isinstance(value.get("spec"), dict):
        yield ("spec",), value["spec"]
    for number, rule in _entries(value, "specs"):
        yield ("specs", number), rule


def _entries(mapping: _Object, field: str) -> Iterator[tuple[int, _Object]]:
    """Yield the entries of a list that are mappings, with their numbers."""
    entries = mapping.get(field)
    if isinstance(entries, list):
        yield from ((number, entry) for number, entry in enumerate(entries) if isinstance(entry, dict))


def _filled(mapping: _Object, field: str) -> bool:
    """Return whether a field is a list with something in it."""
    return isinstance(mapping.get(field), list) and bool(mapping[field])


def _rule(path: Path, rule: _Object, *, clusterwide: bool) -> Iterator[Flaw]:
    yield from _selectors(path, rule, clusterwide=clusterwide)
    yield from _sections(path, rule)
    host = "nodeSelector" in rule
    for section in SECTIONS:
        ingress = section.startswith("ingress")
        for number, entry in _entries(rule, section):
            place = (*path, section, number)
            yield from _together(place, entry, FROM if ingress else TO)
            for field in FROM if ingress else TO:
                yield from _peers(place, entry, field)
            for index, port_rule in _entries(entry, "toPorts"):
                inside = (*place, "toPorts", index)
                yield from _ports(inside, port_rule)
                if not section.endswith("Deny"):
                    yield from _port_rule(inside, port_rule, ingress=ingress, host=host)


def _selectors(path: Path, rule: _Object, *, clusterwide: bool) -> Iterator[Flaw]:
    endpoints, nodes = "endpointSelector" in rule, "nodeSelector" in rule
    if nodes and not clusterwide:
        yield Flaw((*path, "nodeSelector"), f"may stand in a {CCNP} only: select endpoints here")
    elif nodes and endpoints:
        yield Flaw((*path, "nodeSelector"), "may not stand beside 'endpointSelector': write a rule for each")
    elif not nodes and not endpoints:
        reach = "of the cluster" if clusterwide else "of the namespace"
        yield Flaw((*path, "endpointSelector"), f"is required: write {{}} to select every endpoint {reach}")


def _sections(path: Path, rule: _Object) -> Iterator[Flaw]:
    """Yield a flaw for a rule without any entry, which Cilium refuses."""
    present = [section for section in SECTIONS if section in rule]
    if not present:
        yield Flaw((*path, "ingress"), f"is required, or another section: {', '.join(SECTIONS[1:])}")
    elif all(rule[section] == [] for section in present):
        way = ": write '- {}' to allow nobody" if present[0] in ("ingress", "egress") else ""
        yield Flaw((*path, present[0]), f"must hold at least one entry, or another section must{way}")


def _other_namespace(path: Path, rule: _Object, namespace: str) -> Iterator[Flaw]:
    """Yield a flaw for each endpointSelector that names another namespace.

    Cilium takes such a label out of the selector, with a warning in the
    agent's log: the policy then selects endpoints that its author did not mean.
    """
    selector = rule.get("endpointSelector")
    labels = selector.get("matchLabels") if isinstance(selector, dict) else None
    for key, wanted in labels.items() if isinstance(labels, dict) else ():
        if isinstance(wanted, str) and split_source(key)[1] == POD_NAMESPACE and wanted != namespace:
            message = (
                f"{wanted!r} is not the policy's own namespace {namespace!r}, the only one it selects in"
            )
            yield Flaw((*path, "endpointSelector", "matchLabels", key), message)


def _together(path: Path, entry: _Object, fields: tuple[str, ...]) -> Iterator[Flaw]:
    """Yield flaws for an entry with two kinds of peers, or with ports and ICMP types."""
    filled = [field for field in entry if field in fields and _filled(entry, field)]
    for field in filled[1:]:
        yield Flaw((*path, field), f"may not stand beside {filled[0]!r}: write an entry for each")
    if _filled(entry, "icmps") and _filled(entry, "toPorts"):
        yield Flaw((*path, "icmps"), "may not stand beside 'toPorts': write an entry for each")


def _peers(path: Path, entry: _Object, field: str) -> Iterator[Flaw]:
    """Yield flaws of peers that are written in one of several ways."""
    for number, peer in _entries(entry, field):
        if field.endswith("CIDRSet"):
            yield from _one_of((*path, field, number), peer, ("cidr", "cidrGroupRef", "cidrGroupSelector"))
        elif field == "toFQDNs":
            yield from _one_of((*path, field, number), peer, ("matchName", "matchPattern"))


def _one_of(path: Path, mapping: _Object, fields: tuple[str, ...]) -> Iterator[Flaw]:
    """Yield a flaw where not exactly one of several fields is given."""
    given = [field for field in mapping if field in fields]
    if not given:
        yield Flaw((*path, fields[0]), f"is required, or {' or '.join(map(repr, fields[1:]))}")
    for field in given[1:]:
        yield Flaw((*path, field), f"may not stand beside {given[0]!r}: write an entry for each")


def _ports(path: Path, port_rule: _Object) -> Iterator[Flaw]:
    for number, port in _entries(port_rule, "ports"):
        first, last = _number(port), port.get("endPort")
        if not isinstance(last, int) or isinstance(last, bool) or last <= 0:
            continue
        place = (*path, "ports", number, "endPort")
        if first is None and isinstance(port.get("port"), str):
            yield Flaw(place, "may not stand beside a port by name: write the first port as a number")
        elif first == 0:
            yield Flaw(place, "may not stand beside port '0', which is all ports: write the first port")
        elif first is not None and last < first:
            yield Flaw(place, f"{last} is below the first port, {first}; leave it out for one port")


def _number(port: _Object) -> int | None:
    """Return a port's number, None for a name and for what is no port."""
    text = port.get("port")
    return int(text) if isinstance(text, str) and text.isdecimal() and len(text) <= _DIGITS else None


def _port_rule(path: Path, port_rule: _Object, *, ingress: bool, host: bool) -> Iterator[Flaw]:
    """Yield the flaws of a ``toPorts`` entry that may have L7 rules."""
    rules = port_rule.get("rules")
    kinds: list[str] = []
    if isinstance(rules, dict):
        yield from _l7_types((*path, "rules"), rules)
        kinds = [kind for kind in ("http", "dns", "kafka", "l7") if _filled(rules, kind)]
    for kind in kinds:
        yield from _l7_place((*path, "rules", kind), kind, ingress=ingress, host=host)
    if kinds:
        yield from _l7_ports(path, port_rule, kinds)
    if "listener" in port_rule:
        if ingress:
            yield Flaw((*path, "listener"), "is for outgoing connections only")
        elif kinds:
            yield Flaw(
                (*path, "listener"), f"may not stand beside {kinds[0]!r} rules: write an entry for each"
            )
    if kinds and _filled(port_rule, "serverNames") and "terminatingTLS" not in port_rule:
        yield Flaw((*path, "serverNames"), f"beside {kinds[0]!r} rules needs 'terminatingTLS'")


def _l7_types(path: Path, rules: _Object) -> Iterator[Flaw]:
    """Yield flaws where there is not exactly one type of rules."""
    given = [kind for kind in rules if kind in _L7_TYPES]
    if "l7" in rules and not rules.get("l7proto"):
        yield Flaw((*path, "l7"), "needs 'l7proto', the name of the protocol")
    elif not given:
        yield Flaw((*path, "http"), "is required, or 'dns': leave out 'rules' to allow every byte")
    for kind in given[1:]:
        yield Flaw((*path, kind), f"may not stand beside {given[0]!r}: write an entry for each")
    for number, rule in _entries(rules, "dns"):
        yield from _one_of((*path, "dns", number), rule, ("matchName", "matchPattern"))
    for number, rule in _entries(rules, "kafka"):
        if rule.get("role") and rule.get("apiKey"):
            yield Flaw((*path, "kafka", number, "apiKey"), "may not stand beside 'role'")


def _l7_place(path: Path, kind: str, *, ingress: bool, host: bool) -> Iterator[Flaw]:
    """Yield a flaw where a type of rules may not stand in this direction, or at a node."""
    if ingress and kind == "dns":
        yield Flaw(path, "is for outgoing connections only")
    elif host and (ingress or kind in ("http", "kafka")):
        yield Flaw(path, "may not stand beside 'nodeSelector': Cilium has no L7 rules for nodes here")


def _l7_ports(path: Path, port_rule: _Object, kinds: list[str]) -> Iterator[Flaw]:
    """Yield flaws of ports that rules of these types cannot be for."""
    if "dns" in kinds and not _filled(port_rule, "ports"):
        yield Flaw((*path, "ports"), "is required beside 'dns' rules")
    for number, port in _entries(port_rule, "ports"):
        place = (*path, "ports", number)
        if _number(port) == 0:
            yield Flaw((*place, "port"), f"'0', all ports, may not stand beside {kinds[0]!r} rules")
        if "dns" not in kinds:
            yield from _only_tcp(place, port, kinds[0])
        elif _is_range(port):
            yield Flaw((*place, "endPort"), "may not stand beside 'dns' rules")


def _is_range(port: _Object) -> bool:
    """Return whether a port by number is the first of several."""
    first, last = _number(port), port.get("endPort")
    return isinstance(last, int) and first is not None and last > first


def _only_tcp(path: Path, port: _Object, kind: str) -> Iterator[Flaw]:
    protocol = port.get("protocol", "ANY")
    if protocol in ("ANY", "UDP", "SCTP"):
        absent = "" if "protocol" in port else ", which it is if absent"
        yield Flaw((*path, "protocol"), f"must be 'TCP' beside {kind!r} rules, not {protocol!r}{absent}")
