"""Reads the protobuf bodies that ``kubectl create`` and ``kubectl auth`` send for some built-in kinds.

Answers are always JSON, which every client takes as well; so only decoding is needed, and only of the kinds below.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from rehearsal.cluster.errors import StatusError

Object = dict[str, Any]

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"

# Message → field number → (name, type). A type is a scalar word, a message, ``[type`` for a repeated field or
# ``{type`` for a map.
_MESSAGES: dict[str, dict[int, tuple[str, str]]] = {
    "Unknown": {1: ("typeMeta", "TypeMeta"), 2: ("raw", "raw"), 3: ("encoding", "string"), 4: ("type", "string")},
    "TypeMeta": {1: ("apiVersion", "string"), 2: ("kind", "string")},
    "ObjectMeta": {
        1: ("name", "string"),
        2: ("generateName", "string"),
        3: ("namespace", "string"),
        4: ("selfLink", "string"),
        5: ("uid", "string"),
        6: ("resourceVersion", "string"),
        7: ("generation", "integer"),
        8: ("creationTimestamp", "Time"),
        11: ("labels", "{string"),
        12: ("annotations", "{string"),
        14: ("finalizers", "[string"),
    },
    "Time": {1: ("seconds", "integer"), 2: ("nanos", "integer")},
    "Empty": {},
    "Namespace": {1: ("metadata", "ObjectMeta"), 2: ("spec", "NamespaceSpec"), 3: ("status", "NamespaceStatus")},
    "NamespaceSpec": {1: ("finalizers", "[string")},
    "NamespaceStatus": {1: ("phase", "string")},
    "ConfigMap": {
        1: ("metadata", "ObjectMeta"),
        2: ("data", "{string"),
        3: ("binaryData", "{bytes"),
        4: ("immutable", "boolean"),
    },
    "Secret": {
        1: ("metadata", "ObjectMeta"),
        2: ("data", "{bytes"),
        3: ("type", "string"),
        4: ("stringData", "{string"),
        5: ("immutable", "boolean"),
    },
    "ServiceAccount": {1: ("metadata", "ObjectMeta"), 4: ("automountServiceAccountToken", "boolean")},
    "Deployment": {1: ("metadata", "ObjectMeta"), 2: ("spec", "DeploymentSpec"), 3: ("status", "Empty")},
    "DeploymentSpec": {
        1: ("replicas", "integer"),
        2: ("selector", "LabelSelector"),
        3: ("template", "PodTemplateSpec"),
        4: ("strategy", "DeploymentStrategy"),
        5: ("minReadySeconds", "integer"),
        6: ("revisionHistoryLimit", "integer"),
        7: ("paused", "boolean"),
        9: ("progressDeadlineSeconds", "integer"),
    },
    "DeploymentStrategy": {1: ("type", "string")},
    "LabelSelector": {1: ("matchLabels", "{string")},
    "PodTemplateSpec": {1: ("metadata", "ObjectMeta"), 2: ("spec", "PodSpec")},
    "PodSpec": {
        2: ("containers", "[Container"),
        3: ("restartPolicy", "string"),
        4: ("terminationGracePeriodSeconds", "integer"),
        6: ("dnsPolicy", "string"),
        8: ("serviceAccountName", "string"),
        9: ("serviceAccount", "string"),
        10: ("nodeName", "string"),
        11: ("hostNetwork", "boolean"),
        12: ("hostPID", "boolean"),
        13: ("hostIPC", "boolean"),
        16: ("hostname", "string"),
        17: ("subdomain", "string"),
        19: ("schedulerName", "string"),
        24: ("priorityClassName", "string"),
    },
    "Container": {
        1: ("name", "string"),
        2: ("image", "string"),
        3: ("command", "[string"),
        4: ("args", "[string"),
        5: ("workingDir", "string"),
        6: ("ports", "[ContainerPort"),
        8: ("resources", "Empty"),
        13: ("terminationMessagePath", "string"),
        14: ("imagePullPolicy", "string"),
        16: ("stdin", "boolean"),
        17: ("stdinOnce", "boolean"),
        18: ("tty", "boolean"),
        20: ("terminationMessagePolicy", "string"),
    },
    "ContainerPort": {
        1: ("name", "string"),
        2: ("hostPort", "integer"),
        3: ("containerPort", "integer"),
        4: ("protocol", "string"),
        5: ("hostIP", "string"),
    },
    "Role": {1: ("metadata", "ObjectMeta"), 2: ("rules", "[PolicyRule")},
    "PolicyRule": {
        1: ("verbs", "[string"),
        2: ("apiGroups", "[string"),
        3: ("resources", "[string"),
        4: ("resourceNames", "[string"),
        5: ("nonResourceURLs", "[string"),
    },
    "RoleBinding": {1: ("metadata", "ObjectMeta"), 2: ("subjects", "[Subject"), 3: ("roleRef", "RoleRef")},
    "Subject": {
        1: ("kind", "string"),
        2: ("apiGroup", "string"),
        3: ("name", "string"),
        4: ("namespace", "string"),
    },
    "RoleRef": {1: ("apiGroup", "string"), 2: ("kind", "string"), 3: ("name", "string")},
    "SelfSubjectAccessReview": {1: ("metadata", "ObjectMeta"), 2: ("spec", "AccessSpec"), 3: ("status", "Empty")},
    "AccessSpec": {1: ("resourceAttributes", "ResourceAttributes"), 2: ("nonResourceAttributes", "PathAttributes")},
    "ResourceAttributes": {
        1: ("namespace", "string"),
        2: ("verb", "string"),
        3: ("group", "string"),
        4: ("version", "string"),
        5: ("resource", "string"),
        6: ("subresource", "string"),
        7: ("name", "string"),
    },
    "PathAttributes": {1: ("path", "string"), 2: ("verb", "string")},
    "SelfSubjectRulesReview": {1: ("metadata", "ObjectMeta"), 2: ("spec", "RulesSpec"), 3: ("status", "Empty")},
    "RulesSpec": {1: ("namespace", "string")},
    "SelfSubjectReview": {1: ("metadata", "ObjectMeta"), 2: ("status", "Empty")},
    "TokenRequest": {1: ("metadata", "ObjectMeta"), 2: ("spec", "TokenSpec"), 3: ("status", "Empty")},
    "TokenSpec": {1: ("audiences", "[string"), 4: ("expirationSeconds", "integer")},
    "Eviction": {1: ("metadata", "ObjectMeta"), 2: ("deleteOptions", "DeleteOptions")},
    "DeleteOptions": {
        1: ("gracePeriodSeconds", "integer"),
        2: ("preconditions", "Preconditions"),
        3: ("orphanDependents", "boolean"),
        4: ("propagationPolicy", "string"),
        5: ("dryRun", "[string"),
    },
    "Preconditions": {1: ("uid", "string"), 2: ("resourceVersion", "string")},
}
_MESSAGES["ClusterRole"] = _MESSAGES["Role"]
_MESSAGES["ClusterRoleBinding"] = _MESSAGES["RoleBinding"]


def decode(body: bytes, kind: str) -> Object:
    """The object in a protobuf body. Raises StatusError (415) for a kind or a field that is not known here."""
    if not body.startswith(_MAGIC):
        raise _unreadable(kind)
    try:
        envelope = _message(body[len(_MAGIC) :], "Unknown")
        head = envelope.get("typeMeta", {})
        return head | _message(envelope.get("raw", b""), head["kind"])
    except (KeyError, IndexError, UnicodeDecodeError):
        raise _unreadable(kind) from None


def _unreadable(kind: str) -> StatusError:
    message = f"this {kind} can't be read from protobuf here: send it as application/json (kubectl apply -f does)"
    return StatusError(415, "UnsupportedMediaType", message)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and content of each field: an integer, or bytes of what has a length."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == 0:
            number, at = _varint(data, at)
            yield tag >> 3, number
        elif tag & 7 == 2:
            length, at = _varint(data, at)
            yield tag >> 3, data[at : at + length]
            at += length
        else:
            raise KeyError(tag & 7)


def _message(data: bytes, kind: str) -> Object:
    """One message as JSON would have it; empty strings, zeros of plain fields and false are left out as JSON does."""
    known = _MESSAGES[kind]
    found: Object = {}
    for number, content in _fields(data):
        name, word = known[number] if kind != "Empty" else ("", "Empty")
        if word.startswith("["):
            found.setdefault(name, []).append(_value(content, word[1:]))
        elif word.startswith("{"):
            entry = dict(_fields(content if isinstance(content, bytes) else b""))
            found.setdefault(name, {})[_value(entry[1], "string")] = _value(entry.get(2, b""), word[1:])
        elif word != "Empty":
            value = _value(content, word)
            if value not in ("", False, None) and not (value == 0 and name != "replicas"):
                found[name] = value
    return found


def _value(content: int | bytes, word: str) -> Any:
    if isinstance(content, int):
        return bool(content) if word == "boolean" else content
    if word == "string":
        return content.decode()
    if word == "bytes":
        return base64.b64encode(content).decode()
    if word == "raw":
        return content
    if word == "Time":
        seconds = _message(content, "Time").get("seconds")
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else None
    return _message(content, word)
