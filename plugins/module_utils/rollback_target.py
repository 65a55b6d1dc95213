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
        began = self.journal.header["rollback"]
        return {key: began[key] for key in record.ROLLBACK_FACTS if key in began}


def _with_credentials(facts: t.Mapping[str, t.Any], release: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The source of measurements as the journal has it, with the secrets that only the inventory holds."""
    given = release.get("release_prometheus") or {}
    secrets = {key: given[key] for key in ("token", "username", "password") if key in given}
    return {**secrets, **(facts.get("release_prometheus") or {})}
