"""What the action plugin stage_watch makes of its options, before anything is held."""

from __future__ import annotations

import os
import signal
import typing as t

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.action import stage_watch
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.conditions import Conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.criteria import read_conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.stage import Hold
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.stage_settings import Settings

NOW = 1_790_000_000.0
SOME = read_conditions({"agents": {"kind": "gauge", "query": "agents"}}, [{"metric": "agents", "at_least": 61}])
NONE = Conditions((), ())


def settings(conditions: Conditions = SOME, **options: t.Any) -> Settings:
    return stage_watch._settings(stage_watch.SPEC.validate({"stage": "one", **options}), conditions, NOW)


def test_a_stage_lasts_until_its_end_and_at_least_as_long_as_asked() -> None:
    assert settings(seconds=30).seconds == 30
    assert settings(until=NOW + 45).seconds == 45
    assert settings(until=NOW + 5, at_least=20).seconds == 20
    assert settings(until=NOW - 100).seconds == 0


def test_without_a_span_the_last_three_looks_must_pass() -> None:
    assert settings(seconds=60).observe == 20
    assert settings(seconds=5).observe == 5
    assert settings(seconds=60, observe=0).observe == 0


def test_a_stage_that_only_waits_is_shown_now_and_then() -> None:
    assert settings(NONE, seconds=3600).interval == 180
    assert settings(NONE, seconds=60).interval == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "one of the following is required: seconds, until"),
        ({"seconds": 1, "until": 1}, "parameters are mutually exclusive: seconds|until"),
        ({"seconds": "soon"}, "argument 'seconds' is of type"),
        ({"seconds": 1, "on_source_down": "pray"}, "value of on_source_down must be one of: hold, roll_back, fail"),
        ({"seconds": 1, "prometheus": {"timeout": 1}}, "one of the following is required: url, urls"),
    ],
)
def test_options_that_cannot_be_are_named(options: dict[str, t.Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        settings(**options)
    assert message in caught.value.message


def test_criteria_need_a_source() -> None:
    options = stage_watch.SPEC.validate({"stage": "one", "seconds": 1})
    with pytest.raises(InputError, match=r"^prometheus: is needed"):
        stage_watch._source(options, SOME, {})
    assert stage_watch._source(options, NONE, {}) is None


@pytest.mark.parametrize("start_at", [NOW, str(NOW), "2026-09-21T14:13:20Z", "2026-09-21T16:13:20+02:00"])
def test_t_is_read_as_number_and_as_text(start_at: t.Any) -> None:
    clock = stage_watch._plan_clock({"start_at": start_at, "time_scale": 0.01})
    assert clock is not None
    assert clock.text(NOW + 20.5) == "T+34:10"


@pytest.mark.parametrize(
    "plan",
    [{"start_at": "noon", "time_scale": 1.0}, {"start_at": NOW, "time_scale": 0.0}],
    ids=["start_at", "time_scale"],
)
def test_a_plan_clock_that_cannot_run_is_named(plan: dict[str, t.Any]) -> None:
    with pytest.raises(InputError, match=r"^plan\.(start_at|time_scale): "):
        stage_watch._plan_clock(plan)


def test_there_is_no_plan_clock_without_t() -> None:
    assert stage_watch._plan_clock(None) is None
    assert stage_watch._plan_clock({"start_at": "", "time_scale": 1.0}) is None


def test_the_clock_of_a_worker_tells_once_that_its_parent_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = stage_watch.WorkerClock()
    clock.sleep(0)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    with pytest.raises(stage_watch.Interrupted):
        clock.sleep(0)
    clock.sleep(0)


def test_signals_are_as_before_after_a_hold() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stage_watch._interruptible("one", t.cast(Hold, None)):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
