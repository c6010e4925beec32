# SPDX-License-Identifier: Apache-2.0
"""Random ``toPorts`` and ``icmps`` of an entry."""

from e2e.scenarios.dice import Dice
from e2e.scenarios.httprules import http_rule
from e2e.scenarios.scenario import Object
from e2e.scenarios.world import NUMBERS, PORT_NAMES, Question

LAST_PORT = 65535


def to_ports(dice: Dice, question: Question, aim: float, *, http: float) -> list[Object]:
    """Return one or two port rules; with ``http`` as its chance each has HTTP rules."""
    return dice.several(1, 2, lambda: port_rule(dice, question, aim, http=http))


def port_rule(dice: Dice, question: Question, aim: float, *, http: float) -> Object:
    """Return one port rule. Where HTTP rules stand, the ports are such that Cilium takes them."""
    inspected = dice.chance(http)
    if dice.chance(0.04):
        return _without_ports(dice, inspected=inspected)
    count = dice.weighted({1: 5, 2: 1, 0: 0.15})
    rule: Object = {"ports": [_port(dice, question, aim, tcp=inspected) for _ in range(count)]}
    if inspected:
        rule["rules"] = {"http": dice.several(1, 3, lambda: http_rule(dice))}
    elif http and dice.chance(0.1):
        rule["rules"] = {"http": []}
    return rule


def icmps(dice: Dice) -> list[Object]:
    """Return a list of ICMP rules; they open or close nothing for TCP."""
    fields: list[Object] = [
        {"type": 8},
        {"type": "EchoRequest", "family": "IPv4"},
        {"type": 128, "family": "IPv6"},
    ]
    return [{"fields": dice.some(fields, 0, 2)}]


def _without_ports(dice: Dice, *, inspected: bool) -> Object:
    rule: Object = {"rules": {"http": [http_rule(dice)]}} if inspected else {}
    return rule if dice.chance(0.5) else {**rule, "ports": []}


def _port(dice: Dice, question: Question, aim: float, *, tcp: bool) -> Object:
    forms = {"number": 6.0, "range": 1.5, "name": 1.5, "zero": 0.0 if tcp else 0.4, "odd": 0.02}
    form = dice.weighted(forms)
    number = question.port if dice.chance(aim) else dice.one(NUMBERS)
    port: Object = {"port": str(number)}
    if form == "range":
        port = _range(dice, number)
    elif form == "name":
        port = {"port": _name(dice, question, aim)}
        if dice.chance(0.02):
            port["endPort"] = dice.one((max(NUMBERS) + 1, LAST_PORT))
    elif form == "zero":
        port = {"port": "0"} if dice.chance(0.8) else {"port": "0", "endPort": dice.one((0, 0, 0, number))}
    elif form == "odd":
        port = {"port": dice.one(("0x50", f"0{number:o}", f"0o{number:o}"))}
    protocols = {"TCP": 6.0, "": 1.5, "ANY": 1.5, "UDP": 0.6, "SCTP": 0.4}
    protocol = "TCP" if tcp else dice.weighted(protocols)
    return {**port, "protocol": protocol} if protocol else port


def _range(dice: Dice, number: int) -> Object:
    first = max(1, number - dice.one((0, 0, 1, 10, 79)))
    last = min(LAST_PORT, max(first, number + dice.one((0, 1, 10, 1000, LAST_PORT))))
    return {"port": str(first), "endPort": last}


def _name(dice: Dice, question: Question, aim: float) -> str:
    pods = (question.subject,) if question.ingress else question.endpoints
    fitting = [name for pod in pods for name, port in pod["ports"].items() if port == question.port]
    name = dice.one(fitting) if fitting and dice.chance(aim) else dice.one((*PORT_NAMES, "nobody"))
    return name.upper() if dice.chance(0.05) else name
