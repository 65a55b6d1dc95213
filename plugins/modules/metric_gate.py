#!/usr/bin/python
# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: metric_gate
short_description: Judge criteria by what Prometheus measured
version_added: 0.1.0
author:
  - Claude Enhancer operations team (@claude-enhancer)
description:
  - Asks Prometheus for each metric that the criteria name, and judges the counts behind it.
  - The verdict is V(pass), V(fail), V(no_evidence) (nothing answered, NaN, too old or too little) or V(source_down).
    The module fails for every verdict but V(pass), or for those of O(fail_on).
  - All queries of one look are asked at one time by the clock of Prometheus.
  - A criterion with C(for) must have held over all of that time up to the look. Prometheus is asked for it, so one look
    is enough. What decides depends on the metric.
  - A gauge or an increase must hold at every point of that time, and what C(evidence=point) judges over every
    C(window) of it, one after the other.
  - Of a ratio or a quantile with sequential evidence, all requests of that time are weighed as a whole. It also fails
    for a stretch within it that is clearly bad, such as a bad minute in fifteen.
  - A time without samples that is longer than the C(max_age) of the metric is a gap, and so is one without requests
    that is longer than that and the C(window). With a gap the verdict is never V(pass).
extends_documentation_fragment:
  - claude_enhancer.rollout.prometheus
  - claude_enhancer.rollout.prometheus.versions
  - claude_enhancer.rollout.criteria
  - claude_enhancer.rollout.criteria.risks
  - claude_enhancer.rollout.attributes
  - claude_enhancer.rollout.attributes.reads
options:
  prometheus:
    required: true
  criteria:
    required: true
  wait:
    description:
      - Seconds to wait for all criteria to hold at once; V(0) looks once.
      - Criteria with C(for) are judged anew at each look. The looks that O(interval) leaves room for share
        O(false_advance), so many of them need more requests.
    type: float
    default: 0
  interval:
    description:
      - Seconds between two looks while waiting.
    type: float
    default: 5
  fail_on:
    description:
      - Verdicts which fail the module. With an empty list it never fails for a verdict, which is returned.
    type: list
    elements: str
    choices: [fail, no_evidence, source_down]
    default: [fail, no_evidence, source_down]
  validate_only:
    description:
      - Ask every query once to see that it parses and that Prometheus answers, and judge nothing.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Judge the candidate
  claude_enhancer.rollout.metric_gate:
    prometheus:
      url: http://prometheus.monitoring.svc:9090
    versions:
      candidate: "5.1"
    metrics:
      error_rate:
        kind: ratio
        window: 5m
        bad: sum(increase(http_requests_total{version="$candidate",status=~"5.."}[$window]))
        total: sum(increase(http_requests_total{version="$candidate"}[$window]))
      p95_latency:
        kind: quantile
        quantile: 0.95
        window: 5m
        buckets: sum by (le) (increase(http_request_duration_seconds_bucket{version="$candidate"}[$window]))
    criteria:
      - {metric: error_rate, below: 0.1%, min_requests: 1000}
      - {metric: p95_latency, below: 500ms}

- name: Accept the release at T+120, by what was measured since the switch
  claude_enhancer.rollout.metric_gate:
    prometheus: "{{ release_prometheus }}"
    versions: {stable: "5.0", candidate: "5.1"}
    metrics: "{{ release_metrics }}"
    criteria:
      - {metric: error_rate, below: 0.1%, unacceptable: 0.5%, for: 15m}
      - {metric: p95_latency, below: 500ms, for: 10m}
      - {metric: p50_latency, below: 200ms}
      - {metric: p99_latency, below: 1s}
      - {metric: agents_active, at_least: 60, for: 10m}
      - {metric: workflow_success_rate, at_least: 98%}
      - {metric: phase_success_rate, at_least: 99%}
    wait: 900
    interval: 60

