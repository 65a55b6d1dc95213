# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Taking a release back as one act: users first, then the proof, then what stood on the candidate's side."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import LockError, RolloutError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import Journal
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore, find_journal
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Fence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_record import Record
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_steps import Done, Show, Steps
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_target import Target
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_traffic import TrafficWork

if t.TYPE_CHECKING:
    from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_fence import LeaseFence

_THREADS = 4


@dataclasses.dataclass(frozen=True)
class Asked:
    """What was asked for. ``decided`` is a unix time, ``release`` the inventory's facts, times are in seconds.

    ``lease`` is the lock of the run that this belongs to; without it the rollback is one that a person started, which
    takes the lock. ``process`` is the evidence of where it runs.
    """

    reason: str
    decided: float | None = None
    whole: bool = True
    release: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    verify_timeout: float = 30.0
    strength_timeout: float = 120.0
    probe_requests: int = 100
    lease: t.Mapping[str, t.Any] | None = None
    process: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)


class OnTraffic(t.Protocol):
    """What takes users off the candidate."""

    def strengthen(self) -> Done: ...

    def withdraw(self) -> Done: ...

    def switch_entry(self) -> Done: ...


class OnRest(t.Protocol):
    """What proves it, and takes the candidate's side away."""

    def prove(self) -> Done: ...

    def settle_entry(self) -> Done: ...

    def judge(self) -> Done: ...

    def restore_drained(self) -> Done: ...

    def remove_canary(self) -> Done: ...

    def empty_green(self) -> Done: ...

    def await_pods(self) -> Done: ...

    def remove_configuration(self) -> Done: ...


def roll_back(
    cluster: Cluster, namespace: str, application: str | None, asked: Asked, clock: Clock, show: Show
) -> dict[str, t.Any]:
    """Take the release back as its journal says, or as ``asked.release`` where there is none; the action's result.

    Nothing but an unreadable journal, or none at all, is raised, and LockError where the run that this belongs to has
    lost its lock: all other problems are told together in the result.
    """
    steps, began = Steps(clock, show, asked.verify_timeout), clock.monotonic()
    fence = _fence_of_run(cluster, asked)
    journal = _find(cluster, namespace, application)
    target = Target.of(namespace, journal, asked.release)
    record = Record(cluster, target, clock, asked.reason, asked.decided)
    steps.note("journal", began, record.found)
    traffic = TrafficWork(cluster, target, clock, asked.strength_timeout, fence)
    away = take_traffic(traffic, steps)
    held = _hold_lock(traffic, steps, asked, fence)
    record.fence_with(held)
    steps.take("record", lambda: record.begin(steps), needed=False)
    if asked.whole:
        # Imported when users are away from the candidate: what it takes would have kept them there.
        from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_rest import (
            RestWork,
            sample_size,
        )

        requests = sample_size(asked.probe_requests, record.weight_before(steps))
        rest = RestWork(cluster, target, clock, traffic, patience=asked.verify_timeout, requests=requests, fence=held)
        take_rest(rest, steps, away=away, fence=held)
        if not steps.problems:
            steps.take("end", lambda: record.end(steps))
        else:
            steps.take("end", lambda: record.unfinished(steps), needed=False)
    # The lock of a run that isn't back yet stays with it.
    if held and (fence is None or (asked.whole and not steps.problems)):
        steps.take("unlock", functools.partial(_unlock, held), needed=False)
    return _result(target, record, steps, asked)


def _find(cluster: Cluster, namespace: str, application: str | None) -> Journal | None:
    return JournalStore(cluster, namespace, application).head() if application else find_journal(cluster, namespace)


def _fence_of_run(cluster: Cluster, asked: Asked) -> LeaseFence | None:
    """The lock of the run that this belongs to, if it belongs to one. Raises LockError where that is lost."""
    if asked.lease is None:
        return None
    from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_fence import LeaseFence

    fence = LeaseFence.from_option(cluster, asked.lease)
    if fence:
        fence.check_way_back()
    return fence


