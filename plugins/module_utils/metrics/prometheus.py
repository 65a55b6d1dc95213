# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The source of measurements: queries to a Prometheus-compatible HTTP API. Asks; judges nothing."""

from __future__ import annotations

import math
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock, SystemClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import QueryError, SourceDownError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.answers import (
    Answer,
    Reply,
    read_buckets,
    read_counters,
    read_matrix,
    read_ratio,
    read_values,
    read_vector,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import Metric
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.courses import Grid, read_course
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import Measurement
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.look import SourceLook
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.names import unknown_names
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.promql import promql_duration
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.samples import Course, Samples
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.source import Key, Need
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.source_clock import SourceClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.transport import Transport
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.verdicts import NO_EVIDENCE

PROMETHEUS = ArgumentSpec(
    arguments={
        "url": {"type": "str"},
        "urls": {"type": "list", "elements": "str"},
        "token": {"type": "str", "no_log": True},
        "username": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "validate_certs": {"type": "bool", "default": True},
        "ca_path": {"type": "path"},
        "client_cert": {"type": "path"},
        "client_key": {"type": "path", "no_log": False},
        "timeout": {"type": "float", "default": 3.0},
    },
    mutually_exclusive=(("url", "urls"), ("token", "username")),
    required_one_of=(("url", "urls"),),
    required_together=(("username", "password"), ("client_cert", "client_key")),
)

VERSIONS_OPTION: dict[str, t.Any] = {
    "type": "dict",
    "default": {},
    "options": {"stable": {"type": "str"}, "candidate": {"type": "str"}},
}

# Prometheus refuses a range query with more than 11 000 points.
_MOST_POINTS = 10_000

Name = t.TypeVar("Name", bound=str)
Result = t.TypeVar("Result")


def prometheus_option(required: bool) -> dict[str, t.Any]:
    """The option ``prometheus`` of a module: a dictionary of :data:`PROMETHEUS`."""
    return {
        "type": "dict",
        "required": required,
        "options": dict(PROMETHEUS.arguments),
        "mutually_exclusive": list(PROMETHEUS.mutually_exclusive),
        "required_one_of": list(PROMETHEUS.required_one_of),
        "required_together": list(PROMETHEUS.required_together),
    }


class PrometheusSource:
    """A :class:`Source` behind the HTTP API of Prometheus, Thanos, Mimir or VictoriaMetrics."""

    def __init__(
        self, transport: Transport, *, versions: t.Mapping[str, str] | None = None, clock: Clock | None = None
    ) -> None:
        self._transport = transport
        self._versions = versions or {}
        self._clock = clock or SystemClock()
        self._theirs = SourceClock()

    @classmethod
    def from_options(
        cls, options: t.Mapping[str, t.Any], versions: t.Mapping[str, str] | None = None
    ) -> PrometheusSource:
        """A source from the option ``prometheus``. Raises InputError naming each option that can't be used."""
        return cls(Transport.from_options(options), versions=versions)

    @property
    def skew(self) -> float | None:
        """Seconds by which the source's clock is ahead of ours; None before it was asked."""
        return self._theirs.skew

    @property
    def warnings(self) -> tuple[str, ...]:
        """What people should know of the source's clock."""
        return self._theirs.warnings

    def close(self) -> None:
        """Close the kept-alive connection."""
        self._transport.close()

    def now(self) -> float:
        """The source's clock. It is asked first: a source that is down costs one timeout, not one per query.

        Raises SourceDownError.
        """
        sent = (self._clock.now(), self._clock.monotonic())
        try:
            values = self._instant("time()", None).values
        except QueryError as error:
            raise SourceDownError(f"Prometheus at {self._transport.url} refused time(): {error.message}") from error
        if len(values) != 1 or not math.isfinite(values[0]):
            raise SourceDownError(f"Prometheus at {self._transport.url} answered {values} to time().")
        self._theirs.note(self._transport.url, values[0], sent, (self._clock.now(), self._clock.monotonic()))
        return values[0]

    def check(self, needs: t.Iterable[Need]) -> list[dict[str, t.Any]]:
        """Ask each query once. Raises QueryError with all that are refused, SourceDownError when nobody answers.

        What is needed twice is asked once.

        Returns what was asked and how many series answered.
        """
        now = self.now()
        asked: list[dict[str, t.Any]] = []
        refused: dict[str, list[str]] = {}
        for metric, window in {(metric.name, window): (metric, window) for metric, window in needs}.values():
            if metric.name in refused:
                continue  # over another window it is wrong in the same way
            try:
                asked += self._check(metric, window, now)
            except QueryError as error:
                refused[metric.name] = error.details["problems"]
        if refused:
            problems = [problem for of_metric in refused.values() for problem in of_metric]
            raise QueryError("; ".join(problems), problems=problems)
        return asked

    def _check(self, metric: Metric, window: float, now: float) -> list[dict[str, t.Any]]:
        asked: list[dict[str, t.Any]] = []
        refused: list[str] = []
        for role in (*metric.queries, *(["freshness"] if metric.freshness else [])):
            if role == "freshness" and refused:
                break  # it is made of the others
            query = metric.promql(role, window, self._versions)
            try:
                answer = self._ask(metric, query, now)
            except QueryError as error:
                refused.append(error.message)
                continue
            asked.append({"metric": metric.name, "role": role, "query": query, "series": len(answer.series)})
        if refused:
            raise QueryError("; ".join(refused), problems=refused)
        return asked

    def unknown(self, needs: t.Iterable[Need]) -> list[str]:
        """Names of series and labels in the queries that the source has never heard of, a sentence each."""
        metrics = {metric.name: metric for metric, _window in needs}.values()
        try:
            return unknown_names(metrics, self._names)
        except (SourceDownError, QueryError) as error:
            return [f"names of series and labels can't be checked: {error.message}"]

    def measure(
        self, needs: t.Iterable[Need], *, strict: bool = False, at: float | None = None
    ) -> dict[Key, Measurement]:
        """Measure each metric over its window, all at one time by the source's clock. Keys are (name, window).

        A source that is down, and a query that fails, become measurements that say so; with ``strict`` a query
        that fails raises QueryError.
        """
        look = SourceLook(self.now, at, strict=strict)
        return {
            (metric.name, window): self._measure(look, metric, window)
            for metric, window in {(metric.name, window): (metric, window) for metric, window in needs}.values()
        }

    def _measure(self, look: SourceLook, metric: Metric, window: float) -> Measurement:
        queries = {role: metric.promql(role, window, self._versions) for role in metric.queries}

        def failed(problem: str, reason: str) -> Measurement:
            at = look.at if problem == NO_EVIDENCE else None
            return Measurement(window, at=at, problem=problem, reason=reason, queries=queries)

        return look.ask(lambda: self._measured(metric, window, look.at, queries), failed)

    def _measured(self, metric: Metric, window: float, at: float, queries: dict[str, str]) -> Measurement:
        answers = {role: self._ask(metric, query, at) for role, query in queries.items()}
        partial = "; ".join(sorted({answer.warnings for answer in answers.values() if answer.warnings}))
        facts: dict[str, t.Any]
        if metric.kind == "ratio":
            facts = read_ratio(metric, answers)
        elif metric.kind == "quantile":
            facts = read_buckets(answers["buckets"])
        else:
            facts = read_values(metric, answers["query"])
        age = self._age(metric, window, at)
        return Measurement(window, at=at, age=age, partial=partial, queries=queries, **facts)

    def _age(self, metric: Metric, window: float, now: float) -> float | None:
        if not metric.freshness:
            return None
        answer = self._ask(metric, metric.promql("freshness", window, self._versions), now)
        times = [value for value in answer.values if math.isfinite(value)]
        return max(0.0, now - max(times)) if times else None

    def samples(
        self, since: t.Mapping[str, float], *, strict: bool = False, at: float | None = None
    ) -> dict[str, Samples]:
        """The raw samples of counters, each from its own time on; keys are their selectors."""
        look = SourceLook(self.now, at, strict=strict)
        return {selector: self._samples(look, selector, begin) for selector, begin in since.items()}

    def _samples(self, look: SourceLook, selector: str, since: float) -> Samples:
        def failed(problem: str, reason: str) -> Samples:
            return Samples(since, look.at, problem=problem, reason=f"counter {selector}: {reason}")

        def answered() -> Samples:
            # An instant query for a range gives the samples as they were scraped, with their own times.
            query = f"{selector}[{promql_duration(max(0.001, look.at - since))}]"
            reply = self._query(query, look.at)
            return Samples(since, look.at, read_counters(reply), partial=reply.warnings)

        return look.ask(answered, failed)

    def course(
        self, metric: Metric, seconds: float, step: float, *, strict: bool = False, at: float | None = None
    ) -> Course:
        """A gauge over the last ``seconds``, a point every ``step`` seconds or as near as the source allows."""
        look = SourceLook(self.now, at, strict=strict)
        step = max(step, seconds / _MOST_POINTS)
        query = metric.promql("query", metric.window, self._versions)
        since = look.at - seconds

        def failed(problem: str, reason: str) -> Course:
            return Course(since, look.at, step, problem=problem, reason=reason, query=query)

        def answered() -> Course:
            values = self._range(metric, query, since, look.at, step)
            newest = None
            if metric.freshness:
                fresh = metric.promql("freshness", metric.window, self._versions)
                newest = read_matrix(self._range(metric, fresh, since, look.at, step))
            grid = Grid(since, step, math.floor(seconds / step + 1e-9) + 1)
            matrix = read_matrix(values)
            series, gaps = read_course(matrix, newest, grid, metric.max_age, absent_is_zero=metric.absent_is_zero)
            return Course(since, look.at, step, series, gaps, partial=values.warnings, query=query)

        return look.ask(answered, failed)

    def totals(self, queries: t.Mapping[Name, str]) -> dict[Name, float | None]:
        """The sum of each query's series, all at one time by the source's clock; None where there is no series.

        Raises QueryError, SourceDownError.
        """
        now = self.now()
        answers = {name: self._instant(query, now) for name, query in queries.items()}
        return {name: sum(answer.values) if answer.values else None for name, answer in answers.items()}

    def _ask(self, metric: Metric, query: str, at: float) -> Answer:
        return self._named(metric, query, lambda: self._instant(query, at))

    def _range(self, metric: Metric, query: str, since: float, until: float, step: float) -> Reply:
        fields = {"query": query, "start": f"{since:.3f}", "end": f"{until:.3f}", "step": f"{step:.3f}"}
        # VictoriaMetrics would move the times to multiples of the step for the sake of its cache.
        return self._named(metric, query, lambda: self._transport.get("query_range", {**fields, "nocache": "1"}))

    def _named(self, metric: Metric, query: str, ask: t.Callable[[], Result]) -> Result:
        try:
            return ask()
        except QueryError as error:
            raise QueryError(
                f"metric {metric.name}: Prometheus refused the query {query!r}: {error.message}",
                metric=metric.name,
                query=query,
            ) from error

    def _instant(self, query: str, at: float | None) -> Answer:
        return read_vector(self._query(query, at))

    def _query(self, query: str, at: float | None) -> Reply:
        return self._transport.get("query", {"query": query} | ({} if at is None else {"time": f"{at:.3f}"}))

    def _names(self, path: str, fields: t.Mapping[str, str]) -> list[str]:
        data = self._transport.get(path, fields).data
        if not isinstance(data, list):
            raise QueryError(f"{path} answers with {data!r}, which is no list of names")
        return [str(name) for name in data]
