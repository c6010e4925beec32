# SPDX-License-Identifier: Apache-2.0
"""Policies -> their entries, and why some of them stay on Envoy.

An entry is one of ``toPorts`` with the peers that stand above it, or an entry of a
section that has no ``toPorts``. It stays for what only a proxy, Cilium's agent or
a cluster can do or know; that is no fault, and nothing is refused for it. HTTP
rules that may meet such an entry on some connection stay as well, and so on:
Cilium must not find half of a connection's rules gone. What only opens or denies
at layer 4, for peers that are known, takes nothing along: Cilium enforces it
before either of the two.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import Final

from bpfast.policy import cnp
from bpfast.policy.grants import Context, http_rule
from bpfast.policy.meaning import Direction
from bpfast.policy.overlap import Scope, meet, ready, spans_of
from bpfast.policy.ports import icmp_specs, port_specs
from bpfast.policy.reader import Policy
from bpfast.policy.rules import HttpRule
from bpfast.policy.select import EVERYBODY, Selector, subject_selector


class Where(Enum):
    """Who enforces an entry or a rule."""

    KERNEL = "kernel"
    ENVOY = "envoy"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Finding:
    """An entry that stays: ``policy`` is ns/name, ``path`` where it stands in the policy."""

    policy: str
    path: str
    where: Where
    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One ``toPorts`` entry, or an entry without any.

    ``http`` are its HTTP rules by their names, ``other`` the paths of its rules
    for other protocols. ``reasons`` say why it stays whatever stands beside it.
    """

    policy: Policy
    path: str
    scope: Scope
    http: tuple[HttpRule, ...] = ()
    other: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


_NODES: Final = "is about nodes (nodeSelector): Cilium's host firewall enforces it"
_AUTHENTICATION: Final = "authentication is done by Cilium's agent"
_TLS: Final = "{} is done by Envoy: the kernel sees encrypted bytes"
_SERVER_NAMES: Final = "serverNames are read by Envoy, in the handshake of TLS"
_LISTENER: Final = "connections are sent to the listener {!r} of Envoy"
_DNS: Final = "rules.dns is for Cilium's DNS proxy"
_OTHER_L7: Final = "rules.{} is not HTTP: only Envoy reads it"
_MISMATCH: Final = "{}: mismatch {} acts on the request, which only Envoy can: leave mismatch out to deny"
_AGENT_ONLY: Final = "{}: a secret is known to Cilium's agent only"
_EGRESS: Final = (
    "egress HTTP rules hold in the kernel only for pods that cannot craft packets "
    "(standalone: write trusted_egress: true at the endpoint)"
)
_PEERS: Final = {
    "groups": "{}: the addresses are known to a cloud provider",
    "nodes": "{}: nodes by their labels are known to the cluster",
    "to_services": "{}: the addresses of services are known to the cluster",
    "to_fqdns": "{}: the addresses of names are learned by Cilium's DNS proxy",
}
_GROUP: Final = "{}: the group of networks is an object of the cluster"

_AnyEntry = cnp.IngressRule | cnp.IngressDenyRule | cnp.EgressRule | cnp.EgressDenyRule


def stays(policies: Sequence[Policy], *, trusted_egress: bool = False) -> tuple[Finding, ...]:
    """Return every entry that stays on Envoy, by itself or with another one, in file order.

    ``trusted_egress``: egress HTTP rules may be enforced in the kernel.
    """
    found = entries(policies, trusted_egress=trusted_egress)
    reasons = staying(found)
    return tuple(
        Finding(found[index].policy.full_name, found[index].path, Where.ENVOY, reasons[index])
        for index in sorted(reasons)
    )


def staying(found: Sequence[Entry]) -> Mapping[int, str]:
    """Return the positions of the entries that stay, each with the reason."""
    reasons = {index: "; ".join(entry.reasons) for index, entry in enumerate(found) if entry.reasons}
    waiting = [index for index, entry in enumerate(found) if entry.http and index not in reasons]
    if not (reasons and waiting):
        return reasons
    scopes = {index: ready(found[index].scope) for index in (*reasons, *waiting)}
    unseen = deque((index, index) for index in reasons)
    while unseen and waiting:
        index, root = unseen.popleft()
        left: list[int] = []
        for other in waiting:
            if meet(scopes[index], scopes[other]):
                reasons[other] = _overlap_reason(found, index, root)
                unseen.append((other, root))
            else:
                left.append(other)
        waiting = left
    return reasons


def _overlap_reason(found: Sequence[Entry], index: int, root: int) -> str:
    why = "; ".join(found[root].reasons)
    if index != root:
        why = f"because of {_named(found[root])}: {why}"
    return (
        f"may meet {_named(found[index])} on a connection, which stays on Envoy ({why}): "
        "give them different ports or peers"
    )


def _named(entry: Entry) -> str:
    return f"{entry.policy.full_name} {entry.path}"


def entries(policies: Sequence[Policy], *, trusted_egress: bool = False) -> tuple[Entry, ...]:
    """Return all entries in file order; the kernel's halves of split policies are left out."""
    return tuple(
        entry
        for policy in policies
        for path, rule in policy.rules
        for entry in _of_rule(policy, path, rule, trusted_egress=trusted_egress)
    )


