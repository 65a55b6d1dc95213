"""Which objects the API refuses: each check gives causes with the fields that are wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from rehearsal.cluster.errors import Cause, forbidden_field, required, unsupported, wrong
from rehearsal.cluster.resources import Resource
from rehearsal.cluster.schemas import Schema
from rehearsal.cluster.selectors import match_labels

Object = dict[str, Any]

SIZE_LIMIT = 1024 * 1024
_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_LABEL_VALUE = r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    f"an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
LABEL_1035_RULE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    f"and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    f"'{_LABEL_1035}')"
)
LABEL_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    f"'{_LABEL_VALUE}')"
)


def quote(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def validate(item: Object, resource: Resource, old: Object | None) -> list[Cause]:
    """Everything wrong with ``item``; ``old`` is the stored object on an update."""
    causes = _metadata(item, resource)
    if resource.custom:
        return causes + list(_custom(item, resource.types, "", root=True))
    missing = _required_fields(item, resource.types, "")
    checks = _CHECKS.get(resource.kind)
    found = checks(item, old) if checks is not None else []
    fields = {cause.field for cause in found}
    return causes + [cause for cause in missing if cause.field not in fields] + found


def _metadata(item: Object, resource: Resource) -> list[Cause]:
    metadata = item["metadata"]
    causes = _name(metadata.get("name", ""), resource)
    causes += _labels(metadata.get("labels"), "metadata.labels")
    for key in metadata.get("annotations") or {}:
        if not re.fullmatch(_QUALIFIED, key.rpartition("/")[2]):
            causes.append(wrong("metadata.annotations", quote(key), "name part must be a qualified name"))
    for at, finalizer in enumerate(metadata.get("finalizers") or []):
        if "/" not in finalizer and finalizer not in ("foregroundDeletion", "orphan", "kubernetes"):
            causes.append(
                wrong(
                    f"metadata.finalizers[{at}]",
                    quote(finalizer),
                    "name is neither a standard finalizer name nor is it fully qualified",
                )
            )
    for at, owner in enumerate(metadata.get("ownerReferences") or []):
        for key in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(key):
                causes.append(required(f"metadata.ownerReferences[{at}].{key}", "must not be empty"))
    return causes


def _name(name: str, resource: Resource) -> list[Cause]:
    pattern, rule, limit = _SUBDOMAIN, SUBDOMAIN_RULE, 253
    if resource.kind == "Namespace":
        pattern, rule, limit = _LABEL, LABEL_RULE, 63
    elif resource.kind == "Service" and not resource.custom:
        pattern, rule, limit = _LABEL_1035, LABEL_1035_RULE, 63
    elif resource.group == "rbac.authorization.k8s.io":
        pattern, rule, limit = r"[^/%]+", "may not contain '/' or '%'", 253
    if not name:
        return [required("metadata.name", "name or generateName is required")]
    if len(name) > limit or not re.fullmatch(pattern, name):
        return [wrong("metadata.name", quote(name), rule)]
    return []


def _labels(labels: Object | None, field: str) -> list[Cause]:
    causes = []
    for key, value in (labels or {}).items():
        if not re.fullmatch(_QUALIFIED, key.rpartition("/")[2]) or len(key.rpartition("/")[2]) > 63:
            causes.append(
                wrong(field, quote(key), "name part must consist of alphanumeric characters, '-', '_' or '.'")
            )
        if not isinstance(value, str) or len(value) > 63 or not re.fullmatch(_LABEL_VALUE, value):
            causes.append(wrong(field, quote(value), LABEL_VALUE_RULE))
    return causes


def _required_fields(value: Any, schema: Schema, path: str) -> list[Cause]:
    """Fields a built-in kind can't do without, wherever they lie."""
    causes: list[Cause] = []
    if schema.type == "struct" and isinstance(value, dict):
        for key in schema.required:
            # A list that is not given is an empty one.
            if key not in value and schema.fields[key].type != "list":
                causes.append(required(f"{path}.{key}".lstrip(".")))
        for key, below in value.items():
            if isinstance(below, (dict, list)) and key not in ("status", "managedFields"):
                causes += _required_fields(below, schema.child(key), f"{path}.{key}".lstrip("."))
    elif schema.type == "list" and isinstance(value, list) and schema.item.type == "struct":
        for at, item in enumerate(value):
            causes += _required_fields(item, schema.item, f"{path}[{at}]")
    return causes


def _pod_template(template: Object, path: str) -> list[Cause]:
    causes = _labels((template.get("metadata") or {}).get("labels"), f"{path}.metadata.labels")
    return causes + _pod_spec(template.get("spec") or {}, f"{path}.spec")


