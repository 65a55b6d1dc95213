# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal in the cluster: one ConfigMap per application, written with optimistic concurrency.

Each change reads the journal, decides (see ``journal``), and writes it back under the resource version it was
read with; whoever is second reads again and decides again, so that two writers never lose an event.
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
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock, SystemClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ConflictError,
    JournalError,
    NotFoundError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import Author, Journal, Json
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Fence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import Ref, config_map, label_selector

PATIENCE = 15.0
"""Seconds a writer keeps trying against others."""
KEEP_ARCHIVES = 10
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

    # ---- reading

    def read(self, release_id: str | None = None) -> Journal | None:
        """The journal, or the archived one of ``release_id``; None when there is none."""
        found, _object = self._find()
        if release_id is None or (found and found.release_id == release_id):
            return found
        name = record.archive_name(self.application, release_id)
        archived = self.cluster.find(config_map(self.namespace, name))
        return record.from_data(archived.get("data", {}), f"ConfigMap {self.namespace}/{name}") if archived else None

    def place(self, journal: Journal) -> str:
        """Where ``journal``, as :meth:`read` gave it, is kept now."""
        found, _object = self._find()
        if found is not None and found.release_id == journal.release_id:
            return self.where
        return f"ConfigMap {self.namespace}/{record.archive_name(self.application, journal.release_id)}"

    @property
    def objects(self) -> tuple[Ref, ...]:
        """What a later holder of the lock touches, so that no write of an earlier one comes after it."""
        return (self._ref,)

    def _find(self) -> tuple[Journal | None, Json | None]:
        found = self.cluster.find(self._ref)
        return (record.from_data(found.get("data") or {}, self.where), found) if found else (None, None)

    # ---- writing

    def open(
        self, release_id: str, versions: Json, plan: Json, snapshot: Json, *, keep: int = KEEP_ARCHIVES
    ) -> Written:
        """Start a release, or take up the one of the same versions that is in progress (``resumed: true``).

        A finished one is kept aside under its own name, the last ``keep`` of them. Raises JournalError when another
        release is in progress or a rollback was not finished, InputError when plan and snapshot are too large.
        """
        return self._retried(lambda: self._open(release_id, versions, plan, snapshot, keep))

    def _open(self, release_id: str, versions: Json, plan: Json, snapshot: Json, keep: int) -> Written:
        before, found = self._find()
        now = self.clock.now()
        if before is not None and not before.closed:
            record.refuse_to_open(before, release_id, versions)
            after = record.taken_up(before, self.author, now)
            self._write(after, found)
            return Written(before, after, {"resumed": True})
        if before is not None:
            if before.release_id == release_id:
                raise JournalError(
                    f"release_id: release {release_id} is {before.state} since {before.header['ended']};"
                    " give the new release an id of its own",
                    release_id=release_id,
                    state=before.state,
                )
            self._archive(before, keep)
        after = record.opened(release_id, self.application, versions, plan, snapshot, self.author, now)
        self._write(after, found)
        return Written(None, after, {"resumed": False})

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
            self._write(after, found)
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

    def _write(self, journal: Journal, found: Json | None) -> None:
        if self.fence:
            self.fence.check()
        body = self._object(self.name, "release-journal", journal)
        if found is None:
            self.cluster.create(self._ref, body)
            return
        body["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
        self.cluster.replace(self._ref, body)

    def _object(self, name: str, kind: str, journal: Journal) -> Json:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "labels": record.labels(self.application, kind),
                "annotations": {record.SCHEMA_ANNOTATION: record.SCHEMA},
            },
            "data": record.to_data(journal),
        }

    # ---- finished releases

    def _archive(self, journal: Journal, keep: int) -> None:
        name = record.archive_name(self.application, journal.release_id)
        ref = config_map(self.namespace, name)
        if self.cluster.find(ref) is None:
            self.cluster.create(ref, self._object(name, "release-archive", journal))
        selector = label_selector(record.labels(self.application, "release-archive"))
        archives = self.cluster.list(config_map(self.namespace), label_selector=selector)
        archives.sort(key=lambda item: item["metadata"].get("creationTimestamp") or "")
        for item in archives[: max(0, len(archives) - keep)]:
            with contextlib.suppress(NotFoundError):
                self.cluster.delete(config_map(self.namespace, item["metadata"]["name"]))


def find_application(cluster: Cluster, namespace: str) -> str | None:
    """The application whose journal :func:`find_journal` finds in ``namespace``; None when there is none."""
    found = find_journal(cluster, namespace)
    return str(found.header["application"]) if found else None


def find_journal(cluster: Cluster, namespace: str) -> Journal | None:
    """The journal in ``namespace``, in one call: the one in progress where there are several; None when there is none.

    Raises JournalError when several are in progress, or several are closed.
    """
    selector = label_selector(
        {"app.kubernetes.io/managed-by": record.MANAGED_BY, "app.kubernetes.io/component": "release-journal"}
    )
    found: dict[str, Journal] = {}
    for item in cluster.list(config_map(namespace), label_selector=selector):
        journal = record.from_data(item.get("data") or {}, f"ConfigMap {namespace}/{item['metadata']['name']}")
        found[journal.header["application"]] = journal
    running = [application for application, journal in found.items() if not journal.closed]
    candidates = running or list(found)
    if len(candidates) > 1:
        raise JournalError(
            f"namespace {namespace} holds the journals of {', '.join(sorted(candidates))}; name one with application",
            applications=sorted(candidates),
        )
    return found[candidates[0]] if candidates else None
