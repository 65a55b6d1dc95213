"""The lock as a value: whose it is, by which clock, what is written and what is said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import lease
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Claim, Hold, Lock, judge, read_lock

NOW = 1_800_000_000.0
PLACE = {"name": "shop-release-lock", "namespace": "shop"}
ME, OTHER = "ann@ops1:r1:aa", "bob@ops2:r1:bb"


def stored(body: dict[str, Any], version: str = "7") -> Lock:
    """As the API gives back what was written."""
    metadata = {"uid": "u1", **body["metadata"], "resourceVersion": version}
    return read_lock({**body, "metadata": metadata}, "Lease shop/shop-release-lock")


def held_by(holder: str, at: float = NOW, duration: int = 60, **more: Any) -> Lock:
    return stored(lease.claimed(None, Claim(holder, duration, **more), PLACE, at, ""))


def test_what_is_written_is_what_other_tools_expect_of_a_lease() -> None:
    body = lease.claimed(None, Claim(ME, 30), PLACE, NOW + 0.5, "")
    assert (body["apiVersion"], body["kind"]) == ("coordination.k8s.io/v1", "Lease")
    assert body["spec"] == {
        "holderIdentity": ME,
        "leaseDurationSeconds": 30,
        "acquireTime": "2027-01-15T08:00:00.500000Z",
        "renewTime": "2027-01-15T08:00:00.500000Z",
        "leaseTransitions": 0,
    }


@pytest.mark.parametrize(
    ("age", "facts", "state"),
    [
        (0, {}, "held"),
        (60, {}, "held"),
        (61.9, {}, "held"),
        (62, {}, "expired"),
        (-3600, {}, "held"),
        (0, {"unchanged": 59.9}, "held"),
        (0, {"unchanged": 60}, "expired"),
        (-3600, {"unchanged": 60}, "expired"),
        (0, {"ended": True}, "expired"),
    ],
)
def test_when_a_lock_of_somebody_else_may_be_taken(age: float, facts: dict[str, Any], state: str) -> None:
    assert judge(held_by(OTHER), ME, NOW + age, **facts).state == state


def test_a_lock_is_free_where_there_is_none_or_nobody_has_it_and_ones_own_stays_ones_own() -> None:
    assert judge(None, ME, NOW).state == "free"
    assert judge(stored(lease.released(held_by(OTHER), NOW)), ME, NOW).state == "free"
    assert judge(held_by(ME), ME, NOW + 10_000).state == "ours"


def test_a_lease_that_somebody_emptied_is_never_expired_by_one_look() -> None:
    bare = read_lock({"metadata": {}, "spec": {"holderIdentity": OTHER}}, "Lease x")
    assert (bare.duration, bare.renewed) == (60, None)
    assert judge(bare, ME, NOW * 2).state == "held"
    assert judge(bare, ME, NOW, unchanged=60).state == "expired"


@given(skew=st.floats(-1e6, 1e6), age=st.floats(0, 59))
def test_clocks_of_machines_have_no_part_in_it(skew: float, age: float) -> None:
    """Holder and judge both go by the API server's time, whatever that shows; nothing else is passed in."""
    base = NOW + skew
    renewed = stored(lease.renewed(held_by(OTHER, base), base + 20))
    assert judge(renewed, ME, base + 20 + age).state == "held"
    assert judge(renewed, ME, base + 20 + 62.001).state == "expired"


def test_each_new_holder_has_a_greater_number_and_a_renewal_has_not() -> None:
    first = held_by(ME)
    again = stored(lease.renewed(first, NOW + 9))
    assert (again.transitions, again.acquired, again.renewed) == (0, NOW, NOW + 9)
    free = stored(lease.released(again, NOW + 10))
    assert (free.transitions, free.holder, free.acquired) == (0, "", None)
    second = stored(lease.claimed(free, Claim(OTHER), {}, NOW + 11, ""))
    assert (second.transitions, second.holder, second.uid) == (1, OTHER, "u1")
    assert second.taken_over == {}
    assert first.tenure == again.tenure == free.tenure != second.tenure


