# SPDX-License-Identifier: Apache-2.0
"""CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy (cilium.io/v2) as pydantic models.

A field that is not here is a fault, never ignored. Where null and absent would
mean different things to a reader (``fromEndpoints`` without a value opens a port
to the world), null is a fault, too. The models hold what was written, each field
for itself; ``schema`` says what may not stand together, ``lower`` what it means.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo
from pydantic.alias_generators import to_camel

from bpfast.policy.names import (
    AsTuple,
    GroupKey,
    LabelValue,
    MatchLabels,
    Namespace,
    NotEmpty,
    NotNull,
    ObjectName,
    PlainKey,
    SelectorKey,
)
from bpfast.policy.values import (
    CHECK_REGEX,
    ENTITIES,
    MAX_PORT,
    MAX_PORTS,
    PROTOCOLS,
    ApiKey,
    Cidr,
    Different,
    DnsName,
    DnsPattern,
    EndPort,
    Entity,
    GroupName,
    Header,
    HeaderName,
    HeaderValue,
    IcmpType,
    LogText,
    PortNumber,
    Priority,
    Protocol,
    Regex,
    RegexCheck,
    ServerName,
    Text,
    Topic,
    Version,
    inside,
    one_of,
    split_header,
)

__all__ = [
    "CHECK_REGEX",
    "ENTITIES",
    "MAX_PORT",
    "MAX_PORTS",
    "PROTOCOLS",
    "RegexCheck",
    "split_header",
]


class Model(BaseModel):
    """What all models share: exact types, exact names, values that cannot change."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, strict=True)


def _for_operator(values: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    operator = info.data.get("operator")
    if operator in ("In", "NotIn") and not values:
        raise ValueError(f"must hold at least one value beside operator {operator!r}")
    if operator in ("Exists", "DoesNotExist") and values:
        raise ValueError(f"must be left out beside operator {operator!r}")
    return values


Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]
ExpressionValues = Annotated[
    tuple[LabelValue, ...], AsTuple, NotNull, AfterValidator(_for_operator), Field(validate_default=True)
]


class Expression(Model):
    """One of an endpoint selector's ``matchExpressions``."""

    key: SelectorKey
    operator: Operator
    values: ExpressionValues = ()


class EndpointSelector(Model):
    """Labels that an endpoint must have, all of them; none selects every endpoint in reach."""

    match_labels: Annotated[MatchLabels, NotNull] = Field(default_factory=dict)
    match_expressions: Annotated[tuple[Expression, ...], AsTuple, NotNull] = ()


class PlainExpression(Model):
    """One of a plain selector's ``matchExpressions``."""

    key: PlainKey
    operator: Operator
    values: ExpressionValues = ()


class PlainSelector(Model):
    """A selector of nodes or of services."""

    match_labels: Annotated[dict[PlainKey, LabelValue], NotNull] = Field(default_factory=dict)
    match_expressions: Annotated[tuple[PlainExpression, ...], AsTuple, NotNull] = ()


class GroupExpression(PlainExpression):
    """One of a CIDR group selector's ``matchExpressions``."""

    key: GroupKey


class GroupSelector(Model):
    """A selector of CIDR groups: their labels have no source."""

    match_labels: Annotated[dict[GroupKey, LabelValue], NotNull] = Field(default_factory=dict)
    match_expressions: Annotated[tuple[GroupExpression, ...], AsTuple, NotNull] = ()


class Secret(Model):
    """Where a secret is."""

    name: Text
    namespace: str = ""


class HeaderMatch(Model):
    """One of ``headerMatches``: without ``mismatch`` a condition, with it something to do."""

    name: HeaderName
    value: HeaderValue = ""
    mismatch: Annotated[str, one_of("LOG", "ADD", "DELETE", "REPLACE")] = ""
    secret: Annotated[Secret | None, NotNull] = None


class HttpRule(Model):
    """One entry of ``rules.http``; an empty text is the same as none."""

    path: Regex = ""
    method: Regex = ""
    host: Regex = ""
    headers: Annotated[tuple[Header, ...], AsTuple, NotNull] = ()
    header_matches: Annotated[tuple[HeaderMatch, ...], AsTuple, NotNull] = ()


class FqdnSelector(Model):
    """A name or a pattern of names: of ``toFQDNs`` and of ``rules.dns``."""

    match_name: DnsName = ""
    match_pattern: DnsPattern = ""


class KafkaRule(Model):
    """One entry of ``rules.kafka``."""

    role: Annotated[str, one_of("produce", "consume")] = ""
    api_key: ApiKey = ""
    api_version: Version = ""
    client_id: Annotated[str, Field(alias="clientID")] = ""
    topic: Topic = ""


