"""A source of counters and a gauge, with one pod behind it whose faults a test decides; its clock stands still."""

from __future__ import annotations

import random
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import SourceDownError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import Metric
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.courses import Grid, read_course
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import Measurement
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.samples import Course, Samples, Series

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
    "agents": {"kind": "gauge", "max_age": "20s", "query": "agents"},
}


class World:
    """A source with one pod that is scraped every second: ``rate`` requests a second, of which ``share`` fail."""

    def __init__(self, rate: int = 100, share: float = 0.0, slow: float = 0.0) -> None:
        self.random = random.Random(4)
        self.at = 1000.0
        self.rate, self.share, self.slow = rate, share, slow
        self.agents = 61.0
        self.counted = {"requests": 0.0, "failed": 0.0, "fast": 0.0}
        self.scraped: dict[str, list[tuple[float, float]]] = {name: [] for name in (*self.counted, "agents")}
        self.scraping = True
        self.down = ""
        self.partial = ""
        self.silent_until = 0.0
        self.asked: list[str] = []

    def run(self, seconds: int) -> None:
        for _second in range(seconds):
            self.at += 1
            for _request in range(self.rate):
                self.counted["requests"] += 1
                self.counted["failed"] += self.random.random() < self.share
                self.counted["fast"] += self.random.random() >= self.slow
            if self.scraping:
                for name, value in {**self.counted, "agents": self.agents}.items():
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
        at = self.at if at is None else at
        for metric, window in needs:
            self.asked.append(metric.name)
            if metric.kind == "gauge":
                measured[metric.name, window] = Measurement(window, values=(61.0,), samples=1, age=0.0)
            elif at < self.silent_until:
                measured[metric.name, window] = Measurement(
                    window, problem="no_evidence", reason="the query answered nothing"
                )
            else:
                grown = {name: self._value(name, at) - self._value(name, at - window) for name in self.counted}
                age = at - max([0.0, *(time for time, _value in self.scraped["requests"] if time <= at)])
                measured[metric.name, window] = Measurement(
                    window, bad=grown["failed"], total=grown["requests"], samples=1, age=age, at=at
                )
        return measured

    def course(
        self, metric: Metric, seconds: float, step: float, *, strict: bool = False, at: float | None = None
    ) -> Course:
        """As Prometheus answers: the last sample of up to 5 minutes ago at each point of time."""
        at = self.at if at is None else at
        grid = Grid(at - seconds, step, round(seconds / step) + 1)
        values, newest = [], []
        for time in map(grid.time, range(grid.points)):
            known = [sample for sample in self.scraped["agents"] if time - 300 < sample[0] <= time]
            if known:
                values.append((time, known[-1][1]))
                newest.append((time, known[-1][0]))
        series, gaps = read_course([Series({"pod": "a"}, values)], [Series({}, newest)], grid, metric.max_age)
        return Course(at - seconds, at, step, series, gaps, partial=self.partial)

    def _value(self, name: str, at: float) -> float:
        return max([0.0, *(value for time, value in self.scraped[name] if time <= at)])


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
