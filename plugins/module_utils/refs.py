# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of Kubernetes objects: where each lives in the API, without asking the API."""

from __future__ import annotations

import dataclasses
import functools
import typing as t
from urllib.parse import quote


@dataclasses.dataclass(frozen=True)
class Ref:
    """One object, or with an empty ``name`` the collection of a kind in a namespace.

    An empty ``namespace`` means a cluster-scoped object or a list over all namespaces; an empty ``plural`` is the list
    of what the API version serves.
    """

    api_version: str
    kind: str
    plural: str
    namespace: str = ""
    name: str = ""

    @property
    def collection(self) -> Ref:
        return dataclasses.replace(self, name="")

    @property
    def path(self) -> str:
        """Path below the server's URL, quoted."""
        parts = ["api" if "/" not in self.api_version else "apis", *self.api_version.split("/")]
        if self.namespace:
            parts += ["namespaces", self.namespace]
        parts += [part for part in (self.plural, self.name) if part]
        return "/" + "/".join(quote(part, safe="") for part in parts)

    def __str__(self) -> str:
        place = "/".join(part for part in (self.namespace, self.name) if part)
        return f"{self.kind} {place}" if place else self.plural


def _ref(api_version: str, kind: str, plural: str, namespace: str, name: str = "") -> Ref:
    return Ref(api_version, kind, plural, namespace, name)


deployment = functools.partial(_ref, "apps/v1", "Deployment", "deployments")
pod = functools.partial(_ref, "v1", "Pod", "pods")
service = functools.partial(_ref, "v1", "Service", "services")
config_map = functools.partial(_ref, "v1", "ConfigMap", "configmaps")
secret = functools.partial(_ref, "v1", "Secret", "secrets")
endpoint_slice = functools.partial(_ref, "discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
ingress = functools.partial(_ref, "networking.k8s.io/v1", "Ingress", "ingresses")
autoscaler = functools.partial(_ref, "autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
http_route = functools.partial(_ref, "gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes")
lease = functools.partial(_ref, "coordination.k8s.io/v1", "Lease", "leases")
openshift_route = functools.partial(_ref, "route.openshift.io/v1", "Route", "routes")

ISTIO_NETWORKING = "networking.istio.io/v1"


def virtual_service(namespace: str, name: str = "", api_version: str = ISTIO_NETWORKING) -> Ref:
    return Ref(api_version, "VirtualService", "virtualservices", namespace, name)


def destination_rule(namespace: str, name: str = "", api_version: str = ISTIO_NETWORKING) -> Ref:
    return Ref(api_version, "DestinationRule", "destinationrules", namespace, name)


def label_selector(labels: t.Mapping[str, str]) -> str:
    """``labels`` as the API's ``labelSelector`` parameter."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
