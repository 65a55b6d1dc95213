# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock of a release in the cluster: one Lease per application, written with optimistic concurrency.

Each change reads the Lease, judges it (see ``lease``) and writes it under the version it was read with; whoever is
second reads and judges again. When a lock that isn't renewed may be taken is judged in two ways, either of which is
enough: by one look, its times against the API server's own clock; and by watching it, as client-go does, when it stayed
as it is for its whole duration by our own clock, which is right whatever any other clock shows.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import lease
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock, SystemClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ConflictError,
    ForbiddenError,
    LockError,
    RolloutError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Claim, Hold, Lock, Standing
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.processes import ended_here
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import lease as lease_ref

PATIENCE = 15.0
"""Seconds a writer keeps trying against others."""
POLL = 1.0
"""Seconds between two looks while it is waited for; a tenth of the duration where that is less."""
_UNAUTHORIZED = 401


@dataclasses.dataclass(frozen=True)
class Acquired:
    """The lock as stored; ``taken`` is the one it was taken from (None: from nobody), and ``why`` that could be.

    ``fresh``: this holder did not have it before. ``waited`` in seconds.
    """

    lock: Lock
    fresh: bool
    taken: Lock | None
    why: str
    waited: float


class LeaseStore:
    """The lock of ``application`` in ``namespace``. In check mode (a dry-run cluster) nothing is written.

    ``ended`` tells whether the process that a Lease names is known to be gone.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        application: str,
        clock: Clock | None = None,
        ended: t.Callable[[t.Mapping[str, t.Any]], bool] = ended_here,
    ) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.application = application
        self._clock: Clock = clock or SystemClock()
        self._ended = ended
        self._ref = lease_ref(namespace, f"{application}-release-lock")

    @property
    def where(self) -> str:
        return str(self._ref)

    @property
    def now(self) -> float:
        """The API server's time when it last answered. Raises RolloutError where it told none."""
        if self.cluster.date is None:
            raise RolloutError(
                f"the answers of the Kubernetes API at {self.cluster.server} tell no time (header Date), which a lock "
                "is judged by; have the proxy before it hand that on"
            )
        return self.cluster.date

    def read(self) -> Lock | None:
        with self._rights():
            found = self.cluster.find(self._ref)
        return lease.read_lock(found, self.where) if found else None

    def acquire(self, claim: Claim, *, wait: float = 0.0, seen: str | None = None, force: bool = False) -> Acquired:
        """Have ``claim`` hold the lock: one that is free, its own or expired, or with ``force`` whoever holds it.

        Waits ``wait`` seconds for one that is held. ``seen`` is its tenure (empty: there was none) when what this run
        relies on was looked at. Raises LockError where it can't be had, or had another holder since ``seen``.
        """
        began = self._clock.monotonic()
        watched = _Watched()
        while True:
            lock = self.read()
            waited = self._clock.monotonic() - began
            standing = self._judge(lock, claim, watched.unchanged(lock, self._clock.monotonic()))
            if seen is not None and standing.state != lease.OURS and (lock.tenure if lock else "") != seen:
                raise lease.changed_hands(lock, self.application, self.now)
            if lock and standing.state == lease.HELD and not force:
                if waited >= wait:
                    raise lease.refusal(lock, self.application, self.now, waited)
                self._clock.sleep(min(wait - waited, POLL, lock.duration / 10))
                continue
            try:
                return self._take(lock, claim, standing, waited)
            except ConflictError as error:
                self._after_conflict(error, began, wait)

    def renew(self, hold: Hold) -> Lock:
        """The lock, renewed; also one that ran out, as long as nobody took it. Raises LockError where it is lost."""
        return self._changed(hold, lease.renewed)

    def release(self, hold: Hold) -> bool:
        """Give the lock back; False where it isn't this hold's any more."""
        try:
            self._changed(hold, lease.released)
        except LockError:
            return False
        return True

    def _judge(self, lock: Lock | None, claim: Claim, unchanged: float) -> Standing:
        ended = bool(lock and lock.holder and self._ended(lock.process))
        return lease.judge(lock, claim.holder, self.now, unchanged=unchanged, ended=ended)

    def _take(self, lock: Lock | None, claim: Claim, standing: Standing, waited: float) -> Acquired:
        if lock and standing.state == lease.OURS:
            return Acquired(self._replace(lease.renewed(lock, self.now)), False, None, "", waited)
        place = {"name": self._ref.name, "namespace": self.namespace, "labels": self._labels()}
        body = lease.claimed(lock, claim, place, self.now, standing.why)
        stored = self._replace(body) if lock else self._create(body)
        taken = lock if lock and lock.holder else None
        return Acquired(stored, True, taken, claim.reason or standing.why, waited)

    def _changed(self, hold: Hold, change: t.Callable[[Lock, float], lease.Json]) -> Lock:
        began = self._clock.monotonic()
        while True:
            lock = self.read()
            if lock is None or not hold.has(lock):
                raise lease.loss(lock, hold, self.now)
            try:
                return self._replace(change(lock, self.now))
            except ConflictError as error:
                self._after_conflict(error, began)

    def _after_conflict(self, error: ConflictError, began: float, wait: float = 0.0) -> None:
        if self._clock.monotonic() - began > PATIENCE + wait:
            raise ConflictError(
                f"{self.where} was changed by others at every try for {PATIENCE + wait:.0f} s; see who writes it, and "
                "try again",
                status=409,
            ) from error
        self._clock.sleep(random.uniform(0.005, 0.05))

    def _create(self, body: lease.Json) -> Lock:
        with self._rights():
            return lease.read_lock(self.cluster.create(self._ref, body), self.where)

    def _replace(self, body: lease.Json) -> Lock:
        with self._rights():
            return lease.read_lock(self.cluster.replace(self._ref, body), self.where)

    @contextlib.contextmanager
    def _rights(self) -> t.Iterator[None]:
        try:
            yield
        except ForbiddenError as error:
            if error.status != _UNAUTHORIZED:
                error.message += (
                    "; who releases needs the verbs get, create and update on leases of coordination.k8s.io in "
                    f"namespace {self.namespace}"
                )
            raise

    def _labels(self) -> dict[str, str]:
        return {
            "app.kubernetes.io/managed-by": lease.MANAGED_BY,
            "app.kubernetes.io/component": "release-lock",
            "app.kubernetes.io/part-of": self.application,
        }


class _Watched:
    """For how long a lock was seen unchanged, by our own clock."""

    def __init__(self) -> None:
        self._version = ""
        self._since = 0.0

    def unchanged(self, lock: Lock | None, now: float) -> float:
        """Seconds since this version was first seen; ``now`` is monotonic."""
        version = lock.resource_version if lock else ""
        if version != self._version:
            self._version, self._since = version, now
        return now - self._since
