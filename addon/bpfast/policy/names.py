# SPDX-License-Identifier: Apache-2.0
"""Names and labels as Kubernetes and Cilium write them, as types for the models.

A selector's label key can carry the source it must come from, ``k8s:app``; without
one, or with ``any:``, every source will do. The labels of endpoints come from
Kubernetes, so both forms ask for the same label here.
"""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field

from bpfast.policy.document import shown

_LABEL: Final = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_DNS_LABEL: Final = re.compile(_LABEL)
_DNS_SUBDOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_QUALIFIED: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_SOURCES: Final = ("any", "k8s")
_MAX_SUBDOMAIN: Final = 253

EMPTY: Final = "must hold at least one entry"


def split_source(key: str) -> tuple[str, str]:
    """Return source and name of a selector's label key; no source means ``any``."""
    source, colon, name = key.partition(":")
    return (source, name) if colon else ("any", key)


def _object_name(text: str) -> str:
    if len(text) > _MAX_SUBDOMAIN or not _DNS_SUBDOMAIN.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a name: lower-case letters, digits, '-' and '.', at most 253")
    return text


def _namespace(text: str) -> str:
    if not _DNS_LABEL.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a namespace: lower-case letters, digits and '-', at most 63")
    return text


def _label_key(text: str) -> str:
    prefix, slash, name = text.rpartition("/")
    right = bool(_QUALIFIED.fullmatch(name))
    if slash:
        right = right and len(prefix) <= _MAX_SUBDOMAIN and bool(_DNS_SUBDOMAIN.fullmatch(prefix))
    if not right:
        raise ValueError(f"{shown(text)} is not a label key: letters, digits, '-', '_' and '.', at most 63, "
                         "after an optional domain and '/'")  # fmt: skip
    return text


def _selector_key(text: str) -> str:
    source, name = split_source(text)
    if source == "reserved" or text.startswith(("$", "reserved.")):
        raise ValueError(f"label {shown(text)} selects a reserved identity, which is not supported yet")
    if source not in _SOURCES:
        raise ValueError(f"label source {shown(source)} is not supported; valid: any, k8s, or none")
    _label_key(name)
    return text


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


ObjectName = Annotated[str, AfterValidator(_object_name)]
Namespace = Annotated[str, AfterValidator(_namespace)]
LabelKey = Annotated[str, AfterValidator(_label_key)]
LabelValue = Annotated[str, AfterValidator(_label_value)]
SelectorKey = Annotated[str, AfterValidator(_selector_key)]
MatchLabels = Annotated[dict[SelectorKey, LabelValue], AfterValidator(_different_labels)]
NotNull = BeforeValidator(_refuse_null)
# Not pydantic's own min_length: that counts only the entries that are right.
NotEmpty = BeforeValidator(_refuse_empty)
# Values come as lists; kept as tuples, since models are values. The items stay strict.
AsTuple = Field(strict=False)
