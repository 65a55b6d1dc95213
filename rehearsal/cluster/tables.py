"""Columns and cells of the tables that ``kubectl get`` prints."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from rehearsal.cluster.resources import Resource
from rehearsal.cluster.selectors import selector_text

Object = dict[str, Any]
Cell = str | int | bool | None
# A column: name, type, priority (1 is shown only by ``-o wide``), and what it shows of an object.
Column = tuple[str, str, int, Callable[[Object], Cell]]

_NONE = "<none>"


def columns_of(resource: Resource) -> list[Object]:
    """The column definitions of a kind."""
    return [
        {
            "name": name,
            "type": kind,
            "format": "name" if name == "Name" else "",
            "description": "",
            "priority": priority,
        }
        for name, kind, priority, _ in _columns(resource)
    ]


def row_of(item: Object, resource: Resource) -> list[Cell]:
    """The cells of one object."""
    return [show(item) for _, _, _, show in _columns(resource)]


def _columns(resource: Resource) -> list[Column]:
    name: Column = ("Name", "string", 0, lambda item: item["metadata"]["name"])
    age: Column = ("Age", "string", 0, lambda item: duration(item["metadata"].get("creationTimestamp")))
    if resource.custom:
        return [name, *(_custom_column(column) for column in resource.columns)] if resource.columns else [name, age]
    if resource.kind == "Event":
        return _EVENT
    return [name, *_COLUMNS.get(resource.kind, []), age, *_WIDE.get(resource.kind, [])]


def duration(since: str | None) -> str:
    """How long ago, the way ``kubectl`` writes it: ``45s``, ``3m10s``, ``5h``, ``2d``."""
    if not since:
        return "<unknown>"
    moment = datetime.fromisoformat(since.replace("Z", "+00:00"))
    seconds = max(int((datetime.now(UTC) - moment).total_seconds()), 0)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d" if days < 365 else f"{days // 365}y{days % 365}d"


def _custom_column(column: Object) -> Column:
    path = column["jsonPath"]
    kind = column.get("type", "string")

    def show(item: Object) -> Cell:
        value = json_path(item, path)
        if kind == "date":
            return duration(value) if value else None
        if isinstance(value, (dict, list)):
            return json.dumps(value, separators=(",", ":"))
        return value if value is None or isinstance(value, (str, int, bool)) else str(value)

    return column["name"], kind, column.get("priority", 0), show


def json_path(item: Any, path: str) -> Any:
    """What a simple JSONPath leads to: names, ``[0]``, ``[*]`` and ``[?(@.key=="value")]``; None for nothing."""
    nodes = [item]
    for name, index, key, value in re.findall(r'\.?([^.\[\]]+)|\[(\d+|\*)\]|\[\?\(@\.(\w+)==[\'"](.*?)[\'"]\)\]', path):
        following: list[Any] = []
        for node in nodes:
            if name and isinstance(node, dict) and name in node:
                following.append(node[name])
            elif isinstance(node, list):
                if key:
                    following += [entry for entry in node if isinstance(entry, dict) and entry.get(key) == value]
                elif index:
                    following += node if index == "*" else node[int(index) : int(index) + 1]
        nodes = following
    if not nodes:
        return None
    return nodes[0] if len(nodes) == 1 else ",".join(str(node) for node in nodes)


def _of(part: str, key: str, default: Cell = 0) -> Callable[[Object], Cell]:
    return lambda item: (item.get(part) or {}).get(key, default)


def _joined(values: list[str]) -> str:
    return ",".join(values) or _NONE


def _containers(item: Object) -> list[Object]:
    found: list[Object] = ((item["spec"].get("template") or {}).get("spec") or {}).get("containers") or []
    return found


def _names(item: Object) -> Cell:
    return _joined([container["name"] for container in _containers(item)])


def _images(item: Object) -> Cell:
    return _joined([container.get("image", "") for container in _containers(item)])


def _selector(item: Object) -> Cell:
    return selector_text(item["spec"].get("selector")) or _NONE


def _ready_of_replicas(item: Object) -> Cell:
    return f"{(item.get('status') or {}).get('readyReplicas', 0)}/{item['spec'].get('replicas', 0)}"


def _pod_ready(item: Object) -> Cell:
    statuses = (item.get("status") or {}).get("containerStatuses") or []
    return f"{sum(1 for status in statuses if status.get('ready'))}/{len(item['spec'].get('containers') or [])}"


def _pod_status(item: Object) -> Cell:
    """The word that tells most of a pod's state."""
    status = item.get("status") or {}
    word = status.get("reason") or status.get("phase", "Unknown")
    for container in status.get("containerStatuses") or []:
        state = container.get("state") or {}
        if (state.get("waiting") or {}).get("reason"):
            word = state["waiting"]["reason"]
        elif "terminated" in state:
            ended = state["terminated"]
            word = ended.get("reason") or f"ExitCode:{ended.get('exitCode', 0)}"
    return "Terminating" if "deletionTimestamp" in item["metadata"] else word


