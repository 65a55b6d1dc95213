# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What is measured, and what must hold of it."""

    DOCUMENTATION = r"""
options:
  metrics:
    description:
      - The catalogue of metrics; each name is a dictionary with the following keys.
      - C(kind) is V(ratio) (with C(bad) or C(good), and C(total)), V(quantile) (with C(buckets) and C(quantile)),
        V(gauge) (with C(query)) or V(increase) (with C(query)).
        All of these but C(quantile) are PromQL which answers with counts over C($window), or with the gauge itself.
      - C(window) is the time that C($window) stands for (V(60s) without it).
      - C(unit) is V(percent) (a fraction, shown as percent), V(seconds), V(count) or V(ratio); it only changes
        how values are read and written. With V(percent) a bound may be written V(0.1%), with V(seconds) V(200ms).
      - C(bad_absent_is_zero) and, for gauge and increase, C(absent_is_zero) say that no series at all means 0;
        otherwise it is no evidence.
      - C(max_age) is the age up to which a sample counts (V(60s) without it), by the clock of Prometheus.
        The age is read from the first selector with labels in the query, or from C(freshness), PromQL which answers
        with the time of the newest sample.
      - C(description) is for people.
    type: dict
    default: {}
  criteria:
    description:
      - Conditions of which each must hold, as dictionaries with the following keys.
      - C(metric) names a metric of O(metrics), and one of C(below), C(above), C(at_least), C(at_most) and C(equals)
        bounds it. A quantile is judged by counts; that P95 is below V(0.5) means that at least 95 % of the requests
        took at most 500 ms.
        Where the bound is not the edge of a bucket, the edge that makes the condition harder to hold is taken.
      - C(name) is for people; conditions of one name are numbered, and one that is given twice counts once.
      - C(window) replaces the window of the metric.
      - C(min_requests) (V(30), and V(1) for a trigger) and C(min_samples) (V(1) series) are the evidence needed to
        judge; with less the verdict is V(no_evidence).
      - C(confidence) (none, and V(0.99) for a trigger) is the certainty with which the share must be beyond the bound,
        by the exact binomial interval; V(0) compares the share itself. It is meant for one look, not for many.
      - C(min_bad) (V(2) for a trigger) is the number of failed or slow requests without which a trigger does not hold.
      - C(for) is the time for which the condition must hold while a stage is watched.
      - C(advisory) conditions are shown and recorded, and decide nothing.
      - C(on_no_evidence) and C(on_source_down) replace what a stage does then.
    type: list
    elements: dict
"""
