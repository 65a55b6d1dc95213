# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a rollback goes to: what the journal, or the inventory where there is none, says of the release. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import journal as record
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError, JournalError

_NO_JOURNAL_ADVICE = "set release_namespace to the release's namespace, or give its inventory with -i"
_ALL_TRAFFIC = 100


@dataclasses.dataclass(frozen=True)
class Target:
    """``facts`` are the inventory's (``release_traffic``, ``release_stable``, …), ``snapshot`` the state to return to.

    Both may lack anything, so that what is known can be put back even where the rest isn't.
    """

    namespace: str
    journal: record.Journal | None
    facts: t.Mapping[str, t.Any]
    snapshot: t.Mapping[str, t.Any]

    @classmethod
    def of(cls, namespace: str, journal: record.Journal | None, release: t.Mapping[str, t.Any]) -> Target:
        """What the journal holds, and from ``release`` what it lacks. Raises JournalError where neither knows it."""
        if journal is not None:
            facts = {**release, **journal.header["plan"]}
            facts["release_prometheus"] = _with_credentials(facts, release)
            return cls(namespace, journal, facts, journal.header["snapshot"])
        if not release.get("release_traffic"):
            raise JournalError(
                f"namespace {namespace} holds no release journal, and no inventory names the release; "
                + _NO_JOURNAL_ADVICE
            )
        return cls(namespace, None, release, {})

    def fact(self, *path: str) -> t.Any:
        """A fact of the release that is needed, such as ``release_stable``, ``version``. Raises InputError."""
        value: t.Any = self.facts
        for key in path:
            value = value.get(key) if isinstance(value, t.Mapping) else None
        if value in (None, ""):
            raise InputError(
                f"release: neither the journal nor the inventory gives {'.'.join(path)}; {_NO_JOURNAL_ADVICE}"
            )
        return value

    def named(self, *path: str) -> str:
        """Like :meth:`fact`, and empty where it isn't given."""
        try:
            return str(self.fact(*path))
        except InputError:
            return ""

    @property
    def traffic(self) -> dict[str, t.Any]:
        return dict(self.fact("release_traffic"))

    @property
    def application(self) -> str:
        return str(self.journal.header["application"] if self.journal else self.named("release_application"))

    @property
    def stable_replicas(self) -> int | None:
        return self.snapshot.get("stable_replicas")

    @property
    def switch_begun(self) -> bool:
        """Whether the stage that gives the candidate all traffic was begun; without a journal it may have been."""
        if self.journal is None:
            return True
        weights = {stage["name"]: int(stage.get("weight") or 0) for stage in self.facts.get("release_stages") or []}
        return any(weights.get(name) == _ALL_TRAFFIC for name in self.journal.stages)

    @property
    def candidate_deployments(self) -> list[str]:
        named = [self.named("release_candidate", key) for key in ("canary_deployment", "green_deployment")]
        return [name for name in named if name]

    @property
    def drained_objects(self) -> list[dict[str, t.Any]]:
        """Objects that the clean-up of the canary may have changed, but for Deployments that a rollback removes."""
        if not self.switch_begun:
            return []
        return [
            found
            for found in self.snapshot.get("drained_objects") or []
            if found.get("kind") != "Deployment" or found["metadata"]["name"] not in self.candidate_deployments
        ]

    @property
    def config_maps(self) -> list[str]:
        """The candidate's own configuration, which is published before the switch and used by it."""
        if not self.switch_begun:
            return []
        named = [self.named(variable, "config_map") for variable in ("release_agents", "release_workflows")]
        return [name for name in named if name]

    @property
    def earlier(self) -> dict[str, t.Any]:
        """What an earlier run that didn't finish noted of the state before it."""
        if self.journal is None or self.journal.state != record.ROLLING_BACK:
            return {}
        changes = [event["data"] for event in self.journal.events if event["what"] == "state_changed"]
        kept = ("decided", "weight_before", "entry_selector_before")
        return {key: changes[-1][key] for key in kept if changes[-1].get(key) is not None}


def _with_credentials(facts: t.Mapping[str, t.Any], release: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The source of measurements as the journal has it, with the secrets that only the inventory holds."""
    given = release.get("release_prometheus") or {}
    secrets = {key: given[key] for key in ("token", "username", "password") if key in given}
    return {**secrets, **(facts.get("release_prometheus") or {})}


def restorable(found: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What of an object its owner wrote and a restoration may touch."""
    metadata = {key: found["metadata"].get(key) or {} for key in ("labels", "annotations")}
    return {key: value for key, value in found.items() if key not in ("status", "metadata")} | {"metadata": metadata}


def restoring_patch(now: t.Mapping[str, t.Any], wanted: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The merge patch that makes ``now`` into ``wanted``; empty where they are the same.

    What looks like a secret isn't in any snapshot, so it is left as it is. Raises InputError where it stands in a list,
    which a merge patch could only replace as a whole.
    """
    stripped, dropped = record.without_secrets(restorable(now))
    patch = _merge_patch(stripped, restorable(wanted))
    lost = [path for path in dropped if "[" in path and _touched(patch, path)]
    if lost:
        raise InputError(
            f"snapshot: {now['kind']} {now['metadata']['name']} was changed since the release began, and its"
            f" {', '.join(lost)} can't be restored, since the journal keeps no secrets; restore it by hand"
        )
    return patch


def _merge_patch(now: t.Mapping[str, t.Any], wanted: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    patch: dict[str, t.Any] = {key: None for key in now if key not in wanted}
    for key, value in wanted.items():
        before = now.get(key)
        if isinstance(value, t.Mapping) and isinstance(before, t.Mapping):
            below = _merge_patch(before, value)
            if below:
                patch[key] = below
        elif key not in now or before != value:
            patch[key] = value
    return patch


def _touched(patch: t.Any, path: str) -> bool:
    """Whether ``patch`` replaces the list in which ``path`` (such as ``spec.env[0].value``) stands."""
    for key in path.split("[", 1)[0].split("."):
        if not isinstance(patch, t.Mapping) or key not in patch:
            return False
        patch = patch[key]
    return True
