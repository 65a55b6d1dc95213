"""Sets of field paths: who owns what in an object, as ``metadata.managedFields`` writes it down.

A path is a tuple of elements in the notation of FieldsV1: ``f:<name>``, ``k:<JSON of the keys>``, ``v:<JSON value>``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rehearsal.cluster.schemas import ANY, KEY_DEFAULTS, Schema

Path = tuple[str, ...]
Paths = set[Path]
_MISSING = object()


def to_fields(paths: Paths) -> dict[str, Any]:
    """The nested FieldsV1 form of a set."""
    root: dict[str, Any] = {}
    for path in sorted(paths):
        node = root
        for element in path:
            node = node.setdefault(element, {})
        node["."] = {}
    return _tidy(root)


def _tidy(node: dict[str, Any]) -> dict[str, Any]:
    """Leaves lose their dot: it is only written where a member has members below it."""
    if set(node) == {"."}:
        return {}
    return {key: value if key == "." else _tidy(value) for key, value in node.items()}


def from_fields(fields: dict[str, Any], prefix: Path = ()) -> Paths:
    """The set a FieldsV1 object stands for."""
    paths: Paths = set()
    for element, below in fields.items():
        if element == ".":
            paths.add(prefix)
            continue
        path = (*prefix, element)
        if below:
            paths |= from_fields(below, path)
        else:
            paths.add(path)
    return paths


def item_element(item: Any, schema: Schema) -> str:
    """The path element of one item of an associative list or set."""
    if schema.keys and isinstance(item, dict):
        keys = {key: item.get(key, KEY_DEFAULTS.get(key)) for key in sorted(schema.keys)}
        keys = {key: value for key, value in keys.items() if value is not None}
        return "k:" + json.dumps(keys, separators=(",", ":"))
    return "v:" + json.dumps(item, separators=(",", ":"), sort_keys=True)


def granular_list(schema: Schema) -> bool:
    return schema.type == "list" and not schema.atomic and bool(schema.keys or schema.unique)


def _is_tree(value: Any, schema: Schema) -> bool:
    """Whether the fields below ``value`` are owned one by one."""
    if schema.atomic:
        return False
    if isinstance(value, dict):
        return True
    return isinstance(value, list) and granular_list(schema)


def children(value: Any, schema: Schema) -> dict[str, tuple[Any, Schema, bool]]:
    """Element → (value, schema, whether it is a member in its own right) of what lies directly below ``value``."""
    if isinstance(value, dict):
        struct = schema.type == "struct"
        return {
            f"f:{key}": (below, schema.child(key), not (struct and key in schema.fields))
            for key, below in value.items()
        }
    return {item_element(item, schema): (item, schema.item, True) for item in value}


def owned(value: Any, schema: Schema, prefix: Path = ()) -> Paths:
    """Every path that applying ``value`` claims."""
    if not _is_tree(value, schema):
        return {prefix}
    paths: Paths = set()
    for element, (below, shape, member) in children(value, schema).items():
        path = (*prefix, element)
        if member or below is None or below == {}:
            paths.add(path)
        paths |= owned(below, shape, path) if below not in (None, {}) else {path}
    return paths


@dataclass
class Difference:
    """Paths added, modified and removed between two states of an object."""

    added: Paths
    modified: Paths
    removed: Paths

    def __bool__(self) -> bool:
        return bool(self.added or self.modified or self.removed)


def compare(old: Any, new: Any, schema: Schema) -> Difference:
    """How ``new`` differs from ``old``; a structure that appears or goes is itself a path, and so is all below it."""
    difference = Difference(set(), set(), set())
    _compare(old, new, schema, (), difference)
    return difference


def _compare(old: Any, new: Any, schema: Schema, path: Path, into: Difference) -> None:
    if old is _MISSING or new is _MISSING:
        target, value = (into.added, new) if old is _MISSING else (into.removed, old)
        if path:
            target.add(path)
        if _is_tree(value, schema):
            for element, (below, shape, _) in children(value, schema).items():
                pair = (_MISSING, below) if old is _MISSING else (below, _MISSING)
                _compare(*pair, shape, (*path, element), into)
        return
    if old == new:
        return
    if _is_tree(new, schema) and (old is None or _is_tree(old, schema)):
        before, after = children(old, schema) if old else {}, children(new, schema)
        for element in before.keys() | after.keys():
            shape = (after.get(element) or before[element])[1]
            left = before[element][0] if element in before else _MISSING
            right = after[element][0] if element in after else _MISSING
            _compare(left, right, shape, (*path, element), into)
        return
    into.modified.add(path)


def remove(value: Any, schema: Schema, gone: Paths, kept: Paths) -> Any:
    """``value`` without the paths ``gone``, unless they or something below them is in ``kept``."""
    guarded = {path[:length] for path in kept for length in range(1, len(path) + 1)}
    return _remove(value, schema, (), gone - guarded)


def _remove(value: Any, schema: Schema, prefix: Path, gone: Paths) -> Any:
    if not _is_tree(value, schema):
        return value
    if isinstance(value, dict):
        left = {}
        for key, below in value.items():
            path = (*prefix, f"f:{key}")
            if path not in gone:
                left[key] = _remove(below, schema.child(key), path, gone)
        return left
    items = ((item, (*prefix, item_element(item, schema))) for item in value)
    return [_remove(item, schema.item, path, gone) for item, path in items if path not in gone]


def display(path: Path) -> str:
    """A path as conflict messages show it: ``.spec.containers[name="c"].image``."""
    text = ""
    for element in path:
        kind, _, rest = element.partition(":")
        if kind == "f":
            text += f".{rest}"
        elif kind == "k":
            keys = ",".join(f"{key}={json.dumps(value)}" for key, value in json.loads(rest).items())
            text += f"[{keys}]"
        else:
            text += f"[={rest}]"
    return text


__all__ = ["ANY", "Difference", "Path", "Paths", "compare", "display", "from_fields", "owned", "remove", "to_fields"]
