from __future__ import annotations

import collections.abc
import dataclasses
import typing as t

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import FakeClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ForbiddenError,
    InputError,
    QueryError,
    UnreachableError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.conditions import Conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.criteria import read_conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import Judgement, Measurement
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.source import Source
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.stage import Hold, Look, Outcome
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.stage_record import History
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.stage_settings import Settings
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.stage_spans import Spans

METRICS: dict[str, t.Any] = {
    "errors": {"kind": "ratio", "bad": "b", "total": "t", "window": "5s"},
    "agents": {"kind": "gauge", "query": "agents"},
}
CRITERIA = ({"metric": "errors", "evidence": "point", "below": 0.01},)
TRIGGERS = ({"metric": "errors", "evidence": "point", "above": 0.05},)

GOOD = Measurement(5.0, bad=0, total=1000, samples=1)
POOR = Measurement(5.0, bad=20, total=1000, samples=1)
BAD = Measurement(5.0, bad=300, total=1000, samples=1)
NOTHING = Measurement(5.0, problem="no_evidence", reason="no requests")
DOWN = Measurement(5.0, problem="source_down", reason="refused")


class World:
    """Clock, source, traffic and show in one, keeping the order of what happened."""

    def __init__(self, script: collections.abc.Callable[[float], Measurement], cost: float = 0.0) -> None:
        self.clock = FakeClock()
        self.script = script
        self.cost = cost
        self.events: list[tuple[float, str]] = []
        self.looks: list[Look] = []
        self.ticks = 0
        self.said: list[str] = []
        self.away: tuple[float, float] = (0.0, 0.0)
        self.stands = 5
        self.refusals = 0
        self.sticks = True
        self.windows: list[float] = []

    def note(self, what: str) -> None:
        self.events.append((round(self.clock.monotonic(), 3), what))

    def times(self, what: str) -> list[float]:
        return [at for at, event in self.events if event == what]

    def now(self) -> float:
        return self.clock.now()

    def measure(self, needs: t.Iterable, *, strict: bool = False, at: float | None = None) -> dict:
        self.note("measure")
        measured = self.script(self.clock.monotonic())
        self.clock.advance(self.cost)
        needs = list(needs)
        self.windows = [window for _metric, window in needs]
        return {(metric.name, window): dataclasses.replace(measured, window=window) for metric, window in needs}

    def withdraw(self) -> bool:
        self.note("withdraw")
        if self.refusals:
            self.refusals -= 1
            raise UnreachableError("no answer")
        self.stands = 0 if self.sticks else 5
        return True

    def weight(self) -> int:
        self.note("read back")
        return self.stands

    def api_problem(self) -> str:
        begins, ends = self.away
        return "no answer" if begins <= self.clock.monotonic() < ends else ""

    def say(self, text: str) -> None:
        self.said.append(text)

    def look(self, look: Look) -> None:
        self.note("look")
        self.looks.append(look)

    def tick(self, left: float) -> None:
        self.ticks += 1


def conditions(criteria: t.Any = CRITERIA, triggers: t.Any = TRIGGERS) -> Conditions:
    return read_conditions(METRICS, criteria, triggers)


def hold(world: World, **settings: t.Any) -> Outcome:
    settings.setdefault("conditions", conditions())
    settings.setdefault("seconds", 60.0)
    return Hold(Settings(**settings), world.clock, t.cast(Source, world), traffic=world, show=world).run()


def always(measurement: Measurement) -> collections.abc.Callable[[float], Measurement]:
    return lambda _at: measurement


def until(moment: float, before: Measurement, after: Measurement) -> collections.abc.Callable[[float], Measurement]:
    return lambda at: before if at < moment else after


def test_a_good_stage_is_held_to_its_end_and_passes() -> None:
    world = World(always(GOOD))
    outcome = hold(world, observe=20)
    assert (outcome.verdict, outcome.decision, outcome.reason) == ("pass", "advance", "all criteria held")
    assert world.clock.monotonic() == 60
    assert world.times("withdraw") == []
    assert outcome.ended - outcome.started == 60


def test_looks_stand_on_the_grid_and_at_the_very_end() -> None:
    world = World(always(GOOD), cost=0.25)
    hold(world, seconds=35.0)
    assert world.times("measure")[:5] == [0, 10, 20, 30, 35]
    assert [look.left for look in world.looks] == [35, 25, 15, 5, 0]


