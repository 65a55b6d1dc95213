# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal in the cluster: a ConfigMap per application with parts beside it, written with optimistic concurrency.

Each change reads the newest ConfigMap, decides (see ``journal``), and writes it back under the resource version it was
read with; whoever is second reads again and decides again, so that two writers never lose an event. Older events lie
in parts that never change (see ``journal_layout``) and are read only where the whole is asked for.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import random
import socket
import typing as t
from dataclasses import dataclass

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import journal as record
from ansible_collections.claude_enhancer.rollout.plugins.module_utils import journal_layout as layout
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock, SystemClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ClusterError,
    ConflictError,
    InputError,
    JournalError,
    NotFoundError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import Author, Journal, Json
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Fence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import Ref, config_map, label_selector

PATIENCE = 15.0
"""Seconds a writer keeps trying against others."""
KEEP_ARCHIVES = 100
Change = t.Callable[[Journal], tuple[Journal, Json]]


def default_author() -> Author:
    """The person behind the process (through sudo too), and this machine."""
    who = os.environ.get("SUDO_USER", "")
    if not who:
        try:
            who = getpass.getuser()
        except (OSError, KeyError):
            who = f"uid {os.getuid()}"
    return Author(who, socket.gethostname())


@dataclass(frozen=True)
class Written:
    """What a change did: the journal before (None: there was none) and after, and the change's own answer."""

    before: Journal | None
    after: Journal
    answer: Json

    @property
    def changed(self) -> bool:
        return self.before is None or (self.before is not self.after and self.before != self.after)


