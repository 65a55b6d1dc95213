"""What the watchdog decides and does, and processes by identity."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import journal as record
from ansible_collections.claude_enhancer.rollout.plugins.module_utils import watchdog
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import FakeClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import NotFoundError, UnreachableError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.processes import Process, detach
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import TrafficProvider
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.watchdog import Duty, relieve, settle, what_to_do
from tests.unit.plugins.fake_config_maps import FakeConfigMaps

ME = record.Author("ann", "ops1")
PLAN = {"release_stages": [{"name": "canary"}, {"name": "expand"}]}
NOW = 1_800_000_000.0


def journal(*steps: str, author: record.Author = ME) -> record.Journal:
    made = record.opened("r1", "shop", {"stable": "1", "candidate": "2"}, PLAN, {}, ME, NOW)
    for step in steps:
        if step == "begin":
            made = record.begun(made, "canary", ME, NOW)[0]
        elif step == "end":
            made = record.ended(made, "canary", ME, NOW)
        elif step == "taken up":
            made = record.taken_up(made, record.Author("bob", "ops2"), NOW)
        else:
            made = record.closed(made, step, ME, NOW)
    return made


@pytest.mark.parametrize(
    ("steps", "weight", "duty", "action"),
    [
        (("begin",), 5, Duty("r1"), "roll_back"),
        (("begin",), None, Duty("r1"), "roll_back"),
        (("begin",), 5, Duty("r1", on_interrupt="hold"), "note"),
        (("begin",), 0, Duty("r1"), "note"),
        (("begin", "end"), 0, Duty("r1", scope="release"), "leave"),
        (("begin", "rolling_back"), 0, Duty("r1"), "leave"),
        ((), 5, Duty("r1"), "leave"),
        ((), 5, Duty("r1", scope="release"), "roll_back"),
        (("begin", "end"), 5, Duty("r1"), "leave"),
        (("begin", "end"), 5, Duty("r1", scope="release"), "roll_back"),
        (("begin", "end", "done"), 100, Duty("r1", scope="release"), "leave"),
        (("begin", "rolled_back"), 5, Duty("r1"), "leave"),
        (("begin", "rolling_back"), 5, Duty("r1", on_interrupt="hold"), "roll_back"),
        (("begin", "taken up"), 5, Duty("r1"), "leave"),
        (("begin",), 5, Duty("r2"), "leave"),
    ],
)
def test_what_to_do(steps: tuple[str, ...], weight: int | None, duty: Duty, action: str) -> None:
    assert what_to_do(journal(*steps), weight, duty, ME).action == action


def test_without_a_journal_there_is_nothing_to_do() -> None:
    assert what_to_do(None, 5, Duty("r1"), ME).action == "leave"


class Provider:
    """A weight, behind an API that fails the first ``away`` times."""

    def __init__(self, weight: int, away: int = 0, error: Exception | None = None) -> None:
        self.weight = weight
        self.away = away
        self.error = error or UnreachableError("away")

    def read(self) -> Any:
        if self.away:
            self.away -= 1
            raise self.error
        return SimpleNamespace(weight=self.weight)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> JournalStore:
    def set_weight(provider: Provider, weight: int, *, guard: bool) -> Any:
        assert not guard
        provider.weight = weight
        return SimpleNamespace(after=provider.read())

    monkeypatch.setattr(watchdog, "set_weight", set_weight)
    made = JournalStore(cast(Cluster, FakeConfigMaps()), "prod", "shop", ME, FakeClock())
    made.open("r1", {"stable": "1", "candidate": "2"}, PLAN, {})
    made.begin("canary")
    return made


def run(store: JournalStore, provider: Provider, duty: Duty) -> dict[str, Any] | None:
    return relieve(store, cast(TrafficProvider, provider), duty, FakeClock(), lambda line: None)


def test_traffic_is_taken_back_and_the_stage_is_to_be_begun_again(store: JournalStore) -> None:
    provider = Provider(5)
    data = run(store, provider, Duty("r1"))
    assert data is not None
    assert (data["weight_before"], data["weight_after"], provider.weight) == (5, 0, 0)
    read = store.read()
    assert read is not None
    assert read.events[-1]["what"] == "interrupted"
    assert read.begun_stage is None
    assert record.standing(read)["interrupted_stages"] == ["canary"]


def test_hold_leaves_the_weight_and_the_stage(store: JournalStore) -> None:
    provider = Provider(5)
    run(store, provider, Duty("r1", on_interrupt="hold"))
    read = store.read()
    assert read is not None
    assert provider.weight == 5
    assert (read.events[-1]["what"], read.begun_stage) == ("interrupted", "canary")


def test_an_api_that_comes_back_is_waited_for(store: JournalStore) -> None:
    provider = Provider(5, away=30)
    data = run(store, provider, Duty("r1"))
    assert provider.weight == 0
    assert data is not None
    assert 20 < data["seconds"] < 40


def test_waiting_has_an_end(store: JournalStore) -> None:
    with pytest.raises(UnreachableError):
        run(store, Provider(5, away=10_000), Duty("r1", retry=60))


def test_what_can_not_pass_is_not_waited_for(store: JournalStore) -> None:
    provider = Provider(5, away=2, error=NotFoundError("no VirtualService", status=404))
    with pytest.raises(NotFoundError):
        run(store, provider, Duty("r1"))
    assert provider.away == 1


def settled(store: JournalStore, provider: Provider, duty: Duty, clock: FakeClock) -> list[dict[str, Any]]:
    return list(settle(store, cast(TrafficProvider, provider), duty, clock, lambda line: None))


def test_a_weight_that_comes_late_is_taken_back_as_long_as_it_looks(store: JournalStore) -> None:
    provider = Provider(5)
    run(store, provider, Duty("r1"))
    clock = FakeClock()
    assert settled(store, provider, Duty("r1"), clock) == []
    assert 15 <= clock.monotonic() < 16
    provider.weight = 5
    assert [data["weight_after"] for data in settled(store, provider, Duty("r1"), FakeClock())] == [0]
    assert provider.weight == 0


def test_it_looks_no_longer_once_the_release_is_closed_or_taken_up(store: JournalStore) -> None:
    class TakenUp(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            store.clock.sleep(1)
            store.open("r1", {"stable": "1", "candidate": "2"}, PLAN, {})
            provider.weight = 5

    provider = Provider(0)
    clock = TakenUp()
    assert settled(store, provider, Duty("r1"), clock) == []
    assert provider.weight == 5, "that is the other run's weight"
    assert clock.monotonic() == watchdog.SETTLE_POLL
    store.close(record.ROLLED_BACK)
    assert settled(store, provider, Duty("r1"), clock) == []


def test_weight_between_two_stages_is_left_where_only_stages_are_watched(store: JournalStore) -> None:
    store.end("canary")
    provider = Provider(5)
    assert run(store, provider, Duty("r1")) is None
    assert settled(store, provider, Duty("r1"), FakeClock()) == []
    assert provider.weight == 5


def test_what_is_held_is_not_looked_at_again(store: JournalStore) -> None:
    provider = Provider(5)
    assert settled(store, provider, Duty("r1", on_interrupt="hold"), FakeClock()) == []
    assert provider.weight == 5


# ---- processes


def test_a_process_is_told_from_a_later_one_with_its_id() -> None:
    me = Process.of(os.getpid())
    assert me.alive()
    assert not Process(me.pid, me.started + 1).alive()


def test_a_process_that_ended_is_not_alive_even_before_it_is_reaped() -> None:
    with subprocess.Popen(["sleep", "30"]) as child:
        process = Process.of(child.pid)
        assert process.alive()
        os.kill(child.pid, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while process.alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not process.alive()


def test_a_detached_process_holds_no_pipe_and_is_in_a_session_of_its_own(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    gate = tmp_path / "gate"

    def serve(report: Any) -> None:
        report(f"{os.getpid()} {os.getsid(0)}")
        while not gate.exists():
            time.sleep(0.01)

    pid, session = (int(part) for part in detach(serve, 10).split())
    os.close(writer)
    assert session not in (os.getsid(0), os.getpid())
    assert os.read(reader, 1) == b"", "the other end is closed although the process lives"
    process = Process.of(pid)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    time.sleep(0.05)
    assert process.alive()
    gate.touch()
    deadline = time.monotonic() + 5
    while process.alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not process.alive()


def test_a_detached_process_that_dies_early_reports_nothing() -> None:
    def serve(report: Any) -> None:
        raise RuntimeError

    assert detach(serve, 10) == ""