def _pod_spec(spec: Object, path: str) -> list[Cause]:
    causes: list[Cause] = []
    if not spec.get("containers"):
        causes.append(required(f"{path}.containers"))
    seen: set[str] = set()
    volumes = {volume.get("name") for volume in spec.get("volumes") or []}
    for group in ("initContainers", "containers"):
        for at, container in enumerate(spec.get(group) or []):
            causes += _container(container, f"{path}.{group}[{at}]", seen, volumes)
    policy = spec.get("restartPolicy")
    if policy not in (None, "Always", "OnFailure", "Never"):
        causes.append(unsupported(f"{path}.restartPolicy", policy, ["Always", "OnFailure", "Never"]))
    return causes


def _container(container: Object, path: str, seen: set[str], volumes: set[Any]) -> list[Cause]:
    causes: list[Cause] = []
    name = container.get("name", "")
    if not name:
        causes.append(required(f"{path}.name"))
    elif not re.fullmatch(_LABEL, name) or len(name) > 63:
        causes.append(wrong(f"{path}.name", quote(name), LABEL_RULE))
    elif name in seen:
        causes.append(Cause("FieldValueDuplicate", f'Duplicate value: "{name}"', f"{path}.name"))
    seen.add(name)
    if not container.get("image"):
        causes.append(required(f"{path}.image"))
    policy = container.get("imagePullPolicy")
    if policy not in (None, "Always", "IfNotPresent", "Never"):
        causes.append(unsupported(f"{path}.imagePullPolicy", policy, ["Always", "IfNotPresent", "Never"]))
    for at, port in enumerate(container.get("ports") or []):
        if not 0 < port.get("containerPort", 0) < 65536:
            number = str(port.get("containerPort", 0))
            causes.append(wrong(f"{path}.ports[{at}].containerPort", number, "must be between 1 and 65535, inclusive"))
    for at, mount in enumerate(container.get("volumeMounts") or []):
        if mount.get("name") not in volumes:
            missing = f'Not found: "{mount.get("name", "")}"'
            causes.append(Cause("FieldValueNotFound", missing, f"{path}.volumeMounts[{at}].name"))
    return causes


def _replicas(spec: Object) -> list[Cause]:
    count = spec.get("replicas", 0)
    return [wrong("spec.replicas", str(count), "must be greater than or equal to 0")] if count < 0 else []


def _workload(item: Object, old: Object | None) -> list[Cause]:
    spec = item.get("spec") or {}
    causes = _replicas(spec)
    selector, template = spec.get("selector"), spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    if selector is None:
        causes.append(required("spec.selector"))
    elif not selector:
        causes.append(wrong("spec.selector", "{}", "empty selector is invalid for deployment"))
    if not match_labels(selector, labels):
        why = "`selector` does not match template `labels`"
        causes.append(wrong("spec.template.metadata.labels", quote(labels), why))
    causes += _pod_template(template, "spec.template")
    policy = (template.get("spec") or {}).get("restartPolicy", "Always")
    if policy in ("OnFailure", "Never"):
        causes.append(unsupported("spec.template.spec.restartPolicy", policy, ["Always"]))
    if old is not None and selector is not None and selector != (old.get("spec") or {}).get("selector"):
        causes.append(wrong("spec.selector", quote(selector), "field is immutable"))
    return causes


def _deployment(item: Object, old: Object | None) -> list[Cause]:
    causes = _workload(item, old)
    strategy = (item.get("spec") or {}).get("strategy") or {}
    kind = strategy.get("type")
    if kind not in ("Recreate", "RollingUpdate"):
        causes.append(unsupported("spec.strategy.type", str(kind), ["Recreate", "RollingUpdate"]))
    if kind == "Recreate" and strategy.get("rollingUpdate") is not None:
        why = "may not be specified when strategy `type` is 'Recreate'"
        causes.append(forbidden_field("spec.strategy.rollingUpdate", why))
    rolling = strategy.get("rollingUpdate") or {}
    if rolling and all(str(rolling.get(key, "1")) in ("0", "0%") for key in ("maxSurge", "maxUnavailable")):
        why = "may not be 0 when `maxSurge` is 0"
        causes.append(wrong("spec.strategy.rollingUpdate.maxUnavailable", quote(rolling["maxUnavailable"]), why))
    return causes


def _pod(item: Object, old: Object | None) -> list[Cause]:
    causes = _pod_spec(item.get("spec") or {}, "spec")
    if old is None:
        return causes
    before, after = _fixed(old.get("spec") or {}), _fixed(item.get("spec") or {})
    if before != after:
        why = (
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
            "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
            "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
        )
        causes.append(forbidden_field("spec", why))
    return causes


