#!/usr/bin/python
# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: stage_watch
short_description: Hold a stage of a release, and take traffic back the moment a trigger fires
version_added: 0.1.0
author:
  - Claude Enhancer operations team (@claude-enhancer)
description:
  - Holds a stage for its time, and looks at its criteria and triggers in even intervals. A line per look tells
    where the stage is; on a terminal a bar below it shows the time between looks.
  - When a trigger fires, all traffic goes back to stable at once, in the process that saw it and before anything is
    shown or recorded; then the weight is read back and the task fails.
  - The stage passes when its criteria have held over the last O(observe) seconds and every trigger was quiet on the
    last look. No evidence, and a source that is down, never pass.
  - Without criteria and triggers it waits until the time has come.
extends_documentation_fragment:
  - claude_enhancer.rollout.prometheus
  - claude_enhancer.rollout.prometheus.versions
  - claude_enhancer.rollout.criteria
  - claude_enhancer.rollout.criteria.risks
  - claude_enhancer.rollout.cluster
  - claude_enhancer.rollout.lease
  - claude_enhancer.rollout.attributes
  - claude_enhancer.rollout.attributes.changes
attributes:
  check_mode:
    details:
      - Looks and judges once, does not wait and does not move traffic. The verdict is returned and fails nothing.
  diff_mode:
    support: none
  idempotent:
    support: N/A
    details:
      - Holding a stage is not a state.
options:
  stage:
    description:
      - Name of the stage, for people.
    type: str
    required: true
  seconds:
    description:
      - For how long to hold, in seconds of the wall clock. Give this or O(until).
    type: float
  until:
    description:
      - Until when to hold, in unix time. Give this or O(seconds).
    type: float
  at_least:
    description:
      - Seconds to hold at least, also where O(until) comes sooner.
    type: float
    default: 0.0
  interval:
    description:
      - Seconds between two looks. A look that takes longer costs the next one; none is made late or twice.
    type: float
    default: 10.0
  criteria:
    default: []
  triggers:
    description:
      - Conditions of which none may hold, in the words of O(criteria). One that holds, for as long as its C(for) asks,
        ends the stage at once.
    type: list
    elements: dict
    default: []
  observe:
    description:
      - Seconds at the end of the stage over which criteria on a value (gauges, increases, those with
        C(evidence=point)) must have held on every look. A criterion's own C(for) takes its place. Criteria with
        sequential evidence weigh the whole stage, and must hold at its end.
      - Without it the last three looks must have passed.
    type: float
  advance:
    description:
      - V(at_end) holds the stage for its whole time. V(when_sure) ends it as soon as all criteria hold, and no sooner
        than after O(warm_up) and O(observe).
    type: str
    choices: [at_end, when_sure]
    default: at_end
    version_added: 0.3.0
  extend_by:
    description:
      - Seconds by which the stage may be extended while its criteria have not held for long enough. It ends as soon as
        they have.
    type: float
    default: 0.0
  warm_up:
    description:
      - Seconds at the start in which neither criteria nor a lack of evidence count. Triggers do.
    type: float
    default: 0.0
  grace:
    description:
      - Seconds for which a lack of evidence, or of its source, is borne before O(on_no_evidence) or O(on_source_down)
        set in.
    type: float
    default: 60.0
  api_patience:
    description:
      - Seconds for which a Kubernetes API that is away is borne. Holding a stage doesn't need it. Where it is away when
        the stage has passed, the stage is held on, its triggers on guard, until it is back; after that time the stage
        fails.
      - As long is tried to take traffic back when a trigger fires. Both are said when they begin.
    type: float
    default: 300.0
    version_added: 0.3.0
  on_no_evidence:
    description:
      - What to do when a criterion or trigger lacks evidence for O(grace) seconds.
      - V(hold) goes on holding; if it is still so at the end, the stage fails. V(roll_back) gives all traffic to stable
        and fails. V(fail) fails and leaves the weight.
    type: str
    choices: [hold, roll_back, fail]
    default: hold
  on_source_down:
    description:
      - The same for a source that does not answer.
    type: str
    choices: [hold, roll_back, fail]
    default: hold
  on_interrupt:
    description:
      - What to do when the hold is interrupted by Ctrl-C, SIGTERM, the end of C(ansible-playbook), the C(timeout)
        of the task or an error.
      - V(roll_back) gives all traffic to stable; V(hold) leaves the weight on a candidate nobody watches.
    type: str
    choices: [roll_back, hold]
    default: roll_back
  traffic:
    description:
      - What carries the weight, in the words of M(claude_enhancer.rollout.traffic_weight). It is read before the stage
        is held. Without it a trigger only fails the task.
    type: dict
  weight:
    description:
      - The weight of the stage, to be shown. Without it, it is what O(traffic) says.
    type: int
  plan:
    description:
      - The clock of the plan, to show the time as T+.
    type: dict
    suboptions:
      start_at:
        description:
          - T, in unix time or as C(2026-11-20T10:00:00+00:00).
        type: raw
      time_scale:
        description:
          - Seconds of the wall clock for each second of the plan. It only changes the time that is shown.
        type: float
        default: 1.0
