"""The environment of a container, from what its manifest says: pure functions."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, Decimal

from rehearsal.node.quantity import parse_quantity
from rehearsal.node.sources import ConfigError, Objects, Reference
from rehearsal.objects import Object

_REFERENCE = re.compile(r"\$\$|\$\(([-._a-zA-Z0-9]+)\)")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


def environment_references(container: Object) -> set[Reference]:
    """The ConfigMaps and Secrets the container's environment needs."""
    found: set[Reference] = set()
    for entry in container.get("envFrom") or []:
        for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if field in entry:
                found.add((kind, entry[field]["name"]))
    for variable in container.get("env") or []:
        source = variable.get("valueFrom") or {}
        for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            if field in source:
                found.add((kind, source[field]["name"]))
    return found


def resolve_environment(
    container: Object, pod: Object, defaults: Mapping[str, str], objects: Objects, capacity: Mapping[str, str]
) -> dict[str, str]:
    """All variables: the image's defaults, then ``envFrom``, then ``env``, later ones over earlier ones.

    ``pod`` has its addresses in its status; ``capacity`` stands in for limits not set. Raises ConfigError.
    """
    variables = dict(defaults)
    for entry in container.get("envFrom") or []:
        variables |= _all_of(entry, objects)
    for variable in container.get("env") or []:
        if "valueFrom" in variable:
            value = _value_from(variable["valueFrom"], container, pod, objects, capacity)
            if value is not None:
                variables[variable["name"]] = value
        else:
            variables[variable["name"]] = expand(variable.get("value") or "", variables)
    return variables


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by the variable; ``$$`` is a dollar sign, an unknown name stays as it is written."""

    def replace(match: re.Match[str]) -> str:
        if match.group(0) == "$$":
            return "$"
        return variables.get(match.group(1), match.group(0))

    return _REFERENCE.sub(replace, text)


def expand_all(words: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    return [expand(word, variables) for word in words]


def data_of(item: Object) -> dict[str, bytes]:
    """The keys of a ConfigMap or Secret, as bytes."""
    encoded = item.get("data") or {}
    if item.get("kind") == "Secret" or "type" in item:
        return {key: base64.b64decode(value) for key, value in encoded.items()}
    binary = {key: base64.b64decode(value) for key, value in (item.get("binaryData") or {}).items()}
    return {key: value.encode() for key, value in encoded.items()} | binary


def field_value(path: str, pod: Object) -> str:
    """What a fieldRef means for this pod. Raises ConfigError for a field there is not."""
    subscript = _SUBSCRIPT.fullmatch(path)
    if subscript:
        return str((pod["metadata"].get(subscript[1]) or {}).get(subscript[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        entries = pod["metadata"].get(path.partition(".")[2]) or {}
        return "\n".join(f'{key}="{value}"' for key, value in sorted(entries.items()))
    if path == "status.podIPs":
        return ",".join(entry["ip"] for entry in pod["status"].get("podIPs") or [])
    known = {
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.podIP",
        "status.hostIP",
    }
    if path not in known:
        raise ConfigError(f"unsupported fieldPath: {path}")
    part, _, name = path.partition(".")
    return str((pod.get(part) or {}).get(name, ""))


def resource_value(reference: Object, container: Object, capacity: Mapping[str, str]) -> str:
    """What a resourceFieldRef (``limits.cpu`` …) means, in units of its divisor, rounded up."""
    part, _, name = reference["resource"].partition(".")
    resources = container.get("resources") or {}
    text = (resources.get(part) or {}).get(name)
    if text is None and part == "limits":
        text = capacity.get(name)
    divisor = parse_quantity(reference.get("divisor") or "1") or Decimal(1)
    return str((parse_quantity(text or "0") / divisor).to_integral_value(ROUND_CEILING))


def _all_of(entry: Object, objects: Objects) -> dict[str, str]:
    field, kind = ("configMapRef", "ConfigMap") if "configMapRef" in entry else ("secretRef", "Secret")
    reference = entry[field]
    item = objects.get((kind, reference["name"]))
    if item is None:
        if reference.get("optional"):
            return {}
        raise ConfigError(f'{kind.lower()} "{reference["name"]}" not found')
    prefix = entry.get("prefix") or ""
    return {prefix + key: value.decode(errors="replace") for key, value in data_of(item | {"kind": kind}).items()}


def _value_from(
    source: Object, container: Object, pod: Object, objects: Objects, capacity: Mapping[str, str]
) -> str | None:
    if "fieldRef" in source:
        return field_value(source["fieldRef"]["fieldPath"], pod)
    if "resourceFieldRef" in source:
        return resource_value(source["resourceFieldRef"], container, capacity)
    for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if field in source:
            return _key_of(kind, source[field], pod, objects)
    raise ConfigError(f"unsupported valueFrom: {', '.join(source)}")


def _key_of(kind: str, reference: Object, pod: Object, objects: Objects) -> str | None:
    item = objects.get((kind, reference["name"]))
    if item is None:
        if reference.get("optional"):
            return None
        raise ConfigError(f'{kind.lower()} "{reference["name"]}" not found')
    value = data_of(item | {"kind": kind}).get(reference["key"])
    if value is None:
        if reference.get("optional"):
            return None
        place = f"{pod['metadata']['namespace']}/{reference['name']}"
        raise ConfigError(f"couldn't find key {reference['key']} in {kind} {place}")
    return value.decode(errors="replace")
