#!/usr/bin/python
# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: traffic_weight
short_description: Set the percent of requests that the candidate of a release gets
version_added: 0.1.0
author:
  - Claude Enhancer operations team (@claude-enhancer)
description:
  - Moves every weighted route of a traffic object together, and leaves everything else of the object as it is.
  - A weighted route has a destination to O(stable) and one to O(candidate). Routes that go to one side only, such as
    those that pin testers by a header, stay as they are. Further destinations of a weighted route keep their weights,
    and the rest is split.
  - The object must be the same as when it was read. If someone else changed something else of it meanwhile, it is
    read again and the change is tried again; if someone else moved the weight, the module fails.
  - The weights that the API stored are checked before the module returns.
extends_documentation_fragment:
  - claude_enhancer.rollout.attributes
  - claude_enhancer.rollout.attributes.changes
  - claude_enhancer.rollout.cluster
  - claude_enhancer.rollout.traffic
  - claude_enhancer.rollout.lease
options:
  weight:
    description:
      - Percent of the requests for the candidate, V(0) to V(100).
    type: int
    required: true
  guard:
    description:
      - Whether to refuse a weight that isn't safe. The receiving side must carry its share, see O(min_ready),
        O(min_ready_ratio) and O(replica_capacity); the stable side must be able to take all traffic back, whatever a
        HorizontalPodAutoscaler makes of it; nobody else may hold the weight, see O(takeover); and the data plane must
        have taken the object.
      - Taking all traffic back, which is O(weight=0), is never refused. What would have been a reason to is returned
        in RV(warnings).
      - Without the guard, a weight that someone else moves meanwhile is overruled.
    type: bool
    default: true
  min_ready:
    description:
      - Ready endpoints that the receiving side must have at least.
    type: int
    default: 1
  min_ready_ratio:
    description:
      - Ready endpoints that the receiving side must have for its share of the requests, as a part of what the other
        side has for all of them.
      - With 10 ready endpoints on the other side and a share of 20 percent, V(1.0) asks for 2 and V(0.5) for 1.
      - The stable side must have the same part of O(stable_replicas), so that it can take all traffic back.
    type: float
    default: 0.5
  replica_capacity:
    description:
      - Requests per second that one replica can serve; with O(request_rate) it says how many the receiving side needs.
    type: float
    version_added: 0.2.0
  request_rate:
    description:
      - Requests per second that come in for both sides together.
    type: float
    version_added: 0.2.0
  stable_replicas:
    description:
      - Replicas that the stable side had before the release; without it, what it has now counts.
    type: int
    version_added: 0.2.0
  takeover:
    description:
      - Whether to go on although a GitOps controller or another rollout tool holds the weight, as its C(managedFields),
        labels or owners say.
    type: bool
    version_added: 0.2.0
    default: false
seealso:
  - module: claude_enhancer.rollout.traffic_weight_info
  - module: claude_enhancer.rollout.traffic_probe
  - module: claude_enhancer.rollout.service_switch
"""

EXAMPLES = r"""
- name: Give the candidate 5 percent of the requests
  claude_enhancer.rollout.traffic_weight:
    provider: istio
    namespace: claude-enhancer
    name: claude-enhancer
    stable:
      host: claude-enhancer
      subset: stable
    candidate:
      host: claude-enhancer
      subset: candidate
    weight: 5

- name: Take all traffic back from the candidate, whatever stands behind the stable side
  claude_enhancer.rollout.traffic_weight:
    kubeconfig: /etc/claude-enhancer/kubeconfig
    namespace: claude-enhancer
    name: claude-enhancer
    stable:
      host: claude-enhancer
      subset: stable
    candidate:
      host: claude-enhancer
      subset: candidate
    weight: 0
    guard: false
"""

RETURN = r"""
before:
  description: Percent of the requests that the candidate had; the most of any route if they differed.
  returned: success
  type: int
  sample: 5
after:
  description: Percent of the requests that the candidate has now, as the API stored it.
  returned: success
  type: int
  sample: 20
share:
  description:
    - The same, not rounded. It differs from O(weight) where the provider can't come nearer, such as a split by whole
      pods. Give it to M(claude_enhancer.rollout.traffic_probe) as the weight to expect.
  returned: success
  type: float
  sample: 20.0
routes:
  description: Weights of each weighted route before and after.
  returned: success
  type: list
  elements: dict
  contains:
    route:
      description: Name of the route, or its place in the object if it has none.
      type: str
      sample: agents-api
    before:
      description: Weights of both sides and of further destinations before.
      type: dict
      sample: {stable: 95, candidate: 5, others: 0}
    after:
      description: Weights of both sides and of further destinations now.
      type: dict
      sample: {stable: 80, candidate: 20, others: 0}
resource_version:
  description: Version of the object after the change.
  returned: success
  type: str
  sample: "48213"
notices:
  description: What was left alone although it looks like a part of the split, such as TCP routes.
  returned: when there is any
  type: list
  elements: str
calls:
  description: Requests sent to the Kubernetes API, or to whatever else holds the weight.
  returned: success
  type: int
  sample: 6
warnings:
  description: What the guard found where it may not hold the change back.
  returned: when there is any
  type: list
  elements: str
error:
  description:
    - Kind of the failure, such as V(input), V(not_found), V(conflict), V(forbidden), V(unreachable), V(guard) or
      V(lock).
  returned: failure
  type: str
  sample: guard
"""

import dataclasses
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import CLUSTER_SPEC, Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import run
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import LEASE_SPEC
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_fence import LeaseFence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import (
    TRAFFIC_ARGUMENTS,
    TRAFFIC_SPEC,
    Limits,
    open_provider,
    set_weight,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.base import check_weight
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.report import as_result

WEIGHT_SPEC = ArgumentSpec(
    {
        "weight": {"type": "int", "required": True},
        "guard": {"type": "bool", "default": True},
        "min_ready": {"type": "int", "default": 1},
        "min_ready_ratio": {"type": "float", "default": 0.5},
        "replica_capacity": {"type": "float"},
        "request_rate": {"type": "float"},
        "stable_replicas": {"type": "int"},
        "takeover": {"type": "bool", "default": False},
    },
    required_together=(("replica_capacity", "request_rate"),),
)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    weight = check_weight(params["weight"])
    limits = Limits(**{field.name: params[field.name] for field in dataclasses.fields(Limits)})
    cluster = Cluster.from_options(params, dry_run=module.check_mode)
    options = {option: params[option] for option in TRAFFIC_ARGUMENTS}
    fence = LeaseFence.from_option(cluster, params["lease"])
    provider = open_provider(params["provider"], cluster, options, fence)
    return as_result(set_weight(provider, weight, guard=params["guard"], limits=limits))


def main() -> None:
    run(CLUSTER_SPEC.merge(TRAFFIC_SPEC, LEASE_SPEC, WEIGHT_SPEC).module(), work)


if __name__ == "__main__":
    main()
