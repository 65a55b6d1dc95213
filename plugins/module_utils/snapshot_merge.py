# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Three-way comparison of an object: as it was, as it is, and who wrote the difference. Pure.

A field that differs is the release's own where the release is known to change it, or else where the API server names
nobody but the release's field managers as its writers. Every other one is somebody else's, and so is one of which
nobody knows: it is named and left alone. Lists are compared item by item, by what names the items; where nothing does
and their number differs, as a whole.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import without_secrets
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot import (
    Entry,
    Json,
    canonical,
    cleaned,
    readable,
)

OURS = ("claude-enhancer-rollout", "OpenAPI-Generator")
"""Field managers of what the release writes: this collection's modules, and those of kubernetes.core."""

MISSING: t.Any = type("Missing", (), {"__repr__": lambda self: "nothing"})()
# What names an item of a list, in the order in which it is tried.
_NAMES = (("name",), ("containerPort", "protocol"), ("port", "protocol"), ("mountPath",), ("ip",), ("type",), ("key",))
_IMMUTABLE = {
    "DaemonSet": ("spec.selector",),
    "Deployment": ("spec.selector",),
    "Job": ("spec.selector", "spec.template"),
    "ReplicaSet": ("spec.selector",),
    "StatefulSet": ("spec.selector", "spec.serviceName", "spec.volumeClaimTemplates"),
}
_LONGEST = 200

Item = tuple["int | None", "int | None", str]
"""An item of a list: its index now and before, None where it isn't there, and what it is called."""
Steps = tuple["str | Item", ...]
Node = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Change:
    """A field that isn't as it was. ``ours`` says whether the release changed it, ``by`` who the API server names."""

    path: str
    key: str
    before: t.Any
    after: t.Any
    ours: bool
    by: tuple[str, ...]

    def as_dict(self) -> Json:
        """For results: without secrets, and no value longer than people read."""
        return {
            "field": self.path,
            "was": _shown(self.key, self.before),
            "is": _shown(self.key, self.after),
            "by": list(self.by),
            "release": self.ours,
        }


@dataclasses.dataclass(frozen=True)
class Merge:
    """``changes`` are all fields that differ, ``kept`` those that stay; ``wanted`` is the object to be written.

    ``lost`` are fields that would have to be restored, and can't since no secret is kept; ``fixed`` those that nobody
    can change in an object that is there.
    """

    changes: tuple[Change, ...]
    kept: tuple[Change, ...]
    lost: tuple[Change, ...]
    fixed: tuple[Change, ...]
    wanted: Json


def merge(
    entry: Entry,
    live: t.Mapping[str, t.Any],
    home: str,
    *,
    ours: t.Collection[str] = OURS,
    force: bool = False,
) -> Merge:
    """How ``live`` differs from ``entry``, and what it is with the release's own changes (``force``: all) taken back.

    ``home`` is the namespace of the snapshot.
    """
    base = entry.body or {}
    now, _dropped = readable(live, home)
    walk = _Walk(entry, Writers(live, ours), force)
    wanted = walk.value(base, now, cleaned(live), _Place())
    return Merge(tuple(walk.changes), tuple(walk.kept), tuple(walk.lost), tuple(walk.fixed), _whole(live, wanted))


def _whole(live: t.Mapping[str, t.Any], wanted: Json) -> Json:
    """``live`` with what its owners wrote replaced by ``wanted``; what :func:`cleaned` takes away stays."""
    shown = cleaned(live)
    return t.cast(Json, _over(copy.deepcopy(dict(live)), shown, wanted))


def _over(live: t.Any, shown: t.Any, wanted: t.Any) -> t.Any:
    """``wanted`` with what ``live`` has and ``shown`` doesn't."""
    if not isinstance(live, dict) or not isinstance(wanted, dict):
        return wanted
    seen = shown if isinstance(shown, dict) else {}
    result = {key: _over(live.get(key), seen.get(key), value) for key, value in wanted.items()}
    for key, value in live.items():
        if key in wanted:
            continue
        hidden = value if key not in seen else _over(value, seen[key], {}) if isinstance(value, dict) else None
        if key not in seen or hidden:
            result[key] = hidden
    return result


def merge_patch(now: t.Mapping[str, t.Any], wanted: t.Mapping[str, t.Any]) -> Json:
    """The JSON merge patch (RFC 7386) that makes ``now`` into ``wanted``; empty where they are the same."""
    patch: Json = {key: None for key in now if key not in wanted}
    for key, value in wanted.items():
        before = now.get(key)
        if isinstance(value, t.Mapping) and isinstance(before, t.Mapping):
            below = merge_patch(before, value)
            if below:
                patch[key] = below
        elif key not in now or not _same(before, value):
            patch[key] = value
    return patch