def _restarts(item: Object) -> Cell:
    statuses = (item.get("status") or {}).get("containerStatuses") or []
    count = sum(status.get("restartCount", 0) for status in statuses)
    ends = [((status.get("lastState") or {}).get("terminated") or {}).get("finishedAt") for status in statuses]
    last = max(filter(None, ends), default=None)
    return f"{count} ({duration(last)} ago)" if count and last else str(count)


def _ports(item: Object) -> Cell:
    parts = []
    for port in item["spec"].get("ports") or []:
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        parts.append(f"{port['port']}{node}/{port.get('protocol', 'TCP')}")
    return _joined(parts)


def _external(item: Object) -> Cell:
    spec = item["spec"]
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName"))
    return _joined(spec.get("externalIPs") or []) if spec.get("type") != "LoadBalancer" else "<pending>"


def _service_selector(item: Object) -> Cell:
    return _joined([f"{key}={value}" for key, value in sorted((item["spec"].get("selector") or {}).items())])


def _node_status(item: Object) -> Cell:
    conditions = {c["type"]: c["status"] for c in (item.get("status") or {}).get("conditions") or []}
    words = {"True": "Ready", "False": "NotReady"}
    word = words.get(conditions.get("Ready", ""), "Unknown")
    return word + (",SchedulingDisabled" if (item.get("spec") or {}).get("unschedulable") else "")


def _node_roles(item: Object) -> Cell:
    prefix = "node-role.kubernetes.io/"
    return _joined(sorted(k[len(prefix) :] for k in item["metadata"].get("labels") or {} if k.startswith(prefix)))


def _node_address(item: Object) -> Cell:
    addresses = (item.get("status") or {}).get("addresses") or []
    return next((a["address"] for a in addresses if a["type"] == "InternalIP"), _NONE)


def _endpoint_list(item: Object) -> Cell:
    found = [
        f"{address['ip']}:{port['port']}"
        for subset in item.get("subsets") or []
        for port in subset.get("ports") or []
        for address in subset.get("addresses") or []
    ]
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return _joined(found[:3]) + more


def _slice_addresses(item: Object) -> Cell:
    found = [address for endpoint in item.get("endpoints") or [] for address in endpoint.get("addresses") or []]
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return _joined(found[:3]) + more


def _slice_ports(item: Object) -> Cell:
    return _joined([str(port.get("port", "*")) for port in item.get("ports") or []])


def _hosts(item: Object) -> Cell:
    return ",".join(rule.get("host", "*") for rule in item["spec"].get("rules") or []) or "*"


def _target(item: Object) -> Cell:
    reference = item["spec"].get("scaleTargetRef") or {}
    return f"{reference.get('kind')}/{reference.get('name')}"


def _role(item: Object) -> Cell:
    return f"{item['roleRef']['kind']}/{item['roleRef']['name']}"


def _event_object(item: Object) -> Cell:
    about = item.get("involvedObject") or item.get("regarding") or {}
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


def _event_seen(item: Object) -> Cell:
    keys = ("lastTimestamp", "deprecatedLastTimestamp", "eventTime", "firstTimestamp")
    return duration(next((item[key] for key in keys if item.get(key)), item["metadata"].get("creationTimestamp")))


