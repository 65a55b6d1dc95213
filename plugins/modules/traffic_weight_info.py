#!/usr/bin/python
# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: traffic_weight_info
short_description: Read the percent of requests that the candidate of a release gets, and what stands behind it
version_added: 0.2.0
author:
  - Claude Enhancer operations team (@claude-enhancer)
description:
  - Reads what the traffic object promises; M(claude_enhancer.rollout.traffic_probe) tells what the edge makes of it.
  - Says beside the weight what stands behind each side, whether a user is kept on a side, who else holds the weight,
    and why the data plane might not do what the object says.
extends_documentation_fragment:
  - claude_enhancer.rollout.attributes
  - claude_enhancer.rollout.attributes.reads
  - claude_enhancer.rollout.cluster
  - claude_enhancer.rollout.traffic
seealso:
  - module: claude_enhancer.rollout.traffic_weight
  - module: claude_enhancer.rollout.traffic_probe
"""

EXAMPLES = r"""
- name: See how the traffic is split
  claude_enhancer.rollout.traffic_weight_info:
    provider: gateway_api
    namespace: claude-enhancer
    name: claude-enhancer
    stable:
      host: claude-enhancer-stable
    candidate:
      host: claude-enhancer-candidate
  register: traffic

- name: Say it
  ansible.builtin.debug:
    msg: "{{ traffic.weight }} % to {{ traffic.backends.candidate.ready }} ready endpoints"
"""

RETURN = r"""
weight:
  description: Percent of the requests that the candidate has, rounded; the most of any route if they differ.
  returned: success
  type: int
  sample: 20
share:
  description: The same, not rounded.
  returned: success
  type: float
  sample: 20.0
routes:
  description: Weights of each weighted route.
  returned: success
  type: list
  elements: dict
  contains:
    route:
      description: Name of the route, or its place in the object if it has none.
      type: str
      sample: agents-api
    stable:
      description: Weight of the stable side.
      type: int
      sample: 80
    candidate:
      description: Weight of the candidate.
      type: int
      sample: 20
    others:
      description: Weight of further destinations.
      type: int
      sample: 0
backends:
  description: What stands behind the sides C(stable) and C(candidate).
  returned: success
  type: dict
  contains:
    name:
      description: Destination of the side.
      type: str
      sample: claude-enhancer subset candidate
    ready:
      description: Endpoints that are ready to take requests.
      type: int
      sample: 4
    matching:
      description: Pods, or servers, that belong to the side.
      type: int
      sample: 4
    problem:
      description: Why the side can't have any endpoint; empty where it can.
      type: str
      sample: ""
  sample:
    stable: {name: claude-enhancer subset stable, ready: 10, matching: 10, problem: ""}
    candidate: {name: claude-enhancer subset candidate, ready: 4, matching: 4, problem: ""}
stickiness:
  description: Whether a user stays on the side they were given while the weight grows.
  returned: success
  type: dict
  contains:
    kept:
      description: Whether they do; null where the provider can't tell.
      type: bool
      sample: true
    how:
      description: By what, or why not.
      type: str
      sample: cookie claude-session, by the consistentHash of the DestinationRule
holders:
  description: Who else holds the weight and would write it back, one sentence each.
  returned: success
  type: list
  elements: str
  sample: []
obstacles:
  description: Why the data plane doesn't do what the object says, one sentence each.
  returned: success
  type: list
  elements: str
  sample: []
notices:
  description: What is left alone although it looks like a part of the split, such as TCP routes.
  returned: success
  type: list
  elements: str
  sample: []
resource_version:
  description: Version of the object.
  returned: success
  type: str
  sample: "48213"
error:
  description: Kind of the failure, such as V(input), V(not_found), V(forbidden) or V(unreachable).
  returned: failure
  type: str
  sample: not_found
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import CLUSTER_SPEC, Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import run
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import (
    TRAFFIC_ARGUMENTS,
    TRAFFIC_SPEC,
    open_provider,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic.report import as_info


def work(module: AnsibleModule) -> dict[str, t.Any]:
    options = {option: module.params[option] for option in TRAFFIC_ARGUMENTS}
    return as_info(open_provider(options["provider"], Cluster.from_options(module.params), options))


def main() -> None:
    run(CLUSTER_SPEC.merge(TRAFFIC_SPEC).module(), work)


if __name__ == "__main__":
    main()
