"""Locks in a cluster in memory: taken by one controller, and by another behind its back."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Claim
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_fence import LeaseFence, hold_of, take
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_store import LeaseStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import Ref
from tests.unit.plugins.fake_cluster import FakeCluster

DURATION = 60


class Sleepless:
    """Seconds since the machine started, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def store_in(cluster: t.Any, application: str = "shop") -> LeaseStore:
    return LeaseStore(cluster, "shop", application, ended=lambda _process: False)


def held_in(cluster: FakeCluster, who: str, record: Path | None = None, clock: Sleepless | None = None) -> LeaseFence:
    """The fence of a controller that has just got the lock, from whoever had it."""
    store = store_in(cluster)
    acquired, _touched = take(store, Claim(who, DURATION, reason="test"), list, force=True)
    return LeaseFence(store, hold_of(store, acquired, str(record or "")), clock=clock or Sleepless())


def taken_over(cluster: FakeCluster, *objects: Ref) -> LeaseFence:
    """Another controller takes the lock and does what whoever takes it does."""
    store = store_in(cluster)
    acquired, _touched = take(store, Claim("bob", DURATION, reason="test"), lambda: objects, force=True)
    return LeaseFence(store, hold_of(store, acquired))
