# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Prometheus answers, read into counts and values. No I/O."""

from __future__ import annotations

import json
import math
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import QueryError, SourceDownError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import Metric
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.evidence import rising


class Answer(t.NamedTuple):
    """An instant vector: labels and value of each series. ``warnings`` tell that data was left out."""

    series: list[tuple[dict[str, str], float]]
    warnings: str

    @property
    def values(self) -> list[float]:
        return [value for _labels, value in self.series]


class NoEvidence(Exception):
    """The source answered, but not with a measurement."""


def read_reply(url: str, status: int, body: bytes) -> Answer:
    """An HTTP answer of the API. Raises QueryError where it refuses the query, SourceDownError where it is none."""
    try:
        reply = json.loads(body)
    except ValueError:
        reply = None
    if not isinstance(reply, dict) or reply.get("status") not in ("success", "error"):
        raise SourceDownError(f"Prometheus at {url} answered {status}{_hint(status)}, which is no answer of its API.")
    if reply["status"] == "error":
        said = f"{reply.get('errorType')}: {reply.get('error')}"
        if reply.get("errorType") in ("bad_data", "execution"):
            raise QueryError(said)
        raise SourceDownError(f"Prometheus at {url} answered {status}{_hint(status)}: {said}")
    data: dict[str, t.Any] = reply.get("data") or {}
    kind, result = data.get("resultType"), data.get("result") or []
    # Remarks on PromQL style come the same way as the news that a store didn't answer.
    warnings = "; ".join(text for text in reply.get("warnings") or [] if not text.startswith("PromQL"))
    if kind == "scalar":
        return Answer([({}, float(result[1]))], warnings)
    if kind == "vector" and all("value" in entry for entry in result):
        return Answer([(entry["metric"], float(entry["value"][1])) for entry in result], warnings)
    said = "native histograms" if kind == "vector" else f"a {kind}"
    raise QueryError(f"it answers with {said}, and an instant vector of numbers or a scalar is needed")


def read_ratio(metric: Metric, answers: t.Mapping[str, Answer]) -> dict[str, t.Any]:
    """What a Measurement of a ratio is made of. Raises NoEvidence."""
    good = "good" in answers
    role = "good" if good else "bad"
    total = _sum("total", answers["total"])
    if not answers[role].series:
        if not metric.absent_is_zero:
            way_out = "" if good else " (set bad_absent_is_zero if no series means no failures)"
            raise NoEvidence(f"the query {role!r} answered nothing{way_out}")
        part = 0.0
    else:
        part = _sum(role, answers[role])
    # increase() extrapolates each series by itself, so a part may come out a little above the whole.
    if part > total * 1.05 + 1:
        raise NoEvidence(f"{part:.0f} {role} of {total:.0f} in total: the two queries don't count the same requests")
    return {"bad": min(part, total), "total": total, "good": good, "samples": len(answers["total"].series)}


def read_buckets(answer: Answer) -> dict[str, t.Any]:
    """What a Measurement of a quantile is made of. Raises NoEvidence."""
    counts: dict[float, float] = {}
    for labels, value in answer.series:
        if "le" not in labels:
            raise NoEvidence("the query 'buckets' answered a series without the label le: keep it with sum by (le)")
        try:
            edge = float(labels["le"])
        except ValueError:
            raise NoEvidence(f"the query 'buckets' answered le={labels['le']!r}, which is no bucket edge") from None
        counts[edge] = counts.get(edge, 0.0) + _finite("buckets", value)
    if not counts:
        raise NoEvidence("the query 'buckets' answered nothing")
    if math.inf not in counts:
        raise NoEvidence("the query 'buckets' answered no bucket +Inf, so the number of requests is unknown")
    return {"buckets": tuple(rising(counts.items())), "samples": len(answer.series)}


def read_values(metric: Metric, answer: Answer) -> dict[str, t.Any]:
    """What a Measurement of a gauge or an increase is made of. Raises NoEvidence."""
    values = [_finite("query", value) for value in answer.values]
    if not values:
        if not metric.absent_is_zero:
            raise NoEvidence("the query answered nothing (set absent_is_zero if no series means 0)")
        values = [0.0]
    if metric.kind == "increase":
        values = [sum(values)]
    return {"values": tuple(values), "samples": max(1, len(answer.series))}


def _sum(role: str, answer: Answer) -> float:
    if not answer.series:
        raise NoEvidence(f"the query {role!r} answered nothing")
    return sum(_finite(role, value) for value in answer.values)


def _finite(role: str, value: float) -> float:
    if not math.isfinite(value):
        raise NoEvidence(f"the query {role!r} answered {value}".replace("nan", "NaN"))
    if value < 0 and role in ("bad", "good", "total", "buckets"):
        raise NoEvidence(f"the query {role!r} answered {value:g}, which is no count")
    return value


def _hint(status: int) -> str:
    if status in (401, 403):
        return " (check prometheus.token, or username and password)"
    if 300 <= status < 400:
        return " (a redirect: give the URL it leads to)"
    return ""