_POD_CHANGEABLE = ("activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations")


def _fixed(spec: Object) -> Object:
    """What of a pod's spec can't change; the node is set by the binding subresource."""
    fixed = {key: value for key, value in spec.items() if key not in _POD_CHANGEABLE}
    for group in ("containers", "initContainers"):
        fixed[group] = [{k: v for k, v in c.items() if k != "image"} for c in spec.get(group) or []]
    return fixed


def _size(item: Object) -> list[Cause]:
    parts = [*(item.get("data") or {}).items(), *(item.get("binaryData") or {}).items()]
    total = sum(len(value.encode()) for _, value in parts)
    if total > SIZE_LIMIT:
        return [Cause("FieldValueTooLong", f"Too long: may not be more than {SIZE_LIMIT} bytes", "[]")]
    return []


def _config_map(item: Object, old: Object | None) -> list[Cause]:
    causes = _size(item)
    for key in item.get("data") or {}:
        if not re.fullmatch(r"[-._a-zA-Z0-9]+", key) or len(key) > 253:
            why = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
            causes.append(wrong(f"data[{key}]", quote(key), why))
    return causes + _immutable(item, old, ("data", "binaryData"))


def _secret(item: Object, old: Object | None) -> list[Cause]:
    causes = _size(item) + _immutable(item, old, ("data",))
    if old is not None and item.get("type") != old.get("type"):
        causes.append(wrong("type", quote(item.get("type")), "field is immutable"))
    return causes


def _immutable(item: Object, old: Object | None, fields: tuple[str, ...]) -> list[Cause]:
    if old is None or not old.get("immutable"):
        return []
    why = "field is immutable when `immutable` is set"
    changed = [field for field in fields if item.get(field) != old.get(field)]
    changed += [] if item.get("immutable") else ["immutable"]
    return [forbidden_field(field, why) for field in changed]


def _service(item: Object, old: Object | None) -> list[Cause]:
    spec, causes = item.get("spec") or {}, []
    ports = spec.get("ports") or []
    if not ports and spec.get("type") != "ExternalName" and spec.get("clusterIP") != "None":
        causes.append(required("spec.ports"))
    names: set[str] = set()
    for at, port in enumerate(ports):
        path = f"spec.ports[{at}]"
        if len(ports) > 1 and not port.get("name"):
            causes.append(required(f"{path}.name"))
        elif port.get("name") and port["name"] in names:
            causes.append(Cause("FieldValueDuplicate", f'Duplicate value: "{port["name"]}"', f"{path}.name"))
        names.add(port.get("name", ""))
        if not 0 < port.get("port", 0) < 65536:
            causes.append(wrong(f"{path}.port", str(port.get("port", 0)), "must be between 1 and 65535, inclusive"))
    kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]
    if spec.get("type") not in kinds:
        causes.append(unsupported("spec.type", str(spec.get("type")), kinds))
    causes += _labels(spec.get("selector"), "spec.selector")
    before = ((old or {}).get("spec") or {}).get("clusterIP")
    if before and spec.get("type") != "ExternalName" and spec.get("clusterIP") != before:
        causes.append(wrong("spec.clusterIPs[0]", quote(spec.get("clusterIP")), "may not change once set"))
    return causes


def _lease(item: Object, old: Object | None) -> list[Cause]:
    spec, causes = item.get("spec") or {}, []
    duration, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if duration is not None and duration <= 0:
        causes.append(wrong("spec.leaseDurationSeconds", str(duration), "must be greater than 0"))
    if transitions is not None and transitions < 0:
        causes.append(wrong("spec.leaseTransitions", str(transitions), "must be greater than or equal to 0"))
    return causes


def _hpa(item: Object, old: Object | None) -> list[Cause]:
    spec, causes = item.get("spec") or {}, []
    low, high = spec.get("minReplicas", 1), spec.get("maxReplicas", 0)
    if high < 1:
        causes.append(wrong("spec.maxReplicas", str(high), "must be greater than 0"))
    elif high < low:
        causes.append(wrong("spec.maxReplicas", str(high), "must be greater than or equal to `minReplicas`"))
    return causes


def _disruption_budget(item: Object, old: Object | None) -> list[Cause]:
    spec = item.get("spec") or {}
    if "minAvailable" in spec and "maxUnavailable" in spec:
        return [wrong("spec", quote(spec), "minAvailable and maxUnavailable cannot be both set")]
    return []


