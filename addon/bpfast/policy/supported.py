# SPDX-License-Identifier: Apache-2.0
"""What becomes of each field of a CiliumNetworkPolicy; the source of ``docs/supported.md``.

``[]`` stands for any entry of a list, and ``specs[]`` has the same fields as
``spec``. A field that is not in this table is not Cilium's.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from bpfast.policy.document import Path


class Where(Enum):
    """What is done with a field."""

    KERNEL = "in the kernel"
    IGNORED = "read, means nothing"
    FREE = "taken as it is"
    LATER = "not supported yet"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its path, what is done with it, and its meaning or the reason."""

    path: str
    where: Where
    note: str


_RULE: Final = (
    ("endpointSelector", Where.KERNEL, "in the policy's own namespace; `{}` selects all of it"),
    ("endpointSelector.matchLabels", Where.KERNEL, "all must hold; keys may begin with `k8s:` or `any:`"),
    ("endpointSelector.matchExpressions", Where.LATER, "only `matchLabels` select endpoints so far"),
    ("nodeSelector", Where.REFUSED, "Cilium takes it in a CiliumClusterwideNetworkPolicy only"),
    ("description", Where.IGNORED, "for people"),
    ("labels", Where.IGNORED, "the rule's own labels select nothing"),
    ("log", Where.LATER, "a text for Cilium's own flow log"),
    ("enableDefaultDeny", Where.LATER, "every policy turns default deny on so far"),
    ("ingressDeny", Where.LATER, "rules that deny"),
    ("egress", Where.LATER, "only incoming connections are decided so far"),
    ("egressDeny", Where.LATER, "rules that deny"),
    ("ingress", Where.KERNEL, "turns default deny on; an entry without peers and ports opens nothing"),
    ("ingress[].fromEndpoints", Where.KERNEL, "absent: everybody, the world too; `[]`: nobody"),
    ("ingress[].fromEndpoints[].matchLabels", Where.KERNEL, "in the policy's namespace, or the one named"),
    ("ingress[].fromEndpoints[].matchExpressions", Where.LATER, "only `matchLabels` select endpoints so far"),
    ("ingress[].fromRequires", Where.REFUSED, "gone from Cilium"),
    ("ingress[].fromCIDR", Where.LATER, "peers by address"),
    ("ingress[].fromCIDRSet", Where.LATER, "peers by address"),
    ("ingress[].fromEntities", Where.LATER, "peers by entity"),
    ("ingress[].fromGroups", Where.REFUSED, "the addresses are known to a cloud provider only"),
    ("ingress[].fromNodes", Where.REFUSED, "the nodes' labels are known to a cluster only"),
    ("ingress[].icmps", Where.LATER, "only TCP is decided so far"),
    ("ingress[].authentication", Where.REFUSED, "mutual authentication is done by Cilium's agent"),
    ("ingress[].toPorts", Where.KERNEL, "absent or `[]`: every port"),
    ("ingress[].toPorts[].ports", Where.KERNEL, "at most 40; absent or `[]` opens nothing"),
    ("ingress[].toPorts[].ports[].port", Where.KERNEL, "a number from 1 to 65535; not by name, not `0`"),
    ("ingress[].toPorts[].ports[].protocol", Where.KERNEL, "`TCP`; absent would be `ANY`, which is refused"),
    ("ingress[].toPorts[].ports[].endPort", Where.LATER, "only single ports so far"),
    ("ingress[].toPorts[].terminatingTLS", Where.REFUSED, "the kernel sees encrypted bytes only"),
    ("ingress[].toPorts[].originatingTLS", Where.REFUSED, "the kernel sees encrypted bytes only"),
    ("ingress[].toPorts[].serverNames", Where.REFUSED, "the kernel does not take TLS apart"),
    ("ingress[].toPorts[].listener", Where.REFUSED, "sends the connection to a proxy of the user's"),
    ("ingress[].toPorts[].rules", Where.KERNEL, "absent: every byte may pass, HTTP or not"),
    ("ingress[].toPorts[].rules.http", Where.KERNEL, "`[]`: the same as no `rules`; `[{}]`: every request"),
    ("ingress[].toPorts[].rules.http[].path", Where.KERNEL, "regex over the whole target, query included"),
    ("ingress[].toPorts[].rules.http[].method", Where.KERNEL, "regex over the whole method"),
    ("ingress[].toPorts[].rules.http[].host", Where.KERNEL, "regex over the whole `Host`, port included"),
    ("ingress[].toPorts[].rules.http[].headers", Where.KERNEL, "`Name` (there) or `Name: value` (equal)"),
    ("ingress[].toPorts[].rules.http[].headerMatches", Where.LATER, "`headers` has presence and equality"),
    ("ingress[].toPorts[].rules.dns", Where.REFUSED, "Cilium takes it on egress only"),
    ("ingress[].toPorts[].rules.kafka", Where.REFUSED, "gone from Cilium"),
    ("ingress[].toPorts[].rules.l7proto", Where.REFUSED, "gone from Cilium"),
    ("ingress[].toPorts[].rules.l7", Where.REFUSED, "gone from Cilium"),
)

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

