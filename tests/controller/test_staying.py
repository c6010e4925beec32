# SPDX-License-Identifier: Apache-2.0
"""What standalone mode does not do: entries that stay on Envoy, and egress."""

import json
from typing import Any

import pytest

from bpfast.controller.staying import entries_that_stay, refuse_egress
from bpfast.errors import Unsupported
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


def test_egress_of_an_endpoint_is_refused_by_name() -> None:
    """Every section that would be passed over is named, with the endpoint that it is about."""
    found = policies(
        {"ingress": [{}], "egress": [{}]},
        {"egressDeny": [{"toEntities": ["world"]}]},
        {"ingress": [{}], "egress": []},
    )
    with pytest.raises(Unsupported) as caught:
        refuse_egress(found, [CLIENT.subject(), WEB.subject()])
    message = "'run' does not enforce egress yet, and it is about 'default/web'"
    assert [
        f"0.json:1: default/p0: spec.egress: {message}",
        f"1.json:1: default/p1: spec.egressDeny: {message}",
    ] == str(caught.value).splitlines()


def test_egress_of_others_is_not_refused() -> None:
    """A section about an endpoint that only is a peer changes nothing here."""
    refuse_egress(policies({"egress": [{}]}), [CLIENT.subject()])