class L7Rules(Model):
    """``rules`` of a ``toPorts`` entry."""

    http: Annotated[tuple[HttpRule, ...] | None, AsTuple, NotNull] = None
    dns: Annotated[tuple[FqdnSelector, ...] | None, AsTuple, NotNull] = None
    kafka: Annotated[tuple[KafkaRule, ...] | None, AsTuple, NotNull] = None
    l7proto: Annotated[str | None, NotNull, Field(alias="l7proto")] = None
    l7: Annotated[tuple[dict[Text, str], ...] | None, AsTuple, NotNull] = None


class Port(Model):
    """One entry of ``ports``: a number (0: all), or a name in lower case."""

    port: PortNumber
    end_port: Annotated[EndPort | None, NotNull] = None
    protocol: Protocol = "ANY"


class TlsContext(Model):
    """``terminatingTLS`` or ``originatingTLS``."""

    secret: Secret
    trusted_ca: Annotated[str, Field(alias="trustedCA")] = ""
    certificate: str = ""
    private_key: str = ""


class EnvoyConfig(Model):
    """Where a listener is defined."""

    kind: Annotated[str, one_of("CiliumEnvoyConfig", "CiliumClusterwideEnvoyConfig")] = ""
    name: Text


class Listener(Model):
    """A listener of Envoy that connections are sent to."""

    envoy_config: EnvoyConfig
    name: Text
    priority: Priority = 0


# Of all sections, though the CRD has the number for those that allow only: Sanitize has it for each.
Ports = Annotated[tuple[Port, ...], AsTuple, NotNull, Field(max_length=MAX_PORTS)]


class PortDenyRule(Model):
    """One entry of ``toPorts`` in a section that denies."""

    ports: Ports = ()


class PortRule(Model):
    """One entry of ``toPorts``: without ``rules`` every byte may pass."""

    ports: Ports = ()
    rules: Annotated[L7Rules | None, NotNull] = None
    terminating_tls: Annotated[TlsContext | None, NotNull, Field(alias="terminatingTLS")] = None
    originating_tls: Annotated[TlsContext | None, NotNull, Field(alias="originatingTLS")] = None
    server_names: Annotated[tuple[ServerName, ...], AsTuple, NotNull, NotEmpty, Different] = ()
    listener: Annotated[Listener | None, NotNull] = None


class CidrRule(Model):
    """One entry of ``fromCIDRSet``: a network less those in ``except``, or a group of networks."""

    cidr: Annotated[Cidr | None, NotNull] = None
    cidr_group_ref: Annotated[GroupName | None, NotNull] = None
    cidr_group_selector: Annotated[GroupSelector | None, NotNull] = None
    except_: Annotated[tuple[Cidr, ...], AsTuple, NotNull, AfterValidator(inside), Field(alias="except")] = ()


class AwsGroup(Model):
    """Addresses that Amazon's cloud knows."""

    labels: Annotated[dict[str, str] | None, NotNull] = None
    security_groups_ids: Annotated[tuple[str, ...] | None, AsTuple, NotNull] = None
    security_groups_names: Annotated[tuple[str, ...] | None, AsTuple, NotNull] = None
    region: str = ""


class Group(Model):
    """One entry of ``fromGroups``."""

    aws: Annotated[AwsGroup | None, NotNull] = None


class ServiceName(Model):
    """A service by name."""

    service_name: str = ""
    namespace: str = ""


class ServiceSelector(Model):
    """Services by labels."""

    selector: PlainSelector
    namespace: str = ""


class Service(Model):
    """One entry of ``toServices``."""

    k8s_service: Annotated[ServiceName | None, NotNull, Field(alias="k8sService")] = None
    k8s_service_selector: Annotated[ServiceSelector | None, NotNull, Field(alias="k8sServiceSelector")] = None


class IcmpField(Model):
    """An ICMP type, by number or by name."""

    family: Annotated[str, one_of("IPv4", "IPv6")] = ""
    type: IcmpType


class IcmpRule(Model):
    """One entry of ``icmps``."""

    fields: Annotated[tuple[IcmpField, ...], AsTuple, NotNull, Field(max_length=MAX_PORTS)] = ()


class Authentication(Model):
    """``authentication``: what Cilium's agent does before a connection is let through."""

    mode: Literal["disabled", "required", "test-always-fail"]


