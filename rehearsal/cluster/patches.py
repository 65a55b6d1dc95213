"""The patch types that need no ownership: JSON patch, merge patch and strategic merge patch."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
import jsonpointer

from rehearsal.cluster.errors import bad_request, unprocessable
from rehearsal.cluster.schemas import ANY, Schema


def json_patch(target: Any, operations: Any) -> Any:
    """RFC 6902. Raises StatusError: 400 for a document that is no patch, 422 for one that does not fit."""
    try:
        patch = jsonpatch.JsonPatch(operations)
    except (jsonpatch.InvalidJsonPatch, jsonpointer.JsonPointerException, TypeError) as error:
        raise bad_request(f"error decoding patch: {error}") from None
    try:
        return patch.apply(target)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, KeyError):
        raise unprocessable() from None


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386: maps merge, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def strategic_patch(target: dict[str, Any], patch: Any, schema: Schema) -> dict[str, Any]:
    """Merge ``patch`` with lists merged by their key where the kind says so, and the ``$`` directives obeyed."""
    if not isinstance(patch, dict):
        raise bad_request("a strategic merge patch must be an object")
    return _merge_map(copy.deepcopy(target), patch, schema)


def _merge_map(target: dict[str, Any], patch: dict[str, Any], schema: Schema) -> dict[str, Any]:
    directive = patch.get("$patch")
    if directive == "replace":
        return _clean({key: value for key, value in patch.items() if key != "$patch"})
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f"unknown patch type {directive!r} found in a map")
    if "$retainKeys" in patch:
        target = {key: value for key, value in target.items() if key in patch["$retainKeys"]}
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None:
            target.pop(key, None)
            continue
        target[key] = _merge_value(target.get(key), value, schema.child(key), patch, key)
    _lists_only_ordered(target, patch, schema)
    return target


def _merge_value(old: Any, new: Any, schema: Schema, patch: dict[str, Any], key: str) -> Any:
    if isinstance(new, dict):
        return _merge_map(old if isinstance(old, dict) else {}, new, schema)
    if isinstance(new, list) and schema.merge_list:
        order = patch.get(f"$setElementOrder/{key}")
        gone = patch.get(f"$deleteFromPrimitiveList/{key}") or []
        return _merge_list(old if isinstance(old, list) else [], new, schema, order, gone)
    return _clean(new)


def _lists_only_ordered(target: dict[str, Any], patch: dict[str, Any], schema: Schema) -> None:
    """Lists the patch only reorders or takes primitives from, without naming them themselves."""
    for directive in patch:
        name, _, key = directive.partition("/")
        if name in ("$setElementOrder", "$deleteFromPrimitiveList") and key not in patch and key in target:
            order = patch.get(f"$setElementOrder/{key}")
            gone = patch.get(f"$deleteFromPrimitiveList/{key}") or []
            target[key] = _merge_list(target[key], [], schema.child(key), order, gone)


def _merge_list(old: list[Any], new: list[Any], schema: Schema, order: list[Any] | None, gone: list[Any]) -> list[Any]:
    if any(isinstance(item, dict) and item.get("$patch") == "replace" and len(item) == 1 for item in new):
        return _clean([item for item in new if not (isinstance(item, dict) and item.get("$patch") == "replace")])
    key = schema.merge_key
    merged = {_identity(item, key): item for item in old if item not in gone}
    given: list[Any] = []
    for item in new:
        name = _identity(item, key)
        if isinstance(item, dict) and item.get("$patch") == "delete":
            merged.pop(name, None)
            continue
        before = merged.get(name)
        if isinstance(item, dict):
            merged[name] = _merge_map(before if isinstance(before, dict) else {}, item, schema.items or ANY)
        else:
            merged[name] = item
        given.append(name)
    if order is not None:
        given = [name for name in (_identity(item, key) for item in order) if name in merged]
    names = _interleave([_identity(item, key) for item in old], given, set(merged))
    return [merged[name] for name in names]


def _interleave(server: list[Any], given: list[Any], alive: set[Any]) -> list[Any]:
    """Names in their new order: as the patch gives them, the server's own kept before what they preceded."""
    place = {name: at for at, name in enumerate(server)}
    own = [name for name in server if name in alive and name not in set(given)]
    wanted = list(dict.fromkeys(given))
    result: list[Any] = []
    while own and wanted:
        before = wanted[0] in place and place[own[0]] < place[wanted[0]]
        result.append((own if before else wanted).pop(0))
    return result + own + wanted


def _identity(item: Any, key: str) -> Any:
    if not key:
        return item
    if not isinstance(item, dict) or key not in item:
        raise bad_request(f"map: {item} does not contain declared merge key: {key}")
    return item[key]


def _clean(value: Any) -> Any:
    """A value taken as it is, without directives and nulls meant for merging."""
    if isinstance(value, dict):
        return {k: _clean(v) for k, v in value.items() if not k.startswith("$") and v is not None}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value
