# SPDX-License-Identifier: Apache-2.0
"""Who a policy can be about: an endpoint as selectors see it.

Cilium gives every pod labels beside those that its owner wrote: namespace, the
namespace's own labels, service account, cluster. Nobody can take these names for
labels of his own, since a selector by namespace would then be worth nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

POD_NAMESPACE: Final = "io.kubernetes.pod.namespace"
NAMESPACE_LABELS: Final = "io.cilium.k8s.namespace.labels."
SERVICE_ACCOUNT: Final = "io.cilium.k8s.policy.serviceaccount"
CLUSTER: Final = "io.cilium.k8s.policy.cluster"
CLUSTER_NAME: Final = "default"
DEFAULT_ACCOUNT: Final = "default"
_METADATA_NAME: Final = NAMESPACE_LABELS + "kubernetes.io/metadata.name"
# What Cilium leaves out of identities by default (pkg/labelsfilter): labels that differ between
# the pods of one workload, and Kubernetes' own. No selector can see them.
_LEFT_OUT: Final = re.compile(
    r"io\.kubernetes|kubernetes\.io|k8s\.io|.*beta\.kubernetes\.io"
    r"|statefulset\.kubernetes\.io/pod-name|apps\.kubernetes\.io/pod-index"
    r"|batch\.kubernetes\.io/job-completion-index|batch\.kubernetes\.io/controller-uid"
    r"|pod-template-generation|pod-template-hash|controller-revision-hash|controller-uid"
    r"|annotation|etcd_node"
)


@dataclass(frozen=True, slots=True)
class Subject:
    """An endpoint: what policies select, on either side of a connection.

    ``ports`` are its named ports: name -> the (number, protocol) that it stands
    for, protocol one of TCP, UDP, SCTP. Without a ``service_account`` it has the
    one that every namespace has, ``default``.
    """

    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    service_account: str | None = None
    ports: Mapping[str, tuple[tuple[int, str], ...]] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """Return ``namespace/name``."""
        return f"{self.namespace}/{self.name}"

    def identity_labels(self) -> dict[str, str]:
        """Return all labels that a selector can ask for."""
        labels = {
            key: value for key, value in self.labels.items() if not is_given(key) and not _LEFT_OUT.match(key)
        }
        labels |= {NAMESPACE_LABELS + key: value for key, value in self.namespace_labels.items()}
        labels |= {POD_NAMESPACE: self.namespace, CLUSTER: CLUSTER_NAME, _METADATA_NAME: self.namespace}
        labels[SERVICE_ACCOUNT] = self.service_account or DEFAULT_ACCOUNT
        return labels


def is_given(key: str) -> bool:
    """Return whether the label ``key`` is one that Cilium gives, not the owner of the pod."""
    return key in (POD_NAMESPACE, SERVICE_ACCOUNT, CLUSTER) or key.startswith(NAMESPACE_LABELS)