def _of_rule(policy: Policy, path: str, rule: cnp.Rule, *, trusted_egress: bool) -> Iterator[Entry]:
    subject, for_init = None, False
    if rule.endpoint_selector is not None:
        found = subject_selector(rule.endpoint_selector, policy.namespace)
        if found.generated:
            return
        subject, for_init = found.selector, found.for_init
    reader = _Reader(policy, subject, Context(policy.namespace, for_init), trusted_egress)
    sections: tuple[tuple[str, Direction, Sequence[_AnyEntry]], ...] = (
        ("ingress", Direction.INGRESS, rule.ingress),
        ("ingressDeny", Direction.INGRESS, rule.ingress_deny),
        ("egress", Direction.EGRESS, rule.egress),
        ("egressDeny", Direction.EGRESS, rule.egress_deny),
    )
    for section, direction, listed in sections:
        for number, entry in enumerate(listed):
            yield from reader.read(entry, f"{path}.{section}[{number}]", direction)


@dataclass(frozen=True, slots=True)
class _Reader:
    """What all entries of a rule have in common."""

    policy: Policy
    subject: Selector | None
    context: Context
    trusted_egress: bool

    def read(self, entry: _AnyEntry, path: str, direction: Direction) -> Iterator[Entry]:
        peers = self.context.peers(entry)
        anybody = (EVERYBODY,) if peers is None else peers
        reasons = (*([_NODES] if self.subject is None else []), *_entry_reasons(entry))
        if not entry.to_ports:
            # Without peers and without ports an entry opens and denies nothing.
            ports = spans_of(icmp_specs(entry.icmps)) if entry.icmps else (() if peers is None else None)
            yield Entry(self.policy, path, Scope(direction, self.subject, anybody, ports), reasons=reasons)
        port_rules: Sequence[cnp.PortRule | cnp.PortDenyRule] = entry.to_ports
        for number, port_rule in enumerate(port_rules):
            scope = Scope(direction, self.subject, anybody, spans_of(port_specs(port_rule.ports)))
            yield self._port_rule(port_rule, f"{path}.toPorts[{number}]", scope, reasons)

    def _port_rule(
        self, rule: cnp.PortRule | cnp.PortDenyRule, path: str, scope: Scope, reasons: tuple[str, ...]
    ) -> Entry:
        if not isinstance(rule, cnp.PortRule):
            return Entry(self.policy, path, scope, reasons=reasons)
        written = (rule.rules.http if rule.rules else None) or ()
        name = f"{self.policy.full_name} {path}.rules.http"
        http = tuple(http_rule(each, f"{name}[{number}]") for number, each in enumerate(written))
        other, other_reasons = _other_rules(rule.rules, f"{path}.rules") if rule.rules else ((), ())
        more = (*_port_reasons(rule), *other_reasons, *_http_reasons(written))
        if http and scope.direction is Direction.EGRESS and not self.trusted_egress:
            more = (*more, _EGRESS)
        return Entry(self.policy, path, scope, http, other, (*reasons, *more))


def _entry_reasons(entry: _AnyEntry) -> Iterator[str]:
    """Yield why an entry stays for its peers, or for who they must prove to be."""
    if isinstance(entry, cnp.IngressRule | cnp.EgressRule):
        authentication = entry.authentication
        if authentication is not None and authentication.mode != "disabled":
            yield _AUTHENTICATION
    if isinstance(entry, cnp.IngressRule | cnp.IngressDenyRule):
        side, sets = "from", entry.from_cidr_set
    else:
        side, sets = "to", entry.to_cidr_set
    for name in ("groups", "nodes"):
        if getattr(entry, f"{side}_{name}") is not None:
            yield _PEERS[name].format(f"{side}{name.capitalize()}")
    for name, written in (("to_services", "toServices"), ("to_fqdns", "toFQDNs")):
        if getattr(entry, name, None) is not None:
            yield _PEERS[name].format(written)
    for number, each in enumerate(sets or ()):
        if each.cidr_group_ref is not None or each.cidr_group_selector is not None:
            field = "cidrGroupRef" if each.cidr_group_ref is not None else "cidrGroupSelector"
            yield _GROUP.format(f"{side}CIDRSet[{number}].{field}")


def _port_reasons(rule: cnp.PortRule) -> Iterator[str]:
    if rule.terminating_tls is not None:
        yield _TLS.format("terminatingTLS")
    if rule.originating_tls is not None:
        yield _TLS.format("originatingTLS")
    if rule.server_names:
        yield _SERVER_NAMES
    if rule.listener is not None:
        yield _LISTENER.format(rule.listener.name)


def _other_rules(rules: cnp.L7Rules, path: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the paths of rules that are not HTTP, and why they stay."""
    listed = {"dns": rules.dns, "kafka": rules.kafka, "l7": rules.l7}
    paths = (
        f"{path}.{kind}[{number}]" for kind, given in listed.items() for number in range(len(given or ()))
    )
    kinds = [kind for kind, given in listed.items() if given]
    if rules.l7proto and not rules.l7:
        kinds.append("l7proto")
    return tuple(paths), tuple(_DNS if kind == "dns" else _OTHER_L7.format(kind) for kind in kinds)


def _http_reasons(rules: Sequence[cnp.HttpRule]) -> tuple[str, ...]:
    """Return why HTTP rules stay; one that does keeps the whole entry."""
    return tuple(
        chain.from_iterable(
            _match_reasons(match, f"rules.http[{number}].headerMatches[{place}]")
            for number, rule in enumerate(rules)
            for place, match in enumerate(rule.header_matches)
        )
    )


def _match_reasons(match: cnp.HeaderMatch, path: str) -> Iterator[str]:
    if match.mismatch:
        yield _MISMATCH.format(path, match.mismatch)
    if match.secret is not None:
        yield _AGENT_ONLY.format(path)
