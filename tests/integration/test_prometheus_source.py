"""Exact increments and gauges over time, from a real Prometheus that scrapes pods which come, restart and go."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.counters import CounterWatch
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.criteria import read_conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.prometheus import PrometheusSource
from tests.integration.measured import SERVERS, Exporter, prometheus

VERSIONS = {"stable": "5.0", "candidate": "5.1"}
METRICS: dict[str, Any] = {
    "error_rate": {
        "kind": "ratio",
        "bad": 'requests_total{version="$candidate",status="500"}',
        "total": 'requests_total{version="$candidate"}',
        "bad_absent_is_zero": True,
        "window": "5s",
    },
    "p95": {"kind": "quantile", "buckets": 'seconds_bucket{version="$candidate"}', "window": "5s"},
    "agents": {"kind": "gauge", "query": 'min(agents{version="$candidate"})', "max_age": "2s"},
}
SLOW = 3


class Pods(Exporter):
    """Pods on one page: requests per pod and status, of which every third took long. None of them makes requests."""

    def __init__(self, host: str) -> None:
        self.requests: dict[tuple[str, str], int] = {}
        self.pages = 0
        self.lag = 0.0
        super().__init__(host)

    def page(self) -> str:
        self.pages += 1
        lines = []
        for (pod, status), count in self.requests.items():
            lines.append(f'requests_total{{version="5.1",pod="{pod}",status="{status}"}} {count}')
        for pod in {pod for pod, _status in self.requests}:
            whole = sum(count for (other, _status), count in self.requests.items() if other == pod)
            lines.append(f'seconds_bucket{{version="5.1",pod="{pod}",le="0.5"}} {whole - whole // SLOW}')
            lines.append(f'seconds_bucket{{version="5.1",pod="{pod}",le="+Inf"}} {whole}')
            lines.append(f'agents{{version="5.1",pod="{pod}"}} 61')
        return "\n".join(lines) + "\n"

    def scraped(self) -> None:
        """Return once the server answers with what the pods show now: after the scrape that follows the next one."""
        wanted = self.pages + 3
        deadline = time.monotonic() + 10
        while self.pages < wanted:
            assert time.monotonic() < deadline, "Prometheus does not scrape"
            time.sleep(0.02)
        time.sleep(self.lag)


@pytest.fixture(scope="module", params=SERVERS)
def pods(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Pods, PrometheusSource]]:
    if not shutil.which(request.param):
        pytest.skip(f"{request.param} is not installed, and the setup could not get it")
    served = Pods("127.74.0.2")
    served.requests = {("a", "200"): 7000}
    if request.param == "victoria-metrics":
        served.lag = 2.0  # it answers with samples once it has brought them to disk, every second
    home = tmp_path_factory.mktemp(request.param)
    try:
        with prometheus(home, "127.74.0.1", served.target, request.param) as url:
            source = PrometheusSource.from_options({"url": url, "timeout": 2.0}, VERSIONS)
            yield served, source
            source.close()
    finally:
        served.close()


def metric(name: str) -> Any:
    return read_conditions(METRICS, [{"metric": name, "below": 0.5}], versions=VERSIONS).criteria[0].metric


def test_each_request_is_counted_once_whatever_the_pods_do(pods: tuple[Pods, PrometheusSource]) -> None:
    served, source = pods
    ratio, quantile = metric("error_rate"), metric("p95")
    selectors = {
        "bad": ratio.selector("bad", VERSIONS),
        "total": ratio.selector("total", VERSIONS),
        "buckets": quantile.selector("buckets", VERSIONS),
    }
    served.scraped()
    begin = source.now()
    watches = {role: CounterWatch(begin, gap=2.0) for role in selectors}
    counted = dict.fromkeys(selectors, 0.0)
    fast, made, born = 0.0, {"200": 0, "500": 0}, 0

    def requests(pod: str, status: str, count: int) -> None:
        served.requests[pod, status] = served.requests.get((pod, status), 0) + count
        made[status] += count

    def look() -> None:
        nonlocal fast, born
        at = source.now()
        since = {selectors[role]: watching.since for role, watching in watches.items()}
        answers = source.samples(since, strict=True, at=at)
        for role, watching in watches.items():
            seen = watching.add(answers[selectors[role]])
            counted[role] += seen.count
            born += seen.born if role == "total" else 0
            assert seen.gaps == () or role == "bad"
            fast += seen.buckets[0][1] if seen.buckets else 0

    requests("a", "200", 10)
    look()
    requests("b", "200", 500)  # a new pod, whose first value counts
    served.scraped()
    look()
    look()
    requests("b", "500", 4)  # a status that nobody has seen
    requests("a", "200", 1)
    served.scraped()
    served.requests["a", "200"] = 0  # a restart, after all was scraped
    requests("a", "200", 5)
    look()
    served.scraped()
    for _again in range(5):
        requests("b", "200", 20)
        look()
        time.sleep(0.3)
    served.scraped()
    del served.requests["a", "200"]  # a pod that is gone
    requests("b", "500", 1)
    served.scraped()
    look()
    assert made == {"200": 616, "500": 5}
    assert counted == {"bad": 5, "total": 621, "buckets": 621}
    assert born == 2
    # The restart takes the rounding of "every third" with it, the birth of status 500 does not.
    assert fast == pytest.approx(621 * (1 - 1 / SLOW), abs=2)


def test_a_time_without_scrapes_is_a_gap_in_counts_and_gauges(pods: tuple[Pods, PrometheusSource]) -> None:
    served, source = pods
    served.requests = {("c", "200"): 100}
    served.scraped()
    gauge, total = metric("agents"), metric("error_rate").selector("total", VERSIONS)
    begin = source.now()
    watching = CounterWatch(begin, gap=2.0, lookback=30.0)
    watching.add(source.samples({total: watching.since}, strict=True)[total])
    served.serving = False
    time.sleep(4)
    quiet = watching.add(source.samples({total: watching.since}, strict=True)[total])
    assert (quiet.count, quiet.series) == (0, 0)
    assert quiet.gaps[0].until - quiet.gaps[0].since > 2
    served.requests["c", "200"] = 142
    served.serving = True
    served.scraped()
    after = watching.add(source.samples({total: watching.since}, strict=True)[total])
    assert (after.count, after.across_gaps, len(after.gaps)) == (42, 42, 1)
    course = source.course(gauge, source.now() - begin, 0.5, strict=True)
    assert {value for series in course.series for _at, value in series.samples} == {61}
    assert any(gap.until - gap.since >= 3 for gap in course.gaps)


def test_names_that_prometheus_does_not_know_are_told(pods: tuple[Pods, PrometheusSource]) -> None:
    _served, source = pods
    entry = {"kind": "ratio", "bad": 'requests_total{stat="500"}', "total": "request_total"}
    read = read_conditions({"m": entry}, [{"metric": "m", "below": 0.5}], versions=VERSIONS).criteria[0].metric
    assert source.unknown([(metric("p95"), 5.0), (read, 5.0)]) == [
        "metric m: no series requests_total has the label stat (did you mean status?)",
        "metric m: there is no series request_total (did you mean requests_total?)",
    ]


def test_the_clock_of_one_machine_is_the_same(pods: tuple[Pods, PrometheusSource]) -> None:
    _served, source = pods
    source.now()
    # VictoriaMetrics tells whole seconds.
    assert source.skew == pytest.approx(0, abs=1.5)
    assert source.warnings == ()
