# SPDX-License-Identifier: Apache-2.0
"""The values of a policy's fields, as types for the models: ports, regexes, headers, networks, DNS names.

Each takes what Cilium takes (its CRD and ``pkg/policy/api``, v1.18.4) and nothing
that Cilium reads in a way of its own: a port ``010`` is octal there.
"""

import functools
import ipaddress
import re
from collections.abc import Callable
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from bpfast.policy.budget import check
from bpfast.policy.document import shown, wrong_type
from bpfast.policy.icmp import ICMP, ICMP_TYPES, ICMPV6

RegexCheck = Callable[[str], str | None]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

CHECK_REGEX: Final = "check_regex"
MAX_PORT: Final = 65535
MAX_PORTS: Final = 40
MAX_PRIORITY: Final = 100
MAX_ICMP_TYPE: Final = 255
PROTOCOLS: Final = ("ANY", "TCP", "UDP", "SCTP")
ENTITIES: Final = (
    "all",
    "cluster",
    "health",
    "host",
    "ingress",
    "init",
    "kube-apiserver",
    "none",
    "remote-node",
    "unmanaged",
    "world",
)

_DECIMAL: Final = re.compile(r"[1-9][0-9]{0,9}")
_SERVICE_NAME: Final = re.compile(r"(?=.{0,14}[A-Za-z])(?=.{1,15}\Z)[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")
_NUMBER_RANGE: Final = f"write a number from 0 (all) to {MAX_PORT}, or a name"
_MAX_NAME: Final = 255
_DNS_NAME: Final = re.compile(r"[-a-zA-Z0-9_]+(?:\.[-a-zA-Z0-9_]+)*\.?")
_DNS_PATTERN: Final = re.compile(r"[-a-zA-Z0-9_*]+(?:\.[-a-zA-Z0-9_*]+)*\.?")
_SERVER_NAME: Final = re.compile(rf"(?:\*?\*\.)?{_DNS_NAME.pattern}")
_PREFIX: Final = re.compile(r"([0-9a-fA-F:.]+)/(0|[1-9][0-9]{0,2})")
_GROUP_NAME: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_KAFKA_KEYS: Final = re.compile(
    "produce|fetch|offsets|metadata|leaderandisr|stopreplica|updatemetadata|controlledshutdown|offsetcommit|"
    "offsetfetch|findcoordinator|joingroup|heartbeat|leavegroup|syncgroup|describegroups|listgroups|"
    "saslhandshake|apiversions|createtopics|deletetopics|deleterecords|initproducerid|offsetforleaderepoch|"
    "addpartitionstotxn|addoffsetstotxn|endtxn|writetxnmarkers|txnoffsetcommit|describeacls|createacls|"
    "deleteacls|describeconfigs|alterconfigs"
)
_TOPIC: Final = re.compile(r"[a-zA-Z0-9._-]{1,255}")


def _port(value: object) -> int | str:
    """Return a port's number or name; all that Cilium reads in a way of its own is refused."""
    if not isinstance(value, str):
        quotes = f": write '{value}'" if type(value) is int else ""
        raise ValueError(f"must be a string, not {shown(value)}{quotes}")  # noqa: TRY004 - pydantic wants this one
    if value == "0":
        return 0
    if re.fullmatch(r"0[0-7]+", value):
        raise ValueError(f"{shown(value)} is octal to Cilium: leave the zero out")
    if _DECIMAL.fullmatch(value):
        if int(value) > MAX_PORT:
            raise ValueError(f"{value!r} is no port: {_NUMBER_RANGE}")
        return int(value)
    if _SERVICE_NAME.fullmatch(value):
        if re.fullmatch(r"0[xXbBoO][0-9a-fA-F]+", value):
            raise ValueError(f"{value!r} is the name of a port to Cilium: {_NUMBER_RANGE}")
        return value.lower()
    raise ValueError(f"{shown(value)} is no port: {_NUMBER_RANGE}")


def _regex(text: str, info: ValidationInfo) -> str:
    """Let the caller's engine compile a regex; an empty one asks for nothing."""
    engine: RegexCheck | None = (info.context or {}).get(CHECK_REGEX)
    error = engine(text) if engine is not None and text else None
    if error is not None:
        raise ValueError(f"{shown(text)} is not a regex in RE2 syntax: {error}")
    return text


def _protocol(value: str) -> str:
    if value not in PROTOCOLS:
        raise ValueError(f"{shown(value)} is no protocol; valid: {', '.join(PROTOCOLS)}")
    return value


def _entity(value: str) -> str:
    if value not in ENTITIES:
        raise ValueError(f"{shown(value)} is no entity; valid: {', '.join(ENTITIES)}")
    return value


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


def _header_name(text: str) -> str:
    if not text:
        raise ValueError("must not be empty: name the header")
    if re.search(r"[\0\r\n ]", text) or text.startswith(":"):
        raise ValueError(f"{shown(text)} is no header's name")
    return text


def _header_value(text: str) -> str:
    if re.search(r"[\0\r\n]", text):
        raise ValueError(f"{shown(text)} holds NUL or a line end, which no header can")
    return text


@functools.lru_cache(maxsize=4096)
def parse_cidr(text: str) -> Network | None:
    """Return the network that ``text`` is, or None; bits behind the prefix may be set, as in Cilium."""
    if not _PREFIX.fullmatch(text):
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _cidr(text: str) -> str:
    network = parse_cidr(text)
    if network is None:
        way = f": write '{text}/{_bits(text)}'" if _bits(text) else ": write ADDRESS/BITS"
        raise ValueError(f"{shown(text)} is no network{way}")
    if network.prefixlen == 0 and text != str(network):
        raise ValueError(f"{shown(text)} is every address: write {str(network)!r}")
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise ValueError(f"{shown(text)} is IPv4 written as IPv6: write it as IPv4")
    return text


