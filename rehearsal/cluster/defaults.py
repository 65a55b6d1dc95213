"""What the API fills in where a manifest says nothing, per kind, in place."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from typing import Any

Object = dict[str, Any]


def apply_defaults(item: Object, kind: str) -> None:
    """Fill in the defaults of ``kind``; unknown kinds are left as they are."""
    handler = _HANDLERS.get(kind)
    if handler is not None:
        handler(item)


def _fill(target: Object, **values: Any) -> None:
    for key, value in values.items():
        target.setdefault(key, value)


def _pull_policy(image: str) -> str:
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return "Always" if not digest and tag in ("", "latest") else "IfNotPresent"


def _probe(probe: Object) -> None:
    _fill(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    if "httpGet" in probe:
        _fill(probe["httpGet"], path="/", scheme="HTTP")
    if "grpc" in probe:
        _fill(probe["grpc"], service="")


def _container(container: Object) -> None:
    _fill(
        container,
        resources={},
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        imagePullPolicy=_pull_policy(container.get("image", "")),
    )
    resources = container["resources"]
    if "limits" in resources:
        _fill(resources.setdefault("requests", {}), **resources["limits"])
    for port in container.get("ports") or []:
        _fill(port, protocol="TCP")
    for variable in container.get("env") or []:
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference is not None:
            _fill(reference, apiVersion="v1")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(container.get(name), dict):
            _probe(container[name])
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict) and "httpGet" in hook:
            _fill(hook["httpGet"], path="/", scheme="HTTP")


def _volume(volume: Object) -> None:
    if set(volume) == {"name"}:
        volume["emptyDir"] = {}
    for source in ("configMap", "secret", "downwardAPI", "projected"):
        if isinstance(volume.get(source), dict):
            _fill(volume[source], defaultMode=420)
    for item in (volume.get("downwardAPI") or {}).get("items") or []:
        if "fieldRef" in item:
            _fill(item["fieldRef"], apiVersion="v1")


def _pod_spec(spec: Object) -> None:
    _fill(
        spec,
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
        securityContext={},
        schedulerName="default-scheduler",
    )
    if spec.get("serviceAccountName"):
        _fill(spec, serviceAccount=spec["serviceAccountName"])
    for group in ("containers", "initContainers"):
        for container in spec.get(group) or []:
            _container(container)
    for volume in spec.get("volumes") or []:
        _volume(volume)
    for rule in spec.get("topologySpreadConstraints") or []:
        _fill(rule, maxSkew=1)


def _template(spec: Object) -> None:
    template = spec.setdefault("template", {})
    if isinstance(template.get("spec"), dict):
        _pod_spec(template["spec"])


def _pod(pod: Object) -> None:
    spec = pod.setdefault("spec", {})
    _pod_spec(spec)
    _fill(spec, enableServiceLinks=True)


def _deployment(item: Object) -> None:
    spec = item.setdefault("spec", {})
    _template(spec)
    _fill(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = spec.setdefault("strategy", {})
    _fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _fill(strategy.setdefault("rollingUpdate", {}), maxUnavailable="25%", maxSurge="25%")


def _replica_set(item: Object) -> None:
    spec = item.setdefault("spec", {})
    _template(spec)
    _fill(spec, replicas=1)


def _stateful_set(item: Object) -> None:
    spec = item.setdefault("spec", {})
    _template(spec)
    _fill(spec, replicas=1, revisionHistoryLimit=10, podManagementPolicy="OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    _fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _fill(strategy.setdefault("rollingUpdate", {}), partition=0)


def _daemon_set(item: Object) -> None:
    spec = item.setdefault("spec", {})
    _template(spec)
    _fill(spec, revisionHistoryLimit=10)
    strategy = spec.setdefault("updateStrategy", {})
    _fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _fill(strategy.setdefault("rollingUpdate", {}), maxUnavailable=1, maxSurge=0)


def _job(item: Object) -> None:
    spec = item.setdefault("spec", {})
    _template(spec)
    _fill(spec, completions=1, parallelism=1, backoffLimit=6, completionMode="NonIndexed", suspend=False)


def _service(item: Object) -> None:
    spec = item.setdefault("spec", {})
    _fill(spec, sessionAffinity="None", type="ClusterIP")
    if spec["type"] != "ExternalName":
        _fill(spec, internalTrafficPolicy="Cluster")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        _fill(spec, externalTrafficPolicy="Cluster")
    if spec["sessionAffinity"] == "ClientIP":
        _fill(spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {}), timeoutSeconds=10800)
    for port in spec.get("ports") or []:
        _fill(port, protocol="TCP")
        _fill(port, targetPort=port.get("port"))


def _secret(item: Object) -> None:
    for key, text in (item.pop("stringData", None) or {}).items():
        item.setdefault("data", {})[key] = base64.b64encode(text.encode()).decode()
    _fill(item, type="Opaque")


def _namespace(item: Object) -> None:
    metadata = item["metadata"]
    if metadata.get("name"):
        metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = metadata["name"]


def _hpa(item: Object) -> None:
    spec = item.setdefault("spec", {})
    _fill(spec, minReplicas=1)
    if "metrics" not in spec and "targetCPUUtilizationPercentage" not in spec:
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def _network_policy(item: Object) -> None:
    spec = item.setdefault("spec", {})
    types = ["Ingress"] + (["Egress"] if "egress" in spec else [])
    _fill(spec, policyTypes=types)
    for rule in (spec.get("ingress") or []) + (spec.get("egress") or []):
        for port in rule.get("ports") or []:
            _fill(port, protocol="TCP")


def _role_ref(item: Object) -> None:
    if isinstance(item.get("roleRef"), dict):
        _fill(item["roleRef"], apiGroup="rbac.authorization.k8s.io")
    for subject in item.get("subjects") or []:
        if subject.get("kind") in ("User", "Group"):
            _fill(subject, apiGroup="rbac.authorization.k8s.io")


def _definition(item: Object) -> None:
    spec = item.setdefault("spec", {})
    names = spec.get("names") or {}
    if names.get("kind"):
        _fill(names, singular=names["kind"].lower(), listKind=names["kind"] + "List")
    _fill(spec, conversion={"strategy": "None"})


def _endpoint_slice(item: Object) -> None:
    for port in item.get("ports") or []:
        _fill(port, name="", protocol="TCP")


def _endpoints(item: Object) -> None:
    for subset in item.get("subsets") or []:
        for port in subset.get("ports") or []:
            _fill(port, protocol="TCP")


_HANDLERS: dict[str, Callable[[Object], None]] = {
    "ClusterRoleBinding": _role_ref,
    "CustomResourceDefinition": _definition,
    "DaemonSet": _daemon_set,
    "Deployment": _deployment,
    "EndpointSlice": _endpoint_slice,
    "Endpoints": _endpoints,
    "HorizontalPodAutoscaler": _hpa,
    "Job": _job,
    "Namespace": _namespace,
    "NetworkPolicy": _network_policy,
    "Pod": _pod,
    "ReplicaSet": _replica_set,
    "RoleBinding": _role_ref,
    "Secret": _secret,
    "Service": _service,
    "StatefulSet": _stateful_set,
}


def custom_defaults(value: Any, schema: Any) -> Any:
    """Fill in the defaults a CustomResourceDefinition declares; changes ``value`` in place and returns it."""
    if schema.type == "struct" and isinstance(value, dict):
        for key, shape in schema.fields.items():
            if key not in value and "default" in shape.rules:
                value[key] = copy.deepcopy(shape.rules["default"])
            if key in value and key != "metadata":
                custom_defaults(value[key], shape)
    elif schema.type in ("list", "map") and isinstance(value, (list, dict)):
        for item in value if isinstance(value, list) else value.values():
            custom_defaults(item, schema.item)
    return value