# ---- who wrote ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Place:
    """A field by the ``steps`` that lead to it."""

    steps: Steps = ()

    def below(self, step: str | Item) -> _Place:
        return _Place((*self.steps, step))

    @property
    def path(self) -> str:
        """``spec.http[default].route[1].weight``"""
        return _joined(f"[{step[2]}]" if isinstance(step, tuple) else step for step in self.steps)

    @property
    def key(self) -> str:
        """The last key on the way."""
        return next((step for step in reversed(self.steps) if isinstance(step, str)), "")

    @property
    def pattern(self) -> str:
        """``spec.http[*].route[*].weight``"""
        return _joined("[*]" if isinstance(step, tuple) else step for step in self.steps)

    @property
    def before(self) -> str:
        """The path in the object as it was, in the words of ``without_secrets``."""
        return _joined(f"[{step[1]}]" if isinstance(step, tuple) else step for step in self.steps)


def _joined(parts: t.Iterable[str]) -> str:
    return re.sub(r"\.\[", "[", ".".join(parts))


def _under(path: str, top: str) -> bool:
    return path == top or path.startswith((f"{top}.", f"{top}["))


class Writers:
    """What ``metadata.managedFields`` tells of an object. Status and its writers don't matter here."""

    def __init__(self, live: t.Mapping[str, t.Any], ours: t.Collection[str]) -> None:
        self._live = live
        self._ours = frozenset(ours)
        entries = live["metadata"].get("managedFields") or []
        self._entries = [entry for entry in entries if entry.get("subresource") != "status"]

    def of(self, place: _Place) -> dict[str, str]:
        """Who wrote a field → the pattern of what they hold: the field itself, or something it is a part of."""
        found: dict[str, str] = {}
        for entry in self._entries:
            node, steps = _held(entry.get("fieldsV1") or {}, self._live, place.steps)
            if node is None or (steps < len(place.steps) and not self._is_whole(place.steps[:steps])):
                continue
            found[str(entry.get("manager"))] = _Place(place.steps[:steps]).pattern
        return found

    def _is_whole(self, steps: Steps) -> bool:
        """Whether nobody holds a part of it; where somebody does, who holds it holds no more than that it is there."""
        nodes = (_held(entry.get("fieldsV1") or {}, self._live, steps)[0] for entry in self._entries)
        return not any(set(node or {}) - {"."} for node in nodes)

    def all_ours(self, writers: t.Iterable[str]) -> bool:
        return self._ours.issuperset(writers)

    def everyone(self) -> list[str]:
        return sorted({str(entry.get("manager")) for entry in self._entries})

    def made_by_us(self) -> bool:
        """Whether the release, and nobody else, wrote what the object is for."""
        entries = [
            entry for entry in self._entries
            if {"f:spec", "f:data", "f:binaryData"} & set(entry.get("fieldsV1") or {}) and not entry.get("subresource")
        ]  # fmt: skip
        return bool(entries) and self._ours.issuperset(str(entry.get("manager")) for entry in entries)


def _held(fields: Node, live: t.Any, place: Steps) -> tuple[Node | None, int]:
    """What a manager's ``fieldsV1`` holds of the field, and how many steps lead to it; None where it is nothing."""
    node, value = fields, live
    for number, step in enumerate(place):
        if number and not node:
            return node, number
        if isinstance(step, tuple):
            value = value[step[0]] if step[0] is not None and isinstance(value, list) else MISSING
            below = _item(node, value, step[0])
        else:
            value = value.get(step, MISSING) if isinstance(value, dict) else MISSING
            below = node.get(f"f:{step}")
        if below is None:
            return None, number
        node = below
    return node, len(place)


def _item(node: t.Mapping[str, t.Any], item: t.Any, index: int | None) -> t.Mapping[str, t.Any] | None:
    """The entry of a list's item in ``fieldsV1``."""
    for key, below in node.items():
        kind, _colon, text = key.partition(":")
        if kind == "k" and isinstance(item, dict):
            if all(item.get(name) == value for name, value in json.loads(text).items()):
                return t.cast("t.Mapping[str, t.Any]", below)
        elif (kind == "v" and json.loads(text) == item) or (kind == "i" and text == str(index)):
            return t.cast("t.Mapping[str, t.Any]", below)
    return None


# ---- walking -----------------------------------------------------------------------------------------------


