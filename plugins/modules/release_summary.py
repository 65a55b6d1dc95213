#!/usr/bin/python
# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_summary
short_description: Show how a release went, stage by stage
version_added: 0.1.0
description:
  - Prints a table of the release's stages from its journal, with planned and actual times, the weight asked for and the
    share measured, error rate, P95, agents and verdict, and last one sentence on how the release ended.
  - Runs on the control node and changes nothing.
author:
  - Claude Enhancer operations team (@claude-enhancer)
options:
  journal:
    description:
      - The journal as M(claude_enhancer.rollout.release_journal) returned it under C(journal).
      - Of a stage's result C(weight), C(share) (a fraction, C(share), C(low), C(high) and C(requests), or the whole
        result of M(claude_enhancer.rollout.traffic_probe)), C(error_rate) (a fraction), C(p95) (seconds), C(agents) and
        C(verdict) are shown.
      - A value that is missing is looked for under C(judgements), and else shown as a dash.
      - Without it the journal is read from the cluster.
    type: dict
  application:
    description:
      - Name of the application, where the journal is to be read.
      - Without it the journal is found by its labels.
    type: str
  namespace:
    description:
      - Namespace of the application, where the journal is to be read.
      - Without it the namespace of the kubeconfig's context is used.
    type: str
  release_id:
    description: Id of a finished release, where that is to be read.
    type: str
  notes:
    description: Lines to print between the table and the last sentence.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - claude_enhancer.rollout.cluster
  - claude_enhancer.rollout.attributes
  - claude_enhancer.rollout.attributes.reads
notes:
  - Runs on the control node. The C(environment) of a task does not reach it, so give the connection as options.
seealso:
  - module: claude_enhancer.rollout.release_journal
"""

EXAMPLES = r"""
- name: Show how the release went
  claude_enhancer.rollout.release_summary:
    application: claude-enhancer
    namespace: claude-enhancer
    notes:
      - "Load: 48 210 requests sent, 0 failed"
"""

RETURN = r"""
lines:
  description: What was printed.
  returned: success
  type: list
  elements: str
outcome:
  description: The last sentence.
  returned: success
  type: str
state:
  description: State of the release.
  returned: success
  type: str
stages:
  description:
    - The stages as data. Times of the plan are seconds from T (C(planned_start), C(planned_end), C(actual_start),
      C(actual_end)), C(seconds) is wall time, C(share) and C(error_rate) are fractions,
      C(p95) is in seconds.
  returned: success
  type: list
  elements: dict
"""
