#!/usr/bin/python
# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_preflight
short_description: Check a release and the world it is to begin in before anything is touched
version_added: 0.1.0
description:
  - Reads the whole description of a release, as M(claude_enhancer.rollout.release_plan) does, and asks the cluster, the
    source of measurements and the edge for everything it names.
  - Fails with everything that is in the way at once, one sentence each, which names the variable of the inventory, its
    value and the way out. What makes several checks fail, such as an API server that is away, is told once.
  - Refuses while a rollback has not been finished, a release of other versions is in progress, or another controller
    holds the lock, see M(claude_enhancer.rollout.release_lock).
  - Where a release is in progress, proves that the world is as its journal says before it is taken up. The weight, what
    the entry Service selects, and the Deployments that must stand are looked at, and looked at again for ten seconds
    where they differ. What the stage that was interrupted left half done is printed, and no obstacle; everything else
    that differs was done by somebody else, and is a problem, with what it means and the ways out.
  - Where none is, the candidate must have no weight and the entry Service must select stable. A release whose journal
    was deleted is so not taken for a new one.
  - Changes nothing. The patches of C(release_canary_drain) are sent as a server-side dry run.
  - Returns the timeline of the release, and the state to return to.
author:
  - Claude Enhancer operations team (@claude-enhancer)
options:
  release:
    description:
      - The variables of the release by their names in the inventory, from C(release_application) to C(release_stages).
    type: dict
    required: true
  resume:
    description:
      - What becomes of a release in progress. V(resume) takes it up. V(restart) and V(rollback) have it taken back
        first, which RV(resume) tells; then nothing that this would change is looked at, and for V(rollback) nothing but
        the journal.
      - Without a release in progress V(resume) and V(restart) are the same, and V(rollback) says that there is nothing
        to do.
      - Another value is told together with all other problems.
    type: str
    default: resume
    version_added: 0.3.0
  lock_wait:
    description: For how many seconds to wait for a lock that another controller holds, before anything else is asked.
    type: float
    default: 0
    version_added: 0.3.0
  take_over:
    description: Whether the lock is going to be taken over, so that it doesn't matter who holds it.
    type: bool
    default: false
    version_added: 0.3.0
extends_documentation_fragment:
  - claude_enhancer.rollout.cluster
  - claude_enhancer.rollout.attributes
  - claude_enhancer.rollout.attributes.reads
notes:
  - Runs on the control node, where the files that the release names are. The C(environment) of a task does not reach
    it, so give the connection as options.
seealso:
  - module: claude_enhancer.rollout.release_plan
  - module: claude_enhancer.rollout.release_journal
"""

EXAMPLES = r"""
- name: Check the release and the world
  claude_enhancer.rollout.release_preflight:
    kubeconfig: /etc/claude-enhancer/kubeconfig
    release:
      release_application: "{{ release_application }}"
      release_namespace: "{{ release_namespace }}"
      release_stable: "{{ release_stable }}"
      release_candidate: "{{ release_candidate }}"
      release_traffic: "{{ release_traffic }}"
      release_entry_service: "{{ release_entry_service }}"
      release_edge: "{{ release_edge }}"
      release_prometheus: "{{ release_prometheus }}"
      release_metrics: "{{ release_metrics }}"
      release_stages: "{{ release_stages }}"
      release_rollback_criteria: "{{ release_rollback_criteria }}"
      release_agents: "{{ release_agents }}"
      release_workflows: "{{ release_workflows }}"
      release_candidate_manifest: "{{ release_candidate_manifest }}"
      release_canary_replicas: "{{ release_canary_replicas }}"
      release_green_replicas: "{{ release_green_replicas }}"
      release_canary_drain: "{{ release_canary_drain }}"
      release_watch_interval: "{{ release_watch_interval }}"
      release_evidence_grace: "{{ release_evidence_grace }}"
      release_false_rollback: "{{ release_false_rollback }}"
      release_false_advance: "{{ release_false_advance }}"
      release_wait_timeout: "{{ release_wait_timeout }}"
      release_time_scale: "{{ release_time_scale }}"
      release_on_interrupt: "{{ release_on_interrupt }}"
  register: preflight
"""

RETURN = r"""
release_id:
  description: Id for the release, the candidate's version and the planned start.
  returned: success
  type: str
  sample: 5.1-20261120T100000Z
t_zero:
  description: When T is, as unix time.
  returned: success
  type: float
time_scale:
  description: Seconds of wall time per second of plan.
  returned: success
  type: float
stages:
  description: The stages with their planned times, as M(claude_enhancer.rollout.release_plan) returns them.
  returned: success
  type: list
  elements: dict
snapshot:
  description: The state that traffic returns to. The objects as a whole are kept by
    M(claude_enhancer.rollout.object_snapshot).
  returned: success
  type: dict
  contains:
    weight:
      description: Percent of the requests that the candidate has.
      type: int
    entry_selector:
      description: Selector of the entry Service.
      type: dict
    stable_replicas:
      description: Replicas of the stable Deployment.
      type: int
resume:
  description: What becomes of a release in progress.
  returned: success
  type: dict
  contains:
    asked:
      description: The value of O(resume).
      type: str
    goes_on:
      description: Whether the release in progress is taken up.
      type: bool
    take_back:
      description: Whether it is to be taken back first.
      type: bool
    ends:
      description: Whether the run is to end after that.
      type: bool
    reason:
      description: Why it is taken back, for the journal.
      type: str
    notice:
      description: What is to be said where O(resume) has nothing to do.
      type: str
notices:
  description:
    - What was printed, such as at which stage a release goes on and what was left half done in it.
  returned: success
  type: list
  elements: str
lock_seen:
  description:
    - Whose turn it was when the world was asked, for C(seen) of M(claude_enhancer.rollout.release_lock); empty where
      nobody ever held the lock.
  returned: success
  type: str
problems:
  description: Everything that is in the way, one sentence each.
  returned: failure
  type: list
  elements: str
"""
