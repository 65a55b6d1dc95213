# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The actions of the module ``object_snapshot``."""

from __future__ import annotations

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock, SystemClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.compensation import put_back_on_failure
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ClusterError,
    InputError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.home_namespace import home_namespace
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import Author, Journal, without_secrets
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import (
    JournalStore,
    default_author,
    find_application,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Fence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_fence import LeaseFence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import Ref
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot import (
    Entry,
    Json,
    Snapshot,
    SnapshotError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_files import (
    InFiles,
    export,
    folder_of,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_restore import (
    SAME,
    UNKNOWN,
    NotRestoredError,
    Options,
    Restorer,
    kept_texts,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_store import Found, SnapshotStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_taking import Taking


def work(module: AnsibleModule) -> Json:
    """Carry out the action; returns the module's result."""
    options = module.params
    cluster = Cluster.from_options(options, dry_run=module.check_mode)
    namespace = options["namespace"] or home_namespace(options)
    application = options["application"] or find_application(cluster, namespace)
    if application is None and not (options["directory"] and options["name"]):
        raise InputError(f"application: is not given, and namespace {namespace} holds no journal to find it by; set it")
    fence = LeaseFence.from_option(cluster, options["lease"])
    actions = Actions(cluster, namespace, str(application or ""), options, SystemClock(), fence)
    result = getattr(actions, options["action"])()
    for warning in actions.warnings:
        module.warn(warning)
    if not module._diff:
        result.pop("diff", None)
    return t.cast(Json, result)


class Actions:
    """Each public method is an action of the same name and returns the module's result."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        application: str,
        options: t.Mapping[str, t.Any],
        clock: Clock,
        fence: Fence | None = None,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._application = application
        self._options = options
        self._clock = clock
        self._fence = fence
        self._store = SnapshotStore(cluster, namespace, application, fence)
        self.warnings: list[str] = []

    # ---- taking and keeping

    def take(self) -> Json:
        options = self._options
        self._check_keep_days()
        if not (options["release"] or options["objects"] or options["selectors"]):
            raise InputError("release, objects, selectors: none of them is given, so there is nothing to keep")
        journal = self._journal()
        if journal is not None and not journal.closed and not options["again"]:
            return self._taken_before(journal)
        taking = Taking(self._cluster, self._namespace)
        entries = taking.take(options["release"], options["objects"], options["selectors"])
        usual = default_author()
        author = Author(options["who"] or usual.who, options["controller"] or usual.host)
        drawn = taking.snapshot(self._application, options["release_id"], entries, author, self._clock.now())
        saved, folder = self._saved(drawn)
        self.warnings += taking.warnings
        result: Json = {
            "changed": True,
            "name": saved.name,
            "snapshot": saved.summary(),
            "objects": [_listed(entry) for entry in saved.entries],
            "pruned": self._pruned_if_possible(journal, saved.name),
            "diff": {"before": {}, "after": {saved.name: [str(entry.ref) for entry in saved.entries]}},
        }
        return {**result, "folder": folder} if folder else result

    def _saved(self, drawn: Snapshot) -> tuple[Snapshot, str]:
        """The snapshot as stored, and its folder where files are asked for: both, or neither."""
        stored: list[Snapshot] = []
        with put_back_on_failure(lambda _error: self._store.discard(*stored)):
            stored.append(self._store.save(drawn))
            if not self._options["directory"] or self._cluster.dry_run:
                return stored[0], ""
            return stored[0], str(export(_Drawn(stored[0]), self._options["directory"])[0])

    def _taken_before(self, journal: Journal) -> Json:
        """The snapshot of the release in progress; what is there now isn't the state to return to."""
        kept = journal.header["snapshot"].get("objects") or {}
        result: Json = {"changed": False, "snapshot": kept, "pruned": []}
        if not kept:
            self.warnings.append(
                f"release {journal.release_id} is {journal.state} and was opened without this snapshot"
            )
            return result
        found = self._store.find(kept["name"])
        if found is None:
            self.warnings.append(
                f"{self._store.named(kept['name'])}, the snapshot of release {journal.release_id}, is gone; what was"
                " can't be taken again"
            )
            return {**result, "name": kept["name"]}
        return {**result, "name": kept["name"], "objects": [_listed(entry) for entry in found.snapshot.entries]}

    def _pruned_if_possible(self, journal: Journal | None, taken: str) -> list[str]:
        """But for the one just ``taken``, which the journal that is about to be opened will name."""
        try:
            return self._store.prune(self._options["keep_days"], self._clock.now(), journal, taken)
        except (ClusterError, SnapshotError) as error:
            self.warnings.append(f"old snapshots stay: {error.message}")
            return []

    def prune(self) -> Json:
        self._check_keep_days()
        gone = self._store.prune(self._options["keep_days"], self._clock.now(), self._journal())
        return {"changed": bool(gone), "pruned": gone, "diff": {"before": dict.fromkeys(gone, "there"), "after": {}}}

    def export(self) -> Json:
        found = self._needed(self._in_cluster())
        directory = self._options["directory"]
        summary = {"name": found.snapshot.name, "snapshot": found.snapshot.summary()}
        if self._cluster.dry_run:
            folder = folder_of(directory, found.snapshot.name)
            return {**summary, "changed": not folder.exists(), "folder": str(folder)}
        written, changed = export(found, directory)
        return {**summary, "changed": changed, "folder": str(written)}

    # ---- reading and restoring

    def read(self) -> Json:
        found = self._find()
        if found is None:
            return {"changed": False, "found": False}
        entries = found.snapshot.entries
        listed = [_listed(entry) for entry in entries]
        if self._options["content"]:
            for one, entry in zip(listed, found.loaded(entries), strict=True):
                one["body"] = without_secrets(entry.body)[0] if entry.body else None
        snapshot = {"name": found.snapshot.name, "snapshot": found.snapshot.summary()}
        return {"changed": False, "found": True, **snapshot, "objects": listed}

    def verify(self) -> Json:
        found = self._needed(self._find())
        seen = self._restorer(found).compare(self._only(found))
        differing = [one.as_dict() for one in seen if one.state != SAME]
        same = all(one.state in (SAME, UNKNOWN) for one in seen)
        snapshot = {"name": found.snapshot.name, "snapshot": found.snapshot.summary()}
        return {"changed": False, **snapshot, "same": same, "differences": differing}

    def restore(self) -> Json:
        found = self._needed(self._find())
        outcome = self._restorer(found).restore(self._only(found))
        self.warnings += [*outcome.warnings, *kept_texts(outcome.kept)]
        snapshot = {"name": found.snapshot.name, "snapshot": found.snapshot.summary()}
        result = {"changed": outcome.changed, **snapshot, **outcome.as_dict(), "diff": outcome.diff}
        if outcome.problems:
            left = f"; not tried yet: {', '.join(outcome.left)}" if outcome.left else ""
            raise NotRestoredError(
                f"{'; '.join(outcome.problems)}. Done before: {outcome.says()}{left}. Run it again when that is mended",
                **{key: value for key, value in result.items() if key != "diff"},
            )
        return result

    def _restorer(self, found: Found) -> Restorer:
        options = self._options
        managers = frozenset(options["field_managers"])
        return Restorer(self._cluster, found, Options(managers, options["force"], options["remove_new"]), self._fence)

    # ---- which

    def _find(self) -> Found | None:
        directory, name = self._options["directory"], self._options["name"]
        if not directory:
            return self._in_cluster()
        if not name:
            raise InputError("name: is missing; with directory, it is the folder there that holds the snapshot")
        return InFiles(folder_of(directory, name))

    def _in_cluster(self) -> Found | None:
        name, release_id = self._options["name"], self._options["release_id"]
        if name:
            return self._store.find(name)
        journal = self._journal()
        if journal is not None and release_id in (None, journal.release_id):
            kept = journal.header["snapshot"].get("objects")
            if kept:
                return self._store.find(kept["name"])
        return self._store.newest(release_id)

    def _needed(self, found: Found | None) -> Found:
        if found is not None:
            return found
        options = self._options
        asked = options["name"] or (f"of release {options['release_id']}" if options["release_id"] else "")
        raise SnapshotError(
            f"there is no snapshot {asked}".rstrip()
            + f" of {self._application} in namespace {self._namespace}; take one,"
            " or name another with name or release_id"
        )

    def _only(self, found: Found) -> list[Ref] | None:
        """The objects that ``only`` names. Raises InputError naming all that the snapshot doesn't hold."""
        asked = self._options["only"]
        if not asked:
            return None
        known = {str(entry.ref): entry.ref for entry in found.snapshot.entries}
        known |= {
            f"{entry.ref.kind} {entry.ref.name}": entry.ref
            for entry in found.snapshot.entries
            if entry.ref.namespace in ("", self._namespace)
        }
        unknown = [name for name in asked if name not in known]
        if unknown:
            held = ", ".join(str(entry.ref) for entry in found.snapshot.entries)
            raise InputError(f"only: {', '.join(unknown)} is not in {found.where}, which holds {held}")
        return [known[name] for name in asked]

    def _journal(self) -> Journal | None:
        return JournalStore(self._cluster, self._namespace, self._application).head()

    def _check_keep_days(self) -> None:
        if self._options["keep_days"] < 0:
            raise InputError(f"keep_days: must be 0 or more days, not {self._options['keep_days']:g}")


class _Drawn:
    """A snapshot whose bodies are all at hand."""

    def __init__(self, snapshot: t.Any) -> None:
        self.snapshot = snapshot
        self.where = snapshot.name

    def loaded(self, entries: t.Iterable[Entry]) -> list[Entry]:
        return list(entries)


def _listed(entry: Entry) -> Json:
    return {"object": str(entry.ref), **entry.described()}
