# SPDX-License-Identifier: Apache-2.0
"""What the kernel's maps hold after one set of policies has followed another.

Programs and maps are the real ones; only the links are played, since no
interface takes part.
"""

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from bpfast.abi import IDENTITY_WORLD, DenyMode, Direction, EventMode, MapNumber, PortVerdict
from bpfast.controller import enforce
from bpfast.controller.desired import identity_of
from bpfast.controller.enforce import Enforcer, Modes
from bpfast.controller.sweep import FlowKey, Sweeper
from bpfast.errors import Failure
from bpfast.kernel import syscall
from bpfast.kernel.prefixes import PeerPrefix, PortPrefix
from bpfast.kernel.program import Programs
from bpfast.kernel.site import Hook, Site
from bpfast.kernel.state import EndpointConfig, PortEntry, State
from bpfast.kernel.trial import Trial
from bpfast.policy.meaning import Peer
from bpfast.settings import WITHOUT_TCX_VARIABLE
from bpfast.standalone.endpoints import Endpoint
from tests.controller.scenes import (
    ALLOW,
    API,
    CLIENT,
    CLIENT_ADDRESS,
    GET_PUBLIC,
    INSPECT,
    STRANGER_ADDRESS,
    WEB,
    embryos,
    half_open,
    opened,
    packed_key,
    policy,
    to_web,
    wanted,
)

pytestmark = pytest.mark.privileged

API_OTHER = policy("api", {"method": "PUT"})
API_INSPECTS = policy("api", GET_PUBLIC)
CLIENT_IDENTITY = identity_of(Peer.endpoint(CLIENT.full_name))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory for pins; an attachment is no more than its directory."""

    def attach(_programs: Programs, _number: int, _site: Site, directory: Path) -> None:
        directory.mkdir()

    def detach(directory: Path) -> None:
        if directory.exists():
            directory.rmdir()

    monkeypatch.setattr(enforce, "attach", attach)
    monkeypatch.setattr(enforce, "detach", detach)
    monkeypatch.setattr(enforce, "devices", lambda _site: None)
    return tmp_path


def made(trial: Trial, root: Path) -> Enforcer:
    """Return an enforcer over the trial's maps."""
    sweeper = Sweeper(trial.maps, trial.programs)
    modes = Modes(Hook.XDP, DenyMode.REPLY, EventMode.ALL, timing=False)
    return Enforcer(trial.programs, trial.state, sweeper, root=root, modes=modes)


@pytest.fixture
def enforcer(trial: Trial, root: Path) -> Enforcer:
    """An enforcer that has nothing to enforce yet; its first endpoint is the trial's."""
    return made(trial, root)


def generation(trial: Trial, number: int) -> int:
    """Return the generation of an endpoint as the kernel has it."""
    return trial.state.read_endpoint(number)[0]


def outgoing(policy: dict[str, Any]) -> dict[str, Any]:
    """Return a policy of layer 4 that is about what its subject asks for."""
    (rule,) = policy["spec"]["ingress"]
    spec = {
        "endpointSelector": policy["spec"]["endpointSelector"],
        "egress": [{"toEndpoints": rule["fromEndpoints"], "toPorts": rule["toPorts"]}],
    }
    return {**policy, "spec": spec}


def number_of(enforcer: Enforcer, endpoint: Endpoint) -> int:
    """Return the number of an endpoint that is enforced."""
    (number,) = (n for n, p in enforcer.policed.items() if p.endpoint.full_name == endpoint.full_name)
    return number


def test_policies_become_what_the_kernel_looks_up(trial: Trial, enforcer: Enforcer) -> None:
    """The policy under an endpoint's number has an entry for each peer and port, and the peers are known."""
    (index,) = enforcer.apply(wanted(INSPECT)).values()
    assert {1: WEB.netns.path if WEB.netns else None} == {
        number: site.place.netns for number, site in enforcer.sites().items()
    }
    _generation, number, mark = trial.state.read_endpoint(1)
    entries = trial.state.read_policy(number)
    assert PortEntry(PortVerdict.INSPECT, index) == entries[PortPrefix.one(CLIENT_IDENTITY, 80)]
    assert PortEntry(PortVerdict.DENY) == entries[PortPrefix(CLIENT_IDENTITY)]
    assert PortEntry(PortVerdict.DENY) == entries[PortPrefix(0)]
    assert mark == enforcer.policed[1].mark != 0
    assert enforcer.policed[1].entries == entries
    assert enforcer.policed[1].directory.is_dir()


def test_only_one_policy_of_an_endpoint_is_kept(trial: Trial, enforcer: Enforcer) -> None:
    """What is switched away is deleted, and nothing else."""
    for policies in ((INSPECT,), (ALLOW,), (INSPECT, API_INSPECTS), (INSPECT,)):
        enforcer.apply(wanted(*policies))
        in_use = {trial.state.read_endpoint(number)[1] for number in enforcer.policed}
        assert in_use == trial.state.policy_numbers()


