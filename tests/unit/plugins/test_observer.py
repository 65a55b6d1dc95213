"""Looking again and again at a source of counters: what each look adds, what is judged, and what is never passed."""

from __future__ import annotations

import random
import typing as t

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import format_time
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.analysis import Risks
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.criteria import read_conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import Judgement
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.observer import Observer, Watch
from tests.unit.plugins.metric_world import METRICS, VERSIONS, TwoSides, World

CRITERION = {"metric": "errors", "below": 0.001}
TRIGGER = {"metric": "errors", "above": 0.005}


def observer(world: World, criteria: t.Any = (), triggers: t.Any = (), **watch: t.Any) -> Observer:
    conditions = read_conditions(METRICS, list(criteria), list(triggers), versions=VERSIONS)
    return Observer(conditions, world, VERSIONS, Watch(**{"horizon": 1800.0, **watch}))  # type: ignore[arg-type]


def last(looks: list[Judgement]) -> tuple[str, str]:
    return looks[-1].verdict, looks[-1].reason


def watched(world: World, seconds: int, every: int = 10, **conditions: t.Any) -> list[Judgement]:
    """The first condition's judgements, a look each ``every`` seconds."""
    looking = observer(world, **conditions)
    looks = [looking.look()[0]]
    for _look in range(seconds // every):
        world.run(every)
        looks.append(looking.look()[0])
    return looks


def test_a_criterion_passes_once_the_requests_are_enough_and_says_how_many_are_missing() -> None:
    looks = watched(World(rate=20), 100, criteria=[CRITERION], triggers=[])
    assert {look.verdict for look in looks} == {"no_evidence"}
    assert "under 0.1 % asked; about" in looks[5].reason
    looks = watched(World(rate=20), 100, criteria=[{**CRITERION, "unacceptable": 0.005}])
    assert looks[6].verdict == "no_evidence"
    assert looks[8].verdict == "pass"
    assert looks[8].evidence["total"] == 1600
    assert looks[8].evidence["offending_share"]["most"] < 0.01


def test_the_trigger_of_the_same_ratio_says_what_is_unacceptable() -> None:
    world = World(rate=20)
    looking = observer(world, [CRITERION], [TRIGGER])
    looking.look()
    world.run(80)
    trigger, criterion = looking.look()
    assert (trigger.verdict, criterion.verdict) == ("pass", "pass")
    assert criterion.evidence["limits"] == {"acceptable": 0.001, "unacceptable": 0.005}
    assert trigger.evidence["limits"] == {"acceptable": 0.001, "unacceptable": 0.005}


def test_what_was_before_the_first_look_does_not_count_unless_asked_for() -> None:
    world = World(share=0.5)
    world.run(60)
    looking = observer(world, triggers=[TRIGGER])
    assert looking.look()[0].evidence["total"] == 0
    world.share = 0.0
    world.run(10)
    assert looking.look()[0].evidence["total"] == 1000
    assert looking.look()[0].evidence["offending"] == 0
    back = observer(world, triggers=[TRIGGER], from_window=True).look()[0]
    assert (back.verdict, back.evidence["window"], back.evidence["total"]) == ("fail", 30, 3000)


def test_a_change_within_what_one_look_sees_is_found() -> None:
    world = World()
    world.run(500)
    world.share = 0.1
    world.run(3)
    asked = {**TRIGGER, "window": "8m"}
    look = observer(world, triggers=[asked], from_window=True).look()[0]
    assert look.fires
    assert look.evidence["total"] <= 400
    world.share = 0.0
    world.run(400)
    assert observer(world, triggers=[asked], from_window=True).look()[0].fires


def test_what_a_trigger_missed_while_the_source_was_down_still_fires() -> None:
    world = World()
    looking = observer(world, triggers=[TRIGGER])
    looking.look()
    world.share = 0.1
    world.run(3)
    world.share = 0.0
    world.run(400)
    assert looking.look()[0].fires
    assert not looking.look()[0].fires


def test_a_trigger_sees_a_change_after_a_long_good_time_within_seconds() -> None:
    world = World(rate=20)
    looking = observer(world, [CRITERION], [TRIGGER])
    looking.look()
    for _second in range(900):
        world.run(1)
        assert not looking.look()[0].fires
    world.share = 0.3
    seconds = 0
    while not (judgement := looking.look()[0]).fires:
        world.run(1)
        seconds += 1
    assert seconds <= 4
    assert "requests since it changed" in judgement.reason
    assert judgement.value is not None
    assert judgement.value > 0.1


def test_healthy_releases_fire_no_trigger_however_often_one_looks() -> None:
    fired = 0
    for seed in range(20):
        world = World(rate=20, share=0.001)
        world.random = random.Random(seed)
        fired += any(look.fires for look in watched(world, 600, every=1, triggers=[TRIGGER], criteria=[CRITERION]))
    assert fired == 0


def test_traffic_that_stops_is_no_success() -> None:
    world = World(rate=100)
    looking = observer(world, [CRITERION], [TRIGGER])
    looking.look()
    world.run(60)
    assert [look.verdict for look in looking.look()] == ["pass", "pass"]
    world.rate = 0
    world.run(31)
    looks = looking.look()
    assert [look.verdict for look in looks] == ["no_evidence", "no_evidence"]
    assert looks[1].reason == "no requests for 31 s"


def test_samples_that_stop_are_no_success() -> None:
    world = World(rate=100)
    looking = observer(world, [CRITERION], [TRIGGER])
    looking.look()
    world.run(60)
    world.scraping = False
    looking.look()
    world.run(21)
    looks = looking.look()
    assert [look.verdict for look in looks] == ["no_evidence", "no_evidence"]
    assert looks[1].reason == "the newest sample is 21 s old, 20 s allowed"
    world.scraping = True
    world.run(1)
    again = looking.look()[1]
    assert again.verdict == "pass"
    assert again.evidence["total"] == 8200
    assert again.reason == "a gap in the samples"


def test_a_source_that_is_down_is_said_and_what_it_missed_counts_later() -> None:
    world = World(rate=100)
    looking = observer(world, [CRITERION], [TRIGGER])
    looking.look()
    world.run(40)
    looking.look()
    world.down = "refused"
    world.run(10)
    assert {(look.verdict, look.reason) for look in looking.look()} == {("source_down", "refused")}
    world.down = ""
    world.run(1)
    assert [look.evidence["total"] for look in looking.look()] == [5100, 5100]


def test_a_source_that_is_down_from_the_start_is_said() -> None:
    world = World()
    world.down = "refused"
    assert [look.verdict for look in observer(world, [CRITERION], [TRIGGER]).look()] == ["source_down"] * 2


def test_a_partial_answer_passes_nothing() -> None:
    world = World(rate=100)
    world.partial = "a store did not answer"
    assert last(watched(world, 60, criteria=[CRITERION, TRIGGER | {"below": 0.001, "above": None}])) == (
        "no_evidence",
        "the source's answer is partial: a store did not answer",
    )


def test_no_series_of_failures_is_no_evidence_unless_it_means_none() -> None:
    metrics = {**METRICS, "errors": {**METRICS["errors"], "bad_absent_is_zero": False}}
    world = World(rate=100)
    world.scraped["failed"] = []
    conditions = read_conditions(metrics, [CRITERION], [TRIGGER], versions=VERSIONS)
    looking = Observer(conditions, world, VERSIONS, Watch(60.0))  # type: ignore[arg-type]
    looking.look()
    world.run(30)
    world.scraped["failed"] = []
    look = looking.look()[1]
    assert look.verdict == "no_evidence"
    assert look.reason == (
        'failed{version="5.1"} has no series (set bad_absent_is_zero if no series means no failures)'
    )


def test_a_quantile_is_judged_by_the_share_of_slow_requests() -> None:
    quick = watched(World(rate=50, slow=0.01), 60, criteria=[{"metric": "latency", "below": 0.2}])[-1]
    assert (quick.verdict, quick.evidence["limits"]) == (
        "pass",
        {"acceptable": pytest.approx(0.05), "unacceptable": pytest.approx(0.05)},
    )
    slow = watched(World(rate=50, slow=0.2), 60, triggers=[{"metric": "latency", "above": 0.2}])[-1]
    assert slow.fires


def test_between_bucket_edges_the_count_that_is_harder_to_hold_is_taken() -> None:
    world = World(rate=50, slow=0.01)
    look = watched(world, 60, criteria=[{"metric": "latency", "below": 0.1}])[-1]
    assert look.verdict == "fail"
    assert "between the bucket edges 0 ms and 200 ms" in look.reason


def test_free_promql_is_asked_in_windows_that_do_not_overlap() -> None:
    world = World(rate=50)
    looks = watched(world, 60, every=1, criteria=[{"metric": "free", "below": 0.001, "unacceptable": 0.005}])
    assert looks[-1].verdict == "pass"
    assert looks[-1].evidence["total"] == 3000
    assert world.asked.count("free") == 6


def test_free_promql_that_was_away_for_a_while_is_asked_for_all_of_it() -> None:
    world = World(rate=50)
    looking = observer(world, [{"metric": "free", "below": 0.001, "unacceptable": 0.005}])
    looking.look()
    world.run(35)
    assert looking.look()[0].evidence["total"] == 1500
    world.run(5)
    assert looking.look()[0].evidence["total"] == 2000


def test_free_promql_goes_on_from_the_first_window_that_has_an_answer() -> None:
    world = World(rate=50)
    looking = observer(world, [{"metric": "free", "below": 0.001, "unacceptable": 0.005}])
    looking.look()
    world.silent_until = 1020
    world.run(15)
    look = looking.look()[0]
    assert look.verdict == "no_evidence"
    assert look.reason == f"the query answered nothing, at {format_time(1010)}"
    world.run(4)
    assert looking.look()[0].reason == "the query answered nothing"
    world.run(6)
    assert looking.look()[0].evidence["total"] == 500


def test_the_warm_up_counts_for_triggers_only() -> None:
    world = World(rate=100, share=0.02)
    looking = observer(world, [CRITERION], [{**TRIGGER, "above": 0.1}])
    looking.look(criteria_count=False)
    world.run(60)
    trigger, criterion = looking.look(criteria_count=False)
    assert (trigger.evidence["total"], criterion.evidence["total"]) == (6000, 0)
    world.share = 0.0
    world.run(60)
    assert looking.look()[1].verdict == "pass"


def test_gauges_are_judged_beside_and_by_the_same_clock() -> None:
    world = World(rate=100)
    looks = observer(world, [CRITERION, {"metric": "agents", "at_least": 61}]).look()
    assert [look.verdict for look in looks] == ["no_evidence", "pass"]
    assert looks[0].reason == "no sample since the start, 0 s ago"


def test_the_risk_is_shared_out_among_what_may_roll_back() -> None:
    world = World(rate=100)
    both = observer(world, [CRITERION], [TRIGGER], risks=Risks(0.01, 0.02)).look()
    assert [look.evidence["risk"] for look in both] == [0.005, 0.02]


@pytest.mark.parametrize(
    ("metric", "candidate", "stable", "verdicts"),
    [
        ("errors", 0.02, 0.02, ("pass", "pass")),
        ("errors", 0.08, 0.02, ("fail", "fail")),
        ("latency", 0.05, 0.05, ("pass", "pass")),
        ("latency", 0.20, 0.05, ("fail", "fail")),
    ],
)
def test_the_candidate_is_compared_with_stable(
    metric: str, candidate: float, stable: float, verdicts: tuple[str, str]
) -> None:
    world = TwoSides(candidate, stable)
    world.run(30)
    looking = observer(
        world,
        [{"metric": metric, "compared_with": "stable", "at_most": 1.5, "unacceptable": 2}],
        [{"metric": metric, "compared_with": "stable", "above": 2}],
    )
    looking.look()
    for _look in range(12):
        world.run(10)
        trigger, criterion = looking.look()
    assert (trigger.verdict, criterion.verdict) == verdicts, (trigger.text, criterion.text)
    assert "on stable" in trigger.text


def test_what_hits_both_sides_is_no_regression() -> None:
    world = TwoSides(0.01, 0.01)
    looking = observer(world, triggers=[{"metric": "errors", "compared_with": "stable", "above": 1.5}])
    looking.look()
    for share in (0.01, 0.4, 0.4, 0.01):
        world.shares = {"5.1": share, "5.0": share}
        world.run(20)
        assert not looking.look()[0].fires


def test_two_sides_without_a_failure_are_not_proven_alike() -> None:
    world = TwoSides(0.0, 0.0)
    looking = observer(world, [{"metric": "errors", "compared_with": "stable", "at_most": 1.5}])
    looking.look()
    world.run(60)
    look = looking.look()[0]
    assert (look.verdict, look.value) == ("no_evidence", None)
    assert look.reason == "not yet sure: the candidate may be any number of times as bad as stable"


def test_too_few_requests_are_undecided_and_none_at_all_are_missing() -> None:
    world = World(rate=1)
    looking = observer(world, [CRITERION], [TRIGGER])
    assert not looking.look()[1].undecided
    world.run(200)
    look = looking.look()[1]
    assert (look.verdict, look.undecided) == ("no_evidence", True)
    world.rate = 0
    world.run(31)
    look = looking.look()[1]
    assert (look.verdict, look.undecided) == ("no_evidence", False)
