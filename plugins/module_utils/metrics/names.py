# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the names in queries are names that the source knows. Asks nothing by itself."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import Metric, nearest
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.promql import (
    labels_asked,
    metric_name,
    selectors_in,
)

Ask = t.Callable[[str, t.Mapping[str, str]], list[str]]
"""The names behind a path of the HTTP API, such as ``labels`` of the series that ``match[]`` selects."""


def unknown_names(metrics: t.Iterable[Metric], ask: Ask) -> list[str]:
    """Names of series and labels that the source has never heard of, a sentence each.

    A version that doesn't run yet is no such name: this tells a slip of the pen from a side without pods.
    """
    series = ask("label/__name__/values", {})
    labels: dict[str, list[str]] = {}
    told = []
    for metric in metrics:
        for selector in _selectors(metric):
            name = metric_name(selector)
            wanted = labels_asked(selector)
            if name and name not in series:
                told.append(f"metric {metric.name}: there is no series {name}{_near(name, series)}")
            elif name and wanted:
                if name not in labels:
                    labels[name] = ask("labels", {"match[]": name})
                told += [
                    f"metric {metric.name}: no series {name} has the label {label}{_near(label, labels[name])}"
                    for label in wanted
                    if label not in labels[name]
                ]
    return list(dict.fromkeys(told))


def _selectors(metric: Metric) -> t.Iterator[str]:
    for role, query in metric.queries.items():
        counter = metric.counters.get(role)
        yield from [counter] if counter else selectors_in(query)


def _near(word: str, known: t.Collection[str]) -> str:
    """What was meant, perhaps; a source knows too many names to tell them all."""
    found = nearest(word, known)
    return found if found.startswith(" (did") else ""
