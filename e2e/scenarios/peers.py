# SPDX-License-Identifier: Apache-2.0
"""Random peers of an entry: pods, networks and entities, absent or empty, too."""

from ipaddress import ip_address, ip_network

from e2e.scenarios.dice import Dice
from e2e.scenarios.scenario import Object
from e2e.scenarios.selectors import selector
from e2e.scenarios.world import ENTITIES, Question

NETWORKS = (
    "192.0.2.0/24",
    "192.0.2.0/25",
    "192.0.2.7/32",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "10.0.0.0/8",
    "10.0.0.0/24",
    "172.16.0.0/12",
    "0.0.0.0/0",
    "2001:db8::/32",
    "2001:db8:1::/48",
    "::/0",
)
EVERY_ENTITY = (*ENTITIES, "all", "cluster", "none")


def peers(dice: Dice, question: Question, aim: float) -> Object:
    """Return the peer field of an entry, or nothing for everybody."""
    side = "from" if question.ingress else "to"
    kinds = {"Endpoints": 5.0, "CIDR": 1.0, "CIDRSet": 1.0, "Entities": 1.5, "": 1.5}
    if dice.chance(aim):
        kinds = _fitting(question)
    kind = dice.weighted(kinds)
    if kind == "":
        return {}
    low = 0 if dice.chance(0.12) else 1
    if kind == "Endpoints":
        return {
            f"{side}Endpoints": dice.several(low, 2, lambda: selector(dice, question.partner, aim))
            or ([] if low == 0 else [{}])
        }
    if kind == "Entities":
        return {f"{side}Entities": dice.several(low, 2, lambda: _entity(dice, question, aim))}
    if kind == "CIDR":
        return {f"{side}CIDR": dice.several(low, 2, lambda: _written(dice, _network(dice, question, aim)))}
    return {f"{side}CIDRSet": dice.several(low, 2, lambda: _cidr_rule(dice, question, aim))}


def _fitting(question: Question) -> dict[str, float]:
    if question.partner is not None:
        return {"Endpoints": 8.0, "Entities": 1.0, "": 1.0}
    if question.entity is not None:
        return {"Entities": 4.0, "Endpoints": 1.0, "": 1.0, "CIDR": 0.3}
    return {"CIDR": 3.0, "CIDRSet": 4.0, "Entities": 1.0, "": 1.0, "Endpoints": 0.3}


def _entity(dice: Dice, question: Question, aim: float) -> str:
    if not dice.chance(aim):
        return dice.one(EVERY_ENTITY)
    if question.entity is not None:
        return dice.one((question.entity, question.entity, "all", "cluster"))
    return dice.one(("cluster", "all") if question.partner is not None else ("world", "world", "all"))


def _network(dice: Dice, question: Question, aim: float) -> str:
    around = _around(question)
    return dice.one(around) if around and dice.chance(aim) else dice.one(NETWORKS)


def _around(question: Question) -> list[str]:
    """Return the networks that hold the peer's address."""
    if question.address is None:
        return []
    address = ip_address(question.address)
    return [network for network in NETWORKS if address in ip_network(network)]


def _written(dice: Dice, network: str) -> str:
    """Return a network as somebody might write it: now and then with host bits set."""
    address, length = network.split("/")
    if length == "24" and dice.chance(0.1):
        return f"{address.removesuffix('0')}77/24"
    if network == "0.0.0.0/0" and dice.chance(0.03):
        return "192.0.2.7/0"
    return network


def _cidr_rule(dice: Dice, question: Question, aim: float) -> Object:
    network = _network(dice, question, aim)
    written = _written(dice, network)
    inside = [each for each in NETWORKS if each != network and _within(each, network)]
    if not inside or dice.chance(0.4):
        return {"cidr": written} if dice.chance(0.8) else {"cidr": written, "except": []}
    return {"cidr": written, "except": dice.some(inside, 1, 2)}


def _within(inner: str, outer: str) -> bool:
    one, other = ip_network(inner), ip_network(outer)
    return one.version == other.version and one.network_address in other and one.prefixlen >= other.prefixlen
