# SPDX-License-Identifier: Apache-2.0
"""Clients of six makes against servers of four.

Each client meets every server, each hook with each direction, each hook with
each family and each direction with each family; not all of it with all
(``make soak`` does that).
"""

import pytest

from e2e.checksums import KINDS
from e2e.clients.order import CLIENTS, MAKES, Order
from e2e.honest.ground import Ground
from e2e.honest.matrix import FAMILIES, PLACES, Meeting, meetings
from e2e.honest.traffic import DENIED, denied, uploads

MEETINGS = meetings(MAKES, tuple(kind.name for kind, _ in KINDS))


@pytest.mark.parametrize(
    ("place", "meeting"), [(each.place, each) for each in MEETINGS], ids=map(str, MEETINGS)
)
def test_a_client_sees_what_it_should(policed: Ground, meeting: Meeting) -> None:
    """Downloads and uploads of all kinds share a connection; each of our 403 ends one, body sent or not."""
    make = CLIENTS[meeting.client]
    refused = denied(asked=make.takes_no)
    orders = [
        *policed.files.downloads(),
        *uploads(meeting.server, asked=False),
        *(uploads(meeting.server, asked=True) if make.asks else ()),
        *refused,
    ]
    opened = policed.assert_served(meeting.client, meeting.server, meeting.family, orders)

    assert opened == len(refused)


def test_the_selection_leaves_nothing_out() -> None:
    """Each client meets each server, place and family, each family at each hook and in each direction."""
    for make in MAKES:
        met = [meeting for meeting in MEETINGS if meeting.client == make]

        assert {kind.name for kind, _ in KINDS} == {meeting.server for meeting in met}
        assert set(PLACES) == {meeting.place for meeting in met}
        assert {(place.hook, family) for place in PLACES for family in FAMILIES} == {
            (meeting.place.hook, meeting.family) for meeting in met
        }
        assert {(place.direction, family) for place in PLACES for family in FAMILIES} == {
            (meeting.place.direction, meeting.family) for meeting in met
        }


@pytest.mark.parametrize("place", PLACES[:1], ids=str)
def test_an_offer_of_http2_is_denied(policed: Ground) -> None:
    """Java's HttpClient as it is by default sends ``Upgrade: h2c``, and sees our 403."""
    orders = [Order(path="/files/small", status=403, sha256=DENIED)]

    assert policed.assert_served("java-default", "nginx", 4, orders) == 1
