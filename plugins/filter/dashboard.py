# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A dashboard in a few words, as the JSON that Grafana imports."""

from __future__ import annotations

DOCUMENTATION = r"""
name: dashboard
short_description: Make a Grafana dashboard from the catalogue of metrics
version_added: 0.3.0
description:
  - Returns the JSON model of a dashboard (schema version 38, Grafana 10.0 and newer) as data, from rows and panels that
    name metrics of the catalogue.
  - A panel's unit is that of its metrics. Its colours are the bounds of the stages. Green is what every stage goes on
    with, red what some stage is taken back for.
  - Prometheus is a variable of the dashboard, so that it can be imported anywhere.
  - All mistakes are told at once, each with its row and panel.
author:
  - Claude Enhancer operations team (@claude-enhancer)
options:
  _input:
    description:
      - The dashboard. It has C(title), C(uid) (the same at every import), C(rows), and optionally C(description),
        C(refresh) (C(30s)), C(since) (how far back it shows, C(3h)) and C(tags).
      - A row has C(title), C(panels), and optionally C(height) (8).
      - A panel has C(title) and C(metrics), the names of one or more metrics with the same unit, and optionally
        C(description), C(type) (C(timeseries), C(stat), C(gauge), C(bargauge)), C(sides) (a list of C(stable) and
        C(candidate)), C(by) (labels to tell series apart by), C(window), C(stack) (C(values) or C(percent)), C(width)
        (of 24; the panels of a row share it evenly unless given).
      - C(thresholds) of a panel is the metric whose bounds are drawn, or C(false) for none. It is the only metric of
        the panel unless given, and none where there are several.
      - A panel of type C(plan) has no metrics. It shows the stages, when they begin and with which weight.
    type: dict
    required: true
  metrics:
    description: The catalogue, as O(claude_enhancer.rollout.metric_gate#module:metrics) takes it.
    type: dict
    required: true
  versions:
    description: What C($stable) and C($candidate) in the catalogue stand for.
    type: dict
    default: {}
  stages:
    description:
      - The stages of the release, as O(claude_enhancer.rollout.release_plan#module:stages) takes them. Their
        C(criteria) and C(triggers) give the colours.
    type: list
    elements: dict
    default: []
seealso:
  - plugin: claude_enhancer.rollout.alert_rules
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Write a dashboard where Grafana reads it
  ansible.builtin.copy:
    dest: /var/lib/grafana/dashboards/canary.json
    content: "{{ described | claude_enhancer.rollout.dashboard(release_metrics, {'candidate': '5.1'}) | to_json }}"
    mode: "0644"
  vars:
    described:
      title: Canary
      uid: canary
      refresh: 10s
      rows:
        - title: Requests
          panels:
            - {title: Errors, metrics: [error_rate]}
            - {title: Latency, metrics: [p50_latency, p95_latency, p99_latency], thresholds: p95_latency}

- name: Hand the inventory's dashboards to the sidecar of Grafana
  kubernetes.core.k8s:
    definition:
      apiVersion: v1
      kind: ConfigMap
      metadata:
        name: "{{ item.value.uid }}"
        namespace: monitoring
        labels: {grafana_dashboard: "1"}
      data:
        dashboard.json: >-
          {{ item.value | claude_enhancer.rollout.dashboard(release_metrics, versions, release_stages) | to_json }}
  loop: "{{ release_dashboards | dict2items }}"
  loop_control:
    label: "{{ item.key }}"
  vars:
    versions:
      stable: "{{ release_stable.version }}"
      candidate: "{{ release_candidate.version }}"
"""

RETURN = r"""
_value:
  description: The dashboard's JSON model.
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics import dashboards


def dashboard(description: t.Any, metrics: t.Any, versions: t.Any = None, stages: t.Any = None) -> dict[str, t.Any]:
    """The JSON model of ``description``. Raises AnsibleFilterError naming every mistake."""
    try:
        return dashboards.dashboard(description, metrics, versions, stages)
    except InputError as error:
        raise AnsibleFilterError(f"dashboard: {error}") from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"dashboard": dashboard}
