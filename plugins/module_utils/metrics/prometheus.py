# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The source of measurements: instant queries to a Prometheus-compatible HTTP API. Asks; judges nothing."""

from __future__ import annotations

import math
import traceback
import typing as t
from urllib.parse import urlencode

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    InputError,
    QueryError,
    SourceDownError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.answers import (
    Answer,
    NoEvidence,
    read_buckets,
    read_ratio,
    read_reply,
    read_values,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import Metric
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import (
    NO_EVIDENCE,
    SOURCE_DOWN,
    Measurement,
)

try:
    import urllib3
except ImportError:
    URLLIB3_MISSING: str | None = traceback.format_exc()
else:
    URLLIB3_MISSING = None

PROMETHEUS = ArgumentSpec(
    arguments={
        "url": {"type": "str"},
        "urls": {"type": "list", "elements": "str"},
        "token": {"type": "str", "no_log": True},
        "username": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "validate_certs": {"type": "bool", "default": True},
        "ca_path": {"type": "path"},
        "timeout": {"type": "float", "default": 3.0},
    },
    mutually_exclusive=(("url", "urls"), ("token", "username")),
    required_one_of=(("url", "urls"),),
    required_together=(("username", "password"),),
)

VERSIONS_OPTION: dict[str, t.Any] = {
    "type": "dict",
    "default": {},
    "options": {"stable": {"type": "str"}, "candidate": {"type": "str"}},
}

Name = t.TypeVar("Name", bound=str)
Need = tuple[Metric, float]
Key = tuple[str, float]


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
    """Asks the first of ``urls`` that answers, and stays with it; over one kept-alive connection.

    ``queries`` counts the queries sent.
    """

    def __init__(
        self,
        urls: t.Sequence[str],
        *,
        versions: t.Mapping[str, str] | None = None,
        headers: t.Mapping[str, str] | None = None,
        validate_certs: bool = True,
        ca_path: str | None = None,
        timeout: float = 3.0,
    ) -> None:
        if URLLIB3_MISSING:
            raise InputError(missing_required_lib("urllib3"), exception=URLLIB3_MISSING)
        self._urls = [_checked_url(url) for url in urls]
        self._versions = versions or {}
        self._timeout = timeout
        self.queries = 0
        self._pool = urllib3.PoolManager(
            num_pools=len(self._urls),
            maxsize=1,
            headers=dict(headers or {}),
            timeout=urllib3.Timeout(total=timeout),
            retries=False,
            cert_reqs="CERT_REQUIRED" if validate_certs else "CERT_NONE",
            ca_certs=ca_path,
        )

    @classmethod
    def from_options(
        cls, options: t.Mapping[str, t.Any], versions: t.Mapping[str, str] | None = None
    ) -> PrometheusSource:
        """A source from the option ``prometheus``. Raises InputError for an URL or a timeout that can't be used."""
        headers = {}
        if options.get("token"):
            headers["Authorization"] = f"Bearer {options['token']}"
        elif options.get("username"):
            headers.update(
                urllib3.make_headers(basic_auth=f"{options['username']}:{options['password']}")
                if not URLLIB3_MISSING
                else {}
            )
        timeout = 3.0 if options.get("timeout") is None else float(options["timeout"])
        if timeout <= 0:
            raise InputError(f"prometheus.timeout: {timeout:g} must be more than 0 seconds.")
        validate_certs = options.get("validate_certs")
        return cls(
            options.get("urls") or [options.get("url") or ""],
            versions=versions,
            headers=headers,
            validate_certs=validate_certs is not False,
            ca_path=options.get("ca_path"),
            timeout=timeout,
        )

    def close(self) -> None:
        """Close the kept-alive connection."""
        self._pool.clear()

    def check(self, needs: t.Iterable[Need]) -> list[dict[str, t.Any]]:
        """Ask each query once. Raises QueryError with all that are refused, SourceDownError when nobody answers.

        What is needed twice is asked once.

        Returns what was asked and how many series answered.
        """
        now = self._now()
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

    def measure(self, needs: t.Iterable[Need], *, strict: bool = False) -> dict[Key, Measurement]:
        """Measure each metric over its window, all at one time by the source's clock. Keys are (name, window).

        A source that is down, and a query that fails, become measurements that say so; with ``strict`` a query
        that fails raises QueryError.
        """
        down = ""
        now: float | None = None
        try:
            now = self._now()
        except SourceDownError as error:
            down = error.message
        measured: dict[Key, Measurement] = {}
        for metric, window in needs:
            if (metric.name, window) in measured:
                continue
            queries = {role: metric.promql(role, window, self._versions) for role in metric.queries}
            if now is not None and not down:
                try:
                    measurement = self._measure(metric, window, now, queries)
                except SourceDownError as error:
                    # The rest of this look would only wait for the same timeout.
                    down = error.message
                except QueryError as error:
                    if strict:
                        raise
                    measurement = Measurement(window, problem=NO_EVIDENCE, reason=error.message, queries=queries)
                except NoEvidence as error:
                    measurement = Measurement(window, problem=NO_EVIDENCE, reason=str(error), at=now, queries=queries)
            if down:
                measurement = Measurement(window, problem=SOURCE_DOWN, reason=down, queries=queries)
            measured[metric.name, window] = measurement
        return measured

    def totals(self, queries: t.Mapping[Name, str]) -> dict[Name, float | None]:
        """The sum of each query's series, all at one time by the source's clock; None where there is no series.

        Raises QueryError, SourceDownError.
        """
        now = self._now()
        answers = {name: self._query(query, now) for name, query in queries.items()}
        return {name: sum(answer.values) if answer.values else None for name, answer in answers.items()}

    def _measure(self, metric: Metric, window: float, now: float, queries: dict[str, str]) -> Measurement:
        answers = {role: self._ask(metric, query, now) for role, query in queries.items()}
        partial = "; ".join(sorted({answer.warnings for answer in answers.values() if answer.warnings}))
        facts: dict[str, t.Any]
        if metric.kind == "ratio":
            facts = read_ratio(metric, answers)
        elif metric.kind == "quantile":
            facts = read_buckets(answers["buckets"])
        else:
            facts = read_values(metric, answers["query"])
        age = self._age(metric, window, now)
        return Measurement(window, at=now, age=age, partial=partial, queries=queries, **facts)

    def _age(self, metric: Metric, window: float, now: float) -> float | None:
        if not metric.freshness:
            return None
        answer = self._ask(metric, metric.promql("freshness", window, self._versions), now)
        times = [value for value in answer.values if math.isfinite(value)]
        return max(0.0, now - max(times)) if times else None

    def _now(self) -> float:
        """The source's clock. It is asked first: a source that is down costs one timeout, not one per query."""
        for _labels, value in self._query("time()", None).series:
            return value
        raise SourceDownError(f"Prometheus at {self._urls[0]} answered nothing to time().")

    def _ask(self, metric: Metric, query: str, at: float) -> Answer:
        try:
            return self._query(query, at)
        except QueryError as error:
            raise QueryError(
                f"metric {metric.name}: Prometheus refused the query {query!r}: {error.message}",
                metric=metric.name,
                query=query,
            ) from error

    def _query(self, query: str, at: float | None) -> Answer:
        """Ask each URL in turn, the one that answered last first. Raises QueryError, SourceDownError."""
        down = []
        for url in list(self._urls):
            try:
                answer = self._request(url, query, at)
            except SourceDownError as error:
                down.append(error.message)
                continue
            self._urls.sort(key=lambda other: other != url)
            return answer
        raise SourceDownError("; ".join(down))

    def _request(self, url: str, query: str, at: float | None) -> Answer:
        self.queries += 1
        fields = {"query": query, "timeout": f"{self._timeout:g}s"} | ({} if at is None else {"time": f"{at:.3f}"})
        target = f"{url}/api/v1/query?{urlencode(fields)}"
        try:
            try:
                response = self._pool.request("GET", target, redirect=False)
            except urllib3.exceptions.ProtocolError:
                # A kept-alive connection that the server closed just now; asking again is harmless.
                response = self._pool.request("GET", target, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise SourceDownError(f"Prometheus at {url} does not answer: {_reason(error, self._timeout)}") from error
        return read_reply(url, response.status, response.data)


def _checked_url(url: str) -> str:
    if not str(url).startswith(("http://", "https://")):
        raise InputError(f"prometheus.url: {url!r} is not a URL: it must start with http:// or https://.")
    return url.rstrip("/")


def _reason(error: Exception, timeout: float) -> str:
    """What happened, without the object addresses that urllib3 puts in its messages."""
    refused = isinstance(error, urllib3.exceptions.NewConnectionError)  # a timeout by inheritance only
    if isinstance(error, urllib3.exceptions.TimeoutError) and not refused:
        return f"no answer within {timeout:g} s"
    return str(error).rsplit(": ", 1)[-1] if refused or "object at 0x" in str(error) else str(error)
