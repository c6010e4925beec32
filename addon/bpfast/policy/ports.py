# SPDX-License-Identifier: Apache-2.0
"""Ports as policies write them, and the spans of numbers that they stand for.

Protocols are IP's numbers; the "port" of ICMP is the message's type, as in
Cilium's own maps (pkg/policy/api/icmp.go).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from bpfast.policy import cnp
from bpfast.policy.icmp import ICMP, ICMP_TYPES, ICMPV6
from bpfast.policy.subject import Subject

TCP: Final = 6
UDP: Final = 17
SCTP: Final = 132
MAX_PORT: Final = 65535

_NUMBERS: Final = {"TCP": TCP, "UDP": UDP, "SCTP": SCTP}

PortNames = Mapping[tuple[str, int], int]
"""(name, protocol) -> number."""


@dataclass(frozen=True, slots=True)
class Span:
    """The ports from ``first`` to ``last``, both included, of a protocol."""

    protocol: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class PortSpec:
    """An entry of ``ports``: a number (0: all) or a name, and for a range its end."""

    protocol: int
    port: int | str
    end: int | None = None

    def span(self, names: PortNames) -> Span | None:
        """Return the span of numbers; None for a name that stands for nothing here.

        An end below the port is no range (PortRangeToMaskedPorts); an end beside
        a name counts from the number that the name stands for.
        """
        number = names.get((self.port, self.protocol)) if isinstance(self.port, str) else self.port
        if number is None:
            return None
        if number == 0 and self.protocol not in (ICMP, ICMPV6):
            return Span(self.protocol, 0, self.end or MAX_PORT)
        return Span(self.protocol, number, max(number, self.end or 0))


def port_specs(ports: Iterable[cnp.Port]) -> tuple[PortSpec, ...]:
    """Return entries of ``ports``, one a protocol: ``ANY`` is TCP, UDP and SCTP."""
    return tuple(
        PortSpec(protocol, port.port, port.end_port)
        for port in ports
        for protocol in ((_NUMBERS[port.protocol],) if port.protocol in _NUMBERS else _NUMBERS.values())
    )


def icmp_specs(rules: Iterable[cnp.IcmpRule]) -> tuple[PortSpec, ...]:
    """Return the message types of ``icmps``; without a family it is IPv4's."""
    return tuple(_icmp(field) for rule in rules for field in rule.fields)


def _icmp(field: cnp.IcmpField) -> PortSpec:
    protocol = ICMPV6 if field.family == "IPv6" else ICMP
    return PortSpec(protocol, icmp_type(field.type, protocol))


def icmp_type(written: int | str, protocol: int) -> int:
    """Return the number of an ICMP type; KeyError if the name is not one of the family's."""
    if isinstance(written, int):
        return written
    return int(written) if written.isdecimal() else ICMP_TYPES[protocol][written]


def names_of(subject: Subject) -> PortNames:
    """Return the named ports of an endpoint: what names mean for connections to it."""
    return dict(_names(subject))


def names_of_all(subjects: Iterable[Subject]) -> PortNames:
    """Return the named ports on which all endpoints agree: what names mean for connections out.

    A name with two numbers stands for none (pkg/types/portmap.go).
    """
    found: dict[tuple[str, int], set[int]] = {}
    for subject in subjects:
        for key, number in _names(subject):
            found.setdefault(key, set()).add(number)
    return {key: next(iter(numbers)) for key, numbers in found.items() if len(numbers) == 1}


def _names(subject: Subject) -> Iterable[tuple[tuple[str, int], int]]:
    for name, meanings in subject.ports.items():
        for number, protocol in meanings:
            yield (name.lower(), _NUMBERS[protocol]), number
