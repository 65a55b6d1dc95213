#!/usr/bin/python
# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_plan
short_description: Check the description of a release and lay it on the clock
version_added: 0.1.0
description:
  - Reads the whole description of a release, and fails with everything that is wrong with it at once, before anything
    is touched. Each problem names the option, its value and the way out.
  - Returns the stages with the times they are planned for.
  - Talks to nothing; it only computes.
author:
  - Claude Enhancer operations team (@claude-enhancer)
options:
  application:
    description: Name of the application under release.
    type: str
    required: true
  namespace:
    description: Namespace of the application.
    type: str
    required: true
  stable:
    description:
      - The side that serves the version of before the release. Needs C(version) and C(deployment), may have
        C(selector), C(image), C(replicas), C(service) and C(manifests).
    type: raw
    required: true
  candidate:
    description:
      - The side that serves the version to be released, in the words of O(stable).
    type: raw
    required: true
  traffic:
    description:
      - What carries the weight, in the words of M(claude_enhancer.rollout.traffic_weight).
    type: raw
    required: true
  entry_service:
    description:
      - The Service that is switched between blue and green, with C(name), C(stable_selector) and C(candidate_selector).
    type: raw
  prometheus:
    description: The source of measurements; C(url) is checked here.
    type: raw
  edge:
    description: Where users' requests enter; C(url) is checked here.
    type: raw
  metrics:
    description: The catalogue of metrics, in the words of M(claude_enhancer.rollout.metric_gate).
    type: raw
  stages:
    description:
      - The stages in their order, each a dictionary.
      - C(name) and, in minutes from T, C(starts) (may be negative) and C(minutes) are needed.
      - C(weight) is the percentage of requests meant for the candidate in this stage. Weights may only grow.
      - C(steps) is a list of C(name) and C(minutes) which together are not longer than the stage.
      - C(criteria) and C(triggers) are conditions on O(metrics).
      - C(finish_minutes) are kept free at the stage's end for what is done after the hold, C(extend_minutes) is by how
        much the hold may be longer than planned.
      - C(observe_minutes) is for how long of the stage the criteria must hold, C(interval) the time between two looks,
        not scaled.
      - C(decision) has an C(owner) and names under C(otherwise) what is done if the answer is no.
      - C(on_interrupt), C(on_trigger), C(on_no_evidence), C(on_source_down) are V(roll_back), V(hold) or, but for the
        first, V(fail).
      - Also C(title), C(description), C(owner), C(deployment), C(candidate_replicas), C(stable_replicas),
        C(tolerance) and C(checks).
    type: raw
    required: true
  time_scale:
    description:
      - Seconds of wall time per second of plan. V(1) is real time; a rehearsal compresses the clock.
    type: raw
    default: 1
  start_at:
    description:
      - When T is, in ISO 8601 with a time zone.
      - Without it the first stage starts now.
    type: str
  release_id:
    description:
      - Id of the release. Without it, the candidate's version and the planned start.
    type: str
extends_documentation_fragment:
  - claude_enhancer.rollout.attributes
  - claude_enhancer.rollout.attributes.reads
"""

EXAMPLES = r"""
- name: Check the release and see its timeline
  claude_enhancer.rollout.release_plan:
    application: claude-enhancer
    namespace: claude-enhancer
    stable: {version: "5.0", deployment: claude-enhancer-blue}
    candidate: {version: "5.1", deployment: claude-enhancer-canary}
    traffic:
      provider: istio
      name: claude-enhancer
      stable: {host: claude-enhancer, subset: stable}
      candidate: {host: claude-enhancer, subset: candidate}
    metrics:
      error_rate:
        kind: ratio
        bad: sum(increase(http_requests_total{version="$candidate",status=~"5.."}[$window]))
        total: sum(increase(http_requests_total{version="$candidate"}[$window]))
    stages:
      - name: canary
        starts: 0
        minutes: 30
        weight: 5
        criteria: [{metric: error_rate, below: 0.001}]
        triggers: [{metric: error_rate, above: 0.005}]
        decision: {owner: technical lead, otherwise: roll back}
  register: plan
"""

RETURN = r"""
release_id:
  description: Id of the release.
  returned: success
  type: str
  sample: 5.1-20261120T100000Z
versions:
  description: Version on either side.
  returned: success
  type: dict
time_scale:
  description: Seconds of wall time per second of plan.
  returned: success
  type: float
t_zero:
  description: When T is, as unix time; RV(t_zero_iso) in ISO 8601.
  returned: success
  type: float
t_zero_iso:
  description: When T is, in UTC.
  returned: success
  type: str
planned_start:
  description: When the first stage starts, as unix time.
  returned: success
  type: float
planned_start_iso:
  description: When the first stage starts, in UTC.
  returned: success
  type: str
planned_end:
  description: When the last stage ends, as unix time.
  returned: success
  type: float
planned_end_iso:
  description: When the last stage ends, in UTC.
  returned: success
  type: str
seconds:
  description: Length of the release in seconds of wall time.
  returned: success
  type: float
stages:
  description:
    - The stages as given, with C(planned_start) and C(planned_end) (unix time, and ISO 8601 with C(_iso) after the
      name), C(plan_start) and C(plan_end) such as V(T+30), and C(seconds), C(observe_seconds), C(finish_seconds)
      and C(extend_seconds) of wall time.
  returned: success
  type: list
  elements: dict
problems:
  description: Everything that is wrong, one sentence each.
  returned: failure
  type: list
  elements: str
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import run
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.plan import read_plan

# Most options are raw: the plan's own reading names every problem at once, where the argument spec stops at the first.
SPEC = ArgumentSpec(
    {
        "application": {"type": "str", "required": True},
        "namespace": {"type": "str", "required": True},
        "stable": {"type": "raw", "required": True},
        "candidate": {"type": "raw", "required": True},
        "traffic": {"type": "raw", "required": True},
        "entry_service": {"type": "raw"},
        "prometheus": {"type": "raw"},
        "edge": {"type": "raw"},
        "metrics": {"type": "raw"},
        "stages": {"type": "raw", "required": True},
        "time_scale": {"type": "raw", "default": 1},
        "start_at": {"type": "str"},
        "release_id": {"type": "str"},
    }
)


def main() -> None:
    run(SPEC.module(), work)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    """Check the description; returns the timeline."""
    return {"changed": False, **read_plan(module.params, time.time())}


if __name__ == "__main__":
    main()