- name: See that every query of the release parses, before anything is touched
  claude_enhancer.rollout.metric_gate:
    prometheus: "{{ release_prometheus }}"
    versions: {stable: "5.0", candidate: "5.1"}
    metrics: "{{ release_metrics }}"
    criteria: "{{ release_stages | map(attribute='criteria', default=[]) | flatten }}"
    validate_only: true
"""

RETURN = r"""
verdict:
  description: The worst verdict of the criteria that are not advisory.
  returned: when O(validate_only=false)
  type: str
  sample: pass
judgements:
  description:
    - One entry per criterion, with value, bound, verdict, reason and the evidence it rests on.
    - The evidence of a criterion with C(for) has that time as C(lasting), and the C(gaps), C(pauses) (without
      requests) and bad C(stretches) in it, where they can be told, each with C(since) and C(until) in unix time.
  returned: when O(validate_only=false)
  type: list
  elements: dict
  sample:
    - name: error_rate
      metric: error_rate
      role: criterion
      kind: ratio
      unit: percent
      operator: below
      bound: 0.001
      value: 0.0002
      verdict: pass
      advisory: false
      reason: ""
      evidence: {bad: 3, total: 12041, window: 5.0, at: 1790000000.0, age: 0.4, samples: 1, queries: {}}
      text: "criterion error_rate: 0.02 %, asked < 0.1 %: pass (12 041 requests in 5 s)"
text:
  description: One line per criterion for people.
  returned: when O(validate_only=false)
  type: list
  elements: str
looks:
  description: How often Prometheus was looked at.
  returned: when O(validate_only=false)
  type: int
queries:
  description: What was asked, and how many series answered.
  returned: when O(validate_only=true)
  type: list
  elements: dict
error:
  description: The kind of failure, such as V(criteria_not_met), V(input), V(query) or V(source_down).
  returned: on failure
  type: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import SystemClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError, RolloutError, run
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.criteria import (
    RISK_ARGUMENTS,
    read_conditions,
    read_risks,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.gate import look_until_pass
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import (
    overall,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.prometheus import (
    VERSIONS_OPTION,
    PrometheusSource,
    prometheus_option,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.verdicts import (
    PASS,
    VERDICTS,
)

_FAILING = [verdict for verdict in VERDICTS if verdict != PASS]


class CriteriaNotMetError(RolloutError):
    """The verdict is one that fails the gate."""


def work(module: AnsibleModule) -> dict[str, t.Any]:
    options = module.params
    if options["interval"] <= 0:
        raise InputError(f"interval: {options['interval']:g} must be more than 0 seconds.")
    versions = {side: version for side, version in options["versions"].items() if version}
    risks = read_risks(options)
    conditions = read_conditions(options["metrics"], options["criteria"], versions=versions)
    source = PrometheusSource.from_options(options["prometheus"], versions)
    if options["validate_only"]:
        needs = [(condition.metric, condition.window) for condition in conditions.criteria]
        return {"changed": False, "queries": source.check(needs)}
    judgements, looks = look_until_pass(
        conditions, source, versions, options["wait"], options["interval"], SystemClock(), risks
    )
    verdict = overall(judgements)
    result = {
        "verdict": verdict,
        "judgements": [judgement.as_dict() for judgement in judgements],
        "text": [judgement.text for judgement in judgements],
        "looks": looks,
    }
    for warning in source.warnings:
        module.warn(warning)
    if verdict in options["fail_on"]:
        failing = [one.text for one in judgements if one.verdict != PASS and not one.condition.advisory]
        raise CriteriaNotMetError("; ".join(failing), changed=False, **result)
    return {"changed": False, **result}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "prometheus": prometheus_option(required=True),
            "versions": VERSIONS_OPTION,
            "metrics": {"type": "dict", "default": {}},
            "criteria": {"type": "list", "elements": "dict", "required": True},
            "wait": {"type": "float", "default": 0},
            "interval": {"type": "float", "default": 5},
            **RISK_ARGUMENTS,
            "fail_on": {"type": "list", "elements": "str", "choices": _FAILING, "default": _FAILING},
            "validate_only": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    run(module, work)


if __name__ == "__main__":
    main()
