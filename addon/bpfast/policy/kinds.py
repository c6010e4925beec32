# SPDX-License-Identifier: Apache-2.0
"""What a document is: a policy, a list, another product's object, or a mistake.

Files that are applied to clusters hold Deployments and Services beside policies.
Those are passed over and named; what could be meant as a policy never is. A
NetworkPolicy of Kubernetes counts in a cluster, so it is refused, not passed over.
"""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bpfast.policy.document import Flaw, Path, shown
from bpfast.policy.names import DEFAULT_NAMESPACE, MAX_NAME, is_namespace

CNP: Final = "CiliumNetworkPolicy"
CCNP: Final = "CiliumClusterwideNetworkPolicy"
NETWORK_POLICY: Final = "NetworkPolicy"
_KIND: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}")
_GROUP: Final = "cilium.io"
_KUBERNETES_POLICY: Final = {"networking.k8s.io", "extensions"}
_LISTS: Final = {"List": None, f"{CNP}List": CNP, f"{CCNP}List": CCNP}
_LIST_FIELDS: Final = ("apiVersion", "items", "kind", "metadata")
# Cilium's other kinds: none of them opens or closes anything by itself.
_OTHER_KINDS: Final = frozenset(
    (
        "CiliumBGPAdvertisement",
        "CiliumBGPClusterConfig",
        "CiliumBGPNodeConfig",
        "CiliumBGPNodeConfigOverride",
        "CiliumBGPPeerConfig",
        "CiliumBGPPeeringPolicy",
        "CiliumCIDRGroup",
        "CiliumClusterwideEnvoyConfig",
        "CiliumEgressGatewayPolicy",
        "CiliumEndpoint",
        "CiliumEndpointSlice",
        "CiliumEnvoyConfig",
        "CiliumGatewayClassConfig",
        "CiliumIdentity",
        "CiliumL2AnnouncementPolicy",
        "CiliumLoadBalancerIPPool",
        "CiliumLocalRedirectPolicy",
        "CiliumNode",
        "CiliumNodeConfig",
        "CiliumPodIPPool",
    )
)
_VALID: Final = f"valid: {CNP!r}, {CCNP!r}"


@dataclass(frozen=True, slots=True)
class Object:
    """One object of a document, at ``path`` inside of it: ``()``, or ``("items", 0)`` of a list."""

    path: Path
    value: object


def objects_in(value: object) -> Iterator[Object | Flaw]:
    """Yield the objects of a document: itself, or what a list holds; a flaw where a list is wrong."""
    if not (isinstance(value, dict) and _is_list(value.get("kind"))):
        yield Object((), value)
        return
    for key in value:
        if key not in _LIST_FIELDS:
            yield Flaw((key,), f"unknown field; valid here: {', '.join(_LIST_FIELDS)}")
    items = value.get("items")
    if not isinstance(items, list):
        text = f"must be a list, not {shown(items)}" if "items" in value else "is required"
        yield Flaw(("items",), text)
        return
    given = _types_of_items(value)
    for number, item in enumerate(items):
        yield Object(("items", number), given | item if isinstance(item, dict) else item)


def _is_list(kind: object) -> bool:
    return isinstance(kind, str) and kind in _LISTS


def _types_of_items(value: dict[str, object]) -> dict[str, object]:
    """Return the kind and version that the items of a typed list do not write themselves."""
    kind = _LISTS[str(value["kind"])]
    return {} if kind is None else {"apiVersion": value.get("apiVersion"), "kind": kind}


def is_endpoints_file(value: object) -> bool:
    """Return whether a document is the endpoints file of standalone mode."""
    return isinstance(value, dict) and value.keys() == {"endpoints"}


def group_of(value: dict[str, object]) -> str:
    """Return the API group of an object, "" for the core or where it is not known."""
    version = value.get("apiVersion")
    return version.rpartition("/")[0] if isinstance(version, str) else ""


def namespace_of(value: dict[str, object]) -> str | None:
    """Return the namespace of an object that may be wrong elsewhere; None: all, or not to be known."""
    metadata = value.get("metadata")
    if not isinstance(metadata, dict) or value.get("kind") == CCNP:
        return None
    namespace = metadata.get("namespace", DEFAULT_NAMESPACE)
    return namespace if isinstance(namespace, str) and is_namespace(namespace) else None


def name_of(value: dict[str, object]) -> str:
    """Return the name of an object that may be wrong elsewhere, "" where it has none."""
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) and name.isprintable() and len(name) <= MAX_NAME else ""


def full_name_of(value: object) -> str:
    """Return ``namespace/name`` of an object that may be wrong, ``name`` of a clusterwide one, or ""."""
    if not isinstance(value, dict):
        return ""
    name = name_of(value)
    if not name or value.get("kind") == CCNP:
        return name
    metadata = value["metadata"]
    namespace = metadata.get("namespace", DEFAULT_NAMESPACE)
    right = isinstance(namespace, str) and namespace.isprintable() and len(namespace) <= MAX_NAME
    return f"{namespace}/{name}" if right else ""


def is_network_policy(value: object) -> bool:
    """Return whether this is Kubernetes' own NetworkPolicy."""
    return (
        isinstance(value, dict)
        and value.get("kind") == NETWORK_POLICY
        and group_of(value) in _KUBERNETES_POLICY
    )


def is_passed_over(value: object) -> bool:
    """Return whether this is an object that no policy can be meant by."""
    if not isinstance(value, dict):
        return False
    kind, version = value.get("kind"), value.get("apiVersion")
    if not (isinstance(kind, str) and isinstance(version, str) and _KIND.fullmatch(kind) and version):
        return False
    if kind in _LISTS or is_network_policy(value) or _holds_items(value) or _likely(kind):
        return False
    return kind in _OTHER_KINDS if group_of(value) == _GROUP else True


def _holds_items(value: dict[str, object]) -> bool:
    """Return whether this is a list to kubectl, which goes by the field and not by the kind.

    Source: k8s.io/apimachinery, unstructured helpers (``isList``).
    """
    return isinstance(value.get("items"), list)


def _likely(kind: str) -> str | None:
    """Return the kind of policy that ``kind`` is, or is a misspelling of."""
    if kind in _OTHER_KINDS:
        return None
    close = difflib.get_close_matches(kind, (CNP, CCNP), n=1, cutoff=0.9)
    return close[0] if close else None


def _about_list(kind: object) -> str:
    """Say what is wrong with a list that stands where a policy should."""
    if _is_list(kind):
        return f"a list inside of a list is not supported; {_VALID}"
    return f"{shown(kind)} has 'items', which may be policies; lists: {', '.join(map(repr, _LISTS))}"


def stranger(value: object) -> Flaw | None:
    """Return what is wrong with an object that is no policy of ours at all."""
    if not isinstance(value, dict):
        return Flaw((), f"a policy must be a mapping, not {shown(value)}")
    kind = value.get("kind")
    if kind is None and is_endpoints_file(value):
        return Flaw((), "this is an endpoints file, not a policy")
    if is_network_policy(value):
        return Flaw(
            ("kind",), f"{NETWORK_POLICY!r} of Kubernetes is not supported yet: it would count; {_VALID}"
        )
    if _is_list(kind) or _holds_items(value):
        return Flaw(("kind",), _about_list(kind))
    if isinstance(kind, str) and kind not in (CNP, CCNP):
        close = _likely(kind)
        return Flaw(
            ("kind",), f"{shown(kind)} is no policy; " + (f"did you mean {close!r}?" if close else _VALID)
        )
    return None
