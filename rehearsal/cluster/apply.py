"""Field ownership: ``metadata.managedFields`` after each write, and server-side apply."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rehearsal.cluster.errors import StatusError
from rehearsal.cluster.fieldsets import (
    Path,
    Paths,
    compare,
    display,
    from_fields,
    granular_list,
    item_element,
    owned,
    remove,
    to_fields,
)
from rehearsal.cluster.schemas import Schema

Object = dict[str, Any]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# What every object has and nobody owns.
_UNOWNED_METADATA = (
    "name",
    "namespace",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "uid",
    "generation",
    "managedFields",
    "resourceVersion",
)
_UNOWNED: Paths = {("f:apiVersion",), ("f:kind",), ("f:metadata",)} | {
    ("f:metadata", f"f:{name}") for name in _UNOWNED_METADATA
}


@dataclass(frozen=True)
class Manager:
    """Who writes: the name, ``Update`` or ``Apply``, the version it wrote in and the subresource it wrote to."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    def describe(self, time: str) -> str:
        """As conflict messages name it."""
        text = json.dumps(self.name)
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        if self.operation == "Update":
            text += f" using {self.api_version}" + (f" at {time}" if time else "")
        return text


@dataclass
class Ownership:
    """All managers of an object with their fields, and when each of them last changed."""

    sets: dict[Manager, Paths] = field(default_factory=dict)
    times: dict[Manager, str] = field(default_factory=dict)

    @classmethod
    def read(cls, item: Object) -> Ownership:
        """From an object's ``metadata.managedFields``; entries that make no sense are passed over."""
        found = cls()
        for entry in item.get("metadata", {}).get("managedFields") or []:
            if not isinstance(entry.get("fieldsV1"), dict):
                continue
            manager = Manager(
                entry.get("manager", ""),
                entry.get("operation", "Update"),
                entry.get("apiVersion", ""),
                entry.get("subresource", ""),
            )
            found.sets[manager] = from_fields(entry["fieldsV1"])
            found.times[manager] = entry.get("time", "")
        return found

    def write(self, now: str, before: Ownership) -> list[Object]:
        """The entries to store; an entry whose fields are as ``before`` keeps its time."""
        entries: list[Object] = []
        for manager, paths in self.sets.items():
            time = before.times.get(manager, now) if before.sets.get(manager) == paths else now
            entry: Object = {
                "manager": manager.name,
                "operation": manager.operation,
                "apiVersion": manager.api_version,
                "time": time,
                "fieldsType": "FieldsV1",
                "fieldsV1": to_fields(paths),
            }
            if manager.subresource:
                entry["subresource"] = manager.subresource
            # The scale subresource hands its entry over without a time.
            if manager.subresource == "scale" or not time:
                del entry["time"]
            entries.append(entry)
        order = ("operation", "time", "manager", "apiVersion", "subresource")
        return sorted(entries, key=lambda entry: tuple(entry.get(key, "") for key in order))


def _ignored(path: Path, ignore: Iterable[Path]) -> bool:
    return path in _UNOWNED or any(path[: len(prefix)] == prefix for prefix in ignore)


def _without(paths: Paths, ignore: Iterable[Path]) -> Paths:
    return {path for path in paths if not _ignored(path, ignore)}


def track_update(
    old: Object, new: Object, schema: Schema, ownership: Ownership, manager: Manager, ignore: Iterable[Path] = ()
) -> Ownership:
    """Who owns what after ``manager`` has written ``new`` over ``old`` by create, update or a plain patch."""
    difference = compare(old, new, schema)
    touched = _without(difference.added | difference.modified, ignore)
    gone = _without(difference.removed, ignore)
    sets = {who: paths if who == manager else paths - touched - gone for who, paths in ownership.sets.items()}
    sets[manager] = (sets.get(manager, set()) - gone) | touched
    return Ownership({who: paths for who, paths in sets.items() if paths}, dict(ownership.times))


def server_side_apply(
    live: Object,
    config: Object,
    schema: Schema,
    ownership: Ownership,
    manager: Manager,
    force: bool,
    ignore: Iterable[Path] = (),
) -> tuple[Object, Ownership]:
    """The object and its ownership after applying ``config``. Raises StatusError (409) with one cause per conflict."""
    claimed = _without(owned(config, schema), ignore)
    last = ownership.sets.get(manager, set())
    merged = _merge(live, config, schema)
    others = set().union(*(paths for who, paths in ownership.sets.items() if who != manager))
    merged = remove(merged, schema, last - claimed, claimed | others)
    difference = compare(live, merged, schema)
    touched = _without(difference.added | difference.modified, ignore)
    conflicts = {who: paths & touched for who, paths in ownership.sets.items() if who != manager and paths & touched}
    if conflicts and not force and not set().union(*conflicts.values()) <= _last_applied(live, schema, manager):
        raise _conflict(conflicts, ownership)
    gone = _without(difference.removed, ignore)
    sets = {who: paths - touched - gone for who, paths in ownership.sets.items() if who != manager}
    sets[manager] = claimed
    return merged, Ownership({who: paths for who, paths in sets.items() if paths}, dict(ownership.times))


def _last_applied(live: Object, schema: Schema, manager: Manager) -> Paths:
    """Fields that ``kubectl apply`` set from the client's side before: ``kubectl`` may take its own fields over."""
    annotations = live.get("metadata", {}).get("annotations") or {}
    if manager.name != "kubectl" or LAST_APPLIED not in annotations:
        return set()
    try:
        return owned(json.loads(annotations[LAST_APPLIED]), schema)
    except ValueError:
        return set()


def _merge(live: Any, config: Any, schema: Schema) -> Any:
    """``config`` over ``live``: maps and associative lists merge, everything else is replaced."""
    if schema.atomic or live is None:
        return copy.deepcopy(config)
    if isinstance(config, dict) and isinstance(live, dict):
        merged = dict(live)
        for key, value in config.items():
            merged[key] = _merge(live.get(key), value, schema.child(key))
        return merged
    if isinstance(config, list) and isinstance(live, list) and granular_list(schema):
        items = {item_element(item, schema): item for item in live}
        for item in config:
            element = item_element(item, schema)
            items[element] = _merge(items.get(element), item, schema.item)
        return list(items.values())
    return copy.deepcopy(config)


def _conflict(conflicts: dict[Manager, Paths], ownership: Ownership) -> StatusError:
    causes: list[Object] = []
    parts: list[str] = []
    for manager in sorted(conflicts, key=lambda m: (m.name, m.operation)):
        who = manager.describe(ownership.times.get(manager, ""))
        fields = [display(path) for path in sorted(conflicts[manager])]
        causes += [
            {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": shown} for shown in fields
        ]
        if len(fields) == 1:
            parts.append(f"conflict with {who}: {fields[0]}")
        else:
            parts.append(f"conflicts with {who}:" + "".join(f"\n- {shown}" for shown in fields))
    count = f"{len(causes)} conflict{'s' if len(causes) > 1 else ''}"
    return StatusError(409, "Conflict", f"Apply failed with {count}: " + "\n".join(parts), {"causes": causes})
