# SPDX-License-Identifier: Apache-2.0
"""The lowering, which does it all at once, says of each question what the model says by reading."""

import random
from ipaddress import ip_address
from typing import Any

import pytest

from bpfast.model.policy import decide
from bpfast.policy.lower import lower
from bpfast.policy.meaning import Direction, Peer
from bpfast.policy.reader import Text, examine
from bpfast.policy.subject import Subject
from tests.model.policies import Maker

SUBJECTS = (
    Subject(
        "demo", "web", {"app": "web", "tier": "1"}, ports={"http": ((80, "TCP"),), "alt": ((8080, "TCP"),)}
    ),
    Subject("demo", "client", {"app": "c"}, ports={"http": ((80, "TCP"), (81, "UDP"))}),
    Subject("other", "far", {"app": "c", "tier": "2"}, {"team": "x"}, ports={"alt": ((8081, "TCP"),)}),
)
ADDRESSES = tuple(map(ip_address, ("192.0.2.200", "192.0.2.1", "10.1.1.1", "198.51.100.7", "2001:db8::1")))
PORTS = (80, 80, 81, 79, 85, 8080, 8081, 1, 443)
BATCH = 25


@pytest.mark.parametrize("batch", range(12))
def test_the_same_as_lowered(batch: int) -> None:
    """For each endpoint, direction, peer or address, and port, both say the same."""
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        same(seed)


def same(seed: int) -> None:
    """Compare the answers to some questions about the policies of a seed."""
    dice = random.Random(seed)
    maker = Maker(seed)
    reading = examine([Text(f"{n}.yaml", maker.policy(n)) for n in range(dice.choice((1, 1, 2, 3)))])
    closed = dice.random() < 0.2
    lowered = lower(reading.policies, SUBJECTS, default_deny=closed, refused=reading.refused)
    for direction in Direction:
        for subject in SUBJECTS:
            policy = lowered.of(direction)[subject.full_name]
            asked: list[tuple[Any, Peer]] = [(peer, peer) for peer in policy.peers]
            asked += [(address, lowered.peer_outside(address)) for address in ADDRESSES]
            for asker, peer in asked:
                port = dice.choice(PORTS)
                said = decide(reading.policies, SUBJECTS, direction, subject.full_name, asker, port,
                              default_deny=closed, refused=reading.refused)  # fmt: skip

                assert policy.verdict(peer, port) == said, (
                    seed,
                    direction,
                    subject.full_name,
                    str(asker),
                    port,
                )
