# SPDX-License-Identifier: Apache-2.0
"""One entry of the endpoints file as a pydantic model, and the types of its fields."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from bpfast.policy.document import shown, wrong_type
from bpfast.policy.names import AsTuple, LabelKey, LabelValue, Namespace, NotEmpty, NotNull, ObjectName
from bpfast.policy.subject import is_given
from bpfast.standalone.netns import NetNs, parse_netns

Address = IPv4Address | IPv6Address

_MAX_PORT: Final = 65535
_PORT: Final = re.compile(r"([1-9][0-9]{0,4})/(TCP|UDP|SCTP)")
_PORT_FORMS: Final = "a number from 1 to 65535 (TCP), or 'N/TCP', 'N/UDP', 'N/SCTP'"
_PORT_NAME: Final = re.compile(r"(?=.*[a-z])(?=.{1,15}$)[a-z0-9]+(?:-[a-z0-9]+)*")
_INTERFACE: Final = re.compile(r"[^/:\s\0]{1,15}")


@dataclass(frozen=True, slots=True)
class NamedPort:
    """A port that a policy can call by name."""

    name: str
    number: int
    protocol: str = "TCP"


def _netns(value: object) -> NetNs:
    if not isinstance(value, str):
        raise ValueError(wrong_type("a string", value))  # noqa: TRY004 - pydantic wants this one
    return parse_netns(value)


def _interface(text: str) -> str:
    if not _INTERFACE.fullmatch(text) or text in (".", "..") or len(text.encode()) > 15:  # noqa: PLR2004
        raise ValueError(f"{shown(text)} is not a network interface: at most 15 bytes, no '/', ':' or blank")
    return text


def _address(value: object) -> Address:
    if not isinstance(value, str):
        raise ValueError(wrong_type("a string", value))  # noqa: TRY004 - pydantic wants this one
    try:
        address = ip_address(value)
    except ValueError:
        more = ": leave out the prefix length" if "/" in value else ""
        raise ValueError(f"{shown(value)} is not an IP address{more}") from None
    for kind in ("loopback", "multicast", "unspecified"):
        if getattr(address, f"is_{kind}"):
            raise ValueError(f"{shown(value)} is no address of an endpoint: it is {kind}")
    if isinstance(address, IPv6Address) and (address.scope_id or address.ipv4_mapped):
        raise ValueError(f"{shown(value)} is not an address as it stands in a packet")
    return address


def _port_name(text: str) -> str:
    if not _PORT_NAME.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a port name: lower-case letters, digits and '-', at most 15")
    return text


def _port(value: object) -> tuple[int, str]:
    number, protocol = (value, "TCP") if type(value) is int else (0, "")
    found = _PORT.fullmatch(value) if isinstance(value, str) else None
    if found is not None:
        number, protocol = int(found[1]), found[2]
    if not 1 <= number <= _MAX_PORT:
        raise ValueError(f"{shown(value)} is no port: write {_PORT_FORMS}")
    return number, protocol


def _own_label(key: str) -> str:
    if is_given(key):
        raise ValueError(
            f"label {key!r} is not the endpoint's own: use namespace, namespace_labels, service_account"
        )
    return key


OwnLabel = Annotated[LabelKey, AfterValidator(_own_label)]
Port = Annotated[tuple[int, str], BeforeValidator(_port), AsTuple]


class EndpointModel(BaseModel):
    """One endpoint, as it stands in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)

    name: ObjectName
    namespace: Namespace = "default"
    labels: dict[OwnLabel, LabelValue] = {}
    netns: Annotated[NetNs | None, BeforeValidator(_netns)] = None
    interface: Annotated[str, AfterValidator(_interface)] = "eth0"
    addresses: Annotated[tuple[Annotated[Address, BeforeValidator(_address)], ...], AsTuple, NotEmpty] = ()
    ports: dict[Annotated[str, AfterValidator(_port_name)], Port] = {}
    namespace_labels: dict[LabelKey, LabelValue] = {}
    service_account: Annotated[ObjectName | None, NotNull] = None
    trusted_egress: bool = False