def test_a_time_of_the_api_that_goes_back_does_not_shorten_a_lock() -> None:
    assert stored(lease.renewed(held_by(ME), NOW - 30)).renewed == NOW


def test_a_lock_that_was_taken_says_from_whom_and_why_until_it_is_given_back() -> None:
    taken = stored(lease.claimed(held_by(OTHER), Claim(ME, reason="laptop lost"), {}, NOW, "unused"))
    assert taken.taken_over == {"from": OTHER, "reason": "laptop lost"}
    ran_out = stored(lease.claimed(held_by(OTHER), Claim(ME), {}, NOW, "it was not renewed for 61 s"))
    assert ran_out.taken_over["reason"] == "it was not renewed for 61 s"
    assert stored(lease.released(taken, NOW)).taken_over == {}


def test_what_others_wrote_into_the_lease_stays() -> None:
    lock = held_by(OTHER)
    lock.raw["metadata"] |= {"labels": {"team": "shop"}, "managedFields": [{"manager": "kubectl"}]}
    lock.raw["metadata"]["annotations"]["note"] = "theirs"
    body = lease.claimed(lock, Claim(ME), {}, NOW, "")
    assert (body["metadata"]["labels"], body["metadata"]["annotations"]["note"]) == ({"team": "shop"}, "theirs")
    assert "managedFields" not in body["metadata"]
    assert body["metadata"]["resourceVersion"] == "7"


def hold(**changes: Any) -> Hold:
    return Hold(**{"namespace": "shop", "application": "shop", "holder": ME, "transitions": 0, "uid": "u1",
                   "duration": 60.0, **changes})  # fmt: skip


def test_what_is_passed_on_survives_a_task_of_ansible() -> None:
    assert Hold.from_option(hold(record="/x").as_option()) == hold(record="/x")


@pytest.mark.parametrize(
    ("changes", "has", "nobody_since"),
    [
        ({}, True, True),
        ({"holder": OTHER}, False, False),
        ({"transitions": 1}, False, False),
        ({"uid": "u2"}, False, False),
    ],
)
def test_a_hold_knows_its_own_lock(changes: dict[str, Any], has: bool, nobody_since: bool) -> None:
    lock = held_by(ME)
    assert (hold(**changes).has(lock), hold(**changes).nobody_since(lock)) == (has, nobody_since)


def test_a_lock_given_back_or_removed_had_nobody_since_but_is_not_held() -> None:
    free = stored(lease.released(held_by(ME), NOW))
    for lock in (free, None):
        assert (hold().has(lock), hold().nobody_since(lock)) == (False, True)
    next_one = stored(lease.claimed(free, Claim(OTHER), {}, NOW, ""))
    assert not hold().nobody_since(next_one)
    assert not hold().nobody_since(stored(lease.released(next_one, NOW)))


def test_a_refusal_says_who_since_when_until_when_and_the_ways_out() -> None:
    error = lease.refusal(held_by(OTHER), "shop", NOW + 12, waited=0)
    for part in (
        f"the lock of shop (Lease shop/shop-release-lock) is held by {OTHER} since 2027-01-15T08:00:00",
        "last renewed 12 s ago, runs out in 48 s unless renewed",
        "release_lock_wait",
        "release_take_over",
    ):
        assert part in error.message
    assert error.code == "lock"
    assert error.details["lock"] == {
        "holder": OTHER,
        "transitions": 0,
        "since": "2027-01-15T08:00:00.000000Z",
        "renewed": "2027-01-15T08:00:00.000000Z",
        "duration": 60.0,
        "expires": "2027-01-15T08:01:00.000000Z",
        "expires_in": 48.0,
    }


@pytest.mark.parametrize(
    ("lock", "said"),
    [
        (held_by(OTHER), f"it is held by {OTHER}"),
        (None, "its Lease was removed"),
        (stored(lease.released(held_by(ME), NOW)), "it was given back"),
    ],
)
def test_a_loss_says_how(lock: Lock | None, said: str) -> None:
    message = lease.loss(lock, hold(), NOW).message
    assert f"this run ({ME}) has lost the lock of shop: {said}" in message
    assert "changes nothing any more" in message