def test_a_slow_look_costs_the_next_ones_and_the_grid_stays() -> None:
    world = World(lambda _at: GOOD, cost=12.0)
    outcome = hold(world, seconds=60.0)
    assert [look.elapsed for look in world.looks] == [0, 20, 40, 60]
    assert outcome.skipped == 3


def test_a_stage_without_conditions_only_waits() -> None:
    world = World(always(DOWN))
    outcome = hold(world, conditions=conditions(None, None), seconds=30.0)
    assert (outcome.verdict, world.times("measure"), world.clock.monotonic()) == ("pass", [], 30)
    assert world.ticks == 30


def test_a_stage_that_is_over_is_looked_at_once() -> None:
    world = World(always(GOOD))
    assert hold(world, seconds=0.0).verdict == "pass"
    assert len(world.looks) == 1


def test_a_trigger_acts_before_anything_else_and_is_read_back() -> None:
    world = World(until(15, GOOD, BAD))
    outcome = hold(world)
    assert (outcome.verdict, outcome.decision, outcome.withdrawn) == ("fail", "roll_back", True)
    assert world.events[-5:] == [
        (20, "measure"), (20, "withdraw"), (20, "look"), (20, "read back"), (20, "measure"),
    ]  # fmt: skip
    assert set(outcome.times) == {"breach_seen", "weight_zero", "verified"}
    assert outcome.breach is not None and outcome.breach.value == 0.3
    assert outcome.reason.startswith("trigger errors: 30 %, fires at > 5 %: fail (1 000 requests")
    assert world.looks[-1].breach is outcome.breach and world.looks[-1].withdrawn


def test_a_trigger_waits_for_as_long_as_it_must_last() -> None:
    lasting = conditions(CRITERIA, [{"metric": "errors", "evidence": "point", "above": 0.05, "for": "20s"}])
    assert hold(World(until(15, GOOD, BAD)), conditions=lasting).times["breach_seen"] - FakeClock().now() == 40
    world = World(lambda at: BAD if 15 < at < 35 else GOOD)
    assert hold(world, conditions=lasting).verdict == "pass"


def test_an_advisory_trigger_decides_nothing_and_hides_no_other() -> None:
    advisory = [{"metric": "errors", "evidence": "point", "above": 0.05, "advisory": True}]
    world = World(until(15, GOOD, BAD))
    assert hold(world, conditions=conditions(None, advisory)).verdict == "pass"
    both = conditions(None, [*advisory, {"metric": "errors", "evidence": "point", "above": 0.06, "name": "real"}])
    outcome = hold(World(until(15, GOOD, BAD)), conditions=both)
    assert outcome.breach is not None and outcome.breach.condition.name == "real"


def test_traffic_is_withdrawn_again_until_the_api_takes_it() -> None:
    world = World(always(BAD))
    world.refusals = 3
    outcome = hold(world)
    assert world.times("withdraw") == [0, 0.25, 0.5, 0.75]
    assert (outcome.withdrawn, outcome.problem) == (True, "")


def test_an_api_that_stays_silent_is_told_not_hidden() -> None:
    world = World(always(BAD))
    world.refusals = 10_000
    outcome = hold(world, api_patience=40)
    assert (outcome.decision, outcome.withdrawn, outcome.problem) == ("roll_back", False, "no answer")
    assert "weight_zero" not in outcome.times
    assert world.times("withdraw")[-1] == 40
    assert world.said == ["TRAFFIC IS NOT BACK ON STABLE YET, trying for 40 s: no answer"]


def test_an_api_that_is_away_for_a_minute_while_a_trigger_fires_costs_a_minute() -> None:
    world = World(always(BAD))
    world.refusals = 240
    outcome = hold(world)
    assert (outcome.withdrawn, outcome.problem, world.times("withdraw")[-1]) == (True, "", 60)


def test_what_waiting_will_not_mend_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(always(BAD))

    def forbidden() -> bool:
        world.note("withdraw")
        raise ForbiddenError("not allowed", status=403)

    monkeypatch.setattr(world, "withdraw", forbidden)
    assert hold(world).problem == "not allowed"
    assert world.times("withdraw")[-1] == 5