def test_the_same_again_changes_nothing(trial: Trial, enforcer: Enforcer) -> None:
    """Policies that say the same as before leave the endpoint and its flows as they are."""
    enforcer.apply(wanted(INSPECT))
    before = trial.state.read_endpoint(1)
    opened(trial, to_web(40000))
    enforcer.apply(wanted(INSPECT))
    assert before == trial.state.read_endpoint(1)
    assert 1 == len(trial.flows())


@pytest.mark.parametrize("between", ((ALLOW,), ()), ids=("allowed", "not enforced"))
def test_flows_from_before_a_time_without_inspection_are_forgotten(
    trial: Trial, enforcer: Enforcer, between: tuple[dict[str, object], ...]
) -> None:
    """What is known of connections does not outlive a time in which nobody looked at them."""
    enforcer.apply(wanted(INSPECT))
    opened(trial, to_web(40000))
    half_open(trial, to_web(40001))
    assert (1, 1) == (len(trial.flows()), len(embryos(trial)))
    enforcer.apply(wanted(*between))
    assert ([], []) == (trial.flows(), embryos(trial))
    enforcer.apply(wanted(INSPECT))
    assert ([], []) == (trial.flows(), embryos(trial))


def test_what_is_left_from_an_uninspected_time_is_forgotten_before_inspection(
    trial: Trial, enforcer: Enforcer
) -> None:
    """An embryo that came between the two deletions of the end does not live on at the next beginning."""
    enforcer.apply(wanted(INSPECT))
    opened(trial, to_web(40000))
    half_open(trial, to_web(40001))
    entries = {key: PortEntry(PortVerdict.ALLOW) for key in enforcer.policed[1].entries}
    enforcer.policed[1] = replace(enforcer.policed[1], entries=entries)
    enforcer.apply(wanted(INSPECT))
    assert ([], []) == (trial.flows(), embryos(trial))


def test_flows_of_others_stay(trial: Trial, enforcer: Enforcer) -> None:
    """When a peer is inspected no longer, connections of other peers are still known."""
    world = policy("web", GET_PUBLIC)
    del world["spec"]["ingress"][0]["fromEndpoints"]
    world["metadata"]["name"] = "world"
    enforcer.apply(wanted(world))
    opened(trial, to_web(40000))
    opened(trial, to_web(40001, STRANGER_ADDRESS))
    enforcer.apply(wanted(world, ALLOW))
    (left,) = trial.flows()
    assert packed_key(1, to_web(40001, STRANGER_ADDRESS)) == left


def test_rules_that_change_keep_the_flows(trial: Trial, enforcer: Enforcer) -> None:
    """Other rules are another generation, but no reason to forget what was watched all the time."""
    enforcer.apply(wanted(INSPECT))
    opened(trial, to_web(40000))
    before = generation(trial, 1)
    enforcer.apply(wanted(policy("web", {"method": "POST", "path": "/other"})))
    assert before < generation(trial, 1)
    assert 1 == len(trial.flows())


def test_a_generation_never_comes_back(trial: Trial, enforcer: Enforcer) -> None:
    """Whatever endpoint is dropped and comes again under its number, its generation is a new one."""
    seen = set()
    for policies in ((INSPECT,), (), (INSPECT,), (API_INSPECTS,), (INSPECT,), (ALLOW,), (INSPECT,)):
        enforcer.apply(wanted(*policies))
        if policies:
            (number,) = enforcer.policed
            assert generation(trial, number) not in seen
            seen.add(generation(trial, number))
    assert 6 == len(seen)


def test_two_endpoints_never_share_a_generation(trial: Trial, enforcer: Enforcer) -> None:
    """Endpoints count together, so that one under the other's old number is not taken for it."""
    enforcer.apply(wanted(INSPECT, API_INSPECTS))
    numbers = {number_of(enforcer, WEB), number_of(enforcer, API)}
    assert {1, 2} == numbers
    assert generation(trial, 1) != generation(trial, 2)


def test_a_generation_goes_on_in_the_next_process(trial: Trial, enforcer: Enforcer, root: Path) -> None:
    """Whoever takes the maps over counts on from the highest that is there."""
    enforcer.apply(wanted(INSPECT, API_INSPECTS))
    highest = max(generation(trial, 1), generation(trial, 2))
    elsewhere = root / "following"
    elsewhere.mkdir()
    following = made(trial, elsewhere)
    following.apply(wanted(INSPECT))
    assert highest < generation(trial, 1)


