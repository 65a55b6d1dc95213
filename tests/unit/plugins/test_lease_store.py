"""The lock in a cluster in memory: taken, waited for, renewed, given back; conflicts, rights and clocks."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import FakeClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ConflictError,
    ForbiddenError,
    LockError,
    RolloutError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Claim, Lock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_fence import hold_of
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_store import Acquired, LeaseStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import lease
from tests.unit.plugins.fake_cluster import FakeCluster

REF = lease("shop", "shop-release-lock")


class Ticking(FakeClock):
    """A clock with which the API server's own goes on."""

    def __init__(self, cluster: FakeCluster, wall: float = 0.0) -> None:
        super().__init__(wall)
        self._cluster = cluster

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self._cluster.date += seconds


def store_in(cluster: FakeCluster, *, ended: bool = False) -> LeaseStore:
    return LeaseStore(t.cast(t.Any, cluster), "shop", "shop", Ticking(cluster), lambda _process: ended)


def acquire(store: LeaseStore, who: str, **options: t.Any) -> Acquired:
    return store.acquire(Claim(who, 60), **options)


def now_in(store: LeaseStore) -> Lock:
    lock = store.read()
    assert lock is not None
    return lock


def test_the_first_has_it_and_the_second_is_told_so_at_once() -> None:
    cluster = FakeCluster()
    store = store_in(cluster)
    first = acquire(store, "ann")
    assert (first.fresh, first.taken, first.lock.transitions) == (True, None, 0)
    assert cluster.stored(REF)["metadata"]["labels"]["app.kubernetes.io/part-of"] == "shop"
    before = cluster.stored(REF)
    with pytest.raises(LockError, match="is held by ann since"):
        acquire(store, "bob")
    assert cluster.stored(REF) == before


def test_ones_own_is_renewed_and_keeps_its_number() -> None:
    cluster = FakeCluster()
    store = store_in(cluster)
    acquire(store, "ann")
    cluster.date += 100
    again = acquire(store, "ann")
    assert (again.fresh, again.lock.transitions, again.lock.renewed) == (False, 0, cluster.date)


def test_who_waits_gets_it_as_soon_as_it_is_given_back() -> None:
    cluster = FakeCluster()
    store = store_in(cluster)
    first = acquire(store, "ann")

    class GivenBack(Ticking):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if self.monotonic() > 5:
                store.release(hold_of(store, first))

    waiting = LeaseStore(t.cast(t.Any, cluster), "shop", "shop", GivenBack(cluster), lambda _process: False)
    second = acquire(waiting, "bob", wait=30)
    assert 5 < second.waited < 7
    assert (second.taken, second.lock.transitions, second.lock.holder) == (None, 1, "bob")


def test_who_waits_in_vain_is_told_after_that_time() -> None:
    cluster = FakeCluster()
    store = store_in(cluster)
    acquire(store, "ann")
    with pytest.raises(LockError, match="is held after 30 s of waiting by ann"):
        acquire(store, "bob", wait=30)


@pytest.mark.parametrize("step", [0.0, -2.0])
def test_an_api_whose_time_stands_still_or_goes_back_delays_nobody_for_longer_than_the_lock(step: float) -> None:
    cluster = FakeCluster()
    acquire(store_in(cluster), "ann")

    class Stuck(Ticking):
        def sleep(self, seconds: float) -> None:
            FakeClock.sleep(self, seconds)
            cluster.date += step

    stuck = LeaseStore(t.cast(t.Any, cluster), "shop", "shop", Stuck(cluster), lambda _process: False)
    taken = acquire(stuck, "bob", wait=65)
    assert 60 <= taken.waited < 62
    assert "it was not renewed for 60 s" in taken.why


def test_a_machine_whose_clock_is_wrong_takes_nothing_from_anybody() -> None:
    cluster = FakeCluster()
    acquire(store_in(cluster), "ann")
    cluster.date += 30
    for wall in (0.0, 4e9):
        fast = LeaseStore(t.cast(t.Any, cluster), "shop", "shop", Ticking(cluster, wall), lambda _process: False)
        with pytest.raises(LockError, match="runs out in 30 s"):
            acquire(fast, "bob")


