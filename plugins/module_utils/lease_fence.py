# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a controller that lost its lock from changing anything.

A change of a Kubernetes object goes: read the object, see that the lock is ours, write the object under the version it
was read with. Whoever gets the lock then touches each object that a release changes, so that its version moves and
nothing else of it. A write that saw the lock before it changed hands is thus refused, however late it comes: be it held
up by the network, or by a controller that stood still.

The way back to weight 0 must cost nothing while all is well. So it asks for the lock only where it isn't known on this
machine that it is held: by when it was last renewed, on a clock that also runs while the machine sleeps.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import typing as t
from pathlib import Path

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster, Ref
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.compensation import put_back_on_failure
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    NotFoundError,
    RolloutError,
    UnreachableError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Claim, Hold, loss
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_store import Acquired, LeaseStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.processes import boot

TOUCHED = "rollout.claude-enhancer.io/fence"


def boottime() -> float:
    """Seconds since the machine started, those in which it slept among them."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class LeaseFence:
    """The :class:`Fence` of a Lease.

    With ``lenient`` it is enough that nobody else has had the lock since: for whom cleans up after the run.
    """

    def __init__(
        self,
        store: LeaseStore,
        hold: Hold,
        *,
        lenient: bool = False,
        clock: t.Callable[[], float] = boottime,
    ) -> None:
        self.hold = hold
        self.store = store
        self.vouched: t.Any = None
        self._lenient = lenient
        self._clock = clock

    @classmethod
    def from_option(
        cls, cluster: Cluster, option: t.Mapping[str, t.Any] | None, *, lenient: bool = False
    ) -> LeaseFence | None:
        """The fence for the option ``lease``; None where none is given, so that nothing is fenced."""
        if not option:
            return None
        hold = Hold.from_option(option)
        return cls(LeaseStore(cluster, hold.namespace, hold.application), hold, lenient=lenient)

    def check(self) -> None:
        """Ask the API whether the lock is still ours. Raises LockError where it isn't."""
        lock = self.store.read()
        passes = self.hold.nobody_since(lock) if self._lenient else self.hold.has(lock)
        if not passes:
            raise loss(lock, self.hold, self.store.now)

    def check_way_back(self, *, ask: bool = False) -> None:
        """Let traffic be taken back: without a request where the lock is known to be ours, unless told to ``ask``.

        Raises LockError where somebody else has had it since. An API that can't be asked holds nobody on the candidate:
        what is then written to it counts only for what was vouched for, and HAProxy can still be reached.
        """
        if not ask and self.known():
            return
        try:
            lock = self.store.read()
        except UnreachableError:
            if ask:
                raise
            return
        if not self.hold.nobody_since(lock):
            raise loss(lock, self.hold, self.store.now)

    def give_back(self) -> str:
        """Give the lock back, where it is still held; what came of it in words."""
        released = self.store.release(self.hold)
        forget_renewed(self.hold)
        return "given back" if released else "somebody else's already"

    def known(self) -> bool:
        """Whether the lock can't have run out, by what this machine noted of its last renewal."""
        at = last_renewed(self.hold)
        return at is not None and 0 <= self._clock() - at < self.hold.duration


# ---- what this machine knows


def note_renewed(hold: Hold, at: float) -> None:
    """Note that ``hold`` was renewed by a request sent at ``at`` (:func:`boottime`). Raises OSError."""
    if not hold.record:
        return
    facts = {"holder": hold.holder, "transitions": hold.transitions, "uid": hold.uid, "boot": boot(), "renewed": at}
    new = Path(f"{hold.record}.{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(facts))
    new.replace(hold.record)


def forget_renewed(hold: Hold) -> None:
    """From now on nothing is known of it without asking."""
    if last_renewed(hold) is not None:
        with contextlib.suppress(OSError):
            os.unlink(hold.record)


def last_renewed(hold: Hold) -> float | None:
    """When ``hold`` was last renewed (:func:`boottime`); None where this machine doesn't know."""
    if not hold.record:
        return None
    try:
        facts = json.loads(Path(hold.record).read_text())
        ours = (facts["holder"], facts["transitions"], facts["uid"]) == (hold.holder, hold.transitions, hold.uid)
        # Its clock starts anew with the machine.
        return float(facts["renewed"]) if ours and facts["boot"] == boot() != "" else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


# ---- what whoever gets the lock does


def take(
    store: LeaseStore,
    claim: Claim,
    objects: t.Callable[[], t.Iterable[Ref]],
    *,
    wait: float = 0.0,
    seen: str | None = None,
    force: bool = False,
) -> tuple[Acquired, list[Ref]]:
    """Acquire the lock as ``LeaseStore.acquire`` does, and touch what a release changes; these objects too.

    From its return on no write of an earlier holder lands. Where that can't be had the lock is given back, also where a
    signal comes before the answer that it was taken.
    """
    acquired: Acquired | None = None

    def give_back(error: BaseException) -> None:
        if acquired.fresh if acquired else not isinstance(error, Exception):
            _give_back(store, claim)

    with put_back_on_failure(give_back):
        acquired = store.acquire(claim, wait=wait, seen=seen, force=force)
        touched = touch(store.cluster, dict.fromkeys(objects()), claim.holder) if acquired.fresh else []
    return acquired, touched


def _give_back(store: LeaseStore, claim: Claim) -> None:
    with contextlib.suppress(RolloutError):  # the error that led here is the one to be told; the lock runs out
        lock = store.read()
        if lock and lock.holder == claim.holder:
            store.release(hold_of(store, Acquired(lock, True, None, "", 0.0)))


def hold_of(store: LeaseStore, acquired: Acquired, record: str = "") -> Hold:
    """What the new holder passes on; ``record`` is the file that notes its renewals on this machine."""
    lock = acquired.lock
    place = (store.namespace, store.application)
    return Hold(*place, lock.holder, lock.transitions, lock.uid, lock.duration, record)


def touch(cluster: Cluster, refs: t.Iterable[Ref], mark: str) -> list[Ref]:
    """Move the version of each object that is there, leaving it as it was; returns these.

    ``mark`` is put into an annotation and taken out again. It must be one that nobody used before, so that an object
    on which an earlier touch was cut off moves too.
    """
    touched = []
    for ref in refs:
        try:
            _touch(cluster, ref, mark)
        except NotFoundError:
            continue
        touched.append(ref)
    return touched


def _touch(cluster: Cluster, ref: Ref, mark: str) -> None:
    with put_back_on_failure(lambda error: _unmark(cluster, ref, error)):
        _annotate(cluster, ref, mark)
        _annotate(cluster, ref, None)


def _annotate(cluster: Cluster, ref: Ref, value: str | None) -> None:
    cluster.patch(ref, {"metadata": {"annotations": {TOUCHED: value}}}, kind="merge")


def _unmark(cluster: Cluster, ref: Ref, error: BaseException) -> None:
    if isinstance(error, NotFoundError):
        return
    with contextlib.suppress(RolloutError):  # else the next one who touches it takes the mark out
        _annotate(cluster, ref, None)
