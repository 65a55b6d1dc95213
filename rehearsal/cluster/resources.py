"""The registry of kinds the API serves: built-in ones, and those that CustomResourceDefinitions add."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rehearsal.cluster.schemas import Schema

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
SUBRESOURCE_VERBS = ("get", "patch", "update")


@dataclass(frozen=True)
class Resource:
    """One resource of one group version.

    ``model`` names the type of a built-in kind in ``schemas.json``. ``storage`` is the version under which objects are
    kept when a group serves several. ``generation``: whether a change of the spec counts ``metadata.generation`` up.
    ``storage_group`` is the group they are kept under when two groups serve the same objects.
    ``schema`` is set for custom resources; built-in ones look theirs up by ``model``.
    """

    group: str
    version: str
    plural: str
    kind: str
    model: str = ""
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    generation: bool = False
    verbs: tuple[str, ...] = VERBS
    singular: str = ""
    storage: str = ""
    storage_group: str | None = None
    custom: bool = False
    schema: Schema | None = field(default=None, compare=False)
    columns: tuple[dict[str, Any], ...] = field(default=(), compare=False)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def key(self) -> tuple[str, str]:
        """Where the store keeps its objects: one place for all versions of a kind."""
        return self.group if self.storage_group is None else self.storage_group, self.plural

    @property
    def qualified(self) -> str:
        """The resource's name in messages: ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """The kind's name in messages: ``Deployment.apps``."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def list_kind(self) -> str:
        return f"{self.kind}List"

    @property
    def singular_name(self) -> str:
        return self.singular or self.kind.lower()

    @property
    def has_status(self) -> bool:
        return "status" in self.subresources

    @property
    def types(self) -> Schema:
        """The fields of the kind."""
        return self.schema or Schema.named(self.model)


def _core(plural: str, kind: str, **more: Any) -> Resource:
    return Resource("", "v1", plural, kind, more.pop("model", "V1" + kind), **more)


def _apps(plural: str, kind: str, short: str, scale: bool = True) -> Resource:
    subresources = ("scale", "status") if scale else ("status",)
    return Resource("apps", "v1", plural, kind, "V1" + kind, True, (short,), ("all",), subresources, True)


def _rbac(plural: str, kind: str, namespaced: bool) -> Resource:
    return Resource("rbac.authorization.k8s.io", "v1", plural, kind, "V1" + kind, namespaced)


NO_COLLECTION = tuple(verb for verb in VERBS if verb != "deletecollection")
REVIEW = ("create",)

