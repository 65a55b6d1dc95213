# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Prometheus answers, read into counts, values and samples. No I/O."""

from __future__ import annotations

import json
import math
import re
import typing as t
from urllib.parse import urlsplit

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import QueryError, SourceDownError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import Metric
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.evidence import rising
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.samples import Series

_LOGIN = re.compile(r"log-?in|sign-?in|auth|sso|saml|idp", re.IGNORECASE)
_CREDENTIALS = "check prometheus.token, or username and password, or client_cert"


class Reply(t.NamedTuple):
    """The ``data`` of an answer of the API. ``warnings`` tell that something was left out of it."""

    data: t.Any
    warnings: str = ""


class Answer(t.NamedTuple):
    """An instant vector: labels and value of each series. ``warnings`` tell that data was left out."""

    series: list[tuple[dict[str, str], float]]
    warnings: str

    @property
    def values(self) -> list[float]:
        return [value for _labels, value in self.series]


class NoEvidence(Exception):
    """The source answered, but not with a measurement."""


def read_reply(url: str, status: int, headers: t.Mapping[str, str], body: bytes) -> Reply:
    """An HTTP answer of the API. Raises QueryError where it refuses the query, SourceDownError where it is none."""
    try:
        reply = json.loads(body)
    except ValueError:
        reply = None
    if not isinstance(reply, dict) or reply.get("status") not in ("success", "error"):
        hint = _hint(status, headers, body)
        raise SourceDownError(f"Prometheus at {url} answered {status}{hint}, which is no answer of its API.")
    if reply["status"] == "error":
        said = f"{reply.get('errorType')}: {reply.get('error')}"
        if reply.get("errorType") in ("bad_data", "execution"):
            raise QueryError(said)
        raise SourceDownError(f"Prometheus at {url} answered {status}{_hint(status, headers, body)}: {said}")
    # Remarks on PromQL style come the same way as the news that a store didn't answer.
    warnings = "; ".join(text for text in map(str, reply.get("warnings") or []) if not text.startswith("PromQL"))
    return Reply(reply.get("data"), warnings)


def read_vector(reply: Reply) -> Answer:
    """An instant vector of numbers, or a scalar. Raises QueryError for anything else."""
    kind, result = _result(reply)
    if kind == "scalar":
        return Answer([({}, _value(result))], reply.warnings)
    if kind == "vector" and all(isinstance(entry, dict) and "value" in entry for entry in result):
        return Answer([(_labels(entry), _value(entry["value"])) for entry in result], reply.warnings)
    said = "native histograms" if kind == "vector" else f"a {kind}"
    raise QueryError(f"it answers with {said}, and an instant vector of numbers or a scalar is needed")


def read_matrix(reply: Reply) -> list[Series]:
    """Series with several samples each. Raises QueryError for anything else."""
    kind, result = _result(reply)
    if kind != "matrix" or not all(isinstance(entry, dict) and "values" in entry for entry in result):
        said = "native histograms" if kind == "matrix" else f"a {kind}"
        raise QueryError(f"it answers with {said}, and series of numbers over time are needed")
    return [Series(_labels(entry), _samples(entry["values"])) for entry in result]


def read_counters(reply: Reply) -> tuple[Series, ...]:
    """The raw samples of a counter. Raises QueryError, and NoEvidence for values that no counter has.

    NaN is no sample: so VictoriaMetrics shows where a series ended, which Prometheus leaves out.
    """
    found = [Series(labels, _numbers(samples)) for labels, samples in read_matrix(reply)]
    found = [series for series in found if series.samples]
    whole: dict[frozenset[tuple[str, str]], bool] = {}
    for labels, samples in found:
        if not all(0 <= value < math.inf for _at, value in samples):
            for _at, value in samples:
                _finite("counter", value)
        if "le" in labels:
            edge = _edge("counter", labels["le"])
            histogram = frozenset(item for item in labels.items() if item[0] != "le")
            whole[histogram] = whole.get(histogram, False) or edge == math.inf
    if not all(whole.values()):
        raise NoEvidence("the counter has no bucket +Inf, so the number of requests is unknown")
    return tuple(found)


def _numbers(samples: t.Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(at, value) for at, value in samples if not math.isnan(value)]


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
        edge = _edge("buckets", labels["le"])
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
        raise NoEvidence(f"the {_asked(role)} answered {value}".replace("nan", "NaN"))
    if value < 0 and role != "query":
        raise NoEvidence(f"the {_asked(role)} answered {value:g}, which is no count")
    return value


def _edge(role: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise NoEvidence(f"the {_asked(role)} answered le={text!r}, which is no bucket edge") from None


def _asked(role: str) -> str:
    return role if role == "counter" else f"query {role!r}"


def _result(reply: Reply) -> tuple[t.Any, t.Any]:
    """Type and content of a query's result, the content a list."""
    data = reply.data if isinstance(reply.data, dict) else {}
    result = data.get("result") or []
    if not isinstance(result, list):
        raise QueryError(f"it answers with {result!r}, which is no list of series")
    return data.get("resultType"), result


def _labels(entry: t.Mapping[str, t.Any]) -> dict[str, str]:
    labels = entry.get("metric")
    if not isinstance(labels, dict):
        raise QueryError("it answers with a series that has no labels, not even none")
    return labels


def _samples(pairs: t.Any) -> list[tuple[float, float]]:
    try:
        return [(float(at), float(value)) for at, value in pairs]
    except (TypeError, ValueError):
        return [(_time(pair), _value(pair)) for pair in pairs]  # slower, and names the one that is wrong


def _time(pair: t.Any) -> float:
    return _number(pair, 0, "a time")


def _value(pair: t.Any) -> float:
    return _number(pair, 1, "a value")


def _number(pair: t.Any, place: int, what: str) -> float:
    try:
        return float(pair[place])
    except (TypeError, ValueError, IndexError, KeyError):
        said = pair[place] if isinstance(pair, list) and len(pair) > place else pair
        raise QueryError(f"it answers with {said!r} as {what}, which is no number") from None


def _hint(status: int, headers: t.Mapping[str, str], body: bytes) -> str:
    """What the answer most likely is, and the way out."""
    if status in (401, 403):
        return f" ({_CREDENTIALS})"
    if 300 <= status < 400:
        return _redirect_hint(headers.get("Location") or "")
    if "html" in (headers.get("Content-Type") or "") or body.lstrip()[:1] == b"<":
        return f" (a page of HTML, such as a login or a proxy's: check prometheus.url; {_CREDENTIALS})"
    return ""


def _redirect_hint(location: str) -> str:
    if not location:
        return " (a redirect: give the URL it leads to)"
    # The query of a login's address may hold secrets.
    place = urlsplit(location)._replace(query="", fragment="").geturl()
    if _LOGIN.search(place):
        return f" (a redirect to the login {place}: {_CREDENTIALS})"
    return f" (a redirect to {place}: give the URL it leads to)"
