# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Comparing a snapshot with what is there now, and bringing back what the release changed.

Objects come back in an order in which nothing is there before what it refers to: configuration, then workloads, which
read it, then what scales and guards them, then Services, which select their pods, then routes, which name Services, so
that no request is sent where nothing stands yet. What the release made goes in the opposite order. What fails stops
the groups after its own, since they may rest on it.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    LockError,
    NotFoundError,
    RolloutError,
    UnreachableError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import without_secrets
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Fence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import Ref
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot import (
    ABSENT,
    SECRET,
    Entry,
    Json,
    Snapshot,
    cleaned,
    secret_hash,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_merge import (
    OURS,
    Merge,
    Writers,
    merge,
    merge_patch,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_store import Found

SAME, CHANGED, GONE, NEW, UNKNOWN = "same", "changed", "gone", "new", "unknown"

_CONFIGURATION = {"ConfigMap", "LimitRange", "PersistentVolumeClaim", "ResourceQuota", "Role", "RoleBinding", "Secret",
                  "ServiceAccount"}  # fmt: skip
_WORKLOADS = {"CronJob", "DaemonSet", "Deployment", "Job", "ReplicaSet", "StatefulSet"}
_AROUND = {"HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget"}
_DESTINATIONS = {"DestinationRule"}
_ROUTES = {"Gateway", "GRPCRoute", "HTTPRoute", "Ingress", "Route", "TCPRoute", "TLSRoute", "VirtualService"}
_GROUPS = (_CONFIGURATION, _WORKLOADS, _AROUND, {"Service"}, None, _DESTINATIONS, _ROUTES)
"""None are the kinds that no other group names: they may need Services, and routes may need them."""
_TRIES = 4


class NotRestoredError(RolloutError):
    """Something couldn't be brought back; what could be is said too."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """An object against its entry. ``merge`` where both are there, ``live`` as it was read."""

    entry: Entry
    state: str
    live: Json | None = None
    merge: Merge | None = None

    def as_dict(self) -> Json:
        changes = [change.as_dict() for change in self.merge.changes] if self.merge else []
        return {"object": str(self.entry.ref), "state": self.state, "changes": changes}


@dataclasses.dataclass(frozen=True)
class Options:
    """``ours`` are the field managers of the release; ``force`` takes others' changes back too; ``remove_new`` removes
    what the release made."""

    ours: frozenset[str] = frozenset(OURS)
    force: bool = False
    remove_new: bool = False


@dataclasses.dataclass
class Outcome:
    """What a restoration did. ``kept`` are {object, field, was, is, by} that stay as others made them."""

    restored: list[str] = dataclasses.field(default_factory=list)
    made: list[str] = dataclasses.field(default_factory=list)
    removed: list[str] = dataclasses.field(default_factory=list)
    same: list[str] = dataclasses.field(default_factory=list)
    left: list[str] = dataclasses.field(default_factory=list)
    kept: list[Json] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)
    errors: list[ClusterError] = dataclasses.field(default_factory=list)
    before: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    after: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    @property
    def changed(self) -> bool:
        return bool(self.restored or self.made or self.removed)

    @property
    def away(self) -> bool:
        """Whether the API doesn't answer, so that nothing else can be done."""
        return any(isinstance(error, UnreachableError) for error in self.errors)

    @property
    def diff(self) -> Json:
        return {"before": self.before, "after": self.after}

    def as_dict(self) -> Json:
        names = ("restored", "made", "removed", "same", "left", "kept", "problems")
        return {name: getattr(self, name) for name in names}

    def says(self) -> str:
        """What was done, in a sentence."""
        done = [("restored", self.restored), ("made anew", self.made), ("removed", self.removed)]
        told = [f"{what} {', '.join(objects)}" for what, objects in done if objects]
        return "; ".join(told) or "nothing had to be restored"


class Restorer:
    """Compares and restores one snapshot; with a ``fence`` nothing is written once the lock is lost."""

    def __init__(self, cluster: Cluster, found: Found, options: Options, fence: Fence | None = None) -> None:
        self._cluster = cluster
        self._found = found
        self._options = options
        self._fence = fence

    @property
    def _snapshot(self) -> Snapshot:
        return self._found.snapshot

    def compare(self, only: t.Collection[Ref] | None = None) -> list[Comparison]:
        """Each object against its entry, in the order of restoring; changes nothing."""
        return [self._compared(entry) for group in self._groups(only) for entry in group]

    def restore(self, only: t.Collection[Ref] | None = None) -> Outcome:
        """Bring back what the release changed. What is in the way is in the outcome, and what was left for it.

        Raises LockError, which tells what was done before, where the lock is lost.
        """
        outcome = Outcome()
        try:
            self._restore_in_order(only, outcome)
        except LockError as error:
            error.message += f". Done before: {outcome.says()}"
            raise
        return outcome

    def _restore_in_order(self, only: t.Collection[Ref] | None, outcome: Outcome) -> None:
        groups = self._groups(only)
        there = [[entry for entry in group if entry.state != ABSENT] for group in groups]
        new = [entry for group in groups for entry in group if entry.state == ABSENT]
        steps = [*there, *([entry] for entry in reversed(new))]
        for number, step in enumerate(steps):
            for at, entry in enumerate(step):
                self._attempt(entry, outcome)
                if outcome.away:
                    outcome.left += [str(rest.ref) for rest in step[at + 1 :]]
                    break
            if outcome.problems:
                outcome.left += [str(rest.ref) for later in steps[number + 1 :] for rest in later]
                break

    def _groups(self, only: t.Collection[Ref] | None) -> list[list[Entry]]:
        entries = [entry for entry in self._snapshot.entries if only is None or entry.ref in only]
        groups: list[list[Entry]] = [[] for _group in _GROUPS]
        for entry in entries:
            groups[_group_of(entry.ref)].append(entry)
        return [group for group in groups if group]

    # ---- comparing

    def _compared(self, entry: Entry) -> Comparison:
        if entry.state == SECRET or entry.ref.kind == "Secret":
            return self._compared_secret(entry)
        live = self._cluster.find(entry.ref)
        if entry.state == ABSENT:
            return Comparison(entry, SAME if live is None else NEW, live)
        if live is None:
            return Comparison(entry, GONE)
        (whole,) = self._found.loaded([entry])
        merged = merge(
            whole,
            live,
            self._snapshot.namespace,
            ours=self._options.ours,
            force=self._options.force,
        )
        return Comparison(whole, CHANGED if merged.changes else SAME, live, merged)

    def _compared_secret(self, entry: Entry) -> Comparison:
        try:
            live = self._cluster.find(entry.ref)
        except ForbiddenError:
            return Comparison(entry, UNKNOWN)
        if entry.state == ABSENT:
            return Comparison(entry, SAME if live is None else NEW)
        if live is None:
            return Comparison(entry, GONE)
        if not entry.sha256:
            return Comparison(entry, UNKNOWN)
        return Comparison(entry, SAME if secret_hash(live, self._snapshot.salt) == entry.sha256 else CHANGED)

    # ---- restoring

    def _attempt(self, entry: Entry, outcome: Outcome) -> None:
        """Restore one object, anew where someone else was quicker; what is in the way is noted."""
        for number in range(_TRIES):
            try:
                self._restore(entry, outcome)
                return
            except ConflictError as error:
                if number == _TRIES - 1:
                    self._problem(outcome, entry, error)
            except LockError:
                raise
            except RolloutError as error:
                self._problem(outcome, entry, error)
                return

    @staticmethod
    def _problem(outcome: Outcome, entry: Entry, error: RolloutError) -> None:
        outcome.problems.append(f"{entry.ref}: {error.message}")
        if isinstance(error, ClusterError):
            outcome.errors.append(error)

    def _restore(self, entry: Entry, outcome: Outcome) -> None:
        seen = self._compared(entry)
        name = str(entry.ref)
        if entry.ref.kind == "Secret":
            outcome.warnings += _told_of_secret(seen)
        elif seen.state == SAME:
            outcome.same.append(name)
        elif seen.state == GONE:
            self._make(entry, outcome)
        elif seen.state == NEW:
            self._remove(seen, outcome)
        else:
            self._put_back(seen, outcome)

    def _put_back(self, seen: Comparison, outcome: Outcome) -> None:
        name, live, merged = str(seen.entry.ref), t.cast(Json, seen.live), t.cast(Merge, seen.merge)
        if live["metadata"].get("deletionTimestamp"):
            raise NotRestoredError("is being deleted; restore it again when it is gone")
        _refuse_fixed(seen.entry, merged)
        patch = merge_patch(live, merged.wanted)
        if patch:
            meta = {**patch.get("metadata", {}), "resourceVersion": live["metadata"]["resourceVersion"]}
            self._see_lock()
            stored = self._cluster.patch(seen.entry.ref, {**patch, "metadata": meta})
            outcome.restored.append(name)
            self._show(outcome, name, live, stored)
        else:
            outcome.same.append(name)
        outcome.kept += [{"object": name, **change.as_dict()} for change in merged.kept]

    def _make(self, entry: Entry, outcome: Outcome) -> None:
        if entry.withheld:
            raise NotRestoredError(
                f"is gone, and its {', '.join(entry.withheld)} can't be made anew, since no snapshot keeps secrets;"
                " apply it from where it is kept"
            )
        (whole,) = self._found.loaded([entry])
        body, orphaned = self._without_lost_owners(t.cast(Json, whole.body))
        self._see_lock()
        stored = self._cluster.create(entry.ref, body)
        outcome.made.append(str(entry.ref))
        outcome.warnings += [
            f"{entry.ref} was made anew without its owner {owner}, which is gone" for owner in orphaned
        ]
        self._show(outcome, str(entry.ref), None, stored)

    def _without_lost_owners(self, body: Json) -> tuple[Json, list[str]]:
        """An owner that is gone, or another object by now, would have the garbage collector take the object at once."""
        owners = body["metadata"].get("ownerReferences") or []
        if not owners:
            return body, []
        namespace = body["metadata"].get("namespace", "")
        there = [owner for owner in owners if self._is_there(owner, namespace)]
        lost = [f"{owner['kind']} {owner['name']}" for owner in owners if owner not in there]
        metadata = {key: value for key, value in body["metadata"].items() if key != "ownerReferences"}
        return {**body, "metadata": {**metadata, "ownerReferences": there} if there else metadata}, lost

    def _is_there(self, owner: Json, namespace: str) -> bool:
        try:
            ref = self._cluster.locate(owner["apiVersion"], owner["kind"], namespace, owner["name"])
            found = self._cluster.find(ref)
        except RolloutError:
            return False
        return found is not None and found["metadata"].get("uid") == owner["uid"]

    def _remove(self, seen: Comparison, outcome: Outcome) -> None:
        name, live = str(seen.entry.ref), t.cast(Json, seen.live)
        writers = Writers(live, self._options.ours)
        if not self._options.force and not writers.made_by_us():
            outcome.kept.append({"object": name, "field": "", "was": None, "is": "there", "by": writers.everyone()})
        elif self._options.remove_new:
            self._see_lock()
            try:
                self._cluster.delete(seen.entry.ref, resource_version=live["metadata"]["resourceVersion"])
            except NotFoundError:
                return
            outcome.removed.append(name)
            self._show(outcome, name, live, None)
        else:
            outcome.warnings.append(f"{name} wasn't there when the snapshot was taken; remove_new=true removes it")

    def _see_lock(self) -> None:
        """Between reading an object and writing it under the version that was read. Raises LockError."""
        if self._fence:
            self._fence.check()

    @staticmethod
    def _show(outcome: Outcome, name: str, before: Json | None, after: Json | None) -> None:
        for side, item in ((outcome.before, before), (outcome.after, after)):
            side[name] = without_secrets(cleaned(item))[0] if item else None


def _group_of(ref: Ref) -> int:
    for number, kinds in enumerate(_GROUPS):
        if kinds is not None and ref.kind in kinds:
            return number
    return _GROUPS.index(None)


def _told_of_secret(seen: Comparison) -> list[str]:
    told = {
        CHANGED: "isn't what it was when the snapshot was taken; a snapshot keeps no secrets, so it stays as it is",
        GONE: "is gone, and a snapshot keeps no secrets; make it anew from where it is kept",
        UNKNOWN: "may not be read with these credentials, or wasn't when the snapshot was taken; look at it yourself",
    }
    return [f"{seen.entry.ref} {told[seen.state]}"] if seen.state in told else []


def _refuse_fixed(entry: Entry, merged: Merge) -> None:
    """Raises NotRestoredError for what can't be changed in an object that is there."""
    if merged.fixed:
        fields = ", ".join(change.path for change in merged.fixed)
        raise NotRestoredError(
            f"was made anew by someone: its {fields} differs and can't be changed; delete the object and restore again,"
            " or leave it out"
        )
    if merged.lost:
        fields = ", ".join(change.path for change in merged.lost)
        raise NotRestoredError(
            f"was changed since the snapshot, and its {fields} can't be restored, since no snapshot keeps secrets;"
            " restore it by hand"
        )


def kept_texts(changes: t.Iterable[Json]) -> list[str]:
    """A sentence for each field that stays as others made it."""
    told = []
    for change in changes:
        by = f" by {', '.join(change['by'])}" if change["by"] else ""
        what = f"{change['field']} was changed" if change["field"] else "was made"
        told.append(f"{change['object']}: {what}{by} since the snapshot and stays as it is; force=true takes it back")
    return told
