# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is kept of a stage: its looks in bounded number, and each metric summed up. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import Metric
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import Measurement, value_of


class History:
    """Points in time, at most ``limit``: when full, every other one goes and only every other one is taken on."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._stride = 1
        self._seen = 0
        self.points: list[dict[str, t.Any]] = []

    def add(self, point: dict[str, t.Any]) -> None:
        if self._seen % self._stride == 0:
            self.points.append(point)
        self._seen += 1
        if len(self.points) >= self._limit:
            self.points = self.points[::2]
            self._stride *= 2


def summary(metric: Metric, whole: Measurement, history: t.Sequence[dict[str, t.Any]]) -> dict[str, t.Any]:
    """One metric over a stage: its value from the counts of the whole time, its least and most on single looks."""
    seen = [value for point in history if (value := point["values"].get(metric.name)) is not None]
    told: dict[str, t.Any] = {
        "kind": metric.kind,
        "unit": metric.unit,
        "window": whole.window,
        "value": value_of(metric, whole),
        "least": min(seen, default=None),
        "most": max(seen, default=None),
    }
    if metric.kind == "ratio" and not whole.problem:
        told |= {"bad": whole.total - whole.bad if whole.good else whole.bad, "total": whole.total}
    elif metric.kind == "quantile" and not whole.problem:
        told["total"] = whole.buckets[-1][1]
    return told