notes:
  - A stage lasts as long as the machine's monotonic clock says. A wall clock that is set meanwhile, forward or back,
    ends none early and holds none longer. It is said, and returned in RV(clock_moved).
  - Runs on the control node. The C(environment) of a task does not reach it, so give the connection as options.
seealso:
  - module: claude_enhancer.rollout.metric_gate
  - module: claude_enhancer.rollout.traffic_weight
  - module: claude_enhancer.rollout.release_watchdog
"""

EXAMPLES = r"""
- name: Hold the first stage of the canary
  claude_enhancer.rollout.stage_watch:
    stage: canary start
    seconds: 1800
    observe: 600
    weight: 5
    prometheus:
      url: http://prometheus.monitoring.svc:9090
    versions: {stable: "5.0", candidate: "5.1"}
    metrics: "{{ release_metrics }}"
    criteria:
      - {metric: error_rate, below: 0.1%, min_requests: 1000}
      - {metric: p95_latency, below: 200ms}
    triggers:
      - {metric: error_rate, above: 0.5%}
      - {metric: agents_failed, above: 3, for: 20s}
    on_source_down: roll_back
    traffic:
      provider: istio
      namespace: claude-enhancer
      name: claude-enhancer
      stable: {host: claude-enhancer, subset: stable}
      candidate: {host: claude-enhancer, subset: candidate}

- name: Wait for the planned start
  claude_enhancer.rollout.stage_watch:
    stage: waiting for T
    until: "{{ release_plan.t_zero }}"
"""

RETURN = r"""
verdict:
  description: V(pass), V(fail), V(no_evidence) or V(source_down); only V(pass) is success.
  returned: when the stage was looked at
  type: str
decision:
  description: V(advance), V(roll_back) or V(fail).
  returned: when the stage was looked at
  type: str
reason:
  description: Why, in one sentence.
  returned: when the stage was looked at
  type: str
rolled_back:
  description: Whether all traffic was given to stable.
  returned: when the stage was looked at
  type: bool
weight:
  description: The weight after the stage; null where it has none.
  returned: when the stage was looked at
  type: int
breached:
  description: When a trigger, or the end of a grace time, was seen, in unix time; null when none was.
  returned: when the stage was looked at
  type: float
breach:
  description: The judgement of the trigger that fired, as in RV(judgements).
  returned: when the stage was looked at
  type: dict
times:
  description: Unix times of C(breach_seen), C(weight_zero) and C(verified), as far as they came to be.
  returned: when the stage was looked at
  type: dict
judgements:
  description: The judgements of the last look, as M(claude_enhancer.rollout.metric_gate) returns them.
  returned: when the stage was looked at
  type: list
  elements: dict
text:
  description: One line per judgement for people.
  returned: when the stage was looked at
  type: list
  elements: str
looks:
  description: How often was looked.
  returned: when the stage was looked at
  type: int
skipped:
  description: How many looks were left out because one before took too long.
  returned: when the stage was looked at
  type: int
history:
  description:
    - At most 500 looks in even steps, each with C(t) in seconds from the start, C(verdict), and C(values) by metric.
  returned: when the stage was looked at
  type: list
  elements: dict
measured:
  description:
    - Each metric over the whole time held, with C(value), C(unit), C(least) and C(most) of the looks, and counts where
      it has them.
  returned: when the stage was held to its end or a trigger fired
  type: dict
started:
  description: When the hold began, in unix time.
  returned: when the stage was looked at
  type: float
ended:
  description: When it ended, in unix time.
  returned: when the stage was looked at
  type: float
planned_end:
  description: When it was to end, in unix time.
  returned: when the stage was looked at
  type: float
extended:
  description: Seconds held beyond the planned end.
  returned: when the stage was looked at
  type: float
api_away:
  description: For how many seconds the stage had passed and could not end, since the Kubernetes API was away.
  returned: when the stage was looked at
  type: float
clock_moved:
  description:
    - Seconds by which the wall clock of this machine was set forward in the stage; negative where it was set back.
    - Less than 5 seconds count as none.
  returned: when the stage was looked at
  type: float
error:
  description: The kind of failure; V(stage_failed) when the stage was held and may not advance.
  returned: on failure
  type: str
"""
