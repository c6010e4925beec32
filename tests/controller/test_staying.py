# SPDX-License-Identifier: Apache-2.0
"""What standalone mode does not do: entries that stay on Envoy."""

import json
from typing import Any

from bpfast.controller.staying import entries_that_stay
from bpfast.policy.meaning import Direction
from bpfast.policy.reader import Policy, Text, read_policies
from tests.controller.scenes import CLIENT, WEB

GROUPS = [{"aws": {"securityGroupsNames": ["x"]}}]


def policies(*specs: dict[str, Any]) -> tuple[Policy, ...]:
    """Return a policy about the server for each of these sections."""
    texts = []
    for number, sections in enumerate(specs):
        spec = {"endpointSelector": {"matchLabels": {"app": "web"}}} | sections
        metadata = {"name": f"p{number}", "namespace": "default"}
        whole = {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumNetworkPolicy",
            "metadata": metadata,
            "spec": spec,
        }
        texts.append(Text(f"{number}.json", json.dumps(whole)))
    return read_policies(texts)


def test_entries_that_stay_are_those_of_the_direction_and_the_endpoints() -> None:
    """An entry is named where it is about one of the endpoints, in its own direction."""
    found = policies({"ingress": [{}, {"fromGroups": GROUPS}], "egress": [{"toGroups": GROUPS}]})
    subjects = [CLIENT.subject(), WEB.subject()]
    (one,) = entries_that_stay(found, subjects, Direction.INGRESS)
    assert ("default/p0", "spec.ingress[1]") == (one.policy, one.path)
    (one,) = entries_that_stay(found, subjects, Direction.EGRESS)
    assert "spec.egress[0]" == one.path
    assert () == entries_that_stay(found, [CLIENT.subject()], Direction.INGRESS)


HTTP = {"ports": [{"port": "80", "protocol": "TCP"}], "rules": {"http": [{}]}}


def test_http_rules_on_the_way_out_of_an_untrusted_endpoint_are_named() -> None:
    """They stay, with the endpoint's name; what only is about layer 4 does not, nor the way in."""
    found = policies({"ingress": [{"toPorts": [HTTP]}], "egress": [{"toPorts": [HTTP]}, {}]})
    subjects, untrusted = [CLIENT.subject(), WEB.subject()], {CLIENT.full_name, WEB.full_name}
    (one,) = entries_that_stay(found, subjects, Direction.EGRESS, untrusted=untrusted)
    assert ("default/p0", "spec.egress[0].toPorts[0]") == (one.policy, one.path)
    assert "say 'trusted_egress: true' of 'default/web'" in one.reason
    assert "default/client" not in one.reason
    assert () == entries_that_stay(found, subjects, Direction.INGRESS, untrusted=untrusted)
    assert () == entries_that_stay(found, subjects, Direction.EGRESS, untrusted={CLIENT.full_name})
