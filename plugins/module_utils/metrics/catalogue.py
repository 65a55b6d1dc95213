# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The catalogue of metrics: what each is called and how it is asked for. Data in, :class:`Metric` out; no I/O."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import parse_duration
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.promql import (
    counter_of,
    counting,
    narrowed,
    newest_sample,
    promql_duration,
    quoted,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.values import UNITS, parse_number

DEFAULT_WINDOW = 60.0
DEFAULT_MAX_AGE = 60.0
SIDES = ("stable", "candidate")
_PLACEHOLDER = re.compile(r"\$(window|stable|candidate|side)\b")
_VERSION = re.compile(r"\$(stable|candidate)\b")
_SIDE = re.compile(r"\$(stable|candidate|side)\b")

# Per kind: the queries it needs (each group one of), what else it takes, and the unit it is shown in.
_KINDS: dict[str, tuple[tuple[tuple[str, ...], ...], tuple[str, ...], str]] = {
    "ratio": ((("bad", "good"), ("total",)), ("bad_absent_is_zero", "clump"), "percent"),
    "quantile": ((("buckets",),), ("quantile", "clump"), "seconds"),
    "gauge": ((("query",),), ("absent_is_zero",), "count"),
    "increase": ((("query",),), ("absent_is_zero",), "count"),
}
_COMMON = ("kind", "unit", "window", "description", "freshness", "max_age")


@dataclasses.dataclass(frozen=True)
class Metric:
    """One entry of the catalogue. ``window`` and ``max_age`` in seconds; ``queries`` by their role in the kind.

    ``counters`` has the selector of the counter behind a role, for each role whose query only counts one. ``clump`` is
    how many offending requests one cause may make at most, 1 where each has its own.
    """

    name: str
    kind: str
    unit: str
    window: float
    queries: t.Mapping[str, str]
    counters: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    quantile: float = 0.95
    absent_is_zero: bool = False
    clump: float = 1.0
    freshness: str = ""
    max_age: float = DEFAULT_MAX_AGE
    description: str = ""

    @property
    def counted(self) -> bool:
        """Whether it is made of counters alone, so that its exact increments can be told."""
        return bool(self.queries) and set(self.counters) == set(self.queries)

    def promql(self, role: str, window: float, versions: t.Mapping[str, str]) -> str:
        """The query ``role`` (or ``freshness``) with all that begins with ``$`` filled in."""
        text = self.freshness if role == "freshness" else self.queries[role]
        return _filled_in(text, {"window": promql_duration(window)}, versions)

    def selector(self, role: str, versions: t.Mapping[str, str]) -> str | None:
        """The counter behind ``role``, versions filled in; None where the query is an expression of its own."""
        text = self.counters.get(role)
        return None if text is None else _filled_in(text, {}, versions)

    def over(self, window: float) -> Metric:
        """The same metric over ``window`` seconds."""
        return dataclasses.replace(self, window=window)

    def scoped(self, side: str = "", labels: t.Mapping[str, str] | None = None) -> Metric:
        """The same metric of ``side`` (``stable``, ``candidate``), and of the series with ``labels`` alone.

        The scope becomes part of the name: ``error_rate (stable, route=agents)``. Raises ValueError where the metric
        can't be asked for so.
        """
        metric = self._of_side(side) if side else self
        metric = metric._with_labels(labels) if labels else metric
        scope = [side] if side else []
        scope += [f"{label}={value}" for label, value in (labels or {}).items()]
        return dataclasses.replace(metric, name=f"{self.name} ({', '.join(scope)})" if scope else self.name)

    def _of_side(self, side: str) -> Metric:
        named = {found for text in self.queries.values() for found in _SIDE.findall(text)}
        if side not in SIDES:
            raise ValueError(f"{side!r} is not one of {', '.join(SIDES)}")
        if not named:
            raise ValueError(f"{self.name} names no side: give it $candidate (the version) or $side in its queries")
        if set(SIDES) <= named:
            raise ValueError(f"{self.name} names both sides already")

        def turned(text: str) -> str:
            return _SIDE.sub(lambda found: side if found.group(1) == "side" else f"${side}", text)

        return dataclasses.replace(
            self,
            queries={role: turned(text) for role, text in self.queries.items()},
            counters={role: turned(text) for role, text in self.counters.items()},
            freshness=turned(self.freshness),
        )

    def _with_labels(self, labels: t.Mapping[str, str]) -> Metric:
        if not self.counted:
            raise ValueError(f"labels {', '.join(labels)}: {self.name} is not made of plain counters, write a metric")
        counters = {role: narrowed(text, labels) for role, text in self.counters.items()}
        queries = {role: counting(text, by_edge=role == "buckets") for role, text in counters.items()}
        derived = self.freshness == _derived_freshness(self.kind, self.queries, self.counters)
        freshness = _derived_freshness(self.kind, queries, counters) if derived else self.freshness
        return dataclasses.replace(self, queries=queries, counters=counters, freshness=freshness)


def _filled_in(text: str, words: t.Mapping[str, str], versions: t.Mapping[str, str]) -> str:
    known = {"side": "candidate", **words, **{side: quoted(version) for side, version in versions.items()}}
    return _PLACEHOLDER.sub(lambda found: known.get(found.group(1), found.group()), text)


class Problems:
    """Everything that is wrong with some data, gathered so that all of it is told at once."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, where: str, text: str) -> None:
        self.found.append(f"{where}: {text}")

    def read(self, where: str, option: str, parse: t.Callable[[], t.Any], default: t.Any = None) -> t.Any:
        """The value ``parse`` returns, or ``default`` and one more problem when it raises ValueError."""
        try:
            return parse()
        except ValueError as error:
            self.add(where, f"{option}: {error}")
            return default

    def unknown(self, where: str, options: t.Iterable[t.Any], known: t.Iterable[str]) -> None:
        """Name every option that isn't known, with its nearest match."""
        names = list(known)
        for option in options:
            if option not in names:
                self.add(where, f"unknown option {option!r}{nearest(str(option), names)}")

    def raise_if_any(self) -> None:
        """Raises InputError with one sentence per problem; ``details["problems"]`` has them as a list."""
        if self.found:
            raise InputError("; ".join(self.found), problems=self.found)


def nearest(word: str, known: t.Iterable[str]) -> str:
    """`` (did you mean ...?)``, or what there is when nothing is near."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
    if close:
        return f" (did you mean {' or '.join(close)}?)"
    return f" (known: {', '.join(names) or 'none'})"


def parse_metrics(data: t.Any, versions: t.Mapping[str, str], problems: Problems) -> dict[str, Metric]:
    """The catalogue from inventory data: name to description of the metric. What is wrong goes to ``problems``."""
    if data is None:
        return {}
    if not isinstance(data, t.Mapping):
        problems.add("metrics", f"must be a dictionary of name to metric, not {type(data).__name__}")
        return {}
    metrics = {}
    for name, entry in data.items():
        metric = _parse_metric(str(name), entry, versions, problems)
        if metric:
            metrics[metric.name] = metric
    return metrics


def _parse_metric(name: str, entry: t.Any, versions: t.Mapping[str, str], problems: Problems) -> Metric | None:
    where = f"metric {name}"
    if not isinstance(entry, t.Mapping):
        problems.add(where, f"must be a dictionary, not {type(entry).__name__}")
        return None
    kind = entry.get("kind")
    if kind not in _KINDS:
        problems.add(where, f"kind: {kind!r} is not one of {', '.join(_KINDS)}{nearest(str(kind), _KINDS)}")
        return None
    groups, extras, unit = _KINDS[kind]
    problems.unknown(where, entry, [*_COMMON, *extras, *(role for group in groups for role in group)])
    if "unit" in entry and entry["unit"] not in UNITS:
        problems.add(where, f"unit: {entry['unit']!r} is not one of {', '.join(UNITS)}")
    queries = _parse_queries(where, entry, groups, problems)
    counters = _counters(kind, queries)
    queries |= {role: counting(text, by_edge=role == "buckets") for role, text in counters.items()}
    freshness = entry.get("freshness") or _derived_freshness(kind, queries, counters)
    if not isinstance(freshness, str):
        problems.add(where, f"freshness: {freshness!r} is not a PromQL query")
        freshness = ""
    _check_placeholders(where, {**queries, "freshness": freshness}, versions, problems)
    absent = entry.get("bad_absent_is_zero", entry.get("absent_is_zero", False))
    if not isinstance(absent, bool):
        problems.add(where, f"absent_is_zero: {absent!r} is not true or false")
    elif absent and "good" in queries:
        problems.add(where, "bad_absent_is_zero: goes with bad; no good answers at all is not a zero to assume")
    return Metric(
        name=name,
        kind=kind,
        unit=entry["unit"] if entry.get("unit") in UNITS else unit,
        window=parse_window(where, entry, problems, DEFAULT_WINDOW),
        queries=queries,
        counters=counters,
        quantile=_parse_quantile(where, entry, problems),
        absent_is_zero=absent is True,
        clump=_parse_clump(where, entry, problems),
        freshness=freshness,
        max_age=problems.read(
            where, "max_age", lambda: parse_duration(entry.get("max_age", DEFAULT_MAX_AGE)), DEFAULT_MAX_AGE
        ),
        description=str(entry.get("description") or ""),
    )


def parse_window(where: str, entry: t.Mapping[str, t.Any], problems: Problems, default: t.Any) -> t.Any:
    """The option ``window`` of a metric or a condition, in seconds; ``default`` where it isn't given."""
    if entry.get("window") is None:
        return default
    window = problems.read(where, "window", lambda: parse_duration(entry["window"]), default)
    if window == 0:
        problems.add(where, "window: must be longer than 0 s")
        return default
    return window


def _parse_quantile(where: str, entry: t.Mapping[str, t.Any], problems: Problems) -> float:
    quantile = problems.read(where, "quantile", lambda: parse_number(entry.get("quantile", 0.95)), 0.95)
    if not 0 < quantile < 1:
        problems.add(where, f"quantile: {entry['quantile']} is not between 0 and 1 (P95 is 0.95)")
        return 0.95
    return float(quantile)


def _parse_clump(where: str, entry: t.Mapping[str, t.Any], problems: Problems) -> float:
    clump = problems.read(where, "clump", lambda: parse_number(entry.get("clump", 1)), 1.0)
    if not 1 <= clump < math.inf:
        problems.add(where, f"clump: {entry['clump']} is not a number of requests that is at least 1")
        return 1.0
    return float(clump)


def _parse_queries(
    where: str, entry: t.Mapping[str, t.Any], groups: tuple[tuple[str, ...], ...], problems: Problems
) -> dict[str, str]:
    queries = {}
    for group in groups:
        given = [role for role in group if entry.get(role) is not None]
        if len(given) != 1:
            said = "is missing" if not given else f"are {len(given)} of them: give one"
            problems.add(where, f"{' or '.join(group)}: {said}")
        for role in given:
            if isinstance(entry[role], str) and entry[role].strip():
                queries[role] = " ".join(entry[role].split())
            else:
                problems.add(where, f"{role}: {entry[role]!r} is not a PromQL query")
    return queries


def _check_placeholders(
    where: str, queries: t.Mapping[str, str], versions: t.Mapping[str, str], problems: Problems
) -> None:
    for role, query in queries.items():
        for word in sorted(set(_VERSION.findall(query))):
            if not versions.get(word):
                problems.add(where, f"{role}: uses ${word}, but versions.{word} is not given")


def _counters(kind: str, queries: t.Mapping[str, str]) -> dict[str, str]:
    """The selector per role that only counts a counter. A rate tells a share as well as counts do, but no increase."""
    if kind == "gauge":
        return {}
    found = {role: counter_of(query, rates=kind != "increase") for role, query in queries.items()}
    return {role: selector for role, selector in found.items() if selector is not None}


def _derived_freshness(kind: str, queries: t.Mapping[str, str], counters: t.Mapping[str, str]) -> str:
    """A query for the time of the newest sample behind a metric; empty where its query doesn't tell which that is."""
    role = {"ratio": "total", "quantile": "buckets"}.get(kind, "query")
    return newest_sample(counters.get(role) or queries.get(role, ""))
