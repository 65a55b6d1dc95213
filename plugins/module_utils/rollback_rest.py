# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The part of a rollback that nobody waits for: proving it, and taking away what stood on the candidate's side."""

from __future__ import annotations

import math
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import (
    Cluster,
    Ref,
    config_map,
    deployment,
    pod,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.endpoints import deployment_of, format_labels
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import NotFoundError, RolloutError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Fence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.criteria import read_conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.gate import look_until_pass
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import (
    overall,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.prometheus import PrometheusSource
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.values import format_value
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.verdicts import (
    PASS,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_drained import drained
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_steps import Done, worth_repeating
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_target import Target
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_traffic import TrafficWork
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.snapshot_restore import (
    NotRestoredError,
    Options,
    Restorer,
    kept_texts,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.probing import PROBE_SPEC, probe

_POLL = 0.1
_LOOK = 0.5
_ALL_TRAFFIC = 100
_MISSED = 0.001
_DRY = "not looked at in a dry run"


def sample_size(least: int, weight_before: int) -> int:
    """How many requests, ``least`` or more, miss a side with ``weight_before`` percent at most once in 1000 times."""
    if not 0 < weight_before < _ALL_TRAFFIC:
        return least
    return max(least, math.ceil(math.log(_MISSED) / math.log(1 - weight_before / _ALL_TRAFFIC)))


class NotVerifiedError(RolloutError):
    """The stable side does not show what it must."""


class RestWork:
    """Everything after the traffic. Each method can be called again, and says so where there was nothing left to do.

    With a ``fence`` nothing is changed once the lock is lost (LockError).
    """

    def __init__(
        self,
        cluster: Cluster,
        target: Target,
        clock: Clock,
        traffic: TrafficWork,
        *,
        patience: float,
        requests: int,
        fence: Fence | None = None,
    ) -> None:
        """``requests`` make a proof; ``patience`` are the seconds for each of the proofs, and for pods to end."""
        self._cluster = cluster
        self._target = target
        self._clock = clock
        self._traffic = traffic
        self._patience = patience
        self._requests = requests
        self._fence = fence

    # ---- proof

    def prove(self) -> Done:
        """Raises NotRoutedError while anybody still reaches the candidate."""
        if self._cluster.dry_run:
            return Done(_DRY)
        edge, target = self._target.fact("release_edge"), self._target
        counters = edge.get("counters") or {}
        asked = {"url", "host", "path", "method", "headers", "timeout", "validate_certs", "ca_path", "version_header",
                 "version_key", "version_pattern"}  # fmt: skip
        how = {"counters": counters, "prometheus": target.fact("release_prometheus")} if counters else {
            **{key: value for key, value in edge.items() if key in asked},
            "stable_version": target.fact("release_stable", "version"),
            "candidate_version": target.fact("release_candidate", "version"),
        }  # fmt: skip
        options = {**how, "requests": self._requests, "expect_weight": 0, "within": self._patience}
        seen = probe(PROBE_SPEC.validate(options), self._clock)
        says = f"none of {seen['asked']} requests reached the candidate"
        return Done(says, facts={"probe": {key: value for key, value in seen.items() if key != "changed"}})

    def settle_entry(self) -> Done:
        """Raises NotRoutedError while the entry Service's endpoints aren't the ready pods of its selector."""
        if self._cluster.dry_run:
            return Done(_DRY)
        switched = self._traffic.entry(self._patience)
        says = f"the {switched.ready} ready pods with {format_labels(switched.after)}, and no others"
        return Done(says, switched.changed, switched.warnings)

    def judge(self) -> Done:
        """Raises NotVerifiedError when a criterion doesn't hold; no evidence is never success."""
        criteria = self._target.facts.get("release_rollback_criteria") or []
        if self._cluster.dry_run or not criteria:
            return Done(_DRY if criteria else "no criteria are given")
        sides = {side: self._target.named(f"release_{side}", "version") for side in ("stable", "candidate")}
        versions = {side: version for side, version in sides.items() if version}
        conditions = read_conditions(self._target.fact("release_metrics"), criteria, versions=versions)
        source = PrometheusSource.from_options(self._target.fact("release_prometheus"), versions)
        judgements, _looks = look_until_pass(conditions, source, versions, self._patience, _LOOK, self._clock)
        if overall(judgements) != PASS:
            failing = [one.text for one in judgements if one.verdict != PASS and not one.condition.advisory]
            raise NotVerifiedError(f"after {self._patience:g} s: {'; '.join(failing)}")
        told = [f"{one.condition.name} {format_value(one.value, one.condition.metric.unit)}" for one in judgements]
        return Done(", ".join(told), facts={"judgements": [one.as_dict() for one in judgements]})

    # ---- the candidate's side

    def remove_canary(self) -> Done:
        return self._delete(deployment(self._namespace, self._target.fact("release_candidate", "canary_deployment")))

    def empty_green(self) -> Done:
        ref = deployment(self._namespace, self._target.fact("release_candidate", "green_deployment"))
        found = self._cluster.find(ref)
        replicas = int(found["spec"].get("replicas", 1)) if found else 0
        if not replicas:
            return Done(f"{ref} {'has no replicas already' if found else 'is not there'}")
        self._see_lock()
        meta = {"resourceVersion": t.cast("dict[str, t.Any]", found)["metadata"]["resourceVersion"]}
        self._cluster.patch(ref, {"metadata": meta, "spec": {"replicas": 0}})
        diff = {"before": {str(ref): {"replicas": replicas}}, "after": {str(ref): {"replicas": 0}}}
        return Done(f"{replicas} to 0 replicas", changed=True, diff=diff)

    def await_pods(self) -> Done:
        """Pods that end slowly serve nobody any more, so they are a warning at most."""
        if self._cluster.dry_run:
            return Done(_DRY)
        ends = self._clock.monotonic() + self._patience
        while True:
            left = self._pods()
            if not left:
                return Done("no pod of the candidate is left")
            if self._clock.monotonic() > ends:
                says = f"{len(left)} pods of the candidate haven't ended after {self._patience:g} s, such as {left[0]}"
                return Done(says, warnings=(f"{says}; see what holds them with kubectl describe",))
            self._clock.sleep(_POLL)

    def restore_drained(self) -> Done:
        """Take back what the clean-up of the canary changed; what others changed meanwhile stays and is a warning.

        Raises the API's error where it may go better in a moment, NotRestoredError for all else.
        """
        found, refs = drained(self._cluster, self._target)
        if found is None or not refs:
            return Done("there is nothing to restore")
        outcome = Restorer(self._cluster, found, Options(), self._fence).restore(refs)
        for error in outcome.errors:
            if worth_repeating(error):
                raise error
        if outcome.problems:
            raise NotRestoredError("; ".join(outcome.problems))
        told = [*(f"{name} restored" for name in [*outcome.restored, *outcome.made])]
        told += [f"{name} is so already" for name in outcome.same]
        warnings = (*outcome.warnings, *kept_texts(outcome.kept))
        return Done("; ".join(told), outcome.changed, warnings, diff=outcome.diff if outcome.changed else None)

    def remove_configuration(self) -> Done:
        done = [self._delete(config_map(self._namespace, name)) for name in self._target.config_maps]
        diff = {side: [one.diff[side] for one in done if one.diff] for side in ("before", "after")}
        changed = any(one.changed for one in done)
        says = "; ".join(one.says for one in done) or "it stays for the next attempt, since the switch had not begun"
        return Done(says, changed, diff=diff if changed else None)

    @property
    def _namespace(self) -> str:
        return str(self._target.fact("release_namespace"))

    def _delete(self, ref: Ref) -> Done:
        """The object as it was read before the look at the lock, and no later one of its name."""
        found = self._cluster.find(ref)
        if found is None:
            return Done(f"{ref} is gone already")
        self._see_lock()
        try:
            self._cluster.delete(ref, resource_version=found["metadata"]["resourceVersion"])
        except NotFoundError:
            return Done(f"{ref} is gone already")
        return Done(f"{ref} removed", changed=True, diff={"before": str(ref), "after": ""})

    def _see_lock(self) -> None:
        if self._fence:
            self._fence.check()

    def _pods(self) -> list[str]:
        owners = set(self._target.candidate_deployments)
        return [
            found["metadata"]["name"]
            for found in self._cluster.list(pod(self._namespace))
            if deployment_of(found) in owners
        ]
