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
      - All of these but C(quantile) are either a counter or PromQL. A counter is named by its selector alone, such as
        C(http_requests_total{version="$candidate"}); the histogram of a quantile by that of its C(_bucket) series.
        PromQL answers with counts over C($window), or with the gauge itself.
      - A counter can be counted exactly, from its raw samples. PromQL that sums the increase of one selector over
        C($window) is understood as that counter, and so is the rate where only a share matters. A selector with a
        colon in its name is taken for the series of a recording rule, and asked for as it is.
      - C($stable) and C($candidate) stand for the versions, C($side) for C(candidate). Where the two sides are
        compared, the stable side is asked with C($stable) for C($candidate) and C(stable) for C($side).
      - C(window) is the time that C($window) stands for (V(60s) without it).
      - C(unit) is V(percent) (a fraction, shown as percent), V(seconds), V(count) or V(ratio); it only changes
        how values are read and written. With V(percent) a bound may be written V(0.1%), with V(seconds) V(200ms).
      - C(bad_absent_is_zero) and, for gauge and increase, C(absent_is_zero) say that no series at all means 0;
        otherwise it is no evidence.
      - C(clump), for V(ratio) and V(quantile), is how many failed or slow requests one cause may make at most, such as
        one user's retries (V(1) without it). Within that the bounds O(false_rollback) and O(false_advance) hold; it
        takes about as many times the requests to judge. Since 0.3.0.
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
      - C(scope) is the side that is judged, V(stable) or V(candidate), where the metric names the other; C(labels)
        narrows a metric of plain counters to the series with these labels.
      - C(window) replaces the window of the metric.
      - C(min_requests) (V(30), and V(1) for a trigger) and C(min_samples) (V(1) series) are the evidence needed to
        judge; with less the verdict is V(no_evidence).
      - C(evidence) is V(sequential) or V(point); ratios and quantiles are judged by V(sequential) without it.
      - V(sequential) weighs every request since the hold began by a test that stays valid however often one looks.
        A criterion passes once the requests can't come from a release that is C(unacceptable), and fails once they
        can't come from one that is C(acceptable); in between its verdict is V(no_evidence), with the number of
        requests that it still needs. A trigger fires once the requests since the likeliest change can't come from a
        release that is C(acceptable), and their share is beyond the bound.
      - C(acceptable) and C(unacceptable) are shares of failed requests, or of requests slower than the bound. Without
        them a criterion takes the bound of the trigger on the same ratio as unacceptable, and a trigger that of the
        criterion as acceptable; without one its own bound is both, and more requests are needed.
      - V(point) compares one window, at every look anew, and is wrong the more often the more one looks. With it
        C(confidence) (V(0) without it) is the certainty with which the share must be beyond the bound, by
        the exact binomial interval, and C(min_bad) the number of failed or slow requests a trigger needs to see.
      - C(for) is the time for which the condition must hold on end. While a stage is watched it must hold on every look
        of that time. M(claude_enhancer.rollout.metric_gate) looks back at it, as the source kept it.
      - C(advisory) conditions are shown and recorded, and decide nothing.
      - C(on_no_evidence) and C(on_source_down) replace what a stage does then.
    type: list
    elements: dict
"""

    RISKS = r"""
options:
  false_rollback:
    description:
      - Probability with which all criteria and triggers together may call a release bad that is acceptable all the
        time. It holds over all looks, and is shared out among those judged by sequential evidence.
    type: float
    default: 0.001
    version_added: 0.3.0
  false_advance:
    description:
      - Probability with which a criterion may pass a release that is unacceptable all the time, over all looks.
    type: float
    default: 0.001
    version_added: 0.3.0
"""
