# SPDX-License-Identifier: Apache-2.0
"""``--engine kernel``: policies -> maps -> the real programs, run with BPF_PROG_TEST_RUN.

Programs are loaded once. Each case has its own port policies, peers and
endpoint; tables stay in the kernel as long as there is room, since cases that
follow one another have rules in common.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

from bpfast import settings
from bpfast.abi import DenyMode, EventMode
from bpfast.abi import Direction as KernelDirection
from bpfast.controller.desired import Desired, desired, identity_of, inspected_ports, install, port_entries
from bpfast.controller.verdict.connection import Connection, Ends
from bpfast.controller.verdict.engine import Case, Layer34, Question
from bpfast.controller.verdict.tables import Tables
from bpfast.kernel.compiler import compiled
from bpfast.kernel.frames import Address
from bpfast.kernel.prefixes import PeerPrefix, PeerTable
from bpfast.kernel.state import EndpointConfig
from bpfast.kernel.trial import Trial
from bpfast.model.judgement import Judgement
from bpfast.policy.meaning import Direction, Inspect, Peer
from bpfast.tables.build import Refusal

_FIRST_PORT, _PORTS = 1024, 60000
_INSTALLED = 96
"""Tables in the kernel beside which there is room for those of a case (16 MiB, about 0.1 each)."""

_DIRECTIONS = {
    Direction.INGRESS: KernelDirection.INGRESS,
    Direction.EGRESS: KernelDirection.EGRESS,
}
# RFC 5737 and RFC 3849: for a peer that has no address of its own, and for the endpoint.
_PEER = IPv4Address("192.0.2.1")
_ENDPOINTS: dict[int, Address] = {4: IPv4Address("192.0.2.2"), 6: IPv6Address("2001:db8::2")}


class KernelEngine:
    """The whole chain on made-up packets."""

    def __init__(self) -> None:
        """Compile and load the programs."""
        self.trial = Trial(compiled(settings.bpf_directory(), settings.cache_directory()), quarantine=0)
        self.tables = Tables()
        self._number = 0
        self._installed: dict[int, None] = {}

    def open(self, case: Case) -> "KernelSession":
        """Write everything that the case needs."""
        asked = case.question
        wanted = desired(
            case.world,
            case.policies,
            only={asked.endpoint},
            directions=(asked.direction,),
            refused=case.refused,
            builder=self.tables.build,
        )
        self._make_room()
        indices = install(wanted, self.trial.state)
        self._installed.update(dict.fromkeys(indices.values()))
        policy = wanted.policy(asked.endpoint, asked.direction)
        entries = port_entries(policy, indices)
        peer, peers = _peer(wanted, asked)
        state = self.trial.state
        self._number += 1
        state.write_policy(self._number, entries)
        state.write_peers(peers)
        config = EndpointConfig(
            enforced=policy.enforced,
            timing=False,
            generation=self._number,
            policy=self._number,
            deny_mode=DenyMode.DROP,
            event_mode=EventMode.ALL,
            mark=1,
            inspected=inspected_ports(entries),
            direction=_DIRECTIONS[asked.direction],
        )
        state.write_endpoint(self.trial.endpoint, config)
        state.drop_policies((self._number,))
        names = {index: wanted.images[rules].rules for rules, index in indices.items()}
        return KernelSession(self.trial, asked, peer, names, self._refused(wanted, asked))

    def _refused(self, wanted: Desired, asked: Question) -> tuple[Refusal, ...]:
        """Return the rules that would have decided and are in no table."""
        peer = asked.peer if isinstance(asked.peer, Peer) else wanted.peer_at(asked.peer)
        verdict = wanted.policy(asked.endpoint, asked.direction).verdict(peer, asked.port)
        return self.tables.build(verdict.rules).refused if isinstance(verdict, Inspect) else ()

    def _make_room(self) -> None:
        """Take the oldest tables away; no packet is on its way."""
        if len(self._installed) > _INSTALLED:
            self._installed.clear()
            self.trial.state.retire(())

    def close(self) -> None:
        """Give programs and maps back."""
        self.trial.close()


def _peer(wanted: Desired, asked: Question) -> tuple[Address, PeerTable]:
    """Return an address that the kernel knows as the peer's, and the table in which it does."""
    if not isinstance(asked.peer, Peer):
        return asked.peer, wanted.peers
    for endpoint in wanted.endpoints:
        for address in endpoint.addresses:
            if Peer.endpoint(endpoint.full_name) == asked.peer:
                return address, wanted.peers
    made_up = {PeerPrefix.of(_PEER): identity_of(asked.peer)}
    return _PEER, PeerTable(wanted.peers.identities | made_up)


class KernelSession:
    """One case; its handshake is done once to see what layers 3 and 4 say."""

    def __init__(
        self,
        trial: Trial,
        asked: Question,
        peer: Address,
        rules: dict[int, tuple[str, ...]],
        refused: tuple[Refusal, ...],
    ) -> None:
        """Ask for the verdict of layers 3 and 4."""
        self._trial = trial
        self._rules = rules
        self._egress = asked.direction is Direction.EGRESS
        self._peer = peer
        self._port = asked.port
        self._client_port = 0
        self.refused = refused
        probe = self._connection()
        self.l34: Layer34 = probe.open()
        probe.forget()

    def _connection(self) -> Connection:
        self._client_port = self._client_port % _PORTS + 1
        endpoint = _ENDPOINTS[self._peer.version]
        client, server = (endpoint, self._peer) if self._egress else (self._peer, endpoint)
        ends = Ends(client, server, _FIRST_PORT + self._client_port, self._port)
        return Connection(self._trial, ends, self._rules)

    def judge(self, segments: Sequence[bytes]) -> Judgement:
        """Send the segments on a connection of their own."""
        if self.l34 != "inspect":
            return Judgement(self.l34)
        connection = self._connection()
        connection.open()
        return connection.send(segments)
