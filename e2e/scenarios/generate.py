# SPDX-License-Identifier: Apache-2.0
"""Random scenarios by number: the same number is the same scenario."""

from e2e.scenarios import world
from e2e.scenarios.damage import damaged
from e2e.scenarios.dice import Dice
from e2e.scenarios.httprules import odd_request, request_for, stray_request
from e2e.scenarios.policies import policies
from e2e.scenarios.scenario import Object, Request, Scenario, full_name, is_ipv6

DAMAGED_SHARE = 0.12
DUAL_STACK_SHARE = 0.2
REQUESTS = 6


def scenario(number: int) -> Scenario:
    """Return a scenario; about one in eight has a policy that was damaged on purpose."""
    dice = Dice(f"bpfast {number}")
    question = world.ask(dice)
    objects = policies(dice, question)
    rules = [rule for policy in objects for rule in http_rules(policy)]
    requests = tuple(_request(dice, rules) for _ in range(REQUESTS))
    manifests: tuple[Object | str, ...] = objects
    name = f"random-{number}"
    if dice.chance(DAMAGED_SHARE):
        what, manifests = damaged(dice, objects)
        name += f"-{what}"
    return Scenario(
        id=name,
        policies=manifests,
        endpoints=question.endpoints,
        direction=question.direction,
        endpoint=full_name(question.subject),
        peer=question.peer,
        port=question.port,
        requests=requests,
        dual_stack=is_ipv6(question.peer) or dice.chance(DUAL_STACK_SHARE),
    )


def http_rules(value: object) -> list[Object]:
    """Return every HTTP rule that stands somewhere in a policy."""
    if isinstance(value, dict):
        own = value.get("http", ())
        deeper = [rule for key, each in value.items() if key != "http" for rule in http_rules(each)]
        return [*own, *deeper]
    if isinstance(value, list):
        return [rule for each in value for rule in http_rules(each)]
    return []


def _request(dice: Dice, rules: list[Object]) -> Request:
    if dice.chance(0.04):
        return odd_request(dice)
    if rules and dice.chance(0.8):
        return request_for(dice, dice.one(rules))
    return stray_request(dice)
