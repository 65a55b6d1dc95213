#!/usr/bin/python
# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: service_switch
short_description: Switch a Service from one side of a release to the other
version_added: 0.1.0
author:
  - Claude Enhancer operations team (@claude-enhancer)
description:
  - Changes the selector of a Service, and nothing else of it, in one write.
  - Moves only onto ready pods, and waits until the EndpointSlices of the Service hold exactly the ready pods that
    match the new selector.
  - The object must be the same as when it was read. If someone else changed something else of it meanwhile, it is
    read again and the change is tried again; if someone else changed the selector, the module fails.
extends_documentation_fragment:
  - claude_enhancer.rollout.attributes
  - claude_enhancer.rollout.attributes.changes
  - claude_enhancer.rollout.cluster
  - claude_enhancer.rollout.lease
options:
  namespace:
    description:
      - Namespace of the Service.
    type: str
    required: true
  name:
    description:
      - Name of the Service.
    type: str
    required: true
  selector:
    description:
      - Labels to select pods by.
    type: dict
    required: true
  replace_selector:
    description:
      - Whether O(selector) is the whole selector, so that labels it doesn't name are dropped from the Service.
      - Otherwise only the labels named are set.
    type: bool
    default: false
  min_ready:
    description:
      - Pods that must match the new selector and be ready.
    type: int
    default: 1
  deployment:
    description:
      - Deployment whose pods the Service is moved onto. Only its pods count then, see O(min_ready_ratio).
    type: str
  min_ready_ratio:
    description:
      - Part of the replicas of O(deployment) that must be ready, from V(0) to V(1).
    type: float
    default: 1.0
  rollback:
    description:
      - Whether this takes a release back. Then nothing holds it back, neither pods that aren't ready nor a selector
        that someone else changes meanwhile. What would have been a reason to is returned in RV(warnings).
    type: bool
    default: false
    aliases: [force]
  wait_timeout:
    description:
      - Seconds for the endpoints to follow; with V(0) they are not waited for.
    type: float
    default: 60.0
seealso:
  - module: claude_enhancer.rollout.traffic_weight
"""

EXAMPLES = r"""
- name: Switch the entry service to green
  claude_enhancer.rollout.service_switch:
    namespace: claude-enhancer
    name: claude-enhancer-service
    selector:
      version: "5.1"
    deployment: claude-enhancer-green

- name: Switch back to blue at once
  claude_enhancer.rollout.service_switch:
    kubeconfig: /etc/claude-enhancer/kubeconfig
    namespace: claude-enhancer
    name: claude-enhancer-service
    selector:
      version: "5.0"
    rollback: true
"""

RETURN = r"""
before:
  description: Selector of the Service before.
  returned: success
  type: dict
  sample: {app: claude-enhancer, version: "5.0"}
after:
  description: Selector of the Service now, as the API stored it.
  returned: success
  type: dict
  sample: {app: claude-enhancer, version: "5.1"}
ready:
  description: Pods that match the selector and are ready.
  returned: success
  type: int
  sample: 10
endpoints:
  description: Names of these pods.
  returned: success
  type: list
  elements: str
  sample: [claude-enhancer-green-6d5f8-x2x9k]
seconds:
  description:
    - Seconds from the change until the endpoints of the Service were exactly the ready pods that match.
    - Not set in check mode, and not if they weren't waited for.
  returned: success
  type: float
  sample: 0.214
resource_version:
  description: Version of the Service after the change.
  returned: success
  type: str
  sample: "48230"
calls:
  description: Requests sent to the Kubernetes API.
  returned: success
  type: int
  sample: 7
warnings:
  description: What would have held back a switch that isn't a rollback.
  returned: when there is any
  type: list
  elements: str
error:
  description:
    - Kind of the failure, such as V(input), V(not_found), V(conflict), V(forbidden), V(unreachable), V(guard),
      V(not_routed) or V(lock).
  returned: failure
  type: str
  sample: guard
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import SystemClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import CLUSTER_SPEC, Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.entry_service import (
    EntryService,
    Requirement,
    as_labels,
    as_result,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import run
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import LEASE_SPEC
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_fence import LeaseFence

SWITCH_SPEC = ArgumentSpec(
    {
        "namespace": {"type": "str", "required": True},
        "name": {"type": "str", "required": True},
        "selector": {"type": "dict", "required": True},
        "replace_selector": {"type": "bool", "default": False},
        "min_ready": {"type": "int", "default": 1},
        "deployment": {"type": "str"},
        "min_ready_ratio": {"type": "float", "default": 1.0},
        "rollback": {"type": "bool", "default": False, "aliases": ["force"]},
        "wait_timeout": {"type": "float", "default": 60.0},
    }
)


def work(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    requirement = Requirement(params["min_ready"], params["deployment"] or "", params["min_ready_ratio"])
    labels = as_labels(params["selector"])
    cluster = Cluster.from_options(params, dry_run=module.check_mode)
    fence = LeaseFence.from_option(cluster, params["lease"])
    entry = EntryService(cluster, params["namespace"], params["name"], SystemClock(), fence)
    switch = entry.switch(
        labels,
        whole=params["replace_selector"],
        requirement=requirement,
        rollback=params["rollback"],
        wait_timeout=params["wait_timeout"],
    )
    return {**as_result(switch), "calls": cluster.calls}


def main() -> None:
    run(CLUSTER_SPEC.merge(LEASE_SPEC, SWITCH_SPEC).module(), work)


if __name__ == "__main__":
    main()