def _hold_lock(traffic: TrafficWork, steps: Steps, asked: Asked, fence: LeaseFence | None) -> LeaseFence | None:
    """The lock that the rest needs: that of the run, or else one taken for this; None where that can't be had.

    Raises LockError where the run has lost its lock: then the release is another controller's now.
    """
    if fence is None:
        # Imported when users are away from the candidate, as all that comes after.
        from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_rollback import RollbackLock

        lock = RollbackLock(traffic, asked.reason, 4 * asked.verify_timeout, asked.process)
        steps.take("lock", lock.take, needed=False)
        return lock.fence
    try:
        fence.check_way_back(ask=True)
    except LockError:
        raise
    except RolloutError as error:
        steps.warnings.append(f"lock: {error.message}")
    return fence


def _unlock(held: LeaseFence) -> Done:
    return Done(held.give_back())


def take_traffic(work: OnTraffic, steps: Steps) -> bool:
    """Take users off the candidate, on every way to it; whether they are."""
    # A side that was scaled down would fall over under what is about to come back.
    steps.take("stable side", work.strengthen, needed=False)
    steps.renew_patience()
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        ways = [
            pool.submit(steps.take, "weight", work.withdraw),
            pool.submit(steps.take, "entry service", work.switch_entry),
        ]
        return _all_done(ways)


def take_rest(work: OnRest, steps: Steps, *, away: bool, fence: Fence | None = None) -> None:
    """Prove it and clean up. Pods of the candidate go only once it was seen that nobody reaches them.

    With ``fence`` nothing is removed once the lock is lost.
    """
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        proofs = [pool.submit(steps.take, "edge", work.prove), pool.submit(steps.take, "endpoints", work.settle_entry)]
        restored = pool.submit(steps.take, "drained", work.restore_drained)
        proven = _all_done(proofs)
        # After the edge was seen to follow, so that what is judged has all of the traffic.
        judged = pool.submit(steps.take, "metrics", work.judge)
        if away and proven:
            if _may_remove(fence, steps):
                _remove(work, steps, pool)
        else:
            steps.refuse(
                "candidate", "stays as it is, since it isn't proven that nobody reaches it; run the rollback again"
            )
        concurrent.futures.wait([restored, judged])


def _may_remove(fence: Fence | None, steps: Steps) -> bool:
    try:
        if fence:
            fence.check()
    except RolloutError as error:
        steps.refuse("candidate", f"stays as it is: {error.message}")
        return False
    return True


def _remove(work: OnRest, steps: Steps, pool: concurrent.futures.Executor) -> None:
    gone = [pool.submit(steps.take, "canary", work.remove_canary), pool.submit(steps.take, "green", work.empty_green)]
    if _all_done(gone):
        steps.take("pods", work.await_pods)
    steps.take("configuration", work.remove_configuration)


def _all_done(taken: t.Iterable[concurrent.futures.Future[Done | None]]) -> bool:
    """Wait for all of them; whether none failed."""
    return None not in [one.result() for one in taken]


def _result(target: Target, record: Record, steps: Steps, asked: Asked) -> dict[str, t.Any]:
    found = target.journal
    verified = asked.whole and not steps.problems and not record.dry
    result: dict[str, t.Any] = {
        "changed": steps.changed,
        "verified": verified,
        "found": found is not None,
        "namespace": target.namespace,
        "application": target.application,
        "release_id": found.release_id if found else None,
        "state": record.state,
        "steps": [step.as_dict() for step in steps.taken],
        "problems": steps.problems,
        "diff": steps.diffs,
        **steps.facts,
    }
    if steps.warnings:
        result["warnings"] = steps.warnings
    if steps.problems:
        way_out = "run the rollback again to finish it" if asked.whole else "the rest of the rollback tries again"
        result.update(failed=True, error="not_rolled_back", msg=f"{'; '.join(steps.problems)}; {way_out}")
    return result
