# SPDX-License-Identifier: Apache-2.0
"""The endpoints file: which pods there are, where Kubernetes does not say so.

Text in, frozen endpoints or every fault out. Addresses that the file leaves out
are read from the endpoint's namespace by somebody else, who gives them to
``with_addresses`` and then asks ``check_addresses``: an address must lead to one
endpoint, since it is all that a packet tells about its sender.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from pydantic import ValidationError

from bpfast.errors import BadInput, Fault
from bpfast.policy.document import Flaw, Path, read_documents, shown
from bpfast.policy.faults import flaws_of, in_file_order, name_in, yaml_path
from bpfast.policy.subject import Subject
from bpfast.standalone.model import Address, EndpointModel, NamedPort
from bpfast.standalone.netns import NetNs

_LIST: Final = "endpoints"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A pod, as the endpoints file describes it.

    ``netns`` None: it can be a peer, and the subject of ``verdict``, but
    nothing can be attached to it. ``place`` is where it stands in its file, and
    ``addresses_given`` whether its addresses stand there, too.
    """

    name: str
    namespace: str = "default"
    labels: Mapping[str, str] = field(default_factory=dict)
    netns: NetNs | None = None
    interface: str = "eth0"
    addresses: tuple[Address, ...] = ()
    ports: tuple[NamedPort, ...] = ()
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    service_account: str | None = None
    trusted_egress: bool = False
    place: Path = field(default=(), compare=False)
    addresses_given: bool = field(default=False, compare=False)

    @property
    def full_name(self) -> str:
        """Return ``namespace/name``."""
        return f"{self.namespace}/{self.name}"

    def subject(self) -> Subject:
        """Return what policies see of this endpoint."""
        ports = {port.name: ((port.number, port.protocol),) for port in self.ports}
        return Subject(
            self.namespace, self.name, self.labels, self.namespace_labels, self.service_account, ports
        )


def parse_endpoints(text: str, source: str) -> tuple[Endpoint, ...]:
    """Return the endpoints of a file's text; raise BadInput with every fault of it."""
    documents = read_documents(text)
    if len(documents) != 1:
        message = "holds more than one document" if documents else "holds no endpoint"
        raise BadInput([Fault(source, "", "", message)])
    (document,) = documents
    endpoints, found = _examine(document.value) if document.complete else ((), [])
    flaws = in_file_order([*document.flaws, *found], document.value)
    if flaws:
        raise BadInput([_fault(flaw, document.value, source) for flaw in flaws])
    return endpoints


def endpoints_of(value: object, source: str) -> tuple[Endpoint, ...]:
    """Return the endpoints of a list that was read already, with the fields of the file."""
    whole = {_LIST: value}
    endpoints, flaws = _examine(whole)
    if flaws:
        raise BadInput([_fault(flaw, whole, source) for flaw in in_file_order(flaws, whole)])
    return endpoints


def with_addresses(endpoint: Endpoint, found: Iterable[Address]) -> Endpoint:
    """Return ``endpoint`` with the addresses found in its namespace, if the file gives it none.

    Loopback and link-local addresses are left out: every namespace has the
    same ones, so they say nothing about who sent a packet.
    """
    if endpoint.addresses:
        return endpoint
    usable = {address for address in found if not (address.is_loopback or address.is_link_local)}
    return replace(endpoint, addresses=tuple(sorted(usable, key=lambda one: (one.version, int(one)))))


def check_addresses(endpoints: Sequence[Endpoint], source: str) -> None:
    """Raise BadInput if an address belongs to two endpoints, or twice to one; it names both."""
    names = {endpoint.place: endpoint.full_name for endpoint in endpoints}
    flaws = _addresses_twice(endpoints)
    if flaws:
        raise BadInput(
            [Fault(source, names[flaw.path[:2]], yaml_path(flaw.path), flaw.message) for flaw in flaws]
        )


def _examine(value: object) -> tuple[tuple[Endpoint, ...], list[Flaw]]:
    """Return the endpoints that are right, and all that is wrong with the others."""
    if not isinstance(value, dict):
        return (), [Flaw((), f"must be a mapping with the key '{_LIST}', not {shown(value)}")]
    if "kind" in value and _LIST not in value:
        return (), [Flaw((), "this is a policy, not an endpoints file")]
    flaws = [Flaw((key,), f"unknown field; valid here: {_LIST}") for key in value if key != _LIST]
    entries = value.get(_LIST)
    if not isinstance(entries, list) or not entries:
        message = "must hold at least one entry" if entries == [] else f"must be a list, not {shown(entries)}"
        return (), [*flaws, Flaw((_LIST,), message if _LIST in value else "is required")]
    endpoints = []
    for number, entry in enumerate(entries):
        try:
            endpoints.append(_endpoint(EndpointModel.model_validate(entry), (_LIST, number)))
        except ValidationError as error:
            flaws += [Flaw((_LIST, number, *flaw.path), flaw.message) for flaw in flaws_of(error, _refusal)]
    flaws += _nowhere(endpoints) + _names_twice(endpoints) + _addresses_twice(endpoints)
    return tuple(endpoints), flaws


def _refusal(_path: Path) -> str:
    return f"unknown field; valid here: {', '.join(sorted(EndpointModel.model_fields))}"


def _endpoint(model: EndpointModel, place: Path) -> Endpoint:
    ports = tuple(NamedPort(name, number, protocol) for name, (number, protocol) in model.ports.items())
    fields = {name: getattr(model, name) for name in EndpointModel.model_fields}
    given = bool(model.addresses)
    return Endpoint(**(fields | {"ports": ports, "place": place, "addresses_given": given}))


def _nowhere(endpoints: Sequence[Endpoint]) -> list[Flaw]:
    """Return a flaw for each endpoint that has neither a namespace nor an address."""
    message = "'netns' or 'addresses' is required: nothing says where it is"
    return [Flaw(one.place, message) for one in endpoints if one.netns is None and not one.addresses]


def _names_twice(endpoints: Sequence[Endpoint]) -> list[Flaw]:
    flaws = []
    first: dict[str, Endpoint] = {}
    for endpoint in endpoints:
        other = first.setdefault(endpoint.full_name, endpoint)
        if other is not endpoint:
            message = f"{endpoint.full_name!r} is given twice, first at {yaml_path(other.place)}"
            flaws.append(Flaw((*endpoint.place, "name"), message))
    return flaws


def _addresses_twice(endpoints: Sequence[Endpoint]) -> list[Flaw]:
    flaws = []
    owners: dict[Address, Endpoint] = {}
    for endpoint in endpoints:
        for number, address in enumerate(endpoint.addresses):
            if address in owners:
                flaws.append(
                    Flaw((*endpoint.place, "addresses", number), _both(address, owners[address], endpoint))
                )
            owners.setdefault(address, endpoint)
    return flaws


def _both(address: Address, first: Endpoint, second: Endpoint) -> str:
    if first is second:
        return f"address '{address}' is given twice to {first.full_name!r}"
    return f"address '{address}' is given to both {first.full_name!r} and {second.full_name!r}"


def _fault(flaw: Flaw, value: object, source: str) -> Fault:
    """Return a fault that names the endpoint, where it has a name."""
    entry = value
    for step in flaw.path[:2]:
        known = isinstance(entry, dict | list) and (step in entry if isinstance(entry, dict) else True)
        entry = entry[step] if known else None  # type: ignore[index]
    return Fault(source, name_in(entry), yaml_path(flaw.path), flaw.message)
