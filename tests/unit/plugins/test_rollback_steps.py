"""Steps of a rollback: none stops the next, and the order in which they may come."""

from __future__ import annotations

import threading
import typing as t

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import FakeClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    NotRoutedError,
    RolloutError,
    UnreachableError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback import take_rest, take_traffic
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_rest import sample_size
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_steps import Done, Step, Steps


class Shown:
    """Keeps what was told."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def step(self, step: Step) -> None:
        self.steps.append(step)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def shown() -> Shown:
    return Shown()


@pytest.fixture
def steps(clock: FakeClock, shown: Shown) -> Steps:
    return Steps(clock, shown, patience=10.0)


def failing(*errors: Exception) -> t.Callable[[], Done]:
    """Work that raises each of ``errors`` once, then is done."""
    left = list(errors)

    def work() -> Done:
        if left:
            raise left.pop(0)
        return Done("done", changed=True)

    return work


def test_each_step_is_timed_and_told_as_it_ends(clock: FakeClock, steps: Steps, shown: Shown) -> None:
    def work() -> Done:
        clock.advance(0.25)
        return Done("5 to 0 %", changed=True, facts={"weight": 0})

    clock.advance(1.0)
    steps.take("weight", work)
    (step,) = shown.steps
    assert (step.name, step.at, step.seconds, step.changed, step.says) == ("weight", 1.0, 0.25, True, "5 to 0 %")
    assert step.text == "+  1.25 s  changed  weight         5 to 0 %  (0.25 s)"
    assert (steps.changed, steps.facts, steps.problems) == (True, {"weight": 0}, [])


def test_a_step_that_fails_is_a_problem_and_the_next_is_taken(steps: Steps, shown: Shown) -> None:
    assert steps.take("weight", failing(ForbiddenError("not allowed", status=403))) is None
    assert steps.take("entry service", failing()) is not None
    assert steps.problems == ["weight: not allowed"]
    assert [(step.name, step.failed) for step in shown.steps] == [("weight", True), ("entry service", False)]
    assert shown.steps[0].text.split()[3:5] == ["FAILED", "weight"]


def test_what_is_not_needed_is_a_warning(steps: Steps) -> None:
    assert steps.take("stable side", failing(RolloutError("unknown")), needed=False) is None
    assert (steps.problems, steps.warnings) == ([], ["stable side: unknown"])


def test_even_a_mistake_of_ours_stops_nothing(steps: Steps) -> None:
    assert steps.take("metrics", failing(KeyError("role"))) is None
    assert steps.problems[0].startswith("metrics: unexpected KeyError: 'role'; report it")


@pytest.mark.parametrize(
    "error",
    [
        ClusterError("busy", status=503),
        ClusterError("too many", status=429),
        ConflictError("changed", status=409),
        UnreachableError("refused", reason="connection"),
    ],
)
def test_what_may_go_well_a_moment_later_is_tried_again(steps: Steps, clock: FakeClock, error: Exception) -> None:
    assert steps.take("record", failing(error, error, error)) == Done("done", changed=True)
    assert clock.monotonic() == pytest.approx(0.1 + 0.2 + 0.4)


@pytest.mark.parametrize(
    "error",
    [
        ForbiddenError("no right", status=403),
        UnreachableError("no trust", reason="tls"),
        NotRoutedError("still there"),
    ],
)
def test_what_will_not_is_not(steps: Steps, clock: FakeClock, error: Exception) -> None:
    assert steps.take("record", failing(error)) is None
    assert clock.monotonic() == 0


def test_the_patience_of_all_steps_together_ends(steps: Steps, clock: FakeClock) -> None:
    busy = [ClusterError("busy", status=503) for _ in range(99)]
    assert steps.take("record", failing(*busy)) is None
    assert 9 < clock.monotonic() <= 10
    spent = clock.monotonic()
    assert steps.take("end", failing(*busy)) is None
    assert clock.monotonic() - spent < 1
    assert steps.problems == ["record: busy", "end: busy"]


def test_waiting_on_purpose_costs_no_patience(steps: Steps, clock: FakeClock) -> None:
    clock.advance(60)
    steps.renew_patience()
    assert steps.take("weight", failing(ClusterError("busy", status=503))) is not None


def test_what_is_not_needed_is_tried_once_since_users_wait(steps: Steps, clock: FakeClock) -> None:
    assert steps.take("stable side", failing(ClusterError("busy", status=503)), needed=False) is None
    assert clock.monotonic() == 0
    assert steps.warnings == ["stable side: busy"]


class Work:
    """Notes what is called; what is named in ``broken`` fails."""

    def __init__(self, *broken: str) -> None:
        self.broken = broken
        self.called: list[str] = []
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> t.Callable[[], Done]:
        def work() -> Done:
            with self._lock:
                self.called.append(name)
            if name in self.broken:
                raise RolloutError("broken")
            return Done(name, changed=True)

        return work

    def place(self, name: str) -> int:
        return self.called.index(name)


def test_the_stable_side_is_strong_before_traffic_comes_back(steps: Steps) -> None:
    work: t.Any = Work()
    assert take_traffic(work, steps)
    assert work.called[0] == "strengthen"
    assert set(work.called[1:]) == {"withdraw", "switch_entry"}


def test_nothing_about_the_stable_side_holds_traffic_back(steps: Steps) -> None:
    work: t.Any = Work("strengthen")
    assert take_traffic(work, steps)
    assert {"withdraw", "switch_entry"} <= set(work.called)
    assert (steps.problems, steps.warnings) == ([], ["stable side: broken"])


@pytest.mark.parametrize(("broken", "other"), [("withdraw", "switch_entry"), ("switch_entry", "withdraw")])
def test_each_way_to_the_candidate_is_closed_whatever_becomes_of_the_other(
    steps: Steps, broken: str, other: str
) -> None:
    work: t.Any = Work(broken)
    assert not take_traffic(work, steps)
    assert other in work.called
    assert len(steps.problems) == 1


REMOVALS = {"remove_canary", "empty_green", "await_pods", "remove_configuration"}


def test_the_candidate_goes_after_the_proof(steps: Steps) -> None:
    work: t.Any = Work()
    take_rest(work, steps, away=True)
    first_removal = min(work.place(name) for name in REMOVALS)
    assert max(work.place(name) for name in ("prove", "settle_entry")) < first_removal
    assert work.place("judge") > work.place("prove"), "the metrics are judged with all traffic on stable"
    assert work.place("await_pods") > max(work.place("remove_canary"), work.place("empty_green"))
    assert {"restore_drained", *REMOVALS} <= set(work.called)
    assert steps.problems == []


@pytest.mark.parametrize(
    ("away", "broken"), [(False, ()), (True, ("prove",)), (True, ("settle_entry",))], ids=["weight", "edge", "entry"]
)
def test_without_the_proof_the_candidate_stays_and_the_rest_goes_on(
    steps: Steps, away: bool, broken: tuple[str, ...]
) -> None:
    work: t.Any = Work(*broken)
    take_rest(work, steps, away=away)
    assert not REMOVALS & set(work.called)
    assert {"judge", "restore_drained"} <= set(work.called)
    assert "candidate: stays as it is, since it isn't proven that nobody reaches it; run the rollback again" in (
        steps.problems
    )


def test_a_removal_that_fails_stops_no_other(steps: Steps) -> None:
    work: t.Any = Work("remove_canary", "restore_drained", "judge")
    take_rest(work, steps, away=True)
    assert {"empty_green", "remove_configuration"} <= set(work.called)
    assert "await_pods" not in work.called, "pods of a Deployment that stands never end"
    assert sorted(steps.problems) == ["canary: broken", "drained: broken", "metrics: broken"]


@pytest.mark.parametrize(("before", "size"), [(0, 100), (1, 688), (5, 135), (20, 100), (99, 100), (100, 100)])
def test_so_many_requests_are_sent_that_the_share_before_would_have_been_seen(before: int, size: int) -> None:
    assert sample_size(100, before) == size
    assert size >= 100
    assert before in (0, 100) or (1 - before / 100) ** size <= 0.001