def _role_binding(item: Object, old: Object | None) -> list[Cause]:
    if old is not None and item.get("roleRef") != old.get("roleRef"):
        return [wrong("roleRef", quote(item.get("roleRef")), "cannot change roleRef")]
    return []


def _definition(item: Object, old: Object | None) -> list[Cause]:
    spec, causes = item.get("spec") or {}, []
    names = spec.get("names") or {}
    wanted = f"{names.get('plural', '')}.{spec.get('group', '')}"
    if item["metadata"].get("name") != wanted:
        value = quote(item["metadata"].get("name"))
        causes.append(wrong("metadata.name", value, 'must be spec.names.plural+"."+spec.group'))
    if spec.get("scope") not in ("Cluster", "Namespaced"):
        causes.append(unsupported("spec.scope", str(spec.get("scope")), ["Cluster", "Namespaced"]))
    versions = spec.get("versions") or []
    if sum(1 for version in versions if version.get("storage")) != 1:
        why = "must have exactly one version marked as storage version"
        causes.append(wrong("spec.versions", quote([v.get("name") for v in versions]), why))
    for at, version in enumerate(versions):
        if not (version.get("schema") or {}).get("openAPIV3Schema"):
            causes.append(required(f"spec.versions[{at}].schema.openAPIV3Schema", "schemas are required"))
    return causes


_CHECKS: dict[str, Callable[[Object, Object | None], list[Cause]]] = {
    "ClusterRoleBinding": _role_binding,
    "ConfigMap": _config_map,
    "CustomResourceDefinition": _definition,
    "DaemonSet": _workload,
    "Deployment": _deployment,
    "HorizontalPodAutoscaler": _hpa,
    "Lease": _lease,
    "Pod": _pod,
    "PodDisruptionBudget": _disruption_budget,
    "ReplicaSet": _workload,
    "RoleBinding": _role_binding,
    "Secret": _secret,
    "Service": _service,
    "StatefulSet": _workload,
}

_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "struct": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "int-or-string": (int, str),
}
_TYPE_NAMES = {"struct": "object", "map": "object", "list": "array"}


def _custom(value: Any, schema: Schema, path: str, root: bool = False) -> list[Cause]:
    """What a custom object breaks of its OpenAPI schema."""
    field = path or "<nil>"
    types = _JSON_TYPES.get(schema.type)
    if types and (not isinstance(value, types) or (isinstance(value, bool) and bool not in types)):
        name = _TYPE_NAMES.get(schema.type, schema.type)
        given = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
        found = given.get(type(value), "number")
        why = f'{field} in body must be of type {name}: "{found}"'
        return [Cause("FieldValueTypeInvalid", f'Invalid value: "{found}": {why}', path)]
    causes = _limits(value, schema, path)
    if isinstance(value, dict):
        causes += [required(f"{path}.{key}".lstrip(".")) for key in schema.required if key not in value]
        for key, below in value.items():
            if not (root and key in ("metadata", "apiVersion", "kind")):
                causes += _custom(below, schema.child(key), f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            causes += _custom(item, schema.item, f"{path}[{at}]")
    return causes


def _limits(value: Any, schema: Schema, path: str) -> list[Cause]:
    rules, causes = schema.rules, []
    if "enum" in rules and value not in rules["enum"]:
        causes.append(unsupported(path, str(value), [str(choice) for choice in rules["enum"]]))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if "minimum" in rules and value < rules["minimum"]:
            why = f"{path} in body should be greater than or equal to {rules['minimum']}"
            causes.append(wrong(path, quote(value), why))
        if "maximum" in rules and value > rules["maximum"]:
            causes.append(
                wrong(path, quote(value), f"{path} in body should be less than or equal to {rules['maximum']}")
            )
    if isinstance(value, str):
        if "pattern" in rules and not re.search(rules["pattern"], value):
            causes.append(wrong(path, quote(value), f"{path} in body should match '{rules['pattern']}'"))
        if len(value) < rules.get("minLength", 0):
            causes.append(
                wrong(path, quote(value), f"{path} in body should be at least {rules['minLength']} chars long")
            )
        if len(value) > rules.get("maxLength", len(value)):
            causes.append(
                Cause("FieldValueTooLong", f"Too long: may not be more than {rules['maxLength']} bytes", path)
            )
    if isinstance(value, list):
        if len(value) < rules.get("minItems", 0):
            causes.append(
                wrong(path, str(len(value)), f"{path} in body should have at least {rules['minItems']} items")
            )
        if len(value) > rules.get("maxItems", len(value)):
            causes.append(
                Cause("FieldValueTooMany", f"Too many: {len(value)}: must have at most {rules['maxItems']} items", path)
            )
    return causes