class _Walk:
    """One comparison. ``raw`` is the live object with what is withheld, so that it stays where it is."""

    def __init__(self, entry: Entry, writers: Writers, force: bool) -> None:
        self._entry = entry
        self._writers = writers
        self._force = force
        self.changes: list[Change] = []
        self.kept: list[Change] = []
        self.lost: list[Change] = []
        self.fixed: list[Change] = []

    def value(self, base: t.Any, now: t.Any, raw: t.Any, place: _Place) -> t.Any:
        """What is to stand at ``place``; MISSING is nothing."""
        if _same(base, now):
            return raw
        if _mappings(base, now):
            return self._mapping(base, now, raw, place)
        if isinstance(base, list) and isinstance(now, list):
            pairs = _paired(base, now)
            if pairs is not None:
                return self._list(pairs, raw, place)
        return self._leaf(base, now, raw, place)

    def _mapping(self, base: t.Any, now: t.Any, raw: t.Any, place: _Place) -> t.Any:
        before, after = ({} if one is MISSING else one for one in (base, now))
        held = {} if raw is MISSING else raw
        hidden = {key: value for key, value in held.items() if key not in before and key not in after}
        result = {}
        for key in [*after, *(key for key in before if key not in after)]:
            was, is_, raw_value = (one.get(key, MISSING) for one in (before, after, held))
            value = self.value(was, is_, raw_value, place.below(key))
            if value is not MISSING:
                result[key] = value
        if base is MISSING or now is MISSING:
            return {**result, **hidden} if result else MISSING
        return {**result, **hidden}

    def _list(self, pairs: t.Iterable[_Pair], raw: t.Any, place: _Place) -> t.Any:
        result = []
        for pair in pairs:
            held = MISSING if pair.now_at is None else raw[pair.now_at]
            step = (pair.now_at, pair.base_at, pair.name)
            one_sided = pair.base is MISSING or pair.now is MISSING
            at = place.below(step)
            value = (self._leaf if one_sided else self.value)(pair.base, pair.now, held, at)
            if value is not MISSING:
                result.append(value)
        return result

    def _leaf(self, base: t.Any, now: t.Any, raw: t.Any, place: _Place) -> t.Any:
        writers = self._writers.of(place)
        ours = self._is_ours(place, writers)
        # What holds the whole of it for the release needn't have written this part.
        known = ours or not self._writers.all_ours(writers)
        change = Change(place.path, place.key, base, now, ours, tuple(sorted(writers)) if known else ())
        self.changes.append(change)
        if not ours and not self._force:
            left = self.kept
        elif any(_under(place.pattern, top) for top in _IMMUTABLE.get(self._entry.ref.kind, ())):
            left = self.fixed
        elif any(_under(path, place.before) for path in self._entry.withheld):
            left = self.lost
        else:
            return MISSING if base is MISSING else copy.deepcopy(base)
        left.append(change)
        return raw

    def _is_ours(self, place: _Place, writers: t.Mapping[str, str]) -> bool:
        known = self._entry.changes
        if known is None:
            # A field that is gone has no writer: whoever took it away may have left no trace.
            return bool(writers) and self._writers.all_ours(writers)
        for top in known:
            if _under(place.pattern, top):
                # Of a part of something that is held as a whole, nobody knows who wrote it last.
                exact = [manager for manager, held in writers.items() if _under(held, top)]
                return self._writers.all_ours(exact)
        return False


def _same(base: t.Any, now: t.Any) -> bool:
    """Equal as JSON: to Python, true is 1."""
    return bool(base == now) and canonical(base) == canonical(now)


def _mappings(base: t.Any, now: t.Any) -> bool:
    """Whether the fields below are to be looked at one by one; one that is missing counts as having none."""
    if isinstance(base, dict) and isinstance(now, dict):
        return True
    return (base is MISSING and isinstance(now, dict) and bool(now)) or (
        now is MISSING and isinstance(base, dict) and bool(base)
    )


@dataclasses.dataclass(frozen=True)
class _Pair:
    """An item of two lists: what it was and is, and where; MISSING and None where it isn't."""

    name: str
    base: t.Any
    now: t.Any
    base_at: int | None
    now_at: int | None


def _paired(base: list[t.Any], now: list[t.Any]) -> list[_Pair] | None:
    """The items of two lists that are the same one, in an order that suits both; None where that can't be told."""
    for names in _NAMES:
        before, after = _keys(base, names), _keys(now, names)
        if before is not None and after is not None:
            return _by_keys(base, now, before, after)
    if len(base) == len(now) and all(isinstance(item, dict) for item in (*base, *now)):
        return [_Pair(str(at), was, now[at], at, at) for at, was in enumerate(base)]
    return None


def _keys(items: list[t.Any], names: tuple[str, ...]) -> list[str] | None:
    """What names each item; None where an item has no such name, or two have the same."""
    found = []
    for item in items:
        if not isinstance(item, dict) or names[0] not in item:
            return None
        found.append("/".join(str(item[name]) for name in names if name in item))
    return found if len(set(found)) == len(found) else None


def _by_keys(base: list[t.Any], now: list[t.Any], before: list[str], after: list[str]) -> list[_Pair] | None:
    common = [key for key in before if key in set(after)]
    if common != [key for key in after if key in set(before)]:
        return None  # the order means something to whoever reads the list, so it is a change by itself
    pairs: list[_Pair] = []
    was, is_ = 0, 0
    for key in [*common, None]:
        while was < len(before) and before[was] != key:
            pairs.append(_Pair(before[was], base[was], MISSING, was, None))
            was += 1
        while is_ < len(after) and after[is_] != key:
            pairs.append(_Pair(after[is_], MISSING, now[is_], None, is_))
            is_ += 1
        if key is not None:
            pairs.append(_Pair(key, base[was], now[is_], was, is_))
            was, is_ = was + 1, is_ + 1
    return pairs


def _shown(key: str, value: t.Any) -> t.Any:
    """The value of ``key`` for people."""
    if value is MISSING:
        return None
    shown, _dropped = without_secrets({key: value})
    if key not in shown:
        return "(not shown)"
    text = json.dumps(shown[key], ensure_ascii=False)
    return shown[key] if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
