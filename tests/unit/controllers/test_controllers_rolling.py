"""The arithmetic of rolling updates never breaks its two promises, and always comes to an end."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehearsal.controllers.rolling import Counts, limits, new_size, proportional, resolve, rolling_step


@pytest.mark.parametrize(
    ("value", "total", "up", "expected"),
    [(3, 10, True, 3), ("25%", 10, True, 3), ("25%", 10, False, 2), ("100%", 7, False, 7), ("0%", 7, True, 0)],
)
def test_counts_and_percentages(value: int | str, total: int, up: bool, expected: int) -> None:
    assert resolve(value, total, up=up) == expected


def test_what_is_neither_count_nor_percentage_is_refused() -> None:
    with pytest.raises(ValueError, match="neither a number nor a percentage"):
        resolve("a few", 10, up=True)


def test_both_limits_zero_would_stand_still() -> None:
    assert limits(0, 0, 10) == (0, 1)
    assert limits("25%", "25%", 1) == (1, 0)
    assert limits(0, "100%", 4) == (0, 4)


def test_the_new_set_grows_before_the_old_one_shrinks() -> None:
    assert rolling_step(10, 3, 2, Counts("new", 0, 0), [Counts("old", 10, 10)]) == {"new": 3}
    assert rolling_step(10, 3, 2, Counts("new", 3, 0), [Counts("old", 10, 10)]) == {"old": 8}


def test_broken_old_pods_go_first() -> None:
    step = rolling_step(10, 0, 2, Counts("new", 2, 0), [Counts("older", 3, 0), Counts("old", 5, 5)])
    assert step == {}
    step = rolling_step(10, 0, 5, Counts("new", 2, 0), [Counts("older", 3, 0), Counts("old", 5, 5)])
    assert step == {"older": 0}


@dataclass
class Cluster:
    """Pods as booleans (available or not), told about with a lag as real controllers tell."""

    desired: int
    surge: int
    unavailable: int
    pods: dict[str, list[bool]]
    asked: dict[str, int] = field(default_factory=dict)
    told: dict[str, tuple[int, int]] = field(default_factory=dict)

    def settle(self, name: str) -> None:
        """The ReplicaSet controller acts: creates what is missing, deletes unavailable pods first."""
        pods = sorted(self.pods[name], reverse=True)[: self.asked[name]]
        self.pods[name] = pods + [False] * (self.asked[name] - len(pods))
        self.told[name] = sum(self.pods[name]), len(self.pods[name])

    def step(self) -> None:
        """The Deployment controller acts on what it was told last."""
        counts = {name: Counts(name, self.asked[name], *self.told[name]) for name in self.pods}
        old = [counts[name] for name in self.pods if name != "new"]
        self.asked |= rolling_step(self.desired, self.surge, self.unavailable, counts["new"], old)

    def check(self) -> None:
        assert sum(self.asked.values()) <= self.desired + self.surge
        assert sum(len(pods) for pods in self.pods.values()) <= self.desired + self.surge
        assert sum(sum(pods) for pods in self.pods.values()) >= self.desired - self.unavailable

    def is_done(self) -> bool:
        return self.asked["new"] == self.desired and sum(self.asked.values()) == self.desired


@given(
    desired=st.integers(0, 12),
    surge=st.one_of(st.integers(0, 5), st.integers(0, 100).map(lambda share: f"{share}%")),
    unavailable=st.one_of(st.integers(0, 5), st.integers(0, 100).map(lambda share: f"{share}%")),
    split=st.integers(0, 12),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=300, deadline=None)
def test_a_rollout_keeps_its_promises_and_ends(
    desired: int, surge: int | str, unavailable: int | str, split: int, seed: int
) -> None:
    most, least = limits(surge, unavailable, desired)
    older = min(split, desired)
    pods = {"older": [True] * older, "old": [True] * (desired - older), "new": []}
    counts = {name: len(entries) for name, entries in pods.items()}
    told = {name: (count, count) for name, count in counts.items()}
    cluster = Cluster(desired, most, least, pods, dict(counts), told)
    chance = random.Random(seed)
    for _ in range(4000):
        if cluster.is_done() and sum(cluster.pods["new"]) == desired:
            break
        name = chance.choice(list(pods))
        match chance.randrange(3):
            case 0:
                cluster.step()
            case 1:
                cluster.settle(name)
            case 2:
                cluster.pods[name] = [True] * len(cluster.pods[name])
        cluster.check()
    else:
        raise AssertionError(f"the rollout stands still: asked {cluster.asked}, told {cluster.told}")


@settings(deadline=None)
@given(st.integers(0, 20), st.integers(0, 6), st.integers(0, 30), st.lists(st.integers(0, 9), max_size=4))
def test_the_new_set_never_passes_what_is_desired(desired: int, surge: int, now: int, old: list[int]) -> None:
    size = new_size(desired, surge, Counts("new", now, 0), [Counts(str(n), count, 0) for n, count in enumerate(old)])
    assert size <= desired
    assert size >= min(now, desired)


@settings(deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=3), st.integers(1, 20), min_size=1), st.integers(0, 60))
def test_proportional_scaling_gives_out_exactly_the_total(sizes: dict[str, int], total: int) -> None:
    spread = proportional(sizes, total)
    assert sum(spread.values()) == total
    whole = sum(sizes.values())
    assert all(abs(spread[name] - size * total / whole) < 1 for name, size in sizes.items())