def test_a_lock_that_ran_out_is_taken_by_one_look_and_still_its_holders_until_then() -> None:
    cluster = FakeCluster()
    store = store_in(cluster)
    first = acquire(store, "ann")
    cluster.date += 1000
    assert store.renew(hold_of(store, first)).renewed == cluster.date
    cluster.date += 62
    second = acquire(store, "bob")
    assert second.taken is not None
    assert (second.taken.holder, second.lock.transitions) == ("ann", 1)
    assert cluster.stored(REF)["metadata"]["annotations"]["rollout.claude-enhancer.io/taken-over"].startswith('{"from"')
    with pytest.raises(LockError, match=r"has lost the lock of shop: it is held by bob .*taken over from ann"):
        store.renew(hold_of(store, first))
    assert store.release(hold_of(store, first)) is False
    assert now_in(store).holder == "bob"


def test_the_lock_of_a_process_that_is_seen_to_be_gone_is_free_at_once() -> None:
    cluster = FakeCluster()
    acquire(store_in(cluster), "ann")
    taken = acquire(store_in(cluster, ended=True), "bob")
    assert taken.why == "the process that held it has ended"


def test_by_force_it_is_anybodys_for_a_reason() -> None:
    cluster = FakeCluster()
    store = store_in(cluster)
    acquire(store, "ann")
    taken = store.acquire(Claim("bob", 60, reason="laptop lost"), force=True)
    assert (taken.why, taken.lock.taken_over) == ("laptop lost", {"from": "ann", "reason": "laptop lost"})


def test_what_was_seen_before_somebody_else_had_it_counts_no_more() -> None:
    cluster = FakeCluster()
    store = store_in(cluster)
    acquire(store, "ann", seen="")
    seen = now_in(store).tenure
    store.release(hold_of(store, acquire(store, "ann")))
    store.release(hold_of(store, acquire(store, "eve")))
    with pytest.raises(LockError, match="changed hands while this release was checked"):
        acquire(store, "bob", seen=seen)
    with pytest.raises(LockError, match="changed hands"):
        acquire(store, "bob", seen="")
    assert acquire(store, "bob", seen=now_in(store).tenure).fresh


def test_who_is_second_by_a_moment_looks_again() -> None:
    cluster = FakeCluster()
    store = store_in(cluster)
    cluster.before_write = lambda: t.cast(None, acquire(store_in(cluster), "eve"))
    with pytest.raises(LockError, match="is held by eve"):
        acquire(store, "bob")
    hold = hold_of(store, acquire(store, "eve"))

    def relabel() -> None:
        body = cluster.stored(REF)
        body["metadata"]["labels"]["note"] = "theirs"
        cluster.put(REF, body)

    cluster.before_write = relabel
    store.renew(hold)
    assert cluster.stored(REF)["metadata"]["labels"]["note"] == "theirs"


def test_others_who_never_stop_writing_are_named_as_such() -> None:
    class Contested(FakeCluster):
        def replace(self, ref: t.Any, body: dict[str, t.Any]) -> dict[str, t.Any]:
            raise ConflictError("changed", status=409)

    cluster = Contested()
    store = store_in(cluster)
    hold = hold_of(store, acquire(store, "ann"))
    with pytest.raises(ConflictError, match="was changed by others at every try for 15 s"):
        store.renew(hold)


def test_a_right_that_is_missing_is_named() -> None:
    cluster = FakeCluster()
    cluster.forbidden.add("leases")
    with pytest.raises(ForbiddenError, match="needs the verbs get, create and update on leases of coordination"):
        acquire(store_in(cluster), "ann")


def test_an_api_that_tells_no_time_is_named() -> None:
    cluster = FakeCluster()
    t.cast(t.Any, cluster).date = None
    with pytest.raises(RolloutError, match="tell no time"):
        acquire(store_in(cluster), "ann")


def test_a_dry_run_says_whether_it_could_and_stores_nothing() -> None:
    cluster = FakeCluster(dry_run=True)
    assert acquire(store_in(cluster), "ann").fresh
    assert cluster.find(REF) is None
    cluster.dry_run = False
    acquire(store_in(cluster), "ann")
    cluster.dry_run = True
    with pytest.raises(LockError, match="is held by ann"):
        acquire(store_in(cluster), "bob")
