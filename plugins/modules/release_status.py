#!/usr/bin/python
# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_status
short_description: Say where a release stands
version_added: 0.3.0
description:
  - Prints, on a screen, where a release stands by its journal, and how the world looks beside it.
  - First come the state and since when, the stage and how far into it, the weight as it is and as the journal says,
    what is to be done now, what differs from the journal, and what to type for it.
  - After an empty line follow what the entry service selects, both sides' Deployments with their ready pods, who runs
    the release as far as that can be told, and the last events.
  - Needs nothing but a kubeconfig, and changes nothing.
  - Fails only where the journal can't be read, or the Kubernetes API is away. What else can't be read says why in its
    place. No release at all is no failure.
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
extends_documentation_fragment:
  - claude_enhancer.rollout.cluster
  - claude_enhancer.rollout.attributes
  - claude_enhancer.rollout.attributes.reads
notes:
  - Runs on the control node. The C(environment) of a task does not reach it, so give the connection as options.
  - Whoever runs the release holds the Lease C(<application>-release-lock), where there is one, and on the machine it is
    run from a watchdog is at work. Times and ages are by this machine's clock.
seealso:
  - module: claude_enhancer.rollout.release_journal
  - module: claude_enhancer.rollout.release_summary
"""

EXAMPLES = r"""
- name: Say where the release stands, with nothing but a kubeconfig
  claude_enhancer.rollout.release_status:
    kubeconfig: ~/.kube/config
"""

RETURN = r"""
lines:
  description: What was printed.
  returned: success
  type: list
  elements: str
found:
  description: Whether there is a release.
  returned: success
  type: bool
namespace:
  description: Namespace of the journal.
  returned: success
  type: str
release_id:
  description: Id of the release.
  returned: when there is a release
  type: str
application:
  description: Name of the application.
  returned: when there is a release
  type: str
state:
  description: V(in_progress), V(rolling_back), V(done) or V(rolled_back).
  returned: when there is a release
  type: str
versions:
  description: Version on either side.
  returned: when there is a release
  type: dict
started:
  description: When the release was opened, in UTC.
  returned: when there is a release
  type: str
run_by:
  description: Who opened or took up the release last, from where (C(host)), and C(since) when.
  returned: when there is a release
  type: dict
stage:
  description: The stage that was begun and has not ended.
  returned: when there is a release
  type: str
next_stage:
  description: The stage to begin or to go on with.
  returned: when there is a release
  type: str
ended_stages:
  description: Stages that have ended well.
  returned: when there is a release
  type: list
  elements: str
weight:
  description:
    - Percent of the requests meant for the candidate, as it C(is), in each of C(routes), and C(expected) by the journal
      (any of these). C(problem) says why it can't be read.
  returned: when there is a release
  type: dict
  sample: {is: 5, routes: [5, 5], expected: [5], object: VirtualService shop/shop, problem: ""}
entry:
  description: What the entry C(service) selects (C(selector)), or C(problem).
  returned: when there is a release
  type: dict
deployments:
  description:
    - C(name), C(replicas) asked for (none where it isn't there), C(ready), C(autoscaled) and C(problem) of each.
  returned: when there is a release
  type: list
  elements: dict
controller:
  description:
    - Who runs the release. C(alive) is none where that can't be told. C(lock) tells C(holder), C(acquired), C(renewed)
      (unix times) and C(duration). C(watchdog) is the id of the one on this machine, C(watched) whether its process
      runs.
  returned: when there is a release
  type: dict
events:
  description: The last five events as they are in the journal, and each in C(words).
  returned: when there is a release
  type: list
  elements: dict
differences:
  description:
    - What isn't as the journal says. C(variable) of the inventory that names the object, C(what) is, what that
      C(means), what can be done C(by_hand), what other C(ways_out) there are, whether a rollback that was cut off
      leaves it so (C(taken_back)), and all of it as a C(sentence).
  returned: when there is a release
  type: list
  elements: dict
notices:
  description: What the next run puts right by itself.
  returned: when there is a release
  type: list
  elements: str
commands:
  description: What to type next, by what it is for; the most likely one first.
  returned: success
  type: dict
  sample: {go on: ansible-playbook -i INVENTORY claude_enhancer.rollout.deploy}
"""
