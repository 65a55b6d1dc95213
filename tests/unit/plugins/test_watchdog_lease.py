"""The lock of a run is renewed beside it, as long as it is at work."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import typing as t
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import watchdog_lease
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import UnreachableError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Claim, Hold
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_fence import hold_of, last_renewed
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.processes import Process
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import Ref, lease
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.watchdog_lease import Keeper
from tests.unit.plugins.fake_cluster import FakeCluster
from tests.unit.plugins.locks import store_in, taken_over

REF = lease("shop", "shop-release-lock")


class Flaky(FakeCluster):
    """An API that can be away."""

    away = False

    def find(self, ref: Ref) -> dict[str, t.Any] | None:
        if self.away:
            raise UnreachableError("the API is away")
        return super().find(ref)


class Kept:
    """A lock of a tenth of a second, kept for a process."""

    def __init__(self, pid: int, folder: Path) -> None:
        self.cluster = Flaky()
        self.log: list[str] = []
        self.told: list[str] = []
        store = store_in(self.cluster)
        acquired = store.acquire(Claim("ann", 60))
        lock = hold_of(store, acquired, str(folder / "lease.json")).as_option()
        self.hold = Hold.from_option({**lock, "duration": 0.1})
        self.keeper = Keeper(store, self.hold, Process.of(pid), self.log.append, self.told.append)
        self.keeper.start()

    @property
    def renewals(self) -> int:
        return self.cluster.writes

    def renewed(self) -> bool:
        """Whether it is renewed once more from now on."""
        before, deadline = self.renewals, time.monotonic() + 1
        while self.renewals <= before and time.monotonic() < deadline:
            time.sleep(0.005)
        return self.renewals > before


@pytest.fixture
def run() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


@pytest.fixture
def kept(run: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    monkeypatch.setattr(watchdog_lease, "_LOOK", 0.005)
    monkeypatch.setattr(watchdog_lease, "_AGAIN", 0.01)
    kept = Kept(run.pid, tmp_path)
    yield kept
    kept.cluster.away = False
    kept.keeper.give_back()


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_it_is_renewed_again_and_again_and_this_is_noted(kept: Kept) -> None:
    assert kept.renewed()
    wait_until(lambda: last_renewed(kept.hold) is not None)
    first = last_renewed(kept.hold)
    wait_until(lambda: last_renewed(kept.hold) != first)
    assert kept.told == []


def test_who_stands_still_loses_it_and_who_goes_on_in_time_keeps_it(kept: Kept, run: subprocess.Popen[bytes]) -> None:
    os.kill(run.pid, signal.SIGSTOP)
    wait_until(Process.of(run.pid).stopped)
    time.sleep(0.1)
    assert not kept.renewed()
    os.kill(run.pid, signal.SIGCONT)
    assert kept.renewed()


def test_an_api_that_is_away_is_asked_again(kept: Kept) -> None:
    kept.cluster.away = True
    wait_until(lambda: kept.log)
    time.sleep(0.05)
    assert kept.log == ["the lock could not be renewed, trying again: the API is away"]
    kept.cluster.away = False
    assert kept.renewed()


def test_a_loss_is_told_once_and_nothing_is_known_any_more(kept: Kept) -> None:
    assert kept.renewed()
    taken_over(kept.cluster)
    wait_until(lambda: kept.told)
    assert "has lost the lock of shop: it is held by bob" in kept.told[0]
    assert last_renewed(kept.hold) is None
    assert not kept.renewed()
    assert len(kept.told) == 1


def test_what_the_run_gave_back_itself_is_no_loss(kept: Kept) -> None:
    store_in(kept.cluster).release(kept.hold)
    wait_until(lambda: kept.log)
    assert kept.told == []


def test_it_is_given_back_when_the_run_is_gone(kept: Kept) -> None:
    assert kept.renewed()
    kept.keeper.give_back()
    assert "holderIdentity" not in kept.cluster.stored(REF)["spec"]
    assert last_renewed(kept.hold) is None
    assert kept.log[-1] == "the lock is given back"
