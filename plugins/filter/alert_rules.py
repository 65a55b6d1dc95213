# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Alerts in the words of criteria, as Prometheus' rule file."""

from __future__ import annotations

DOCUMENTATION = r"""
name: alert_rules
short_description: Make Prometheus alert rules from the catalogue of metrics
version_added: 0.3.0
description:
  - Returns a rule file of Prometheus as data, from alerts that name a metric of the catalogue and a bound, in the same
    words as criteria and triggers. What the gates of a release judge by and what wakes people is then the same.
  - A ratio is a share of rates over one and the same window.
  - A quantile is above its bound when too large a share of the requests is slower than that, as gates count it, read
    from the bucket of the histogram that ends at the bound. Where none does, C(histogram_quantile) is compared with the
    bound.
  - All mistakes are told at once, each with the alert it is in.
author:
  - Claude Enhancer operations team (@claude-enhancer)
options:
  _input:
    description:
      - The alerts. Each has C(alert) (its name), C(metric), one of C(above), C(below), C(at_least), C(at_most) and
        C(equals), and C(severity) (such as C(P1)), which becomes a label.
      - C(for) is how long it must hold before it fires, C(window) the time each look takes in (that of the metric
        unless given), C(min_requests) how many requests there must be in it.
      - C(sides) is a list of C(stable) and C(candidate); each gets a rule with the labels C(side) and C(version).
        Without it the metric is asked for as the catalogue has it.
      - C(on_absent=alert) adds an alert, its name ending in C(NoData), for when there are no requests, no samples or no
        series to judge by. Without it, C(ignore), that is silence.
      - C(summary), C(description), C(annotations) and C(labels) are handed on.
      - C(group) is the group of rules it is put in.
    type: list
    elements: dict
    required: true
  metrics:
    description: The catalogue, as O(claude_enhancer.rollout.metric_gate#module:metrics) takes it.
    type: dict
    required: true
  versions:
    description: What C($stable) and C($candidate) in the catalogue stand for.
    type: dict
    default: {}
  group:
    description: The group of rules for alerts that name none.
    type: str
    default: release
  interval:
    description: How often Prometheus looks at the rules, such as C(15s). Its own interval unless given.
    type: str
  labels:
    description: Labels that every rule carries, to route alerts by.
    type: dict
    default: {}
seealso:
  - plugin: claude_enhancer.rollout.dashboard
    plugin_type: filter
  - module: claude_enhancer.rollout.metric_gate
"""

EXAMPLES = r"""
- name: Write the rule file where Prometheus reads it
  ansible.builtin.copy:
    dest: /etc/prometheus/rules/claude-enhancer.yml
    content: "{{ rules | ansible.builtin.to_nice_yaml(indent=2, width=1000) }}"
    mode: "0644"
    validate: promtool check rules %s
  vars:
    rules: "{{ alerts | claude_enhancer.rollout.alert_rules(release_metrics, versions={'candidate': '5.1'}) }}"
    alerts:
      - alert: ErrorRateVeryHigh
        metric: error_rate
        above: 20%
        for: 2m
        severity: P1
        on_absent: alert
      - alert: AgentsFailed
        metric: agents_failed
        above: 5
        for: 1m
        severity: critical

- name: Hand the inventory's alerts to the Prometheus operator
  kubernetes.core.k8s:
    definition:
      apiVersion: monitoring.coreos.com/v1
      kind: PrometheusRule
      metadata:
        name: "{{ release_application }}"
        namespace: "{{ release_namespace }}"
      spec: >-
        {{ release_alerts
        | claude_enhancer.rollout.alert_rules(release_metrics, versions=versions, labels=release_alert_labels) }}
  vars:
    versions:
      stable: "{{ release_stable.version }}"
      candidate: "{{ release_candidate.version }}"
"""

RETURN = r"""
_value:
  description: The rule file, which is also the C(spec) of a C(PrometheusRule).
  type: dict
  sample:
    groups:
      - name: release
        rules:
          - alert: AgentsFailed
            expr: (max(claude_enhancer_agents_failed{version="5.1"})) > 5
            for: 60s
            labels: {severity: critical}
            annotations: {summary: agents_failed > 5}
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics import alert_rules as rules


def alert_rules(
    alerts: t.Any,
    metrics: t.Any,
    versions: t.Any = None,
    group: t.Any = rules.DEFAULT_GROUP,
    interval: t.Any = None,
    labels: t.Any = None,
) -> dict[str, t.Any]:
    """The rule file of ``alerts``. Raises AnsibleFilterError naming every mistake."""
    try:
        return rules.alert_rules(alerts, metrics, versions, group=group, interval=interval, labels=labels)
    except InputError as error:
        raise AnsibleFilterError(f"alert_rules: {error}") from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"alert_rules": alert_rules}