FIELDS: Final = (
    Field("apiVersion", Where.KERNEL, "`cilium.io/v2`"),
    Field("kind", Where.KERNEL, "`CiliumNetworkPolicy`; the clusterwide kind is not supported yet"),
    Field("metadata", Where.KERNEL, "who the policy is"),
    Field("metadata.name", Where.KERNEL, "one policy a namespace and name"),
    Field("metadata.namespace", Where.KERNEL, "`default` if absent"),
    Field("metadata.labels", Where.IGNORED, "select nothing"),
    Field("metadata.annotations", Where.IGNORED, "for people and tools"),
    *(Field(f"metadata.{name}", Where.FREE, "as the cluster writes it") for name in _FREE_METADATA),
    Field("status", Where.FREE, "as the cluster writes it"),
    Field("spec", Where.KERNEL, "one rule"),
    Field("specs", Where.KERNEL, "several rules, with the fields of `spec`; beside `spec` both count"),
    *(Field(f"spec.{path}", where, note) for path, where, note in _RULE),
)

_LABEL_ENTRY: Final = ("key", "value", "source")
_BY_PATH: Final = {field.path: field for field in FIELDS}


def schema_path(path: Path) -> str:
    """Return a path without the numbers in it, as this table writes it."""
    steps = ["[]" if isinstance(step, int) else f".{step}" for step in path]
    text = "".join(steps).removeprefix(".")
    return "spec" + text.removeprefix("specs[]") if text.startswith("specs[]") else text


def refusal(path: Path) -> str:
    """Return why the field at ``path`` is refused, and what may stand there."""
    field = _BY_PATH.get(schema_path(path))
    if field is None:
        reason = "unknown field"
    elif field.where is Where.LATER:
        reason = "not supported yet"
    else:
        reason = f"not supported: {field.note}"
    return f"{reason}; valid here: {', '.join(valid_names(path[:-1]))}"


def valid_names(parent: Path) -> list[str]:
    """Return the names that may stand in the mapping at ``parent``."""
    place = schema_path(parent)
    if place == "spec.labels[]":
        return list(_LABEL_ENTRY)
    start = f"{place}." if place else ""
    names = (
        field.path.removeprefix(start)
        for field in FIELDS
        if field.path.startswith(start) and field.where in (Where.KERNEL, Where.IGNORED)
    )
    return sorted(name for name in names if "." not in name and "[" not in name)


def markdown() -> str:
    """Return the table as it stands in ``docs/supported.md``."""
    lines = ["| field | what becomes of it | meaning or reason |", "|---|---|---|"]
    lines += [f"| `{field.path}` | {field.where.value} | {field.note} |" for field in FIELDS]
    return "\n".join(lines) + "\n"