_EVENT: list[Column] = [
    ("Last Seen", "string", 0, _event_seen),
    ("Type", "string", 0, lambda item: item.get("type", "")),
    ("Reason", "string", 0, lambda item: item.get("reason", "")),
    ("Object", "string", 0, _event_object),
    ("Message", "string", 0, lambda item: (item.get("message") or item.get("note") or "").strip()),
    ("Name", "string", 1, lambda item: item["metadata"]["name"]),
]
_COLUMNS: dict[str, list[Column]] = {
    "ConfigMap": [
        ("Data", "string", 0, lambda item: len(item.get("data") or {}) + len(item.get("binaryData") or {})),
    ],
    "CustomResourceDefinition": [
        ("Created At", "date", 0, lambda item: item["metadata"].get("creationTimestamp")),
    ],
    "DaemonSet": [
        ("Desired", "integer", 0, _of("status", "desiredNumberScheduled")),
        ("Current", "integer", 0, _of("status", "currentNumberScheduled")),
        ("Ready", "integer", 0, _of("status", "numberReady")),
        ("Up-to-date", "integer", 0, _of("status", "updatedNumberScheduled")),
        ("Available", "integer", 0, _of("status", "numberAvailable")),
    ],
    "Deployment": [
        ("Ready", "string", 0, _ready_of_replicas),
        ("Up-to-date", "integer", 0, _of("status", "updatedReplicas")),
        ("Available", "integer", 0, _of("status", "availableReplicas")),
    ],
    "EndpointSlice": [
        ("AddressType", "string", 0, lambda item: item.get("addressType", "")),
        ("Ports", "string", 0, _slice_ports),
        ("Endpoints", "string", 0, _slice_addresses),
    ],
    "Endpoints": [("Endpoints", "string", 0, _endpoint_list)],
    "HorizontalPodAutoscaler": [
        ("Reference", "string", 0, _target),
        ("MinPods", "string", 0, _of("spec", "minReplicas", 1)),
        ("MaxPods", "string", 0, _of("spec", "maxReplicas")),
        ("Replicas", "string", 0, _of("status", "currentReplicas")),
    ],
    "Ingress": [
        ("Class", "string", 0, _of("spec", "ingressClassName", _NONE)),
        ("Hosts", "string", 0, _hosts),
        ("Address", "string", 0, lambda item: json_path(item, ".status.loadBalancer.ingress[*].ip") or ""),
        ("Ports", "string", 0, lambda item: "80, 443" if item["spec"].get("tls") else "80"),
    ],
    "Job": [
        ("Completions", "string", 0, lambda i: f"{_of('status', 'succeeded')(i)}/{_of('spec', 'completions', 1)(i)}"),
    ],
    "Lease": [("Holder", "string", 0, _of("spec", "holderIdentity", ""))],
    "Namespace": [("Status", "string", 0, _of("status", "phase", ""))],
    "NetworkPolicy": [
        ("Pod-Selector", "string", 0, lambda item: selector_text(item["spec"].get("podSelector")) or _NONE),
    ],
    "Node": [
        ("Status", "string", 0, _node_status),
        ("Roles", "string", 0, _node_roles),
    ],
    "Pod": [
        ("Ready", "string", 0, _pod_ready),
        ("Status", "string", 0, _pod_status),
        ("Restarts", "string", 0, _restarts),
    ],
    "PodDisruptionBudget": [
        ("Min Available", "string", 0, lambda item: str(item["spec"].get("minAvailable", "N/A"))),
        ("Max Unavailable", "string", 0, lambda item: str(item["spec"].get("maxUnavailable", "N/A"))),
        ("Allowed Disruptions", "integer", 0, _of("status", "disruptionsAllowed")),
    ],
    "ReplicaSet": [
        ("Desired", "integer", 0, _of("spec", "replicas")),
        ("Current", "integer", 0, _of("status", "replicas")),
        ("Ready", "integer", 0, _of("status", "readyReplicas")),
    ],
    "Role": [("Created At", "date", 0, lambda item: item["metadata"].get("creationTimestamp"))],
    "RoleBinding": [("Role", "string", 0, _role)],
    "ClusterRoleBinding": [("Role", "string", 0, _role)],
    "Secret": [
        ("Type", "string", 0, lambda item: item.get("type", "")),
        ("Data", "string", 0, lambda item: len(item.get("data") or {})),
    ],
    "Service": [
        ("Type", "string", 0, _of("spec", "type", "")),
        ("Cluster-IP", "string", 0, _of("spec", "clusterIP", _NONE)),
        ("External-IP", "string", 0, _external),
        ("Port(s)", "string", 0, _ports),
    ],
    "ServiceAccount": [("Secrets", "string", 0, lambda item: len(item.get("secrets") or []))],
    "StatefulSet": [("Ready", "string", 0, _ready_of_replicas)],
}
_TEMPLATE_WIDE: list[Column] = [
    ("Containers", "string", 1, _names),
    ("Images", "string", 1, _images),
    ("Selector", "string", 1, _selector),
]
# Shown after the age.
_WIDE: dict[str, list[Column]] = {
    "DaemonSet": _TEMPLATE_WIDE,
    "Deployment": _TEMPLATE_WIDE,
    "Node": [
        ("Version", "string", 0, lambda i: ((i.get("status") or {}).get("nodeInfo") or {}).get("kubeletVersion", "")),
        ("Internal-IP", "string", 1, _node_address),
    ],
    "Pod": [
        ("IP", "string", 1, _of("status", "podIP", _NONE)),
        ("Node", "string", 1, _of("spec", "nodeName", _NONE)),
    ],
    "ReplicaSet": _TEMPLATE_WIDE,
    "Service": [("Selector", "string", 1, _service_selector)],
}
