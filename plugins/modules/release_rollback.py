#!/usr/bin/python
# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_rollback
short_description: Take a release back in one act, users first
version_added: 0.2.0
description:
  - Restores weights, the selector of the entry service and replicas from the snapshot in the release's journal, in one
    process, and says for each step when it began and how long it took.
  - Users come first. A stable side that was scaled down is brought back to full strength, then the weight goes to 0 and
    the entry service back to stable, both at once. No finding about the stable side holds them back; what is found is a
    warning.
  - Then it is proven at the edge that nobody reaches the candidate. Only after that the canary is removed and green is
    brought to 0 replicas; what the clean-up of the canary had changed is restored, the candidate's configuration
    removed where the switch had begun, and the stable side judged by O(release) C(release_rollback_criteria) as the
    journal has them.
  - A step that fails never stops those after it. All problems are told together, and the journal stays
    C(rolling_back), so that the next run finishes what is left. What may go well a moment later is tried again for
    O(verify_timeout) seconds.
  - Without O(lease) it takes the release's lock from whoever holds it, so that a release that is still running changes
    nothing any more. It does so right after users are away from the candidate, which nothing holds up, and then sees
    that they still are. Where the lock can't be had that is a warning.
  - With O(lease) it belongs to a run, and does nothing where that has lost its lock.
  - Needs a kubeconfig and a reason; where to is in the journal. Where there is none, O(release) says it.
author:
  - Claude Enhancer operations team (@claude-enhancer)
options:
  application:
    description:
      - Name of the application.
      - Without it the journal is found by its labels.
    type: str
  namespace:
    description:
      - Namespace of the application.
      - Without it the namespace of the kubeconfig's context is used.
    type: str
  reason:
    description:
      - Why, such as V(error_rate_high), V(response_time_slow), V(agent_coordination_failed), V(resource_exhaustion),
        V(user_reported_issues), V(manual_intervention) or words of your own. Enters the journal.
    type: str
    required: true
  decided:
    description:
      - When it was decided, as unix time. Enters the journal.
    type: float
  part:
    description:
      - V(traffic) ends when users are away from the candidate and the journal says so; a run with V(all) must follow.
    type: str
    choices: [all, traffic]
    default: all
  release:
    description:
      - The inventory's facts of the release (C(release_application), C(release_namespace), C(release_stable),
        C(release_candidate), C(release_entry_service), C(release_traffic), C(release_edge), C(release_prometheus),
        C(release_metrics), C(release_rollback_criteria), C(release_agents), C(release_workflows)).
      - Used for what the journal lacks, such as the credentials of Prometheus, and for everything where there is no
        journal. The weight is then 0 and the entry service's selector its C(stable_selector).
    type: dict
    default: {}
  verify_timeout:
    description:
      - For how many seconds each proof, the ending of the candidate's pods and steps that failed are waited for.
    type: float
    default: 30.0
  strength_timeout:
    description:
      - For how many seconds a stable side that was scaled down is waited for, before traffic goes back to it anyway.
    type: float
    default: 120.0
  probe_requests:
    description:
      - How many requests at least must show that the candidate gets none.
      - More are sent where its weight was so small that these might have missed it.
    type: int
    default: 100
extends_documentation_fragment:
  - claude_enhancer.rollout.cluster
  - claude_enhancer.rollout.lease
  - claude_enhancer.rollout.attributes
  - claude_enhancer.rollout.attributes.changes
notes:
  - Runs on the control node. The C(environment) of a task does not reach it, so give the connection as options.
  - A dry run asks the API server to judge every write and proves nothing, so RV(verified) is then false.
  - Pods of the candidate that end slowly are a warning, since nobody reaches them any more.
seealso:
  - module: claude_enhancer.rollout.traffic_weight
  - module: claude_enhancer.rollout.service_switch
  - module: claude_enhancer.rollout.release_journal
"""

EXAMPLES = r"""
- name: Take the release back with nothing but a kubeconfig and a reason
  claude_enhancer.rollout.release_rollback:
    kubeconfig: /etc/claude-enhancer/kubeconfig
    reason: error_rate_high

- name: Take users off the candidate and leave the rest for later
  claude_enhancer.rollout.release_rollback:
    namespace: claude-enhancer
    reason: response_time_slow
    part: traffic
"""

RETURN = r"""
verified:
  description: Whether everything is back and proven, with nothing left to do.
  returned: success or failure of a step
  type: bool
steps:
  description: Each step in the order in which they began.
  returned: success or failure of a step
  type: list
  elements: dict
  contains:
    name:
      description: Name of the step.
      type: str
      sample: weight
    at:
      description: Seconds from the start of the action until the step began.
      type: float
      sample: 0.031
    seconds:
      description: How long it took.
      type: float
      sample: 0.024
    changed:
      description: Whether it changed anything.
      type: bool
    says:
      description: What it did, or why it failed.
      type: str
      sample: 5 to 0 %
    failed:
      description: Whether it failed.
      type: bool
problems:
  description: What went wrong, one sentence for each step that failed.
  returned: success or failure of a step
  type: list
  elements: str
weight:
  description: Percent of the requests meant for the candidate, C(before) and C(after).
  returned: when the weight could be set
  type: dict
  sample: {before: 5, after: 0}
routes:
  description: Weights of each weighted route as M(claude_enhancer.rollout.traffic_weight) returns them.
  returned: when the weight could be set
  type: list
  elements: dict
notices:
  description: What the provider leaves alone, as M(claude_enhancer.rollout.traffic_weight) returns it.
  returned: when there is any
  type: list
  elements: str
entry_selector:
  description: Selector of the entry service, C(before) and C(after).
  returned: when it could be set
  type: dict
  sample: {before: {app: claude-enhancer, version: "5.1"}, after: {app: claude-enhancer, version: "5.0"}}
probe:
  description: What was seen at the edge, as M(claude_enhancer.rollout.traffic_probe) returns it.
  returned: when it was proven that nobody reaches the candidate
  type: dict
judgements:
  description: One entry per criterion, as M(claude_enhancer.rollout.metric_gate) returns them.
  returned: when all criteria hold
  type: list
  elements: dict
lock_taken_from:
  description: Who held the lock of the release.
  returned: when somebody did
  type: str
found:
  description: Whether there is a journal.
  returned: success or failure of a step
  type: bool
application:
  description: Name of the application.
  returned: success or failure of a step
  type: str
namespace:
  description: Namespace of the journal.
  returned: success or failure of a step
  type: str
release_id:
  description: Id of the release; empty where there is no journal.
  returned: success or failure of a step
  type: str
state:
  description: State of the release in the journal now, V(rolled_back) if all went well; empty where there is none.
  returned: success or failure of a step
  type: str
error:
  description:
    - Kind of the failure; V(not_rolled_back) if a step failed, else what stood before all steps, such as
      V(unreachable), V(forbidden), V(journal), V(input) or V(lock).
  returned: failure
  type: str
"""
