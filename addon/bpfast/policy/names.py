# SPDX-License-Identifier: Apache-2.0
"""Names and labels as Kubernetes and Cilium write them, as types for the models.

A selector's label key can carry the source it must come from, ``k8s:app``; without
one, or with ``any:``, every source will do. The labels of endpoints come from
Kubernetes, so both forms ask for the same label here.
"""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field

from bpfast.policy.budget import check
from bpfast.policy.document import shown

_LABEL: Final = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_DNS_LABEL: Final = re.compile(_LABEL)
_DNS_SUBDOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_QUALIFIED: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_SOURCES: Final = ("any", "k8s")
_SOURCE: Final = re.compile(r"[a-z0-9]+")
RESERVED: Final = (
    "health",
    "host",
    "ingress",
    "init",
    "kube-apiserver",
    "remote-node",
    "unmanaged",
)
"""The identities that Cilium gives, by their labels ``reserved:NAME``, whatever families it runs with."""
MAX_NAME: Final = 253
DEFAULT_NAMESPACE: Final = "default"
"""The namespace of an object that names none."""

EMPTY: Final = "must hold at least one entry"


def split_source(key: str) -> tuple[str, str]:
    """Return source and name of a selector's label key; no source means ``any``."""
    source, colon, name = key.partition(":")
    return (source, name) if colon else ("any", key)


def _object_name(text: str) -> str:
    if len(text) > MAX_NAME or not _DNS_SUBDOMAIN.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a name: lower-case letters, digits, '-' and '.', at most 253")
    return text


def is_namespace(text: str) -> bool:
    """Return whether ``text`` can be the name of a namespace."""
    return _DNS_LABEL.fullmatch(text) is not None


def _namespace(text: str) -> str:
    if not is_namespace(text):
        raise ValueError(f"{shown(text)} is not a namespace: lower-case letters, digits and '-', at most 63")
    return text


def _is_label_key(text: str) -> bool:
    prefix, slash, name = text.rpartition("/")
    if slash and not (len(prefix) <= MAX_NAME and _DNS_SUBDOMAIN.fullmatch(prefix)):
        return False
    return _QUALIFIED.fullmatch(name) is not None


def _label_key(text: str) -> str:
    if not _is_label_key(text):
        raise ValueError(f"{shown(text)} is not a label key: letters, digits, '-', '_' and '.', at most 63, "
                         "after an optional domain and '/'")  # fmt: skip
    return text


def _selector_key(text: str) -> str:
    source, name = split_source(text)
    if source == "reserved":
        if name == "world":
            raise ValueError(
                f"{shown(text)} selects nobody where both address families are enabled: "
                "use the entity 'world'"
            )
        if name not in RESERVED:
            valid = ", ".join(RESERVED)
            raise ValueError(f"{shown(text)} is no reserved label that selects anybody; valid: {valid}")
        return text
    if text.startswith(("$", "reserved.")):
        raise ValueError(f"label {shown(text)} selects a reserved identity: write 'reserved:NAME'")
    if source not in _SOURCES:
        raise ValueError(f"label source {shown(source)} is not supported; valid: any, k8s, reserved, or none")
    return _with_source(text, source, name)


def _with_source(text: str, source: str, name: str) -> str:
    """Return the key ``text``; Cilium puts the source before it and looks at both together."""
    _label_key(name)
    if not _is_label_key(f"{source}.{name}"):
        raise ValueError(
            f"{shown(text)} is too long a label key: at most 63 with its source and a dot before it"
        )
    return text


def _plain_key(text: str) -> str:
    source, name = split_source(text)
    if not _SOURCE.fullmatch(source):
        raise ValueError(f"label source {shown(source)} is not supported; valid: letters and digits, or none")
    return _with_source(text, source, name)


def _group_key(text: str) -> str:
    return _with_source(text, "cidrgroup", text)


def _label_value(text: str) -> str:
    if text and not _QUALIFIED.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a label value: letters, digits, '-', '_' and '.', at most 63")
    return text


def _different_labels(labels: dict[str, str]) -> dict[str, str]:
    seen: dict[tuple[str, str], str] = {}
    for key in labels:
        first = seen.setdefault(split_source(key), key)
        if first != key:
            raise ValueError(f"{shown(first)} and {shown(key)} are the same label: keep one")
    return labels


def _refuse_null(value: object) -> object:
    if value is None:
        raise ValueError("must not be null: leave the field out, or write what is meant")
    return value


def _refuse_empty(value: object) -> object:
    if value == []:
        raise ValueError(EMPTY)
    return value


ObjectName = Annotated[str, check(_object_name)]
Namespace = Annotated[str, check(_namespace)]
LabelKey = Annotated[str, check(_label_key)]
LabelValue = Annotated[str, check(_label_value)]
GroupKey = Annotated[str, check(_group_key)]
PlainKey = Annotated[str, check(_plain_key)]
SelectorKey = Annotated[str, check(_selector_key)]
MatchLabels = Annotated[dict[SelectorKey, LabelValue], AfterValidator(_different_labels)]
NotNull = BeforeValidator(_refuse_null)
# Not pydantic's own min_length: that counts only the entries that are right.
NotEmpty = BeforeValidator(_refuse_empty)
# Values come as lists; kept as tuples, since models are values. The items stay strict.
AsTuple = Field(strict=False)
