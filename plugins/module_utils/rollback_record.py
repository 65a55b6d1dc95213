# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a rollback writes into the journal: that it began, that it ended, or why it didn't."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import journal as journals
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Fence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_steps import Done, Steps
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_target import Target

_NONE = "there is no journal to write into"


class Record:
    """The journal of the release that is taken back; ``state`` is what it says now, None where there is none."""

    def __init__(self, cluster: Cluster, target: Target, clock: Clock, reason: str, decided: float | None) -> None:
        self.dry = cluster.dry_run
        self.state = target.journal.state if target.journal else None
        self._target = target
        self._id = target.journal.release_id if target.journal else None
        self._store = JournalStore(cluster, target.namespace, target.application, clock=clock)
        self._why = {"reason": reason, "decided": decided}

    def fence_with(self, fence: Fence | None) -> None:
        """From now on write only while the lock is held."""
        self._store.fence = fence

    @property
    def found(self) -> str:
        return f"release {self._id} is {self.state}" if self.state else "there is none; the inventory says where to"

    def begin(self, steps: Steps) -> Done:
        """Note that the release is being taken back, and what was; a release that is back already stays so."""
        if self.state is None:
            return Done(_NONE)
        back = self.state == journals.ROLLED_BACK and not steps.changed
        if back or self.state == journals.ROLLING_BACK:
            return Done(f"{self.state} already")
        return self._set(journals.ROLLING_BACK, self._data(steps))

    def end(self, steps: Steps) -> Done:
        """Close the journal, with what the rollback rests on."""
        if self.state is None:
            return Done(_NONE)
        data = {**self._data(steps), **self._evidence(steps)}
        if self.state != journals.ROLLED_BACK:
            return self._set(journals.ROLLED_BACK, data)
        if not steps.changed:
            return Done(f"{self.state} already, and nothing was left to do")
        self._store.record("rolled_back_again", data=data, release_id=self._id)
        return Done("noted what was put back once more", changed=True)

    def unfinished(self, steps: Steps) -> Done:
        """Note why the rollback didn't end well; the journal stays as it is, so that the next run finishes it."""
        if self.state is None:
            return Done(_NONE)
        data, _dropped = journals.without_secrets({**self._why, "problems": steps.problems, **self._evidence(steps)})
        self._store.record("rollback_unfinished", data=data, release_id=self._id)
        return Done(f"{self.state}, until a rollback ends without a problem", changed=True)

    def weight_before(self, steps: Steps) -> int:
        """What the candidate had before this run, or before the one that it finishes; 0 where nobody knows."""
        return int(self._data(steps)["weight_before"] or 0)

    def _set(self, state: str, data: dict[str, t.Any]) -> Done:
        kept, _dropped = journals.without_secrets(data)
        written = self._store.close(state, kept, self._id)
        before, self.state = self.state, state
        diff = {"before": {"state": before}, "after": {"state": state}}
        return Done(f"{before} to {state}", changed=written.changed, diff={**diff, "before_header": self._store.where})

    def _data(self, steps: Steps) -> dict[str, t.Any]:
        facts = steps.facts
        before = {
            "weight_before": facts.get("weight", {}).get("before"),
            "entry_selector_before": facts.get("entry_selector", {}).get("before"),
        }
        return {**self._why, **before, **self._target.earlier}

    @staticmethod
    def _evidence(steps: Steps) -> dict[str, t.Any]:
        facts = steps.facts
        seen: dict[str, t.Any] = {name: facts[name] for name in ("probe", "judgements") if name in facts}
        return {**seen, "steps": [step.as_dict() for step in steps.taken]}