# ---- the Kubernetes API away, and clocks that jump


def test_an_api_that_is_away_in_the_middle_of_a_stage_is_not_missed() -> None:
    world = World(always(GOOD))
    world.away = (5, 55)
    outcome = hold(world)
    assert (outcome.decision, outcome.api_away, world.said, world.clock.monotonic()) == ("advance", 0, [], 60)


def test_a_stage_is_held_on_until_the_api_that_its_end_needs_is_back() -> None:
    world = World(always(GOOD))
    world.away = (30, 95)
    outcome = hold(world)
    assert (outcome.verdict, outcome.decision, outcome.reason) == ("pass", "advance", "all criteria held")
    assert (world.clock.monotonic(), outcome.api_away, outcome.extended) == (100, 40, 40)
    assert world.times("measure")[:-1] == list(range(0, 101, 10)), "it was looked at all along"
    held, back = world.said
    assert "held on, for 5:00 at most, until the Kubernetes API is back, which its end needs: no answer" in held
    assert back == "the Kubernetes API is back after 0:40: going on"


def test_while_it_is_held_on_its_triggers_are_on_guard_and_its_criteria_have_passed() -> None:
    world = World(until(75, GOOD, BAD))
    world.away = (30, 500)
    outcome = hold(world)
    assert (outcome.decision, world.times("withdraw")) == ("roll_back", [80])
    poor = World(until(75, GOOD, POOR))
    poor.away = (30, 95)
    assert hold(poor).decision == "advance"


def test_an_api_that_stays_away_ends_the_stage_when_it_was_said_to() -> None:
    world = World(always(GOOD))
    world.away = (30, 10_000)
    outcome = hold(world, api_patience=45)
    assert (outcome.verdict, outcome.decision, world.clock.monotonic()) == ("fail", "fail", 110)
    assert outcome.reason == "all criteria held, but for 0:50 (api_patience) it couldn't end: no answer"


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
@pytest.mark.parametrize("at", [1.0, 30.0, 59.0])
def test_a_wall_clock_that_is_set_by_an_hour_changes_no_stage(jump: float, at: float) -> None:
    class SetClock(FakeClock):
        def now(self) -> float:
            return super().now() + (jump if self.monotonic() >= at else 0.0)

    world = World(always(GOOD))
    world.clock = SetClock()
    outcome = hold(world, observe=20, grace=20, on_no_evidence="roll_back", on_source_down="roll_back")
    assert (outcome.decision, world.clock.monotonic(), outcome.looks, outcome.extended) == ("advance", 60, 7, 0)
    assert outcome.clock_moved == pytest.approx(jump)
    (said,) = world.said
    assert f"it is 1:00:00 {'ahead of' if jump > 0 else 'behind'} what it would show" in said
    late = World(until(35, GOOD, BAD))
    late.clock = SetClock()
    assert (hold(late).decision, late.times("withdraw")) == ("roll_back", [40])


def test_a_wall_clock_that_is_set_back_right_has_moved_nothing() -> None:
    class Astray(FakeClock):
        def now(self) -> float:
            return super().now() + (3600.0 if 15 <= self.monotonic() < 35 else 0.0)

    world = World(always(GOOD))
    world.clock = Astray()
    assert hold(world).clock_moved == 0
    astray, right = world.said
    assert "ahead of" in astray
    assert right == "the clock of this machine shows again what it would, had it not been set"


def test_a_weight_that_does_not_stay_is_told() -> None:
    world = World(always(BAD))
    world.sticks = False
    outcome = hold(world)
    assert outcome.problem == "the weight reads 5 after it was set to 0: someone else moves it"
    assert "verified" not in outcome.times


def test_a_failed_look_restarts_the_observed_span() -> None:
    world = World(lambda at: POOR if at == 30 else GOOD)
    assert hold(world, observe=20).verdict == "pass"
    late = World(lambda at: POOR if at == 50 else GOOD)
    outcome = hold(late, observe=20)
    assert (outcome.verdict, outcome.decision) == ("fail", "fail")
    assert outcome.reason == "criterion errors held for 0 of 20 s"
    assert late.times("withdraw") == []


