#!/usr/bin/python
# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_watchdog
short_description: Leave no weight on a candidate that nobody watches
version_added: 0.1.0
description:
  - Starts a small process on the control node which waits for C(ansible-playbook) to end, however it ends, also by
    Ctrl-C, SIGTERM or SIGKILL.
  - It then reads the journal. If the release was left open with weight on the candidate it puts all traffic back on
    stable, or with O(on_interrupt=hold) leaves it, and notes the event C(interrupted) in the journal. The stage whose
    weight it took back will be begun again by the next run.
  - With O(lease) it renews the lock of the run every third of its duration, as long as C(ansible-playbook) isn't
    stopped (SIGSTOP, a debugger, a frozen cgroup), and gives it back when C(ansible-playbook) is gone and the weight is
    safe. Once another run has the lock it leaves everything to that.
  - There is at most one for a release and machine. Starting it again for the same process changes nothing.
  - It ends by itself with the process it watches. It is ended early with O(state=stopped), or by SIGUSR1; other signals
    than SIGKILL it ignores, so that what ends C(ansible-playbook) does not end it too.
  - What it does is written to a file, and if it acts a line to the terminal of C(ansible-playbook).
  - It can't help where the whole machine, or the container C(ansible-playbook) runs in, is gone at once.
author:
  - Claude Enhancer operations team (@claude-enhancer)
options:
  state:
    description:
      - V(started) has the process that runs this task watched, V(stopped) ends that.
    type: str
    choices: [started, stopped]
    default: started
  application:
    description: Name of the application under release.
    type: str
    required: true
  namespace:
    description: Namespace of the application.
    type: str
    required: true
  release_id:
    description: Id of the release, which must be the one in the journal.
    type: str
    required: true
  traffic:
    description:
      - What carries the weight, in the words of M(claude_enhancer.rollout.traffic_weight).
      - Its C(namespace) is O(namespace) unless given. Required for O(state=started).
    type: dict
  scope:
    description:
      - With V(stage) it acts only while a stage is begun and has not ended, with V(release) as long as the release has
        not been closed.
    type: str
    choices: [stage, release]
    default: stage
  on_interrupt:
    description:
      - V(roll_back) puts all traffic back on stable, V(hold) leaves the weight and only notes the event.
      - A rollback that was interrupted is always finished as far as traffic goes.
    type: str
    choices: [roll_back, hold]
    default: roll_back
  retry:
    description: For how many seconds it keeps trying if the Kubernetes API is away when it is needed.
    type: float
    default: 600
  settle:
    description:
      - For how many seconds it goes on looking after C(ansible-playbook) is gone, since a task that was under way may
        still set a weight. It ends early once another run takes the release up, or the release is closed.
    type: float
    default: 15
  lifetime:
    description: After how many seconds it ends in any case.
    type: float
    default: 86400
  directory:
    description:
      - Folder for its log and its lock file.
      - Without it C($XDG_STATE_HOME/claude_enhancer.rollout) or C(~/.local/state/claude_enhancer.rollout).
    type: path
  who:
    description: Who runs the release, as in M(claude_enhancer.rollout.release_journal).
    type: str
  controller:
    description: The machine this is run from, as in M(claude_enhancer.rollout.release_journal).
    type: str
extends_documentation_fragment:
  - claude_enhancer.rollout.cluster
  - claude_enhancer.rollout.lease
  - claude_enhancer.rollout.attributes
  - claude_enhancer.rollout.attributes.changes
attributes:
  check_mode:
    details:
      - Nothing is started or stopped.
  diff_mode:
    support: none
notes:
  - Runs on the control node. The C(environment) of a task does not reach it, so give the connection as options.
seealso:
  - module: claude_enhancer.rollout.release_journal
"""

EXAMPLES = r"""
- name: Watch over the release from here on
  claude_enhancer.rollout.release_watchdog:
    application: claude-enhancer
    namespace: claude-enhancer
    release_id: "{{ release.release_id }}"
    traffic: "{{ release_traffic }}"
    scope: release

- name: The release is closed, nobody has to watch over it
  claude_enhancer.rollout.release_watchdog:
    state: stopped
    application: claude-enhancer
    namespace: claude-enhancer
    release_id: "{{ release.release_id }}"
"""

RETURN = r"""
pid:
  description: Id of the process that was started, runs already, or was stopped.
  returned: when there is or was one
  type: int
log:
  description: Where it writes what it does.
  returned: success
  type: str
"""
