# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots in the cluster: written whole or not at all, found again by name or release, kept for some days."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.compensation import put_back_on_failure
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ClusterError,
    ConflictError,
    NotFoundError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import Journal, unix
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_layout import labels, slug
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Fence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import config_map, label_selector
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot import (
    PRESENT,
    Entry,
    Json,
    Snapshot,
    SnapshotError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_layout import (
    Index,
    Packed,
    body_of,
    index_of,
    packed,
)

INDEX, PART = "release-snapshot", "release-snapshot-part"
TAKEN_ANNOTATION = "rollout.claude-enhancer.io/taken"
_DAY = 86400.0
_TRIES = 20


class Found(t.Protocol):
    """A snapshot that was found; bodies are read when they are asked for."""

    @property
    def snapshot(self) -> Snapshot: ...

    @property
    def where(self) -> str: ...

    def loaded(self, entries: t.Iterable[Entry]) -> list[Entry]: ...


class InCluster:
    """A snapshot in ConfigMaps, each of which is read at most once."""

    def __init__(self, store: SnapshotStore, index: Index, first: Json) -> None:
        self._store = store
        self._index = index
        self._read: dict[str, Json] = {index.snapshot.name: first}
        self.version = str(first["metadata"]["resourceVersion"])
        self.where = store.named(index.snapshot.name)

    @property
    def snapshot(self) -> Snapshot:
        return self._index.snapshot

    def loaded(self, entries: t.Iterable[Entry]) -> list[Entry]:
        """``entries`` with their bodies. Raises SnapshotError where one is gone or damaged."""
        return [self._loaded(entry) for entry in entries]

    def _loaded(self, entry: Entry) -> Entry:
        place = self._index.place(entry)
        if place is None or entry.body is not None:
            return entry
        found = {name: self._config_map(name) for name, _key in place.pieces}
        return dataclasses.replace(entry, body=body_of(entry, place, found, self.where))

    def _config_map(self, name: str) -> Json:
        if name not in self._read:
            found = self._store.cluster.find(config_map(self._store.namespace, name))
            if found is None:
                raise SnapshotError(f"{self._store.named(name)} is gone, and with it a part of {self.where}")
            self._read[name] = found
        return self._read[name]


class SnapshotStore:
    """The snapshots of ``application`` in ``namespace``. In check mode (a dry-run cluster) nothing is written.

    With a ``fence`` nothing is written or deleted either once the lock is lost (LockError).
    """

    def __init__(self, cluster: Cluster, namespace: str, application: str, fence: Fence | None = None) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.application = application
        self._fence = fence

    def named(self, name: str) -> str:
        return f"ConfigMap {self.namespace}/{name}"

    # ---- writing

    def save(self, snapshot: Snapshot) -> Snapshot:
        """Write it under the first free name; the snapshot as it is called then. Raises SnapshotError, ClusterError."""
        base = f"{self.application}-release-snapshot-{slug(snapshot.release_id)}"
        for number in range(1, _TRIES + 1):
            name = base if number == 1 else f"{base}-{number}"
            called = dataclasses.replace(snapshot, name=name)
            if self.cluster.find(config_map(self.namespace, name)) is None and self._written(called):
                return called
        raise SnapshotError(
            f"release_id: there are {_TRIES} snapshots of release {snapshot.release_id} already; prune some"
        )

    def _written(self, snapshot: Snapshot) -> bool:
        """Write all ConfigMaps, the list last; false where someone else took the name. What isn't done is undone."""
        first, *others = packed(snapshot)
        made: list[str] = []
        try:
            with put_back_on_failure(lambda _error: self._discard(reversed(made))):
                for one in others:
                    self._begin(made, one, PART, snapshot)
                self._begin(made, first, INDEX, snapshot)
        except ConflictError:
            return False
        return True

    def discard(self, *snapshots: Snapshot) -> None:
        """Undo :meth:`save` of each, as far as the API lets that be done."""
        for snapshot in snapshots:
            self._discard(one.name for one in packed(snapshot))

    def _begin(self, made: list[str], one: Packed, kind: str, snapshot: Snapshot) -> None:
        """Create a ConfigMap; it counts as made unless the API clearly refused it."""
        made.append(one.name)
        try:
            self._create(one, kind, snapshot)
        except ClusterError as error:
            if 400 <= error.status < 500:
                made.pop()
            raise

    def _create(self, one: Packed, kind: str, snapshot: Snapshot) -> None:
        binary = {key: base64.b64encode(piece).decode() for key, piece in one.binary.items()}
        body: Json = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": one.name,
                "namespace": self.namespace,
                "labels": labels(self.application, kind, snapshot.release_id),
                "annotations": {TAKEN_ANNOTATION: snapshot.taken},
            },
            "immutable": True,
            "data": one.data,
        }
        self._see_lock()
        self.cluster.create(config_map(self.namespace, one.name), {**body, "binaryData": binary} if binary else body)

    def _discard(self, names: t.Iterable[str]) -> None:
        for name in names:
            with contextlib.suppress(ClusterError):  # what led here is what is told; pruning finds the rest
                self.cluster.delete(config_map(self.namespace, name))

    # ---- reading

    def find(self, name: str) -> InCluster | None:
        """The snapshot of that name, in one call; None when there is none."""
        found = self.cluster.find(config_map(self.namespace, name))
        return InCluster(self, index_of(found.get("data") or {}, self.named(name)), found) if found else None

    def all(self) -> list[InCluster]:
        """All snapshots of the application, oldest first."""
        found = [
            InCluster(self, index_of(item.get("data") or {}, self.named(item["metadata"]["name"])), item)
            for item in self._list(INDEX)
        ]
        return sorted(found, key=lambda one: (unix(one.snapshot.taken), one.snapshot.name))

    def newest(self, release_id: str | None = None) -> InCluster | None:
        """The newest snapshot, of ``release_id`` where that is given; None when there is none."""
        found = [one for one in self.all() if release_id in (None, one.snapshot.release_id)]
        return found[-1] if found else None

    def _list(self, kind: str) -> list[Json]:
        selector = label_selector(labels(self.application, kind))
        return self.cluster.list(config_map(self.namespace), label_selector=selector)

    # ---- keeping

    def prune(self, keep_days: float, now: float, journal: Journal | None, keep: str = "") -> list[str]:
        """Delete what is older than ``keep_days`` at unix time ``now``; the names of what was deleted.

        The snapshot that ``journal`` names, and the newest of its release, stay as long as that is in progress, and
        the one called ``keep`` in any case. Parts without a list, which a killed run left, go after the same time.
        """
        snapshots = self.all()
        kept = {*_protected([one.snapshot for one in snapshots], journal), keep}
        old = {
            one.snapshot.name: one.version for one in snapshots
            if now - unix(one.snapshot.taken) > keep_days * _DAY and one.snapshot.name not in kept
        }  # fmt: skip
        parts = self._list(PART)
        whole = {one.snapshot.name for one in snapshots} - old.keys()
        # The list first: what is cut off here leaves parts without one, not a list without its parts.
        for name, version in old.items():
            self._delete(name, version)
        for item in parts:
            owner = item["metadata"]["name"].rpartition("-part-")[0]
            if owner in old or (owner not in whole and now - _taken(item, now) > keep_days * _DAY):
                self._delete(item["metadata"]["name"], item["metadata"]["resourceVersion"])
        return sorted(old)

    def _delete(self, name: str, version: str) -> None:
        """As it was listed, so that nothing goes which somebody made since under the same name."""
        self._see_lock()
        with contextlib.suppress(NotFoundError, ConflictError):
            self.cluster.delete(config_map(self.namespace, name), resource_version=version)

    def _see_lock(self) -> None:
        if self._fence:
            self._fence.check()


def _taken(item: Json, now: float) -> float:
    text = (item["metadata"].get("annotations") or {}).get(TAKEN_ANNOTATION)
    return unix(text) if text else now


def _protected(snapshots: t.Sequence[Snapshot], journal: Journal | None) -> set[str]:
    """The snapshots that the release in progress needs; ``snapshots`` are in the order of their times."""
    if journal is None or journal.closed:
        return set()
    own = [snapshot.name for snapshot in snapshots if snapshot.release_id == journal.release_id]
    named = (journal.header["snapshot"].get("objects") or {}).get("name")
    return {*own[-1:], *([named] if named else [])}


def bodies(found: Found) -> list[Entry]:
    """All objects that were there, with their bodies."""
    return found.loaded(entry for entry in found.snapshot.entries if entry.state == PRESENT)