def test_a_stage_is_extended_until_its_criteria_have_held() -> None:
    world = World(until(45, POOR, GOOD))
    outcome = hold(world, observe=30, extend_by=60)
    assert (outcome.verdict, outcome.extended) == ("pass", 20)
    assert world.looks[-1].extended and not world.looks[0].extended


def test_an_extension_ends_where_it_was_said_to() -> None:
    world = World(always(POOR))
    outcome = hold(world, extend_by=25)
    assert (outcome.verdict, outcome.extended) == ("fail", 25)
    assert [look.elapsed for look in world.looks][-3:] == [70, 80, 85]
    assert outcome.reason == "criterion errors: 2 %, asked < 1 %: fail (1 000 requests in 5 s)"


def test_a_criterion_may_ask_for_its_own_time() -> None:
    own = conditions([{"metric": "errors", "evidence": "point", "below": 0.01, "for": "40s"}], None)
    assert hold(World(until(15, POOR, GOOD)), conditions=own).verdict == "pass"
    assert hold(World(until(25, POOR, GOOD)), conditions=own).verdict == "fail"


@pytest.mark.parametrize(("measurement", "verdict"), [(NOTHING, "no_evidence"), (DOWN, "source_down")])
def test_without_evidence_a_stage_holds_and_never_passes(measurement: Measurement, verdict: str) -> None:
    world = World(always(measurement))
    outcome = hold(world, extend_by=30)
    assert (outcome.verdict, outcome.decision) == (verdict, "fail")
    assert world.clock.monotonic() == 90
    assert world.times("withdraw") == []


def test_a_quiet_trigger_without_evidence_does_not_pass_either() -> None:
    outcome = hold(World(always(NOTHING)), conditions=conditions(None, TRIGGERS))
    assert (outcome.verdict, outcome.decision) == ("no_evidence", "fail")


@pytest.mark.parametrize(
    ("measurement", "option", "reason"),
    [(NOTHING, "on_no_evidence", "had no evidence"), (DOWN, "on_source_down", "had its source down")],
)
def test_policies_set_in_after_the_grace(measurement: Measurement, option: str, reason: str) -> None:
    world = World(until(15, GOOD, measurement))
    outcome = hold(world, grace=20, seconds=100.0, **{option: "roll_back"})
    assert (outcome.decision, outcome.withdrawn, world.times("withdraw")) == ("roll_back", True, [40])
    assert f"{reason} for 20 s" in outcome.reason
    assert hold(World(until(15, GOOD, measurement)), grace=20, seconds=100.0, **{option: "fail"}).decision == "fail"


def test_a_source_that_comes_back_in_time_is_borne() -> None:
    world = World(lambda at: DOWN if 15 < at < 35 else GOOD)
    assert hold(world, grace=20, on_source_down="roll_back").verdict == "pass"


def test_a_flapping_source_does_not_escape_its_policy() -> None:
    world = World(lambda at: GOOD if at < 5 else DOWN if at % 20 else NOTHING)
    outcome = hold(world, grace=20, on_source_down="roll_back", on_no_evidence="roll_back", seconds=200.0)
    assert world.times("withdraw") == [30]
    assert outcome.decision == "roll_back"


def test_a_condition_has_a_policy_of_its_own() -> None:
    own = conditions([{"metric": "errors", "evidence": "point", "below": 0.01, "on_no_evidence": "roll_back"}], None)
    assert hold(World(always(NOTHING)), conditions=own, grace=10).decision == "roll_back"


def test_the_warm_up_counts_for_triggers_only() -> None:
    world = World(until(15, NOTHING, GOOD))
    outcome = hold(world, warm_up=20, grace=0, on_no_evidence="roll_back", observe=40)
    assert outcome.verdict == "pass"
    assert hold(World(always(BAD)), warm_up=50).times["breach_seen"] == FakeClock().now()
    with pytest.raises(InputError, match=r"^observe: criteria must hold for 50 s, and the stage has 40 s"):
        hold(World(always(GOOD)), warm_up=20, observe=50)


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize(("policy", "withdrawn"), [("roll_back", [20.0]), ("hold", [])])
def test_an_interrupted_stage_leaves_no_weight_unless_asked_to(policy: str, withdrawn: list[float]) -> None:
    def script(at: float) -> Measurement:
        if at >= 20:
            raise Interrupted
        return GOOD

    world = World(script)
    with pytest.raises(Interrupted):
        hold(world, on_interrupt=policy)
    assert world.times("withdraw") == withdrawn


