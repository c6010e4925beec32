# SPDX-License-Identifier: Apache-2.0
"""What rules ask of header lines, as bits.

Two bit sets of 64 go with every head: ``seen`` has a bit for each header name
that may come only once (the framing ones, and every name that a rule asks for),
``fulfilled`` a bit for each thing asked: this name is there, this name has that
value, the host matches this pattern. A rule needs some bits; equal demands of
different rules share one.

Names ``Host``, ``Content-Length``, ``Expect`` and ``Transfer-Encoding`` have
bits of their own already, so a rule that asks for one of them costs no name.
"""

from dataclasses import dataclass, field

from bpfast.abi import SeenBit
from bpfast.automata.syntax import parse
from bpfast.automata.tree import Node, bytes_in
from bpfast.errors import LimitExceeded, Unsupported
from bpfast.policy.rules import HeaderMatch, HttpRule
from bpfast.tables.http1 import TCHAR

MAX_CONSTRAINTS = 64
MAX_NAMES = 64 - SeenBit.ASKED
_TOKEN = frozenset(bytes_in(TCHAR))
_OWN_BITS = {
    b"host": int(SeenBit.HOST),
    b"content-length": int(SeenBit.CONTENT_LENGTH),
    b"expect": int(SeenBit.EXPECT),
    b"transfer-encoding": int(SeenBit.TRANSFER_ENCODING),
}

Demand = tuple[bytes, bytes | None]
"""A folded header name, and its value or None for presence."""


@dataclass(slots=True)
class Constraints:
    """The bits given out so far; both tables are in order of first use."""

    names: dict[bytes, int] = field(default_factory=lambda: dict(_OWN_BITS))
    demands: dict[Demand, int] = field(default_factory=dict)
    hosts: dict[str, int] = field(default_factory=dict)

    def add(self, rule: HttpRule) -> int:
        """Return the bits that ``rule`` needs; on an error nothing has been given out."""
        demands = [_demand(header) for header in rule.headers]
        names = [name for name, _ in demands if name not in self.names]
        hosts = [rule.host] if rule.host is not None and rule.host not in self.hosts else []
        fresh = dict.fromkeys(demand for demand in demands if demand not in self.demands)
        fresh_names = dict.fromkeys(names)
        if len(self.names) - len(_OWN_BITS) + len(fresh_names) > MAX_NAMES:
            what = "header names asked for by a rule set"
            raise LimitExceeded(what, MAX_NAMES)
        if len(self.demands) + len(self.hosts) + len(fresh) + len(hosts) > MAX_CONSTRAINTS:
            what = "different demands on headers and hosts in a rule set"
            raise LimitExceeded(what, MAX_CONSTRAINTS)
        for name in fresh_names:
            self.names[name] = SeenBit.ASKED + len(self.names) - len(_OWN_BITS)
        for demand in fresh:
            self.demands[demand] = self._next()
        for host in hosts:
            self.hosts[host] = self._next()
        need = sum(1 << bit for bit in {self.demands[demand] for demand in demands})
        return need | (1 << self.hosts[rule.host] if rule.host is not None else 0)

    def _next(self) -> int:
        return len(self.demands) + len(self.hosts)

    def host_trees(self) -> tuple[tuple[int, Node], ...]:
        """Return the bit and the tree of every host pattern."""
        return tuple((bit, parse(text)) for text, bit in self.hosts.items())


def _demand(header: HeaderMatch) -> Demand:
    # A lone surrogate (from JSON) is no reason to fall: no request can have it.
    name = header.name.encode(errors="surrogatepass").lower()
    if not name or not _TOKEN.issuperset(name):
        what = f"header name {header.name!r} is not a token of RFC 9110: no request can have it"
        raise Unsupported(what)
    return name, None if header.value is None else header.value.encode(errors="surrogatepass")
