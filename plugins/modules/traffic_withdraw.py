#!/usr/bin/python
# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: traffic_withdraw
short_description: Take all traffic of a release back to stable, as its journal says
version_added: 0.1.0
description:
  - Reads the journal of the release, and gives all weight of the traffic object named there to the stable side.
  - Does both within C(ansible-playbook) itself, and so in a fraction of the time of two modules; meant as the first
    task of a rollback.
  - Changes nothing and returns RV(withdrawn=false) where there is no journal, or where the stable side was reduced
    during the release and has to be brought back to full strength first.
  - The weights that the API stored are checked before it returns. No finding about the stable side holds it back; what
    is found is a warning.
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
  - claude_enhancer.rollout.attributes.changes
notes:
  - Runs on the control node. The C(environment) of a task does not reach it, so give the connection as options.
seealso:
  - module: claude_enhancer.rollout.traffic_weight
  - module: claude_enhancer.rollout.release_journal
"""

EXAMPLES = r"""
- name: Take all traffic back with nothing but a kubeconfig
  claude_enhancer.rollout.traffic_withdraw:
    kubeconfig: /etc/claude-enhancer/kubeconfig
  register: withdrawn
"""

RETURN = r"""
withdrawn:
  description: Whether all traffic is on stable.
  returned: success
  type: bool
why:
  description: Why nothing was done.
  returned: when RV(withdrawn) is false
  type: str
before:
  description: Percent of the requests that the candidate had; the most of any route if they differed.
  returned: when RV(withdrawn) is true
  type: int
  sample: 5
after:
  description: Percent of the requests that the candidate has now.
  returned: when RV(withdrawn) is true
  type: int
  sample: 0
routes:
  description: Weights of each weighted route as M(claude_enhancer.rollout.traffic_weight) returns them.
  returned: when RV(withdrawn) is true
  type: list
  elements: dict
resource_version:
  description: Version of the object after the change.
  returned: when RV(withdrawn) is true
  type: str
calls:
  description: Requests sent to the Kubernetes API for the weight.
  returned: when RV(withdrawn) is true
  type: int
found:
  description: Whether there is a journal.
  returned: success
  type: bool
namespace:
  description: Namespace of the journal.
  returned: success
  type: str
release_id:
  description: Id of the release. With it come all values that M(claude_enhancer.rollout.release_journal) returns.
  returned: when there is a journal
  type: str
state:
  description: State of the release.
  returned: when there is a journal
  type: str
journal:
  description: The whole journal, as M(claude_enhancer.rollout.release_journal) returns it.
  returned: when there is a journal
  type: dict
error:
  description: Kind of the failure, such as V(unreachable), V(forbidden), V(not_found) or V(journal).
  returned: failure
  type: str
"""
