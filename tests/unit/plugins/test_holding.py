"""Criteria that must hold for a time on end, judged in one look from what the source kept."""

from __future__ import annotations

import random
import typing as t

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import FakeClock, format_time
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.conditions import Condition
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.criteria import read_conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.gate import look_until_pass
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.holding import judge_course
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import Judgement
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.samples import Course, Gap, Series
from tests.unit.plugins.metric_world import METRICS, VERSIONS, TwoSides, World

ERRORS = {"metric": "errors", "below": 0.001, "unacceptable": 0.005, "for": "2m"}
AGENTS = {"metric": "agents", "at_least": 61, "for": "2m"}


class WorldClock(FakeClock):
    """Time goes by in the world while someone sleeps."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self._world.run(round(seconds))


def gate(world: World, *criteria: dict[str, t.Any], wait: float = 0.0) -> tuple[list[Judgement], int]:
    conditions = read_conditions(METRICS, list(criteria), versions=VERSIONS)
    return look_until_pass(conditions, world, VERSIONS, wait, 5.0, WorldClock(world))  # type: ignore[arg-type]


def judged(world: World, criterion: dict[str, t.Any]) -> tuple[str, str]:
    (judgement,), looks = gate(world, criterion)
    assert looks == 1
    return judgement.verdict, judgement.reason


def lived(world: World, *phases: tuple[int, dict[str, t.Any]]) -> World:
    """The world after some phases: seconds, and what is set for them."""
    for seconds, settings in phases:
        for name, value in settings.items():
            setattr(world, name, value)
        world.run(seconds)
    return world


# ---- gauges


def test_a_gauge_that_held_all_the_time_passes() -> None:
    world = lived(World(rate=0), (200, {}))
    (judgement,), _looks = gate(world, AGENTS)
    assert (judgement.verdict, judgement.value, judgement.reason) == ("pass", 61, "held for 120 s")
    assert (judgement.evidence["points"], judgement.evidence["window"], judgement.evidence["gaps"]) == (121, 120, [])


def test_a_gauge_that_fell_for_a_second_fails_until_that_is_long_enough_ago() -> None:
    world = lived(World(rate=0), (100, {}), (1, {"agents": 58}), (50, {"agents": 61}))
    fell = format_time(1101)
    assert judged(world, AGENTS) == ("fail", f"58 at {fell}, held since then for 50 of 120 s")
    world.run(70)
    assert judged(world, AGENTS) == ("fail", f"58 at {fell}, held since then for 120 of 120 s")
    world.run(1)
    assert judged(world, AGENTS)[0] == "pass"


def test_a_gauge_that_does_not_hold_says_when_it_last_did() -> None:
    world = lived(World(rate=0), (150, {}), (30, {"agents": 58}))
    assert judged(world, AGENTS) == ("fail", f"last held at {format_time(1150)}")
    world.run(100)
    assert judged(world, AGENTS) == ("fail", "at no time of 120 s")


@pytest.mark.parametrize(
    ("silent", "verdict", "reason"),
    [(19, "pass", "held for 120 s"), (40, "no_evidence", f"a gap of 41 s, at {format_time(1100)}")],
)
def test_a_gap_in_a_gauge_is_no_evidence_once_it_is_longer_than_a_sample_counts(
    silent: int, verdict: str, reason: str
) -> None:
    world = lived(World(rate=0), (100, {}), (silent, {"scraping": False}), (40, {"scraping": True}))
    assert judged(world, AGENTS) == (verdict, reason)


def test_a_time_before_the_first_sample_is_a_gap() -> None:
    world = lived(World(rate=100), (90, {}))
    assert judged(world, AGENTS) == ("no_evidence", f"a gap of 31 s, at {format_time(970)}")
    assert judged(world, ERRORS) == ("no_evidence", f"a gap of 31 s, at {format_time(970)}")


def test_a_gap_does_not_hide_what_failed() -> None:
    world = lived(World(rate=0), (100, {}), (5, {"agents": 3}), (40, {"scraping": False}))
    lived(world, (40, {"scraping": True, "agents": 61}))
    assert judged(world, AGENTS)[0] == "fail"


def course(*series: t.Sequence[float], **facts: t.Any) -> Course:
    points = (
        Series({"pod": str(pod)}, list(zip(range(0, 120, 10), values, strict=False)))
        for pod, values in enumerate(series)
    )
    return Course(0.0, 110.0, 10.0, tuple(points), **facts)


def of_kind(kind: str, **options: t.Any) -> Condition:
    entry = {"kind": kind, "query": "sum(x) + 0" if kind == "increase" else "x", "max_age": "20s"}
    return read_conditions({"m": entry}, [{"metric": "m", "for": 110, **options}]).criteria[0]


@pytest.mark.parametrize(
    ("condition", "answer", "verdict", "value"),
    [
        (of_kind("gauge", below=5), course([4] * 12, [4] * 12), "pass", 4),
        (of_kind("increase", below=5), course([4] * 12, [4] * 12), "fail", 8),
        (of_kind("gauge", equals=4), course([4] * 12, [4] * 6 + [3] + [4] * 5), "fail", 3),
        (of_kind("gauge", below=5, min_samples=2), course([4] * 12, [4] * 11), "no_evidence", 4),
        (of_kind("gauge", below=5), course([4] * 12, partial="a store is away"), "no_evidence", 4),
        (of_kind("gauge", below=5), course([4] * 12, gaps=(Gap(10, 31, 1),)), "no_evidence", 4),
        (of_kind("gauge", below=5), course([4] * 12, gaps=(Gap(10, 30, 1),)), "pass", 4),
        (of_kind("gauge", below=5), course(), "no_evidence", None),
        (of_kind("gauge", below=5), course(problem="source_down", reason="away"), "source_down", None),
    ],
)
def test_every_point_of_every_series_counts(
    condition: Condition, answer: Course, verdict: str, value: float | None
) -> None:
    judgement = judge_course(condition, answer)
    assert (judgement.verdict, judgement.value) == (verdict, value), judgement.text


# ---- shares of requests


def test_a_share_that_held_all_the_time_passes_by_the_requests_of_that_time_alone() -> None:
    world = lived(World(), (60, {"share": 0.5}), (140, {"share": 0.0}))
    (judgement,), _looks = gate(world, ERRORS)
    assert (judgement.verdict, judgement.reason) == ("pass", "held for 120 s")
    assert (judgement.evidence["total"], judgement.evidence["window"]) == (12000, 120)


def test_a_bad_stretch_in_a_good_time_is_found() -> None:
    # 30 of 30 000 requests: as a whole this is as good as asked.
    world = lived(World(), (100, {}), (2, {"share": 0.15}), (266, {"share": 0.0}))
    longer = {**ERRORS, "for": "5m"}
    (judgement,), _looks = gate(world, longer)
    (stretch,) = judgement.evidence["stretches"]
    assert judgement.verdict == "fail"
    assert judgement.value == pytest.approx(0.001, rel=0.3)
    assert (stretch["since"], stretch["until"]) == (1100, 1102)
    assert stretch["bad"] == judgement.evidence["offending"]
    assert judgement.reason.endswith("held since then for 266 of 300 s")
    assert f"from {format_time(stretch['since'])} to {format_time(stretch['until'])}" in judgement.reason
    world.run(34)
    assert judged(world, longer)[0] == "pass"


def test_a_share_that_is_neither_good_nor_clearly_bad_fails_as_a_whole() -> None:
    world = lived(World(share=0.02), (200, {}))
    verdict, reason = judged(world, {**ERRORS, "unacceptable": 0.05})
    assert verdict == "fail"
    assert reason.endswith("requests bad over 120 s as a whole, without a stretch that stands out")


def test_too_few_requests_are_no_evidence() -> None:
    verdict, reason = judged(lived(World(rate=2), (200, {})), ERRORS)
    assert verdict == "no_evidence"
    assert reason.startswith("120 s as a whole: not yet sure: up to")


def test_a_gap_in_the_samples_of_a_counter_is_no_evidence() -> None:
    world = lived(World(), (100, {}), (30, {"scraping": False}), (60, {"scraping": True}))
    assert judged(world, ERRORS) == ("no_evidence", f"a gap of 31 s, at {format_time(1100)}")
    world.run(91)
    assert judged(world, ERRORS)[0] == "pass"


def test_a_time_without_requests_is_no_evidence() -> None:
    world = lived(World(), (100, {}), (35, {"rate": 0}), (60, {"rate": 100}))
    assert judged(world, ERRORS) == ("no_evidence", f"no requests for 36 s, at {format_time(1100)}")


def test_slow_requests_are_judged_alike() -> None:
    world = lived(World(), (100, {}), (4, {"slow": 0.5}), (80, {"slow": 0.0}))
    asked = {"metric": "latency", "below": 0.2, "for": "2m"}
    verdict, reason = judged(world, asked)
    assert verdict == "fail"
    assert "requests slow from" in reason
    world.run(50)
    assert judged(world, asked) == ("pass", "held for 120 s")


@pytest.mark.parametrize("evidence", ["sequential", "point"])
def test_free_promql_is_asked_window_after_window(evidence: str) -> None:
    world = lived(World(), (100, {}), (4, {"share": 0.15}), (120, {"share": 0.0}))
    asked = {"metric": "free", "below": 0.01, "for": "2m", "evidence": evidence}
    assert judged(world, asked)[0] == "pass"
    assert world.asked == ["free"] * 12
    verdict, reason = judged(world, {**asked, "for": "130s"})
    assert verdict == "fail"
    assert format_time(1104) in reason


def test_the_candidate_must_not_have_been_worse_than_stable_for_a_while() -> None:
    world = TwoSides(0.01, 0.01)
    asked = {"metric": "errors", "compared_with": "stable", "at_most": 1.5, "unacceptable": 3, "for": "5m"}
    world.run(150)
    world.shares = {"5.1": 0.3, "5.0": 0.3}
    world.run(10)
    world.shares = {"5.1": 0.01, "5.0": 0.01}
    world.run(160)
    assert judged(world, asked)[0] == "pass"
    world.shares["5.1"] = 0.2
    world.run(4)
    world.shares["5.1"] = 0.01
    world.run(120)
    verdict, reason = judged(world, asked)
    assert verdict == "fail"
    assert reason.endswith("held since then for 120 of 300 s")


def test_releases_at_the_bound_are_not_called_bad() -> None:
    failed = 0
    for seed in range(40):
        world = World(rate=20, share=0.001)
        world.random = random.Random(seed)
        failed += judged(lived(world, (310, {})), {**ERRORS, "for": "5m"})[0] == "fail"
    assert failed == 0


def test_bad_releases_do_not_pass_however_long_one_waits() -> None:
    for seed in range(8):
        world = World(rate=20, share=0.005)
        world.random = random.Random(seed)
        (judgement,), looks = gate(lived(world, (130, {})), ERRORS, wait=100)
        assert (judgement.verdict == "pass", looks) == (False, 21)


# ---- the gate


def test_waiting_ends_when_the_bad_time_is_over() -> None:
    world = lived(World(), (200, {"share": 0.1}), (30, {"share": 0.0}))
    looked, looks = gate(world, ERRORS, {**AGENTS, "for": "30s"}, {"metric": "agents", "equals": 61}, wait=120)
    assert [one.verdict for one in looked] == ["pass", "pass", "pass"]
    assert looks == pytest.approx(19, abs=1)
    assert looked[0].evidence["risk"] == 0.001 / 25


def test_a_source_that_is_down_is_said() -> None:
    world = lived(World(), (200, {}))
    world.down = "refused"
    assert judged(world, ERRORS) == ("source_down", "refused")
    assert judged(world, AGENTS) == ("source_down", "refused")


def test_a_criterion_with_and_one_without_a_time_are_judged_by_their_own_requests() -> None:
    world = lived(World(), (200, {}))
    (held, now), _looks = gate(world, ERRORS, {key: ERRORS[key] for key in ("metric", "below", "unacceptable")})
    assert (held.evidence["total"], now.evidence["total"]) == (12000, 3000)
