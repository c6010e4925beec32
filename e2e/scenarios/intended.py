# SPDX-License-Identifier: Apache-2.0
"""The differences that are meant: in each of them BPFast is the stricter side.

A difference that none of these explains is a fault. One on the other side, where
BPFast would allow more, is never intended, whatever stands here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from e2e.scenarios.compare import DENIES, REFUSES, Case, Difference

_EGRESS: Final = "stays on Envoy: egress HTTP rules hold"
_ONE_RULE: Final = re.compile(r"\.http\[\d+\]$")


@dataclass(frozen=True, slots=True)
class Intended:
    """A kind of difference, why it is meant, and how to know it."""

    name: str
    why: str
    explains: Callable[[Difference], bool]


def _answered(*reasons: str) -> Callable[[Difference], bool]:
    """The request was denied for what it is, whatever the rules say."""

    def explains(difference: Difference) -> bool:
        if difference.request is None:
            return False
        return difference.case.ours.requests[difference.request].reason in reasons

    return explains


def _refused(pattern: str) -> Callable[[Difference], bool]:
    """The policy was refused with such a text."""
    compiled = re.compile(pattern)

    def explains(difference: Difference) -> bool:
        return difference.kind == REFUSES and compiled.search(difference.detail) is not None

    return explains


def _closed(difference: Difference) -> bool:
    """Something bigger than a single HTTP rule was refused: that closes what it may select."""
    refused = (each for each in difference.case.ours.refused if not each.stays)
    return difference.kind == DENIES and any(not _ONE_RULE.search(each.path) for each in refused)


def _envoy(difference: Difference) -> bool:
    """Some entry stays on Envoy, not only because all of egress does."""
    complaints = (each for each in difference.case.ours.refused if each.stays)
    return difference.kind == DENIES and any(not each.reason.startswith(_EGRESS) for each in complaints)


def _all_of_ipv6(difference: Difference) -> bool:
    return (
        difference.kind == DENIES
        and _is_ipv4(difference.case)
        and "::/0" in str(difference.case.scenario.policies)
    )


def _is_ipv4(case: Case) -> bool:
    try:
        return ip_address(case.scenario.peer).version == 4
    except ValueError:
        return case.scenario.peer == "entity:world"


INTENDED: Final = (
    Intended(
        "path-not-canonical",
        "Envoy rewrites such a path first; the server may read it in another way",
        _answered("bad_path"),
    ),
    Intended("no-host", "a 400 in Envoy, before any policy", _answered("missing_host")),
    Intended(
        "odd-host",
        "two hosts, or none that a server and Envoy would surely read alike",
        _answered("bad_host"),
    ),
    Intended(
        "header-twice",
        "Envoy joins the values; a server may take the first or the last",
        _answered("repeated_header"),
    ),
    Intended("unknown-method", "only methods that Envoy knows", _answered("bad_method")),
    Intended("octal-port", "Cilium reads 010 as 8, its author means 10", _refused("is octal to Cilium")),
    Intended(
        "number-like-port-name",
        "Cilium reads 0x50 as a name, its author means a number",
        _refused("is the name of a port to Cilium"),
    ),
    Intended(
        "range-backwards",
        "Cilium ignores such an endPort, its author means a range",
        _refused("is below the first port"),
    ),
    Intended(
        "end-port-beside-a-name",
        "Cilium's documents say that it is ignored, its engine uses it",
        _refused("may not stand beside a port by name"),
    ),
    Intended(
        "odd-spelling-of-everything",
        "in a list of CIDRs 192.0.2.7/0 selects nobody outside, its author means everybody",
        _refused("is every address"),
    ),
    Intended(
        "label-source",
        "labels of containers and the like exist on no pod here",
        _refused("label source .* is not supported"),
    ),
    Intended(
        "reserved-label-of-nobody",
        "a selector that can never be true is a mistake",
        _refused("is no reserved label that selects anybody"),
    ),
    Intended(
        "another-namespace",
        "Cilium overwrites the namespace of an endpointSelector",
        _refused("the policy's own namespace"),
    ),
    Intended(
        "impossible-header-name",
        "no request can have it; Cilium's rule matches nothing",
        _refused("is not a token of RFC 9110"),
    ),
    Intended(
        "null", "Cilium drops a null, its author may have meant an empty list", _refused("must not be null")
    ),
    Intended(
        "wider-exception", "an exception wider than its network leaves nothing", _refused("is not inside of")
    ),
    Intended("icmp-type-out-of-range", "no packet has such a type", _refused("is no ICMP type")),
    Intended("no-specs", "an empty list of rules is a mistake", _refused("must hold at least one entry")),
    Intended(
        "seen-by-envoy-alone",
        "Cilium notices only when the policy selects a pod: then Envoy refuses all of it",
        _refused("is not a regex in RE2 syntax|has no name before"),
    ),
    Intended(
        "port-0-with-end-port",
        "a range to Cilium, where it cancels no HTTP rule; its author means one or the other",
        _refused("endPort: may not stand beside port '0'"),
    ),
    Intended("refused-policy-closes", "what a refused policy may select is closed, not left open", _closed),
    Intended(
        "world-by-its-label",
        "where both families are enabled reserved:world is nobody's label: the entity says it for all",
        _refused("selects nobody where both address families are enabled"),
    ),
    Intended("stays-on-envoy", "what only Envoy can filter or rewrite is not opened by the kernel", _envoy),
    Intended(
        "all-of-ipv6",
        "on a cluster without IPv6 Cilium takes ::/0 of a CIDRSet for all of IPv4, too",
        _all_of_ipv6,
    ),
)


def intended(difference: Difference) -> Intended | None:
    """Return what explains a difference, None for one that is a fault."""
    if not difference.strict:
        return None
    return next((each for each in INTENDED if each.explains(difference)), None)
