"""Looking again and again at a source of counters: what each look adds, what is judged, and what is never passed."""

from __future__ import annotations

import random
import typing as t

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import SourceDownError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.analysis import Risks
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.criteria import read_conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import Judgement, Measurement
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.observer import Observer, Watch
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.samples import Samples, Series

VERSIONS = {"stable": "5.0", "candidate": "5.1"}
METRICS: dict[str, t.Any] = {
    "errors": {
        "kind": "ratio",
        "window": "30s",
        "max_age": "20s",
        "bad": 'failed{version="$candidate"}',
        "total": 'requests{version="$candidate"}',
        "bad_absent_is_zero": True,
    },
    "latency": {"kind": "quantile", "window": "30s", "max_age": "20s", "buckets": 'took{version="$candidate"}'},
    "free": {
        "kind": "ratio",
        "window": "10s",
        "bad": 'sum(increase(failed{version="$candidate"}[$window])) * 1',
        "total": 'sum(increase(requests{version="$candidate"}[$window])) * 1',
    },
    "agents": {"kind": "gauge", "query": "agents"},
}
CRITERION = {"metric": "errors", "below": 0.001}
TRIGGER = {"metric": "errors", "above": 0.005}


class World:
    """A source with one pod that is scraped every second: ``rate`` requests a second, of which ``share`` fail."""

    def __init__(self, rate: int = 100, share: float = 0.0, slow: float = 0.0) -> None:
        self.random = random.Random(4)
        self.at = 1000.0
        self.rate, self.share, self.slow = rate, share, slow
        self.counted = {"requests": 0.0, "failed": 0.0, "fast": 0.0}
        self.scraped: dict[str, list[tuple[float, float]]] = {name: [] for name in self.counted}
        self.scraping = True
        self.down = ""
        self.partial = ""
        self.asked: list[str] = []

    def run(self, seconds: int) -> None:
        for _second in range(seconds):
            self.at += 1
            for _request in range(self.rate):
                self.counted["requests"] += 1
                self.counted["failed"] += self.random.random() < self.share
                self.counted["fast"] += self.random.random() >= self.slow
            if self.scraping:
                for name, value in self.counted.items():
                    self.scraped[name].append((self.at, value))

    def now(self) -> float:
        if self.down:
            raise SourceDownError(self.down)
        return self.at

    def samples(
        self, since: t.Mapping[str, float], *, strict: bool = False, at: float | None = None
    ) -> dict[str, Samples]:
        self.asked += since
        return {selector: self._samples(selector, begin) for selector, begin in since.items()}

    def _samples(self, selector: str, since: float) -> Samples:
        assert selector.endswith('{version="5.1"}')
        name = selector.partition("{")[0]
        rows = [("fast", {"le": "0.2"}), ("requests", {"le": "+Inf"})] if name == "took" else [(name, {})]
        series = [
            Series({"pod": "a", **labels}, [sample for sample in self.scraped[row] if sample[0] > since])
            for row, labels in rows
        ]
        return Samples(since, self.at, tuple(one for one in series if one.samples), partial=self.partial)

    def measure(self, needs: t.Iterable, *, strict: bool = False, at: float | None = None) -> dict:
        measured = {}
        for metric, window in needs:
            self.asked.append(metric.name)
            if metric.kind == "gauge":
                measured[metric.name, window] = Measurement(window, values=(61.0,), samples=1, age=0.0)
            else:
                grown = {name: self._grown(name, window) for name in self.counted}
                measured[metric.name, window] = Measurement(
                    window, bad=grown["failed"], total=grown["requests"], samples=1, age=0.0
                )
        return measured

    def _grown(self, name: str, window: float) -> float:
        before = [value for time, value in self.scraped[name] if time <= self.at - window]
        return self.counted[name] - (before[-1] if before else 0.0)


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


class TwoSides(World):
    """The candidate gets a tenth of stable's requests; the failures of either side are set apart."""

    def __init__(self, candidate: float, stable: float) -> None:
        super().__init__()
        self.shares = {"5.1": candidate, "5.0": stable}
        self.rates = {"5.1": 100, "5.0": 1000}
        self.of_version: dict[tuple[str, str], list[tuple[float, float]]] = {
            (name, version): [(999.0, 0.0)] for name in ("requests", "failed", "fast") for version in self.shares
        }

    def run(self, seconds: int) -> None:
        for _second in range(seconds):
            self.at += 1
            for version, share in self.shares.items():
                bad = sum(self.random.random() < share for _request in range(self.rates[version]))
                for name, grown in (("requests", 0), ("failed", bad - self.rates[version]), ("fast", -bad)):
                    rows = self.of_version[name, version]
                    rows.append((self.at, rows[-1][1] + self.rates[version] + grown))

    def _samples(self, selector: str, since: float) -> Samples:
        name, _brace, version = selector.partition('{version="')
        rows = [("fast", {"le": "0.2"}), ("requests", {"le": "+Inf"})] if name == "took" else [(name, {})]
        series = [
            Series({"pod": "a", **labels}, [one for one in self.of_version[row, version[:3]] if one[0] > since])
            for row, labels in rows
        ]
        return Samples(since, self.at, tuple(series))

    def measure(self, needs: t.Iterable, *, strict: bool = False, at: float | None = None) -> dict:
        (need,) = needs
        metric, window = need
        assert metric.name == "latency (stable)"
        buckets = tuple(
            (edge, self.of_version[name, "5.0"][-1][1]) for edge, name in ((0.2, "fast"), (float("inf"), "requests"))
        )
        return {(metric.name, window): Measurement(window, buckets=buckets, samples=1)}


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
