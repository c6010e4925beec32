# SPDX-License-Identifier: Apache-2.0
"""Who has which labels, and what a selector asks of them.

A label is a source, a key and a value. Pods have theirs from ``k8s``; everybody
else is known by ``reserved`` labels: the node is ``reserved:host``, what is outside
``reserved:world`` (Cilium ``pkg/identity``, ``pkg/labels``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

from bpfast.policy.cnp import EndpointSelector, Expression
from bpfast.policy.names import split_source
from bpfast.policy.peers import Peer, PeerKind
from bpfast.policy.subject import NAMESPACE_LABELS, POD_NAMESPACE, Subject

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Labels = Mapping[tuple[str, str], str]

_K8S: Final = "k8s"
_RESERVED: Final = "reserved"


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody on the other side.

    ``network`` is where the addresses are of those who are outside and known by
    it; a single address is a network of one. None: known by labels alone.
    """

    labels: Labels
    network: Network | None = None

    def is_reserved(self, name: str) -> bool:
        """Return whether this is ``reserved:name``."""
        return (_RESERVED, name) in self.labels

    def is_within(self, network: Network) -> bool:
        """Return whether every address of this one is in ``network``.

        The world as such has no address; Cilium counts it to 0.0.0.0/0.
        """
        if self.network is None:
            return self.is_reserved("world") and network == ip_network("0.0.0.0/0")
        mine, other = self.network, network
        if isinstance(mine, IPv4Network) and isinstance(other, IPv4Network):
            return mine.subnet_of(other)
        return isinstance(mine, IPv6Network) and isinstance(other, IPv6Network) and mine.subnet_of(other)


def pod_labels(subject: Subject) -> Labels:
    """Return the labels of a pod."""
    return {(_K8S, key): value for key, value in subject.identity_labels().items()}


def who_is(peer: Peer | Address, subjects: Mapping[str, Subject]) -> Who:
    """Return who a peer is; an address is one that belongs to no endpoint and not to the node."""
    if not isinstance(peer, Peer):
        return Who({(_RESERVED, "world"): ""}, ip_network(peer))
    if peer.kind is PeerKind.ENDPOINT:
        return Who(pod_labels(subjects[peer.name]))
    if peer.kind is PeerKind.CIDR:
        return Who({(_RESERVED, "world"): ""}, ip_network(peer.name))
    # The API server as an identity of its own is one that runs on another node.
    names = (peer.name, "remote-node") if peer.name == "kube-apiserver" else (peer.name,)
    return Who({(_RESERVED, name): "" for name in names})


def selects(selector: EndpointSelector, labels: Labels) -> bool:
    """Return whether all that ``selector`` asks for holds; an empty one asks for nothing."""
    return all(_value(labels, key) == value for key, value in selector.match_labels.items()) and all(
        _holds(expression, labels) for expression in selector.match_expressions
    )


def selects_peer(selector: EndpointSelector, namespace: str | None, labels: Labels) -> bool:
    """Return whether a selector of peers selects, in a policy of ``namespace`` (None: clusterwide).

    Unless the selector says something about namespaces itself, it means those of
    the policy's own, and of a clusterwide policy, pods of any. One that asks for a
    reserved label is taken as it is (Cilium ``getEndpointSelector``).
    """
    keys = [split_source(key) for key in keys_of(selector)]
    of_pods = [name for source, name in keys if source in ("any", _K8S)]
    if not any(source == _RESERVED for source, _ in keys) and POD_NAMESPACE not in of_pods:
        own = labels.get((_K8S, POD_NAMESPACE))
        if namespace is None and own is None:
            return False
        lifted = any(name.startswith(NAMESPACE_LABELS) for name in of_pods)
        if namespace is not None and not lifted and own != namespace:
            return False
    return selects(selector, labels)


def keys_of(selector: EndpointSelector) -> list[str]:
    """Return the keys that a selector asks about, as written."""
    return [*selector.match_labels, *(expression.key for expression in selector.match_expressions)]


def _value(labels: Labels, key: str) -> str | None:
    """Return the value of the label that ``key`` asks for, None if it is not there."""
    source, name = split_source(key)
    if source != "any":
        return labels.get((source, name))
    return next((value for (_, key), value in labels.items() if key == name), None)


def _holds(expression: Expression, labels: Labels) -> bool:
    value = _value(labels, expression.key)
    match expression.operator:
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "In":
            return value in expression.values
        case "NotIn":
            return value not in expression.values
