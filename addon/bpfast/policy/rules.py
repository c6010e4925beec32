# SPDX-License-Identifier: Apache-2.0
"""The kernel-neutral meaning of the HTTP part of a policy, as frozen values.

Lowering (``policy.lower``) makes these from CiliumNetworkPolicies; ``tables``
makes automata of them. Nothing here knows YAML, bytes or maps.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """A header that must be there, once.

    ``name`` is compared without regard to ASCII case. ``value`` None asks for
    presence only; else the whole value, without blanks around it, must be equal
    byte by byte (Cilium ``headers``: split at the first space).
    """

    name: str
    value: str | None


@dataclass(frozen=True, slots=True)
class HttpRule:
    """One entry of ``rules.http``: all parts must hold.

    ``name`` is ``ns/name spec.ingress[0].toPorts[0].rules.http[2]``. The
    regexes have RE2 syntax and must match in full; None matches everything.
    ``path`` is matched against the whole request target, query included.
    """

    name: str
    method: str | None = None
    path: str | None = None
    host: str | None = None
    headers: tuple[HeaderMatch, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The union of the HTTP rules for one endpoint, direction, port and peer.

    ``rules`` stand in file order. An empty set allows no request.
    """

    rules: tuple[HttpRule, ...]
