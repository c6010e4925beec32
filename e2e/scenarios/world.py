# SPDX-License-Identifier: Apache-2.0
"""The pods, addresses and ports of random scenarios, and the question that is asked about them."""

from dataclasses import dataclass

from e2e.scenarios.dice import Dice
from e2e.scenarios.scenario import Object, full_name

NAMESPACES: dict[str, dict[str, str]] = {
    "default": {},
    "prod": {"env": "prod", "team": "red"},
    "dev": {"env": "dev"},
}
LABELS = {
    "app": ("server", "client", "db"),
    "tier": ("front", "back"),
    "version": ("v1", "v2", ""),
    "example.com/role": ("web", "batch"),
}
ACCOUNTS = ("default", "robot")
PORT_NAMES = ("http", "web", "metrics", "dns")
NUMBERS = (80, 8080, 443, 9090, 8000, 53)
ADDRESSES = ("192.0.2.7", "192.0.2.200", "198.51.100.9", "203.0.113.5", "10.200.0.1", "172.16.9.9")
ADDRESSES_6 = ("2001:db8::7", "2001:db8:1::9", "fd00:9::1")
ENTITIES = ("world", "host", "remote-node", "health", "init", "unmanaged", "ingress", "kube-apiserver")


@dataclass(frozen=True, slots=True)
class Question:
    """Who asks whom on which port. ``partner`` is the peer's pod, None when the peer is none."""

    endpoints: tuple[Object, ...]
    subject: Object
    direction: str
    peer: str
    partner: Object | None
    port: int

    @property
    def ingress(self) -> bool:
        """True for what comes to the subject."""
        return self.direction == "ingress"

    @property
    def entity(self) -> str | None:
        """The name of the entity that asks, if one does."""
        return self.peer.removeprefix("entity:") if self.peer.startswith("entity:") else None

    @property
    def address(self) -> str | None:
        """The address that asks, if nothing else is known of it."""
        known = self.partner is not None or self.entity is not None
        return None if known else self.peer


def ask(dice: Dice) -> Question:
    """Return a question about pods of its own."""
    endpoints = tuple(_pod(dice, number) for number in range(dice.number(2, 5)))
    subject, partner = dice.some(endpoints, 2, 2)
    port = dice.weighted({80: 6, 8080: 3, 443: 1, 9090: 1, 8000: 1, 53: 0.5, 65535: 0.2, 1: 0.2})
    kind = dice.weighted({"pod": 11, "own address": 1, "address": 4, "address 6": 0.7, "entity": 3})
    peer = full_name(partner)
    if kind == "own address":
        peer = partner["addresses"][0]
    elif kind == "entity":
        peer = f"entity:{dice.weighted(dict.fromkeys(ENTITIES, 1.0) | {'host': 2.0, 'world': 4.0})}"
    elif kind != "pod":
        peer = dice.one(ADDRESSES if kind == "address" else ADDRESSES_6)
    return Question(
        endpoints=endpoints,
        subject=subject,
        direction=dice.weighted({"ingress": 2, "egress": 1}),
        peer=peer,
        partner=partner if "pod" in kind or "own" in kind else None,
        port=port,
    )


def _pod(dice: Dice, number: int) -> Object:
    namespace = dice.weighted({"default": 4, "prod": 2, "dev": 1})
    labels = {"app": dice.one(LABELS["app"])}
    for key in dice.some(("tier", "version", "example.com/role"), 0, 3):
        labels[key] = dice.one(LABELS[key])
    ports = {name: _port(dice, name) for name in dice.some(PORT_NAMES, 0, 3)}
    return {
        "name": f"p{number}",
        "namespace": namespace,
        "labels": labels,
        "namespace_labels": NAMESPACES[namespace],
        "service_account": dice.one(ACCOUNTS),
        "addresses": [f"10.0.0.{number + 1}"],
        "ports": ports,
    }


def _port(dice: Dice, name: str) -> int | str:
    usual: dict[str, int | str] = {"http": 80, "web": 8080, "metrics": 9090, "dns": "53/UDP"}
    if dice.chance(0.7):
        return usual[name]
    number = dice.one(NUMBERS)
    return number if dice.chance(0.7) else f"{number}/{dice.one(('TCP', 'UDP', 'SCTP'))}"
