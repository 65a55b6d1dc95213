# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock in a rollback that a person starts: taken from whoever holds it, so that a release still running is stopped.

Users come first, the lock second. Taking the lock first would cost them three requests more, and would spare them
nothing: a release that is still running may have put weight on the candidate a moment before either way. What it does
between the first look and the taking of the lock is found by a second look, and from then on nothing of it arrives.
"""

from __future__ import annotations

import secrets
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import lease
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Ref
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import default_author
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_fence import LeaseFence, hold_of, take
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_objects import Scope, objects_of
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_store import Acquired, LeaseStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_steps import Done
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_traffic import TrafficWork

_SHORTEST = 60


class RollbackLock:
    """The lock of the release that ``traffic`` is taken back of, for ``seconds``; ``fence`` once it is held.

    ``process`` is the evidence of where this runs, as a Lease keeps it.
    """

    def __init__(self, traffic: TrafficWork, reason: str, seconds: float, process: t.Mapping[str, t.Any]) -> None:
        self.fence: LeaseFence | None = None
        self._traffic = traffic
        self._cluster, self._target = traffic.cluster, traffic.target
        self._store = LeaseStore(self._cluster, self._target.namespace, self._target.application, traffic.clock)
        author, journal = default_author(), self._target.journal
        released = journal.release_id if journal else self._target.application
        holder = lease.name_of_rollback(f"{author.who}@{author.host}", released, secrets.token_hex(4))
        self._claim = lease.Claim(holder, max(_SHORTEST, round(seconds)), process, f"rollback: {reason}")

    def take(self) -> Done:
        """Have the lock, make sure nothing of a former holder comes any more, and look at the traffic once more."""
        acquired, _touched = take(self._store, self._claim, self._objects, force=True)
        if not self._cluster.dry_run:
            self.fence = LeaseFence(self._store, hold_of(self._store, acquired))
        still = acquired.taken is not None and not self._cluster.dry_run
        again = (self._traffic.withdraw, self._traffic.switch_entry) if still else ()
        return self._done(acquired, [done for done in (look() for look in again) if done.changed])

    def _objects(self) -> list[Ref]:
        target = self._target
        scope = Scope(
            target.fact("release_namespace"),
            target.application,
            target.traffic,
            target.fact("release_entry_service", "name"),
            target.facts.get("release_canary_drain") or (),
        )
        return objects_of(self._cluster, scope)

    def _done(self, acquired: Acquired, late: t.Sequence[Done]) -> Done:
        former = acquired.taken.holder if acquired.taken else ""
        says = f"taken over from {former}" if former else "taken, nobody held it"
        if late:
            says += f", which still changed the traffic meanwhile; back again: {', '.join(done.says for done in late)}"
        return Done(says, changed=bool(late), facts={"lock_taken_from": former} if former else {})