def test_an_endpoint_without_policy_is_let_go(trial: Trial, enforcer: Enforcer) -> None:
    """An endpoint that nothing selects any more is detached, open, and its flows are gone."""
    enforcer.apply(wanted(INSPECT))
    opened(trial, to_web(40000))
    directory = enforcer.policed[1].directory
    enforcer.apply(wanted())
    assert {} == enforcer.policed
    assert not directory.exists()
    assert (0, 0, 0) == trial.state.read_endpoint(1)
    assert [] == trial.flows()


def moved(address: str) -> Endpoint:
    """Return the client at another address."""
    return Endpoint("client", labels=CLIENT.labels, addresses=(IPv4Address(address),))


def test_peers_that_move_are_another_generation(trial: Trial, enforcer: Enforcer) -> None:
    """When addresses change hands every flow's verdict is asked for anew, though the entries are the same."""
    enforcer.apply(wanted(INSPECT))
    before = generation(trial, 1)
    entries = enforcer.policed[1].entries
    enforcer.apply(wanted(INSPECT, endpoints=(WEB, API, moved("10.0.0.7"))))
    assert entries == enforcer.policed[1].entries
    assert before < generation(trial, 1)


def test_flows_of_an_address_that_is_the_peers_no_longer_are_forgotten(
    trial: Trial, enforcer: Enforcer
) -> None:
    """Who is denied now is not known from the time when its address was the client's."""
    enforcer.apply(wanted(INSPECT))
    opened(trial, to_web(40000))
    enforcer.apply(wanted(INSPECT, endpoints=(WEB, API, moved("10.0.0.7"))))
    assert [] == trial.flows()
    opened(trial, to_web(40000, IPv4Address("10.0.0.7")))
    assert [40000] == [FlowKey.unpack(raw).peer_port for raw in trial.flows()]


def test_addresses_change_hands_around_the_switch(
    trial: Trial, enforcer: Enforcer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New addresses are known before a policy is switched, old ones until after: neither is the world."""
    enforcer.apply(wanted(INSPECT))
    old, new = CLIENT_ADDRESS, IPv4Address("10.0.0.7")
    seen = []
    real = State.write_endpoint

    def write_endpoint(state: State, number: int, config: EndpointConfig) -> None:
        seen.append((state.peers().at(old), state.peers().at(new)))
        real(state, number, config)

    monkeypatch.setattr(State, "write_endpoint", write_endpoint)
    enforcer.apply(wanted(ALLOW, endpoints=(WEB, API, moved(str(new)))))

    assert [(CLIENT_IDENTITY, CLIENT_IDENTITY)] == seen
    assert IDENTITY_WORLD == trial.state.peers().at(old)


def test_a_full_map_takes_nothing_away(trial: Trial, enforcer: Enforcer) -> None:
    """A change for which there is no room leaves policies, peers, rules and endpoints as they were."""
    enforcer.apply(wanted(INSPECT))
    before = trial.state.read_endpoint(1), trial.state.peers().identities, trial.state.policy_numbers()
    crowd = Endpoint("crowd", addresses=tuple(IPv4Address(0x0B000000 + number) for number in range(70_000)))

    with pytest.raises(Failure):
        enforcer.apply(wanted(ALLOW, API_OTHER, endpoints=(WEB, API, moved("10.0.0.7"), crowd)))

    assert [WEB.full_name] == [policed.endpoint.full_name for policed in enforcer.policed.values()]
    assert 1 == len(trial.state.rule_sets())
    after = trial.state.read_endpoint(1), trial.state.peers().identities, trial.state.policy_numbers()
    assert before == after
    size = len(PeerPrefix.of(CLIENT_ADDRESS).pack())
    assert set(before[1]) == set(map(PeerPrefix.unpack, syscall.map_keys(trial.maps[MapNumber.PEERS], size)))
    opened(trial, to_web(40000))
    assert 1 == len(trial.flows())
    enforcer.apply(wanted(ALLOW))
    assert [] == trial.flows()


def test_a_change_of_direction_that_fails_is_undone(
    enforcer: Enforcer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without tcx the old programs go before the new can come; where these cannot, the old come back."""

    def refusing(_programs: Programs, _number: int, site: Site, directory: Path) -> None:
        if site.direction is Direction.EGRESS:
            raise Failure("no room")
        directory.mkdir()

    monkeypatch.setenv(WITHOUT_TCX_VARIABLE, "1")
    enforcer.apply(wanted(INSPECT))
    entries = enforcer.policed[1].entries
    monkeypatch.setattr(enforce, "attach", refusing)
    with pytest.raises(Failure, match="no room"):
        enforcer.apply(wanted(outgoing(ALLOW)))

    assert [(Direction.INGRESS, entries)] == [
        (policed.site.direction, policed.entries) for policed in enforcer.policed.values()
    ]
    assert enforcer.policed[1].directory.is_dir()
