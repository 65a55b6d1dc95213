# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a rollback restores from the snapshot: the objects that the clean-up of the canary had changed.

The journal names the snapshot. Journals of before there were any hold these objects themselves.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import Ref
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_target import Target
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot import (
    Entry,
    Snapshot,
    SnapshotError,
    entry_of,
    readable,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_scope import (
    Wanted,
    known,
    together,
    touched_by_drain,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_store import Found, SnapshotStore


def drained(cluster: Cluster, target: Target) -> tuple[Found | None, list[Ref]]:
    """The snapshot and what of it is to be restored; None and nothing where the clean-up can't have begun.

    Raises SnapshotError where the journal names a snapshot that is gone or another one by now.
    """
    wanted = _wanted(target)
    if not wanted:
        return None, []
    kept = target.snapshot.get("objects")
    if kept:
        found = _named(cluster, target, kept)
        places = {_place(one.ref) for one in wanted}
        return found, [entry.ref for entry in found.snapshot.entries if _place(entry.ref) in places]
    inline = KeptInJournal(cluster, target, wanted)
    return inline, [entry.ref for entry in inline.snapshot.entries]


def _wanted(target: Target) -> list[Wanted]:
    """But for Deployments that the rollback removes anyway."""
    if not target.switch_begun or not target.facts.get("release_canary_drain"):
        return []
    return [
        one for one in together(touched_by_drain(target.facts))
        if one.ref.kind != "Deployment" or one.ref.name not in target.candidate_deployments
    ]  # fmt: skip


def _place(ref: Ref) -> tuple[str, str, str]:
    return ref.api_version, ref.kind, ref.name


def _named(cluster: Cluster, target: Target, kept: t.Mapping[str, t.Any]) -> Found:
    store = SnapshotStore(cluster, target.namespace, target.application)
    found = store.find(str(kept["name"]))
    if found is None:
        raise SnapshotError(
            f"{store.named(kept['name'])}, which the journal names, is gone; restore by hand what the clean-up of the"
            " canary changed, or from files of the snapshot with object_snapshot"
        )
    if found.snapshot.sha256 != kept["sha256"]:
        raise SnapshotError(f"{found.where} isn't the snapshot that the journal names: its checksum is another")
    return found


class KeptInJournal:
    """The objects that an older journal holds itself."""

    def __init__(self, cluster: Cluster, target: Target, wanted: t.Sequence[Wanted]) -> None:
        self.where = "the journal"
        changes = {_place(one.ref): one.changes for one in wanted}
        bodies = [one for one in target.snapshot.get("drained_objects") or [] if _place(_ref(one)) in changes]
        entries = [self._entry(cluster, target.namespace, body, changes[_place(_ref(body))]) for body in bodies]
        journal = target.journal
        started, release_id = (journal.header["started"], journal.release_id) if journal else ("", "")
        self.snapshot = Snapshot(
            "journal", target.application, target.namespace, release_id, started, {}, "", tuple(entries)
        )

    @staticmethod
    def _entry(cluster: Cluster, home: str, body: t.Mapping[str, t.Any], changes: tuple[str, ...] | None) -> Entry:
        ref = _ref(body)
        if not ref.plural:
            ref = cluster.locate(ref.api_version, ref.kind, ref.namespace, ref.name)
        # It doesn't say which secrets were left out: those that are there now.
        live = cluster.find(ref)
        withheld = readable(live, home)[1] if live else ()
        return dataclasses.replace(entry_of(ref, body, changes, home, ""), withheld=withheld)

    def loaded(self, entries: t.Iterable[Entry]) -> list[Entry]:
        return list(entries)


def _ref(body: t.Mapping[str, t.Any]) -> Ref:
    meta = body["metadata"]
    return known(body["apiVersion"], body["kind"], meta.get("namespace", ""), meta["name"])
