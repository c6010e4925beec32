# SPDX-License-Identifier: Apache-2.0
"""The endpoints file: what is taken, and the exact words for what is not."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from bpfast.errors import BadInput
from bpfast.policy.subject import Subject
from bpfast.standalone.endpoints import (
    Endpoint,
    check_addresses,
    endpoints_of,
    parse_endpoints,
    with_addresses,
)
from bpfast.standalone.model import NamedPort
from bpfast.standalone.netns import NetNs

BROKEN = Path(__file__).resolve().parents[1] / "data" / "cnp" / "endpoints"

FULL = """
endpoints:
- name: web
  namespace: demo
  labels: {app: web}
  netns: bpfast-web
  interface: eth1
  addresses: [10.0.0.1, "fd00::1"]
  ports: {http: 80, dns: 53/UDP}
  namespace_labels: {team: shop}
  service_account: till
  trusted_egress: true
"""


@pytest.mark.parametrize("path", sorted(BROKEN.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_broken_file_gets_its_exact_messages(path: Path) -> None:
    """Every fault of a file is told at once, in the order of the file, in exactly these words."""
    with pytest.raises(BadInput) as caught:
        parse_endpoints(path.read_text(), path.name)

    assert path.with_suffix(".expected").read_text().splitlines() == str(caught.value).splitlines()


def test_every_expectation_has_its_file() -> None:
    """No expected message is left over from a file that is gone."""
    files, expected = ({path.stem for path in BROKEN.glob(f"*.{end}")} for end in ("yaml", "expected"))

    assert files == expected


def test_every_field_is_read() -> None:
    """All fields of the file arrive in the endpoint."""
    (endpoint,) = parse_endpoints(FULL, "e.yaml")
    expected = Endpoint(
        name="web",
        namespace="demo",
        labels={"app": "web"},
        netns=NetNs("bpfast-web", "/run/netns/bpfast-web"),
        interface="eth1",
        addresses=(ip_address("10.0.0.1"), ip_address("fd00::1")),
        ports=(NamedPort("http", 80, "TCP"), NamedPort("dns", 53, "UDP")),
        namespace_labels={"team": "shop"},
        service_account="till",
        trusted_egress=True,
    )

    assert expected == endpoint


def test_only_a_name_and_a_place_are_needed() -> None:
    """What is left out has the defaults of the documentation."""
    (endpoint,) = parse_endpoints("endpoints: [{name: web, netns: web}]", "e.yaml")

    assert Endpoint(name="web", namespace="default", netns=NetNs("web", "/run/netns/web")) == endpoint
    assert "eth0" == endpoint.interface
    assert "default/web" == endpoint.full_name


def test_policies_see_labels_namespace_and_account() -> None:
    """The subject of an endpoint has what selectors ask for, and no address."""
    (endpoint,) = parse_endpoints(FULL, "e.yaml")

    ports = {"http": ((80, "TCP"),), "dns": ((53, "UDP"),)}

    assert Subject("demo", "web", {"app": "web"}, {"team": "shop"}, "till", ports) == endpoint.subject()


def test_a_list_that_was_read_already_is_taken() -> None:
    """Values with the fields of the file give the same endpoints."""
    assert parse_endpoints("endpoints: [{name: web, netns: web}]", "e") == endpoints_of(
        [{"name": "web", "netns": "web"}], "e"
    )


def test_a_list_that_was_read_already_is_checked() -> None:
    """Faults in such a list have the paths of the file."""
    with pytest.raises(BadInput, match=r"^line 1: default/web: endpoints\[0\]\.ip: unknown field"):
        endpoints_of([{"name": "web", "netns": "web", "ip": 1}], "line 1")


@pytest.mark.parametrize(
    ("text", "path"),
    (
        ("web", "/run/netns/web"),
        ("cni-1a2b_3.4", "/run/netns/cni-1a2b_3.4"),
        ("/proc/1/ns/net", "/proc/1/ns/net"),
        ("pid:4711", "/proc/4711/ns/net"),
    ),
)
def test_a_namespace_has_three_forms(text: str, path: str) -> None:
    """A name, a path and a process lead to the file to open."""
    (endpoint,) = parse_endpoints(f"endpoints: [{{name: web, netns: '{text}'}}]", "e")

    assert NetNs(text, path) == endpoint.netns
    assert text == str(endpoint.netns)


class TestAddresses:
    """Addresses that are read from namespaces."""

    WEB = Endpoint("web", netns=NetNs("web", "/run/netns/web"), place=("endpoints", 0))
    CLIENT = Endpoint("client", netns=NetNs("c", "/run/netns/c"), place=("endpoints", 1))

    def test_found_addresses_are_added_in_order(self) -> None:
        """Addresses come sorted, each once, IPv4 first."""
        found = [ip_address(text) for text in ("fd00::1", "10.0.0.2", "10.0.0.1", "10.0.0.2")]

        assert ["10.0.0.1", "10.0.0.2", "fd00::1"] == [
            str(one) for one in with_addresses(self.WEB, found).addresses
        ]

    def test_addresses_that_every_namespace_has_are_left_out(self) -> None:
        """Loopback and link-local addresses are nobody's own."""
        found = [ip_address(text) for text in ("127.0.0.1", "::1", "fe80::1", "169.254.1.1", "10.0.0.1")]

        assert ["10.0.0.1"] == [str(one) for one in with_addresses(self.WEB, found).addresses]

    def test_addresses_of_the_file_stay(self) -> None:
        """Where the file gives addresses nothing else counts."""
        given = Endpoint("web", addresses=(ip_address("10.0.0.1"),))

        assert given == with_addresses(given, [ip_address("10.0.0.9")])

    def test_an_address_of_two_endpoints_is_found_later_too(self) -> None:
        """After reading the namespaces the check names both endpoints."""
        both = [with_addresses(each, [ip_address("10.0.0.1")]) for each in (self.WEB, self.CLIENT)]
        expected = (
            "e.yaml: default/client: endpoints[1].addresses[0]: "
            "address '10.0.0.1' is given to both 'default/web' and 'default/client'"
        )
        with pytest.raises(BadInput) as caught:
            check_addresses(both, "e.yaml")

        assert expected == str(caught.value)

    def test_different_addresses_pass(self) -> None:
        """Endpoints with addresses of their own raise nothing."""
        both = [with_addresses(self.WEB, [ip_address("10.0.0.1")]), with_addresses(self.CLIENT, [])]

        check_addresses(both, "e.yaml")
        assert () == both[1].addresses