# For every list of peers, None (absent) and empty are opposites: everybody and nobody.
Endpoints = Annotated[tuple[EndpointSelector, ...] | None, AsTuple, NotNull]
Nodes = Annotated[tuple[PlainSelector, ...] | None, AsTuple, NotNull]
Cidrs = Annotated[tuple[Cidr, ...] | None, AsTuple, NotNull]
CidrRules = Annotated[tuple[CidrRule, ...] | None, AsTuple, NotNull]
Entities = Annotated[tuple[Entity, ...] | None, AsTuple, NotNull]
Groups = Annotated[tuple[Group, ...] | None, AsTuple, NotNull]
IcmpRules = Annotated[tuple[IcmpRule, ...], AsTuple, NotNull]
PortRules = Annotated[tuple[PortRule, ...], AsTuple, NotNull]
PortDenyRules = Annotated[tuple[PortDenyRule, ...], AsTuple, NotNull]


class FromPeers(Model):
    """The peers of an entry for incoming connections."""

    from_endpoints: Endpoints = None
    from_cidr: Annotated[Cidrs, Field(alias="fromCIDR")] = None
    from_cidr_set: Annotated[CidrRules, Field(alias="fromCIDRSet")] = None
    from_entities: Entities = None
    from_nodes: Nodes = None
    from_groups: Groups = None
    icmps: IcmpRules = ()


class ToPeers(Model):
    """The peers of an entry for outgoing connections."""

    to_endpoints: Endpoints = None
    to_cidr: Annotated[Cidrs, Field(alias="toCIDR")] = None
    to_cidr_set: Annotated[CidrRules, Field(alias="toCIDRSet")] = None
    to_entities: Entities = None
    to_nodes: Nodes = None
    to_groups: Groups = None
    to_services: Annotated[tuple[Service, ...] | None, AsTuple, NotNull] = None
    icmps: IcmpRules = ()


class IngressRule(FromPeers):
    """One entry of ``ingress``."""

    to_ports: PortRules = ()
    authentication: Annotated[Authentication | None, NotNull] = None


class IngressDenyRule(FromPeers):
    """One entry of ``ingressDeny``."""

    to_ports: PortDenyRules = ()


class EgressRule(ToPeers):
    """One entry of ``egress``."""

    to_fqdns: Annotated[tuple[FqdnSelector, ...] | None, AsTuple, NotNull, Field(alias="toFQDNs")] = None
    to_ports: PortRules = ()
    authentication: Annotated[Authentication | None, NotNull] = None


class EgressDenyRule(ToPeers):
    """One entry of ``egressDeny``."""

    to_ports: PortDenyRules = ()


class RuleLabel(Model):
    """One entry of a rule's own ``labels``, which select nothing."""

    key: str
    value: str = ""
    source: str = ""


class DefaultDeny(Model):
    """``enableDefaultDeny``: whether the rule closes its endpoints; None is by its sections."""

    ingress: Annotated[bool | None, NotNull] = None
    egress: Annotated[bool | None, NotNull] = None


class Log(Model):
    """``log``: a text for Cilium's own flow log."""

    value: LogText = ""


class Rule(Model):
    """``spec``, or one entry of ``specs``."""

    endpoint_selector: Annotated[EndpointSelector | None, NotNull] = None
    node_selector: Annotated[PlainSelector | None, NotNull] = None
    ingress: Annotated[tuple[IngressRule, ...], AsTuple, NotNull] = ()
    ingress_deny: Annotated[tuple[IngressDenyRule, ...], AsTuple, NotNull] = ()
    egress: Annotated[tuple[EgressRule, ...], AsTuple, NotNull] = ()
    egress_deny: Annotated[tuple[EgressDenyRule, ...], AsTuple, NotNull] = ()
    enable_default_deny: Annotated[DefaultDeny, NotNull] = DefaultDeny()
    description: str = ""
    labels: Annotated[tuple[RuleLabel, ...], AsTuple, NotNull] = ()
    log: Annotated[Log | None, NotNull] = None


class Metadata(Model):
    """``metadata``: who the policy is. What a cluster writes there is taken and not read."""

    name: ObjectName
    namespace: Annotated[Namespace | None, NotNull] = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    creation_timestamp: object = None
    deletion_grace_period_seconds: object = None
    deletion_timestamp: object = None
    finalizers: object = None
    generate_name: object = None
    generation: object = None
    managed_fields: object = None
    owner_references: object = None
    resource_version: object = None
    self_link: object = None
    uid: object = None


class PolicyObject(Model):
    """The whole object, of either kind."""

    api_version: Literal["cilium.io/v2"]
    kind: Literal["CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"]
    metadata: Metadata
    spec: Annotated[Rule | None, NotNull] = None
    specs: Annotated[tuple[Rule, ...], AsTuple, NotNull, NotEmpty] = ()
    status: object = None