def test_a_query_that_does_not_parse_leaves_no_weight_either() -> None:
    def script(_at: float) -> Measurement:
        raise QueryError("metric errors: refused")

    world = World(script)
    with pytest.raises(QueryError):
        hold(world)
    assert world.stands == 0


def test_looking_once_changes_nothing_and_does_not_wait() -> None:
    world = World(always(BAD))
    outcome = Hold(
        Settings(seconds=60.0, conditions=conditions()), world.clock, t.cast(Source, world), traffic=world, show=world
    ).look_once()
    assert (outcome.verdict, outcome.looks, world.clock.monotonic(), world.times("withdraw")) == ("fail", 1, 0, [])


def test_the_stage_is_summed_up_over_its_whole_time() -> None:
    world = World(until(45, POOR, GOOD))
    outcome = hold(world, seconds=60.0)
    assert world.windows == [60.0]
    assert outcome.measured["errors"] == {
        "kind": "ratio", "unit": "percent", "window": 60.0, "value": 0.0, "least": 0.0, "most": 0.02,
        "bad": 0, "total": 1000,
    }  # fmt: skip


def test_history_is_bounded_and_spans_the_whole_time() -> None:
    history = History(500)
    for number in range(20_000):
        history.add({"t": number})
    steps = {later["t"] - sooner["t"] for sooner, later in zip(history.points, history.points[1:], strict=False)}
    assert 200 < len(history.points) < 500
    assert len(steps) == 1
    assert history.points[0]["t"] == 0 and history.points[-1]["t"] > 19_900


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"interval": 0}, "interval: 0 must be more than 0 seconds."),
        ({"grace": -1}, "grace: -1 is negative."),
        ({"api_patience": -1}, "api_patience: -1 is negative."),
        ({"observe": 61}, "observe: criteria must hold for 61 s, and the stage has 60 s for it"),
    ],
)
def test_settings_that_cannot_work_are_named(settings: dict[str, t.Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        hold(World(always(GOOD)), **settings)
    assert caught.value.message.startswith(message)


def counted(world: World) -> Conditions:
    return conditions([{"metric": "agents", "at_least": 61}], None)


def test_a_stage_that_may_end_when_sure_does() -> None:
    world = World(always(Measurement(5.0, values=(61.0,), samples=1)))
    outcome = hold(world, conditions=counted(world), observe=20, warm_up=10, advance="when_sure")
    assert (outcome.decision, outcome.reason) == ("advance", "all criteria held")
    assert world.clock.monotonic() == 30


def test_one_that_is_not_sure_is_held_to_its_end_and_beyond() -> None:
    world = World(until(65, Measurement(5.0, values=(60.0,), samples=1), Measurement(5.0, values=(61.0,), samples=1)))
    outcome = hold(world, conditions=counted(world), observe=20, extend_by=60, advance="when_sure")
    assert outcome.decision == "advance"
    assert world.clock.monotonic() == 90


def test_without_criteria_there_is_nothing_to_be_sure_of() -> None:
    world = World(always(GOOD))
    hold(world, conditions=conditions(None, TRIGGERS), advance="when_sure")
    assert world.clock.monotonic() == 60


def test_a_criterion_that_is_only_undecided_is_waited_for_however_short_the_grace() -> None:
    (criterion,) = conditions(CRITERIA, None).criteria
    settings = Settings(seconds=600.0, conditions=conditions(CRITERIA, None), grace=20.0, on_no_evidence="roll_back")
    spans = Spans(settings)
    waiting = Judgement(criterion, "no_evidence", None, {"undecided": True})
    missing = Judgement(criterion, "no_evidence", None, {})
    for due in (0.0, 100.0, 200.0):
        spans.note(due, [waiting])
        assert list(spans.expired([waiting], due)) == []
    spans.note(210.0, [missing])
    assert list(spans.expired([missing], 210.0)) == []
    spans.note(230.0, [missing])
    assert list(spans.expired([missing], 230.0)) == [(missing, "roll_back")]
