# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The part of a rollback that users wait for: no import, no call and no wait in here that it could do without."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster, Ref, deployment
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.endpoints import format_labels
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.entry_service import EntryService, Switch
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.entry_service import as_result as as_switched
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Fence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_steps import Done
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_target import Target
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import open_provider, set_weight
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.report import as_result as as_weighted

_POLL = 0.1


class TrafficWork:
    """Taking users off the candidate; for a run that holds the lock, only while nobody else has had it since."""

    def __init__(
        self, cluster: Cluster, target: Target, clock: Clock, strength_timeout: float, fence: Fence | None = None
    ) -> None:
        self.cluster = cluster
        self.target = target
        self.clock = clock
        self._patience = strength_timeout
        self._fence = fence

    def strengthen(self) -> Done:
        """Bring a stable side that was scaled down back to what it had; others cost one call and no wait."""
        wanted = self.target.stable_replicas
        if wanted is None:
            return Done("what it had before the release isn't known, so it stays as it is")
        ref = deployment(self.target.fact("release_namespace"), self.target.fact("release_stable", "deployment"))
        found = self.cluster.get(ref)
        had, ready = int(found["spec"].get("replicas", 1)), _ready(found)
        if had >= wanted:
            warnings = (f"{ref} has {ready} ready replicas of {had}",) if ready < wanted else ()
            return Done(f"{ready} of {had} replicas ready", warnings=warnings)
        if self._fence:
            self._fence.check_way_back()
        self.cluster.patch(ref, {"spec": {"replicas": wanted}})
        says = f"{had} to {wanted} replicas"
        diff = {"before": {str(ref): {"replicas": had}}, "after": {str(ref): {"replicas": wanted}}}
        if self.cluster.dry_run:
            return Done(says, changed=True, diff=diff)
        ready = self._wait_until_ready(ref, wanted)
        late = f"{ref} has {ready} ready replicas of {wanted} after {self._patience:g} s, and got all traffic back"
        warnings = (late,) if ready < wanted else ()
        return Done(f"{says}, {ready} ready", changed=True, warnings=warnings, diff=diff)

    def _wait_until_ready(self, ref: Ref, wanted: int) -> int:
        """How many replicas are ready when all are, or when it has taken too long."""
        ends = self.clock.monotonic() + self._patience
        while (ready := _ready(self.cluster.get(ref))) < wanted and self.clock.monotonic() < ends:
            self.clock.sleep(_POLL)
        return ready

    def withdraw(self) -> Done:
        traffic = self.target.traffic
        provider = open_provider(traffic.get("provider") or "istio", self.cluster, traffic, self._fence)
        change = as_weighted(set_weight(provider, 0))
        before, after = change["before"], change["after"]
        says = f"{before} to {after} %" if change["changed"] else f"{after} % already"
        facts = {"weight": {"before": before, "after": after}, "routes": change["routes"]}
        if "notices" in change:
            facts["notices"] = change["notices"]
        return Done(says, change["changed"], tuple(change.get("warnings", ())), facts, change["diff"])

    def switch_entry(self) -> Done:
        switched = self.entry(0.0)
        labels = format_labels(switched.after)
        facts = {"entry_selector": {"before": dict(switched.before), "after": dict(switched.after)}}
        says = f"{format_labels(switched.before)} to {labels}" if switched.changed else f"{labels} already"
        return Done(says, switched.changed, switched.warnings, facts, as_switched(switched)["diff"])

    def entry(self, wait_timeout: float) -> Switch:
        """The entry Service on the selector of the snapshot; raises as ``EntryService.switch`` does."""
        name = self.target.fact("release_entry_service", "name")
        kept = self.target.snapshot.get("entry_selector")
        selector = kept or self.target.fact("release_entry_service", "stable_selector")
        entry = EntryService(self.cluster, self.target.fact("release_namespace"), name, self.clock, self._fence)
        return entry.switch(selector, whole=bool(kept), rollback=True, wait_timeout=wait_timeout)


def _ready(found: t.Mapping[str, t.Any]) -> int:
    return int((found.get("status") or {}).get("readyReplicas") or 0)
