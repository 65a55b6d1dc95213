# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Taking a snapshot: asking the cluster for every object that a release touches."""

from __future__ import annotations

import base64
import os
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import ForbiddenError, InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import Author, iso
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import Ref, autoscaler
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot import SECRET, Entry, Snapshot, entry_of
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_scope import (
    NOTHING,
    Facts,
    Wanted,
    known,
    together,
    touched,
    used_by,
)

_UNAUTHORIZED = 401
Named = t.Mapping[str, t.Any]


class Taking:
    """One snapshot being taken. ``warnings`` say what couldn't be looked at."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._salt = base64.b64encode(os.urandom(16)).decode()
        self._plurals: dict[tuple[str, str], tuple[str, bool]] = {}
        self._entries: dict[Ref, Entry] = {}
        self._used: list[Wanted] = []
        self.warnings: list[str] = []

    def take(self, facts: Facts, objects: t.Sequence[Named], selectors: t.Sequence[Named]) -> tuple[Entry, ...]:
        """Every object that ``facts``, ``objects`` and ``selectors`` name, and what their pods read. Raises InputError.

        ``objects`` are {api_version, kind, name, namespace}, ``selectors`` {api_version, kind, label_selector,
        namespace}.
        """
        wanted = touched(facts) if facts else []
        wanted += [Wanted(self._ref(one)) for one in objects]
        for one in together(wanted):
            self._keep(one)
        if facts:
            self._keep_autoscalers([one.ref for one in wanted if one.ref.kind == "Deployment"])
        for selector in selectors:
            self._keep_selected(selector)
        # Last, since what the release itself publishes is also used by its pods.
        for one in together(self._used):
            self._keep(one)
        return tuple(self._entries[ref] for ref in sorted(self._entries, key=lambda ref: (ref.kind, str(ref))))

    def snapshot(
        self, application: str, release_id: str, entries: tuple[Entry, ...], author: Author, now: float
    ) -> Snapshot:
        """The snapshot of ``entries``, not stored yet and without a name."""
        by = {"who": author.who, "host": author.host}
        return Snapshot("", application, self._namespace, release_id, iso(now), by, self._salt, entries)

    def _keep(self, wanted: Wanted, found: t.Mapping[str, t.Any] | None = None) -> None:
        ref = wanted.ref if wanted.ref.plural else self._located(wanted.ref)
        if ref in self._entries:
            return
        if ref.kind == "Secret":
            self._entries[ref] = self._secret(ref)
            return
        item = found or self._cluster.find(ref)
        self._entries[ref] = entry_of(ref, item, wanted.changes, self._namespace, self._salt)
        if item is not None:
            self._used += used_by(item, ref.namespace)

    def _secret(self, ref: Ref) -> Entry:
        try:
            return entry_of(ref, self._cluster.find(ref), NOTHING, self._namespace, self._salt)
        except ForbiddenError as error:
            if error.status == _UNAUTHORIZED:
                raise
            self.warnings.append(f"{ref} may not be read with these credentials, so a change of it won't be noticed")
            return Entry(ref, SECRET, changes=NOTHING)

    def _keep_autoscalers(self, deployments: t.Iterable[Ref]) -> None:
        """What scales the Deployments is named after nothing that the inventory knows."""
        targets = {(ref.namespace, ref.name) for ref in deployments}
        for namespace in sorted({namespace for namespace, _name in targets}):
            try:
                found = self._cluster.list(autoscaler(namespace))
            except ForbiddenError as error:
                if error.status == _UNAUTHORIZED:
                    raise
                self.warnings.append(
                    f"HorizontalPodAutoscalers of {namespace} may not be listed with these credentials, so none is kept"
                )
                continue
            for item in found:
                target = item["spec"]["scaleTargetRef"]
                if target.get("kind") == "Deployment" and (namespace, target.get("name")) in targets:
                    self._keep(Wanted(autoscaler(namespace, item["metadata"]["name"]), NOTHING), item)

    def _keep_selected(self, selector: Named) -> None:
        ref = self._ref({**selector, "name": ""})
        for item in self._cluster.list(ref, label_selector=selector["label_selector"]):
            meta = item["metadata"]
            own = Ref(ref.api_version, ref.kind, ref.plural, meta.get("namespace", ""), meta["name"])
            owner = next((one for one in meta.get("ownerReferences") or [] if one.get("controller")), None)
            if owner is not None:
                self.warnings.append(f"{own} isn't kept, since {owner['kind']} {owner['name']} makes it; keep that one")
            elif own not in self._entries:
                self._keep(Wanted(own), item)

    # ---- kinds

    def _ref(self, given: Named) -> Ref:
        namespace = given.get("namespace") or self._namespace
        ref = known(given["api_version"], given["kind"], namespace, given["name"])
        return ref if ref.plural else self._located(ref)

    def _located(self, ref: Ref) -> Ref:
        """The object's place, by asking the API once for each kind. Raises InputError for one that it doesn't serve."""
        kind = (ref.api_version, ref.kind)
        if kind not in self._plurals:
            try:
                found = self._cluster.locate(ref.api_version, ref.kind, ref.namespace, ref.name)
            except InputError as error:
                raise InputError(f"objects, selectors: {error.message}") from error
            self._plurals[kind] = (found.plural, bool(found.namespace))
        plural, namespaced = self._plurals[kind]
        return Ref(ref.api_version, ref.kind, plural, ref.namespace if namespaced else "", ref.name)
