# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A metric of the catalogue as one PromQL expression, for those who can't count themselves: alerts and dashboards.

Gates count increments from raw samples. Prometheus' own ``rate`` comes close: it extrapolates to the ends of its window
and misses the first sample of a series. Pure: text out.
"""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import Metric
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.promql import (
    bucket_at,
    narrowed,
    promql_duration,
)

Versions = t.Mapping[str, str]


def value_of(metric: Metric, window: float, versions: Versions) -> str:
    """The metric's value over ``window`` seconds; nothing, or NaN, where there is no evidence for one.

    A ratio is a share of rates over one and the same window, a quantile is read from the histogram.
    """
    if metric.kind == "ratio":
        part = _rate(metric, "bad" if "bad" in metric.queries else "good", window, versions)
        part = f"({part} or vector(0))" if metric.absent_is_zero else part
        return _share(part, _rate(metric, "total", window, versions))
    if metric.kind == "quantile":
        return f"histogram_quantile({metric.quantile:.15g}, {_buckets(metric, window, versions)})"
    query = metric.promql("query", window, versions)
    return f"({query} or vector(0))" if metric.absent_is_zero else f"({query})"


def share_within(metric: Metric, bound: float, window: float, versions: Versions) -> str:
    """The share of requests answered within ``bound`` seconds. It has no value where no bucket ends at ``bound``.

    Empty for a quantile that is not made of a plain histogram.
    """
    selector = metric.selector("buckets", versions)
    if selector is None:
        return ""
    return _share(_summed(bucket_at(selector, bound), window), _summed(narrowed(selector, {"le": "+Inf"}), window))


def requests_of(metric: Metric, window: float, versions: Versions) -> str:
    """How many requests a ratio or a quantile rests on; empty where no plain counter tells."""
    role = {"ratio": "total", "quantile": "buckets"}.get(metric.kind, "")
    selector = metric.selector(role, versions)
    if selector is None:
        return ""
    counter = narrowed(selector, {"le": "+Inf"}) if role == "buckets" else selector
    return f"sum(increase({counter}[{promql_duration(window)}]))"


def _share(part: str, total: str) -> str:
    # Without requests there is no value, neither for absent() nor in a graph, where nothing out of nothing is NaN.
    return f"{part} / ({total} > 0)"


def _rate(metric: Metric, role: str, window: float, versions: Versions) -> str:
    # Where one part is an expression, the other must count in the same way: as the catalogue has it.
    selector = metric.selector(role, versions) if metric.counted else None
    return f"({metric.promql(role, window, versions)})" if selector is None else _summed(selector, window)


def _summed(selector: str, window: float) -> str:
    return f"sum(rate({selector}[{promql_duration(window)}]))"


def _buckets(metric: Metric, window: float, versions: Versions) -> str:
    selector = metric.selector("buckets", versions)
    if selector is None:
        return metric.promql("buckets", window, versions)
    return f"sum by (le) (rate({selector}[{promql_duration(window)}]))"
