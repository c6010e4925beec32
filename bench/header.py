# SPDX-License-Identifier: Apache-2.0
"""What layers 3 and 4 cost a packet: ``python -m bench.header``.

ENTRY and HEADER on a TCP segment that no rule lets in, so that both tries are
asked and nothing is changed, above a frame that is not IP (which ENTRY passes
at once). Nanoseconds by BPF_PROG_TEST_RUN, the least of several runs.
"""

import platform
import random
from ipaddress import IPv4Address

from bpfast import settings
from bpfast.abi import DenyMode, EventMode, PortVerdict
from bpfast.kernel import syscall
from bpfast.kernel.compiler import compiled
from bpfast.kernel.frames import ACK, Frames
from bpfast.kernel.prefixes import PeerPrefix, PeerTable, PortPrefix
from bpfast.kernel.state import EndpointConfig, PortEntry
from bpfast.kernel.trial import Trial

RUNS = 9
REPEAT = 200_000
SIZES = ((2, 2), (100, 10), (1000, 10), (10000, 20))
_POD = IPv4Address("10.255.255.254")


def _least(program: int, frame: bytes) -> int:
    return min(syscall.test_run(program, frame, repeat=REPEAT)[2] for _ in range(RUNS))


def _measure(trial: Trial, program: int, peers: int, ports: int) -> int:
    """Return the nanoseconds of one packet with so many peers that may use so many ports each."""
    chance = random.Random(peers)  # noqa: S311 - no secret
    known = {
        IPv4Address((10 << 24) + chance.randrange(1 << 24)): chance.randrange(256, 1 << 32)
        for _ in range(peers)
    }
    entries: dict[PortPrefix, PortEntry] = {}
    for identity in known.values():
        entries[PortPrefix(identity)] = PortEntry(PortVerdict.DENY)
        for port in range(ports):
            entries[PortPrefix.one(identity, 8000 + port)] = PortEntry(PortVerdict.ALLOW)
    trial.state.drop_policies(())
    trial.state.write_peers(PeerTable({PeerPrefix.of(each): known[each] for each in known}))
    trial.state.write_policy(peers, entries)
    config = EndpointConfig(
        enforced=True,
        timing=False,
        generation=1,
        policy=peers,
        deny_mode=DenyMode.DROP,
        event_mode=EventMode.NONE,
        mark=1,
        inspected=frozenset(),
    )
    trial.state.write_endpoint(trial.endpoint, config)
    frame = Frames(next(iter(known)), _POD, 40000, 7999).from_client(1, 1, ACK, b"x")
    return _least(program, frame)


def main() -> None:
    """Print the table."""
    code = compiled(settings.bpf_directory(), settings.cache_directory())
    print(f"Linux {platform.release()}, {platform.machine()}")
    print("peers  ports each  ns above a frame that is not IP")
    with Trial(code) as trial:
        program = trial.programs.load("xdp/bpfast_entry", trial.endpoint)
        for peers, ports in SIZES:
            whole = _measure(trial, program, peers, ports)
            print(f"{peers:5}  {ports:10}  {whole - _least(program, bytes(60)):31}")


if __name__ == "__main__":
    main()
