# SPDX-License-Identifier: Apache-2.0
"""Which connections begin or cease to be inspected by a change."""

from collections.abc import Mapping
from dataclasses import dataclass

from bpfast import abi
from bpfast.controller.desired import Entries
from bpfast.controller.sweep import FlowKey
from bpfast.kernel.prefixes import TCP, PeerTable, PortTable
from bpfast.policy.peers import Address


def _inspects(entries: Entries, identity: int, port: int) -> bool:
    entry = PortTable(entries).at(identity, TCP, port)
    return entry is not None and entry.verdict == abi.PortVerdict.INSPECT


@dataclass(frozen=True, slots=True)
class Change:
    """What is enforced before and after: entries by endpoint number, identities by network.

    A flow that was not watched for a while says nothing about its connection any
    more, so flows and embryos go when inspection begins, and when it ends.
    """

    before: Mapping[int, Entries]
    after: Mapping[int, Entries]
    peers_before: PeerTable
    peers_after: PeerTable
    outgoing: frozenset[int] = frozenset()
    """The numbers whose peer is the destination."""
    unknown: frozenset[int] = frozenset()
    """The numbers of which nobody can read what was enforced: where there is a flow, it was inspected."""

    def becomes_inspected(self, key: FlowKey) -> bool:
        """Tell whether this connection is inspected only from now on."""
        return self._after(key) and not self._before(key)

    def is_no_longer_inspected(self, key: FlowKey) -> bool:
        """Tell whether this connection was inspected until now."""
        return self._before(key) and not self._after(key)

    def _before(self, key: FlowKey) -> bool:
        if key.endpoint in self.unknown:
            return True
        identity = self.peers_before.at(self._peer(key))
        return _inspects(self.before.get(key.endpoint, {}), identity, key.port)

    def _after(self, key: FlowKey) -> bool:
        identity = self.peers_after.at(self._peer(key))
        return _inspects(self.after.get(key.endpoint, {}), identity, key.port)

    def _peer(self, key: FlowKey) -> Address:
        return abi.unpack_address(key.local if key.endpoint in self.outgoing else key.peer)