class JournalStore:
    """The journal of ``application`` in ``namespace``. In check mode (a dry-run cluster) nothing is written.

    With a ``fence`` nothing is written either once the lock is lost (LockError).
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        application: str,
        author: Author | None = None,
        clock: Clock | None = None,
        fence: Fence | None = None,
    ) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.application = application
        self.author = author or default_author()
        self.clock: Clock = clock or SystemClock()
        self.fence = fence
        self.name = f"{application}-release-journal"
        self.where = f"ConfigMap {namespace}/{self.name}"
        self._ref = config_map(namespace, self.name)
        self._kept: dict[str, t.Mapping[str, str]] = {}

    # ---- reading

    def head(self) -> Journal | None:
        """The journal with its newest events only, in one call: all that decides is in its header."""
        found, _object = self._find()
        return found

    def read(self, release_id: str | None = None) -> Journal | None:
        """The whole journal, or the archived one of ``release_id``; None when there is none.

        Raises JournalError where a part is missing.
        """
        found, _object = self._find()
        if release_id is None or (found and found.release_id == release_id):
            return self.completed(found) if found else None
        archived, name = self._archived(release_id)
        return self.completed(archived, self._named(name)) if archived else None

    def place(self, journal: Journal) -> str:
        """Where ``journal``, as :meth:`read` gave it, is kept now."""
        found, _object = self._find()
        if found is not None and found.release_id == journal.release_id:
            return self.where
        return self._named(self._archived(journal.release_id)[1])

    def history(self) -> list[Json]:
        """The releases that are kept, oldest first, the one in the journal last.

        Each is {release_id, versions, state, started, ended, opened_by, journal}; ``journal`` names the ConfigMap.
        """
        entries, _object = self._history()
        newest = self.head()
        if newest is None:
            return list(entries.values())
        finished = [entry for entry in entries.values() if entry["release_id"] != newest.release_id]
        return [*finished, layout.history_entry(newest, self.name)]

    def completed(self, journal: Journal, where: str = "") -> Journal:
        """``journal`` with all of its events. What doesn't change any more is asked for once."""
        where = where or self.where
        older = [
            event
            for part in journal.parts
            for event in layout.part_events(self._existing(part.name), self._named(part.name))
        ]
        whole = layout.completed(journal, older, where)
        names = layout.names_apart(whole.events)
        chunks = {name: self._existing(name) for name in names}
        return record.Journal(whole.header, tuple(layout.joined(event, chunks, where) for event in whole.events))

    def _existing(self, name: str) -> t.Mapping[str, str]:
        """The data of a ConfigMap that never changes. Raises JournalError where it is gone."""
        if name not in self._kept:
            found = self.cluster.find(config_map(self.namespace, name))
            if found is None:
                raise JournalError(
                    f"{self._named(name)} is gone, and a part of {self.where} with it; restore it from a backup",
                    object=self._named(name),
                )
            self._kept[name] = found.get("data") or {}
        return self._kept[name]

    @property
    def objects(self) -> tuple[Ref, ...]:
        """What a later holder of the lock touches, so that no write of an earlier one comes after it."""
        return (self._ref,)

    def _find(self) -> tuple[Journal | None, Json | None]:
        found = self.cluster.find(self._ref)
        return (layout.from_data(found.get("data") or {}, self.where), found) if found else (None, None)

    def _archived(self, release_id: str) -> tuple[Journal | None, str]:
        """The finished release of that id as its ConfigMap has it, and the name of that ConfigMap."""
        names = (
            layout.archive_name(self.application, release_id),
            layout.exact_archive_name(self.application, release_id),
        )
        for name in names:
            found = self.cluster.find(config_map(self.namespace, name))
            if found:
                journal = layout.from_data(found.get("data") or {}, self._named(name))
                if journal.release_id == release_id:
                    return journal, name
        return None, names[0]

    def _named(self, name: str) -> str:
        return f"ConfigMap {self.namespace}/{name}"

    # ---- writing

    def open(
        self, release_id: str, versions: Json, plan: Json, snapshot: Json, *, keep: int = KEEP_ARCHIVES
    ) -> Written:
        """Start a release, or take up the one of the same versions that is in progress (``resumed: true``).

        A finished one is kept aside under its own name, the last ``keep`` of them. Raises JournalError when another
        release is in progress or a rollback was not finished, InputError when plan and snapshot are too large.
        """
        if not 0 <= keep <= layout.MAX_RELEASES:
            raise InputError(f"keep: must be from 0 to {layout.MAX_RELEASES} releases, not {keep}")
        return self._retried(lambda: self._open(release_id, versions, plan, snapshot, keep))

    def _open(self, release_id: str, versions: Json, plan: Json, snapshot: Json, keep: int) -> Written:
        before, found = self._find()
        now = self.clock.now()
        if before is not None and not before.closed:
            record.refuse_to_open(before, release_id, versions)
            after = record.taken_up(before, self.author, now)
            self._save(after, found)
            return Written(before, after, {"resumed": True})
        if before is not None and before.release_id == release_id:
            raise JournalError(
                f"release_id: release {release_id} is {before.state} since {before.header['ended']};"
                " give the new release an id of its own",
                release_id=release_id,
                state=before.state,
            )
        after = record.opened(release_id, self.application, versions, plan, snapshot, self.author, now)
        if before is not None:
            self._archive(before)
        self._save(after, found)
        # Last, so that a release which is kept no longer never holds up the next one.
        warnings = [*self._retire(keep), *self._sweep()] if before is not None else []
        return Written(None, after, {"resumed": False, **({"warnings": warnings} if warnings else {})})

    def begin(self, stage: str, data: Json | None = None, release_id: str | None = None) -> Written:
        """Begin ``stage``; the answer says ``ended`` and ``resumed``. Raises JournalError, see ``journal.begun``."""
        return self._change(
            lambda journal: record.begun(journal, stage, self.author, self.clock.now(), data), release_id
        )

    def end(self, stage: str, data: Json | None = None, release_id: str | None = None) -> Written:
        """End ``stage`` with its result. Raises JournalError when it isn't begun."""
        return self._change(
            lambda journal: (record.ended(journal, stage, self.author, self.clock.now(), data), {}), release_id
        )

    def record(
        self, what: str, stage: str | None = None, data: Json | None = None, release_id: str | None = None
    ) -> Written:
        """Add an event of kind ``what``."""
        return self._change(
            lambda journal: (record.recorded(journal, what, self.author, self.clock.now(), stage, data), {}),
            release_id,
        )

    def close(self, state: str, data: Json | None = None, release_id: str | None = None) -> Written:
        """Set the release's state: ``rolling_back``, ``rolled_back`` or ``done``."""
        return self._change(
            lambda journal: (record.closed(journal, state, self.author, self.clock.now(), data), {}), release_id
        )

    def _change(self, change: Change, release_id: str | None) -> Written:
        return self._retried(lambda: self._changed_once(change, release_id))

    def _changed_once(self, change: Change, release_id: str | None) -> Written:
        before, found = self._find()
        if before is None:
            raise JournalError(f"{self.where} does not exist; open a release first", object=self.where)
        if release_id is not None and before.release_id != release_id:
            controller = before.header["controller"]
            raise JournalError(
                f"release_id: {release_id} is not the release in {self.where}: that is {before.release_id}"
                f" ({before.state}), of {controller['who']} on {controller['host']} since {controller['since']};"
                " leave release_id out to mean that one",
                release_id=before.release_id,
                controller=controller,
            )
        after, answer = change(before)
        if after is not before:
            self._save(after, found)
        return Written(before, after, answer)

    def _retried(self, attempt: t.Callable[[], Written]) -> Written:
        start = self.clock.monotonic()
        while True:
            try:
                return attempt()
            except ConflictError as error:
                if self.clock.monotonic() - start > PATIENCE:
                    raise JournalError(
                        f"{self.where} was changed by others at every try for {PATIENCE:.0f} s; see who writes it, and"
                        " try again",
                        object=self.where,
                    ) from error
                self.clock.sleep(random.uniform(0.01, 0.15))

    def _save(self, journal: Journal, found: Json | None) -> None:
        """Bring out of the newest ConfigMap what it would be too large with, then write it."""
        planned = layout.laid_out(journal)
        for chunk in planned.chunks:
            self._existing_or_made(chunk, journal)
        while planned.part is not None:
            data = self._existing_or_made(planned.part, journal)
            head = layout.sealed(planned.head, planned.part, data, self._named(planned.part.name))
            planned = layout.laid_out(head)
        self._write(planned.head, found)

    def _write(self, journal: Journal, found: Json | None) -> None:
        """Write the newest ConfigMap, the one place where a journal changes. Raises ConflictError, LockError."""
        if self.fence:
            self.fence.check()
        body = self._object(self.name, layout.JOURNAL, layout.to_data(journal))
        if found is None:
            self.cluster.create(self._ref, body)
            return
        body["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
        self.cluster.replace(self._ref, body)

    def _existing_or_made(self, made: layout.Made, journal: Journal) -> t.Mapping[str, str]:
        """The ConfigMap's data; what is there under the name goes before ``made``."""
        body = self._object(made.name, layout.PART, made.data, journal.release_id)
        try:
            self.cluster.create(config_map(self.namespace, made.name), {**body, "immutable": True})
        except ConflictError:
            return self._existing(made.name)
        return made.data

    def _object(self, name: str, kind: str, data: layout.Data, release_id: str = "") -> Json:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "labels": layout.labels(self.application, kind, release_id),
                "annotations": {layout.SCHEMA_ANNOTATION: record.SCHEMA},
            },
            "data": data,
        }

    # ---- finished releases

    def _archive(self, journal: Journal) -> None:
        """Keep ``journal`` aside and list it."""
        name = self._keep_aside(journal)
        entries, found = self._history()
        listed = journal.release_id in [entry["release_id"] for entry in entries.values()]
        if not listed:
            entries[max(entries, default=0) + 1] = layout.history_entry(journal, name)
        if not listed or found is None:
            self._write_history(entries, found)

    def _write_history(self, entries: dict[int, Json], found: Json | None) -> None:
        name = layout.history_name(self.application)
        body = self._object(name, layout.HISTORY, layout.history_to_data(entries))
        if found is None:
            self.cluster.create(config_map(self.namespace, name), body)
        else:
            body["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
            self.cluster.replace(config_map(self.namespace, name), body)

    def _keep_aside(self, journal: Journal) -> str:
        """Copy the newest ConfigMap under the release's own name; a copy that a killed run left may be older."""
        name = layout.archive_name(self.application, journal.release_id)
        found = self.cluster.find(config_map(self.namespace, name))
        if found and layout.from_data(found.get("data") or {}, self._named(name)).release_id != journal.release_id:
            name = layout.exact_archive_name(self.application, journal.release_id)
            found = self.cluster.find(config_map(self.namespace, name))
        body = self._object(name, layout.ARCHIVE, layout.to_data(journal), journal.release_id)
        if found is None:
            self.cluster.create(config_map(self.namespace, name), body)
        elif found.get("data") != body["data"]:
            body["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
            self.cluster.replace(config_map(self.namespace, name), body)
        return name

    def _history(self) -> tuple[dict[int, Json], Json | None]:
        """The finished releases by number; those of before there was a list are found by their labels."""
        name = layout.history_name(self.application)
        found = self.cluster.find(config_map(self.namespace, name))
        if found is not None:
            return layout.history_from_data(found.get("data") or {}, self._named(name)), found
        selector = label_selector(layout.labels(self.application, layout.ARCHIVE))
        archives = self.cluster.list(config_map(self.namespace), label_selector=selector)
        archives.sort(key=lambda item: item["metadata"].get("creationTimestamp") or "")
        entries = {}
        for number, item in enumerate(archives, 1):
            own = item["metadata"]["name"]
            entries[number] = layout.history_entry(layout.from_data(item.get("data") or {}, self._named(own)), own)
        return entries, None

    def _retire(self, keep: int) -> list[str]:
        """Delete the oldest releases but for ``keep``; what couldn't be deleted stays listed and is told."""
        entries, found = self._history()
        numbers = sorted(entries)
        old = numbers[: max(0, len(numbers) - keep)]
        warnings: list[str] = []
        for number in old:
            try:
                self._forget(entries[number])
            except ClusterError as error:
                warnings.append(f"release {entries[number]['release_id']}, kept no longer, stays: {error.message}")
            else:
                del entries[number]
        if len(entries) < len(numbers):
            with contextlib.suppress(ConflictError):  # who was first retires them too, or the next release does
                self._write_history(entries, found)
        return warnings

    def _forget(self, entry: Json) -> None:
        """Delete what lies beside an archived journal, then itself: as long as it is there it is tried again."""
        self._delete(self._beside(entry["release_id"]))
        name = config_map(self.namespace, entry["journal"])
        with contextlib.suppress(NotFoundError):
            self.cluster.delete(name)

    def _beside(self, release_id: str = "") -> list[Json]:
        """The metadata of all parts and data set apart, of one release or of all."""
        return self.cluster.list_metadata(
            config_map(self.namespace), layout.labels(self.application, layout.PART, release_id)
        )

    def _sweep(self) -> list[str]:
        """Delete what lies beside no release that is kept: killed writers left it. What went wrong is told."""
        try:
            # In this order, so that a release that began meanwhile is never missing: it is in the newest ConfigMap, or
            # by the time that it isn't any more, in the history.
            found = self._beside()
            newest = self.head()
            entries, _object = self._history()
        except (ClusterError, JournalError) as error:
            return [f"what killed writers may have left beside the journal stays: {error.message}"]
        kept = {layout.slug(entry["release_id"]) for entry in entries.values()}
        kept |= {layout.slug(newest.release_id)} if newest else set()
        orphans = [one for one in found if (one.get("labels") or {}).get(layout.RELEASE_LABEL, "") not in {*kept, ""}]
        try:
            self._delete(orphans)
        except ClusterError as error:
            return [f"what killed writers left beside the journal stays: {error.message}"]
        return []

    def _delete(self, listed: t.Iterable[Json]) -> None:
        """As they were listed, so that nothing goes which somebody made since under the same name."""
        for one in listed:
            if self.fence:
                self.fence.check()
            with contextlib.suppress(NotFoundError, ConflictError):
                self.cluster.delete(config_map(self.namespace, one["name"]), resource_version=one["resourceVersion"])


def find_application(cluster: Cluster, namespace: str) -> str | None:
    """The application whose journal :func:`find_journal` finds in ``namespace``; None when there is none."""
    found = find_journal(cluster, namespace)
    return str(found.header["application"]) if found else None


def find_journal(cluster: Cluster, namespace: str) -> Journal | None:
    """The journal in ``namespace`` with its newest events, in one call; None when there is none.

    Where there are several it is the one in progress.

    Raises JournalError when several are in progress, or several are closed.
    """
    selector = label_selector(
        {"app.kubernetes.io/managed-by": layout.MANAGED_BY, "app.kubernetes.io/component": layout.JOURNAL}
    )
    found: dict[str, Journal] = {}
    for item in cluster.list(config_map(namespace), label_selector=selector):
        journal = layout.from_data(item.get("data") or {}, f"ConfigMap {namespace}/{item['metadata']['name']}")
        found[journal.header["application"]] = journal
    running = [application for application, journal in found.items() if not journal.closed]
    candidates = running or list(found)
    if len(candidates) > 1:
        raise JournalError(
            f"namespace {namespace} holds the journals of {', '.join(sorted(candidates))}; name one with application",
            applications=sorted(candidates),
        )
    return found[candidates[0]] if candidates else None