def _bits(text: str) -> int | None:
    """Return how many bits the address ``text`` has, None if it is none."""
    try:
        return ipaddress.ip_address(text).max_prefixlen
    except ValueError:
        return None


def _group_name(text: str) -> str:
    if len(text) > _MAX_NAME - 2 or not _GROUP_NAME.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a name: lower-case letters, digits, '-' and '.', at most 253")
    return text


def _dns_name(text: str) -> str:
    if len(text) > _MAX_NAME or not _DNS_NAME.fullmatch(text):
        raise ValueError(f"{shown(text)} is no DNS name: letters, digits, '-', '_', single dots, at most 255")
    return text


def _dns_pattern(text: str) -> str:
    if len(text) > _MAX_NAME or not _DNS_PATTERN.fullmatch(text):
        raise ValueError(f"{shown(text)} is no pattern of DNS names: "
                         "letters, digits, '-', '_', '*' and single dots, at most 255")  # fmt: skip
    return text


def _server_name(text: str) -> str:
    if len(text) > _MAX_NAME or not _SERVER_NAME.fullmatch(text):
        raise ValueError(f"{shown(text)} is no server name: a DNS name, '*.' or '**.' may stand before it")
    return text


def _different(names: tuple[str, ...]) -> tuple[str, ...]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{shown(name)} is given twice")
        seen.add(name)
    return names


def inside(excepted: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    """Refuse networks that are not inside of the field ``cidr`` of the same entry.

    Cilium looks at the first address only: an exception that is wider than its
    network takes everything out.
    """
    whole = parse_cidr(info.data.get("cidr") or "")
    for text in excepted:
        network = parse_cidr(text)
        if whole is not None and network is not None and not _contains(whole, network):
            raise ValueError(f"{shown(text)} is not inside of {str(whole)!r}")
    return excepted


def _contains(whole: Network, network: Network) -> bool:
    if whole.version != network.version or network.prefixlen < whole.prefixlen:
        return False
    return network.network_address in whole


def _icmp_type(value: object, info: ValidationInfo) -> int | str:
    """Return an ICMP type: a number, or a name that the family of the same entry has."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"must be a number or a name, not {shown(value)}")  # noqa: TRY004 - pydantic wants this one
    if isinstance(value, int) or re.fullmatch("[0-9]+", value):
        written_right = isinstance(value, int) or value == "0" or _DECIMAL.fullmatch(value)
        if not (written_right and 0 <= int(value) <= MAX_ICMP_TYPE):
            raise ValueError(f"{shown(value)} is no ICMP type; valid: 0 to {MAX_ICMP_TYPE}, or a name")
        return value
    family = info.data.get("family") or "IPv4"
    names = ICMP_TYPES[ICMPV6 if family == "IPv6" else ICMP]
    if value not in names:
        raise ValueError(f"{shown(value)} is no ICMP type of {family}; valid: a number, {', '.join(names)}")
    return value


def _api_key(text: str) -> str:
    if text and not _KAFKA_KEYS.fullmatch(text.lower()):
        raise ValueError(f"{shown(text)} is no Kafka API key, such as 'produce' or 'fetch'")
    return text


def _topic(text: str) -> str:
    if text and not _TOPIC.fullmatch(text):
        raise ValueError(f"{shown(text)} is no topic: letters, digits, '.', '_' and '-', at most 255")
    return text


def _version(text: str) -> str:
    if text and not (_DECIMAL.fullmatch(text) and int(text) <= 32767) and text != "0":  # noqa: PLR2004 - int16
        raise ValueError(f"{shown(text)} is no version: write a number from 0 to 32767")
    return text


def _log(text: str) -> str:
    if len(text) > 32 or not text.isprintable():  # noqa: PLR2004 - the CRD's maxLength
        raise ValueError(f"{shown(text)} is no text for the log: at most 32 characters, none that controls")
    return text


def one_of(*words: str) -> AfterValidator:
    """Return the check of a text that is one of several words; an empty one is none of them."""

    def one(text: str) -> str:
        if text not in words:
            raise ValueError(
                f"must be {', '.join(map(repr, words[:-1]))} or {words[-1]!r}, not {shown(text)}"
            )
        return text

    return check(one)


def _not_empty(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return text


def _number(value: object) -> object:
    """Refuse what is no whole number before pydantic compares it with limits."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(wrong_type("a number", value))  # noqa: TRY004 - pydantic wants this one
    return value


Regex = Annotated[str, AfterValidator(_regex)]
Header = Annotated[str, check(_header)]
HeaderName = Annotated[str, check(_header_name)]
HeaderValue = Annotated[str, check(_header_value)]
PortNumber = Annotated[int | str, BeforeValidator(_port)]
EndPort = Annotated[int, Field(ge=0, le=MAX_PORT), BeforeValidator(_number)]
Priority = Annotated[int, Field(ge=1, le=MAX_PRIORITY), BeforeValidator(_number)]
Protocol = Annotated[str, check(_protocol)]
Entity = Annotated[str, check(_entity)]
Cidr = Annotated[str, check(_cidr)]
GroupName = Annotated[str, check(_group_name)]
DnsName = Annotated[str, check(_dns_name)]
DnsPattern = Annotated[str, check(_dns_pattern)]
ServerName = Annotated[str, check(_server_name)]
Different = AfterValidator(_different)
Topic = Annotated[str, check(_topic)]
ApiKey = Annotated[str, check(_api_key)]
IcmpType = Annotated[int | str, BeforeValidator(_icmp_type)]
Version = Annotated[str, check(_version)]
LogText = Annotated[str, check(_log)]
Text = Annotated[str, check(_not_empty)]
