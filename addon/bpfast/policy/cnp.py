# SPDX-License-Identifier: Apache-2.0
"""CiliumNetworkPolicy as pydantic models: the part of cilium.io/v2 that is enforced.

A field that is not here is a fault, never ignored: ``supported`` knows whether it
is Cilium's or nobody's. Where null and absent would mean different things to a
reader (``fromEndpoints`` without a value opens a port to the world), null is a
fault, too. The models hold what was written; ``lower`` gives it its meaning.
"""

import re
from collections.abc import Callable
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo
from pydantic.alias_generators import to_camel

from bpfast.policy.document import shown
from bpfast.policy.names import AsTuple, MatchLabels, Namespace, NotEmpty, NotNull, ObjectName

RegexCheck = Callable[[str], str | None]

CHECK_REGEX: Final = "check_regex"
MAX_PORT: Final = 65535
MAX_PORTS: Final = 40

_DECIMAL: Final = re.compile(r"[1-9][0-9]{0,9}")
_SERVICE_NAME: Final = re.compile(r"(?=.{0,14}[A-Za-z])[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")
_NUMBER_RANGE: Final = f"write a number from 1 to {MAX_PORT}"


def _port(value: object) -> int:
    """Return a port's number; all that Cilium reads in a way of its own is refused."""
    if not isinstance(value, str):
        quotes = f": write '{value}'" if type(value) is int else ""
        raise ValueError(f"must be a string, not {shown(value)}{quotes}")  # noqa: TRY004 - pydantic wants this one
    if value == "0":
        raise ValueError(f"'0', all ports, is not supported yet: {_NUMBER_RANGE}")
    if re.fullmatch(r"0[0-7]+", value):
        raise ValueError(f"{value!r} is octal to Cilium, port {int(value, 8)}: leave the zero out")
    if _DECIMAL.fullmatch(value):
        if int(value) > MAX_PORT:
            raise ValueError(f"{value!r} is no port: {_NUMBER_RANGE}")
        return int(value)
    if _SERVICE_NAME.fullmatch(value):
        raise ValueError(f"{value!r} is a port by name, which is not supported yet: {_NUMBER_RANGE}")
    raise ValueError(f"{shown(value)} is no port: {_NUMBER_RANGE}")


def _regex(text: str, info: ValidationInfo) -> str:
    """Let the caller's engine compile a regex; an empty one asks for nothing."""
    check: RegexCheck | None = (info.context or {}).get(CHECK_REGEX)
    error = check(text) if check is not None and text else None
    if error is not None:
        raise ValueError(f"{shown(text)} is not a regex in RE2 syntax: {error}")
    return text


def _protocol(value: str) -> str:
    if value != "TCP":
        later = " is not supported yet" if value in _PROTOCOLS else " is no protocol"
        raise ValueError(f"{shown(value)}{later}; valid: TCP")
    return value


_PROTOCOLS: Final = frozenset(
    ("ANY", "UDP", "SCTP", "ICMP", "ICMPv6", "VRRP", "IGMP", "GRE", "IPIP", "IPV6", "IPv6", "ESP", "AH"),
)


def split_header(text: str) -> tuple[str, str | None]:
    """Return name and value of one entry of ``headers``; no value asks for presence.

    Cilium splits at the first space and takes colons off the end of the name,
    but only if there is a space: ``X-Foo:`` is the presence of a header that
    is called ``X-Foo:``, which no request can have.
    """
    name, space, value = text.partition(" ")
    return (name.rstrip(":"), value) if space else (text, None)


def _header(text: str) -> str:
    name, _ = split_header(text)
    if not name:
        raise ValueError(f"{shown(text)} has no name before the first space: write 'Name: value' or 'Name'")
    if text.startswith(":"):
        raise ValueError(f"{shown(text)} is a pseudo-header: use path, method or host")
    if re.search(r"[\0\r\n]", text):
        raise ValueError(f"{shown(text)} holds NUL or a line end, which no header can")
    return text


Regex = Annotated[str, AfterValidator(_regex)]
Header = Annotated[str, AfterValidator(_header)]
PortNumber = Annotated[int, BeforeValidator(_port)]
Protocol = Annotated[str, AfterValidator(_protocol)]


class Model(BaseModel):
    """What all models share: exact types, exact names, values that cannot change."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, strict=True)


class EndpointSelector(Model):
    """Labels that an endpoint must have, all of them; none selects every endpoint in reach."""

    match_labels: MatchLabels = Field(default_factory=dict)


class HttpRule(Model):
    """One entry of ``rules.http``; an empty text is the same as none."""

    path: Regex = ""
    method: Regex = ""
    host: Regex = ""
    headers: Annotated[tuple[Header, ...], AsTuple] = ()


class L7Rules(Model):
    """``rules`` of a ``toPorts`` entry."""

    http: Annotated[tuple[HttpRule, ...], AsTuple]


class Port(Model):
    """One entry of ``ports``."""

    port: PortNumber
    protocol: Protocol


class PortRule(Model):
    """One entry of ``toPorts``: without ``rules`` every byte may pass."""

    ports: Annotated[tuple[Port, ...], AsTuple, Field(max_length=MAX_PORTS)] = ()
    rules: Annotated[L7Rules | None, NotNull] = None


class IngressRule(Model):
    """One entry of ``ingress``; for ``fromEndpoints``, None (absent) and empty are opposites."""

    from_endpoints: Annotated[tuple[EndpointSelector, ...] | None, AsTuple, NotNull] = None
    to_ports: Annotated[tuple[PortRule, ...], AsTuple] = ()


class RuleLabel(Model):
    """One entry of a rule's own ``labels``, which select nothing."""

    key: str
    value: str = ""
    source: str = ""


class Rule(Model):
    """``spec``, or one entry of ``specs``."""

    endpoint_selector: EndpointSelector
    ingress: Annotated[tuple[IngressRule, ...], AsTuple, NotEmpty]
    description: str = ""
    labels: Annotated[tuple[RuleLabel, ...], AsTuple] = ()


class Metadata(Model):
    """``metadata``: who the policy is. What a cluster writes there is taken and not read."""

    name: ObjectName
    namespace: Namespace = "default"
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    creation_timestamp: object = None
    deletion_grace_period_seconds: object = None
    deletion_timestamp: object = None
    finalizers: object = None
    generate_name: object = None
    generation: object = None
    managed_fields: object = None
    owner_references: object = None
    resource_version: object = None
    self_link: object = None
    uid: object = None


class CiliumNetworkPolicy(Model):
    """The whole object."""

    api_version: Literal["cilium.io/v2"]
    kind: Literal["CiliumNetworkPolicy"]
    metadata: Metadata
    spec: Annotated[Rule | None, NotNull] = None
    specs: Annotated[tuple[Rule, ...], AsTuple, NotEmpty] = ()
    status: object = None