BUILTIN: tuple[Resource, ...] = (
    _core("configmaps", "ConfigMap", short_names=("cm",)),
    _core("endpoints", "Endpoints", short_names=("ep",)),
    _core("events", "Event", model="CoreV1Event", short_names=("ev",)),
    _core("limitranges", "LimitRange", short_names=("limits",)),
    _core(
        "namespaces",
        "Namespace",
        namespaced=False,
        short_names=("ns",),
        subresources=("finalize", "status"),
        verbs=NO_COLLECTION,
    ),
    _core("nodes", "Node", namespaced=False, short_names=("no",), subresources=("proxy", "status")),
    _core("persistentvolumeclaims", "PersistentVolumeClaim", short_names=("pvc",), subresources=("status",)),
    _core(
        "pods",
        "Pod",
        short_names=("po",),
        categories=("all",),
        subresources=("binding", "eviction", "log", "proxy", "status"),
        generation=True,
    ),
    _core("resourcequotas", "ResourceQuota", short_names=("quota",), subresources=("status",)),
    _core("secrets", "Secret"),
    _core("serviceaccounts", "ServiceAccount", short_names=("sa",), subresources=("token",)),
    _core("services", "Service", short_names=("svc",), categories=("all",), subresources=("proxy", "status")),
    _apps("daemonsets", "DaemonSet", "ds", scale=False),
    _apps("deployments", "Deployment", "deploy"),
    _apps("replicasets", "ReplicaSet", "rs"),
    _apps("statefulsets", "StatefulSet", "sts"),
    Resource("apps", "v1", "controllerrevisions", "ControllerRevision", "V1ControllerRevision"),
    Resource("events.k8s.io", "v1", "events", "Event", "EventsV1Event", True, ("ev",), storage="v1", storage_group=""),
    Resource(
        "authorization.k8s.io",
        "v1",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
        "V1SelfSubjectAccessReview",
        False,
        verbs=REVIEW,
    ),
    Resource(
        "authorization.k8s.io",
        "v1",
        "selfsubjectrulesreviews",
        "SelfSubjectRulesReview",
        "V1SelfSubjectRulesReview",
        False,
        verbs=REVIEW,
    ),
    Resource(
        "authentication.k8s.io",
        "v1",
        "selfsubjectreviews",
        "SelfSubjectReview",
        "V1SelfSubjectReview",
        False,
        verbs=REVIEW,
    ),
    Resource(
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        "V2HorizontalPodAutoscaler",
        True,
        ("hpa",),
        ("all",),
        ("status",),
        storage="v2",
    ),
    Resource(
        "autoscaling",
        "v1",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        "V1HorizontalPodAutoscaler",
        True,
        ("hpa",),
        ("all",),
        ("status",),
        storage="v2",
    ),
    Resource("batch", "v1", "cronjobs", "CronJob", "V1CronJob", True, ("cj",), ("all",), ("status",), True),
    Resource("batch", "v1", "jobs", "Job", "V1Job", True, (), ("all",), ("status",), True),
    Resource("networking.k8s.io", "v1", "ingresses", "Ingress", "V1Ingress", True, ("ing",), (), ("status",), True),
    Resource(
        "networking.k8s.io",
        "v1",
        "networkpolicies",
        "NetworkPolicy",
        "V1NetworkPolicy",
        True,
        ("netpol",),
        generation=True,
    ),
    Resource("networking.k8s.io", "v1", "ingressclasses", "IngressClass", "V1IngressClass", False, generation=True),
    Resource(
        "policy",
        "v1",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        "V1PodDisruptionBudget",
        True,
        ("pdb",),
        (),
        ("status",),
        True,
    ),
    _rbac("clusterrolebindings", "ClusterRoleBinding", False),
    _rbac("clusterroles", "ClusterRole", False),
    _rbac("rolebindings", "RoleBinding", True),
    _rbac("roles", "Role", True),
    Resource(
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        "V1CustomResourceDefinition",
        False,
        ("crd", "crds"),
        ("api-extensions",),
        ("status",),
        True,
    ),
    Resource("coordination.k8s.io", "v1", "leases", "Lease", "V1Lease"),
    Resource("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", "V1PriorityClass", False, ("pc",)),
    Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", "V1EndpointSlice", generation=True),
)

# Clients take the first version of a group they meet as its preferred one; the core group comes before all.
GROUP_ORDER = (
    "",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "apiextensions.k8s.io",
    "coordination.k8s.io",
    "scheduling.k8s.io",
    "discovery.k8s.io",
)


class Registry:
    """All resources served now."""

    def __init__(self) -> None:
        # Changes whenever a resource comes, goes or changes, and is another one in every process: caches go by it.
        self.mark = secrets.token_hex(4)
        self._by_path: dict[tuple[str, str, str], Resource] = {}
        for resource in BUILTIN:
            self._by_path[resource.group, resource.version, resource.plural] = resource

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._by_path.values())

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        return self._by_path.get((group, version, plural))

    def groups(self) -> dict[str, list[str]]:
        """Versions of each group, the preferred one first; groups in the order they are announced."""
        found: dict[str, list[str]] = {group: [] for group in GROUP_ORDER}
        for resource in self:
            versions = found.setdefault(resource.group, [])
            if resource.version not in versions:
                versions.append(resource.version)
        return found

    def of_version(self, group: str, version: str) -> list[Resource]:
        """The resources of one group version, by name."""
        members = (r for r in self if (r.group, r.version) == (group, version))
        return sorted(members, key=lambda r: r.plural)

    def replace_custom(self, group: str, plural: str, resources: list[Resource]) -> None:
        """Serve exactly ``resources`` for a custom resource; an empty list takes it away."""
        for path in [p for p in self._by_path if p[0] == group and p[2] == plural]:
            del self._by_path[path]
        self.mark = secrets.token_hex(4)
        for resource in resources:
            self._by_path[resource.group, resource.version, resource.plural] = resource
