"""What fields a kind has: types, keys of lists, and what patches and server-side apply need to know of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

SCALARS = {"string", "integer", "number", "boolean", "time", "bytes", "quantity", "int-or-string", "any"}


@dataclass
class Schema:
    """One node of a kind's shape.

    ``type`` is ``struct`` (declared fields), ``map``, ``list`` or a scalar word of ``schemas.json``.
    ``keys`` are the fields that tell items of an associative list apart; ``unique`` marks a list that is a set;
    ``atomic`` values are owned and replaced as a whole. ``merge_key`` and ``retain_keys`` steer strategic merge patches
    (a merge key of ``""`` with ``merge_list`` merges primitives). ``open`` keeps undeclared fields.
    ``rules`` holds the constraints of a custom resource's OpenAPI schema.
    """

    type: str
    name: str = ""
    fields: dict[str, Schema] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    items: Schema | None = None
    keys: tuple[str, ...] = ()
    unique: bool = False
    atomic: bool = False
    merge_list: bool = False
    merge_key: str = ""
    retain_keys: bool = False
    open: bool = False
    rules: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def named(name: str) -> Schema:
        """The built-in type ``name``, for example ``V1Deployment``."""
        return _builtin(name)

    def child(self, key: str) -> Schema:
        """The schema of one field or map entry; anything at all where nothing is declared."""
        if self.type == "struct":
            return self.fields.get(key, ANY)
        if self.type == "map" and self.items is not None:
            return self.items
        return ANY

    @property
    def item(self) -> Schema:
        return self.items or ANY


ANY = Schema("any", open=True)

# Structs that are owned as one value.
ATOMIC_TYPES = {
    "V1LabelSelector",
    "V1LocalObjectReference",
    "V1ObjectReference",
    "V1ObjectFieldSelector",
    "V1ResourceFieldSelector",
    "V1SecretKeySelector",
    "V1ConfigMapKeySelector",
    "V1NodeSelector",
    "V1NodeSelectorTerm",
    "V1TypedLocalObjectReference",
    "V1ScopeSelector",
    "V1SecretReference",
    "V1OwnerReference",
    "V1EndpointAddress",
    "CoreV1EndpointPort",
    "V1CrossVersionObjectReference",
    "V2CrossVersionObjectReference",
    "V1RoleRef",
    "RbacV1Subject",
    "V1NonResourceAttributes",
    "V1FileKeySelector",
}
ATOMIC_MAPS = {("V1PodSpec", "nodeSelector"), ("V1ServiceSpec", "selector")}
# (type, field) → keys of the associative list; the first is also the merge key of strategic merge patches.
LIST_KEYS: dict[tuple[str, str], tuple[str, ...]] = {
    ("V1PodSpec", "containers"): ("name",),
    ("V1PodSpec", "initContainers"): ("name",),
    ("V1PodSpec", "ephemeralContainers"): ("name",),
    ("V1PodSpec", "volumes"): ("name",),
    ("V1PodSpec", "imagePullSecrets"): ("name",),
    ("V1PodSpec", "hostAliases"): ("ip",),
    ("V1PodSpec", "topologySpreadConstraints"): ("topologyKey", "whenUnsatisfiable"),
    ("V1PodSpec", "schedulingGates"): ("name",),
    ("V1PodSpec", "resourceClaims"): ("name",),
    ("V1PodStatus", "podIPs"): ("ip",),
    ("V1PodStatus", "resourceClaimStatuses"): ("name",),
    ("V1Container", "env"): ("name",),
    ("V1Container", "ports"): ("containerPort", "protocol"),
    ("V1Container", "volumeMounts"): ("mountPath",),
    ("V1Container", "volumeDevices"): ("devicePath",),
    ("V1EphemeralContainer", "env"): ("name",),
    ("V1EphemeralContainer", "ports"): ("containerPort", "protocol"),
    ("V1EphemeralContainer", "volumeMounts"): ("mountPath",),
    ("V1ResourceRequirements", "claims"): ("name",),
    ("V1ServiceSpec", "ports"): ("port", "protocol"),
    ("V1ServiceAccount", "secrets"): ("name",),
    ("V1NodeStatus", "addresses"): ("type",),
    ("V1ObjectMeta", "ownerReferences"): ("uid",),
}
RETAIN_KEYS = {("V1DeploymentSpec", "strategy"), ("V1PodSpec", "volumes"), ("V1PodSpec", "resourceClaims")}
SETS = {("V1ObjectMeta", "finalizers"), ("V1NodeSpec", "podCIDRs"), ("V1Endpoint", "addresses")}
# ``protocol`` counts as a key though a manifest may leave it out.
KEY_DEFAULTS = {"protocol": "TCP"}


@cache
def _types() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(Path(__file__).with_name("schemas.json").read_text())
    return parsed


@cache
def _builtin(name: str) -> Schema:
    facts = _types()[name]
    schema = Schema("struct", name, required=tuple(facts["required"]), atomic=name in ATOMIC_TYPES)
    if name == "V1JSONSchemaProps":
        # A JSON schema contains itself; the API extensions check it, not the field registry.
        return Schema("any", name, open=True)
    for key, word in facts["fields"].items():
        schema.fields[key] = _field(name, key, word)
    return schema


def _field(owner: str, key: str, word: str) -> Schema:
    place = (owner, key)
    if word.startswith("{"):
        return Schema("map", items=_value(word[1:]), atomic=place in ATOMIC_MAPS)
    if word.startswith("["):
        keys = LIST_KEYS.get(place, ())
        if key == "conditions" and owner.endswith("Status"):
            keys = ("type",)
        unique = place in SETS
        return Schema(
            "list",
            items=_value(word[1:]),
            keys=keys,
            unique=unique,
            atomic=not keys and not unique,
            merge_list=bool(keys) or (unique and owner != "V1Endpoint"),
            merge_key=keys[0] if keys else "",
            retain_keys=place in RETAIN_KEYS,
        )
    value = _value(word)
    if place in RETAIN_KEYS:
        return Schema("struct", value.name, value.fields, value.required, retain_keys=True)
    return value


def _value(word: str) -> Schema:
    if word.startswith(("[", "{")):
        return Schema("list" if word[0] == "[" else "map", items=_value(word[1:]), atomic=word[0] == "[")
    if word == "any":
        return ANY
    return Schema(word) if word in SCALARS else _builtin(word)


def from_openapi(document: dict[str, Any] | None, root: bool = False) -> Schema:
    """The schema a CustomResourceDefinition declares; ``root`` adds the fields every object has."""
    document = document or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    kept = ("enum", "minimum", "maximum", "minLength", "maxLength", "pattern", "minItems", "maxItems", "default")
    rules = {key: document[key] for key in kept if key in document}
    if document.get("nullable"):
        rules["nullable"] = True
    kind = document.get("type", "any")
    if document.get("x-kubernetes-int-or-string"):
        return Schema("int-or-string", rules=rules)
    if kind == "array":
        return _array(document, rules)
    if kind != "object":
        return Schema(kind if kind in SCALARS else "any", rules=rules, open=True)
    atomic = document.get("x-kubernetes-map-type") == "atomic"
    additional = document.get("additionalProperties")
    if isinstance(additional, dict):
        return Schema("map", items=from_openapi(additional), atomic=atomic, rules=rules)
    fields = {key: from_openapi(value) for key, value in document.get("properties", {}).items()}
    if root or document.get("x-kubernetes-embedded-resource"):
        fields |= {
            "apiVersion": Schema("string"),
            "kind": Schema("string"),
            "metadata": Schema.named("V1ObjectMeta"),
        }
    free = bool(document.get("x-kubernetes-preserve-unknown-fields")) or additional is True
    return Schema("struct", "", fields, tuple(document.get("required", ())), atomic=atomic, open=free, rules=rules)


def _array(document: dict[str, Any], rules: dict[str, Any]) -> Schema:
    items = from_openapi(document.get("items"))
    list_type = document.get("x-kubernetes-list-type", "atomic")
    keys = tuple(document.get("x-kubernetes-list-map-keys", ())) if list_type == "map" else ()
    return Schema("list", items=items, keys=keys, unique=list_type == "set", atomic=list_type == "atomic", rules=rules)
