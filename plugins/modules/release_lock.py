#!/usr/bin/python
# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_lock
short_description: Let one controller at a time release an application
version_added: 0.3.0
description:
  - The lock is the Lease C(<application>-release-lock) in the release's namespace. Its C(holderIdentity) names the
    person, the machine and the run; its C(leaseTransitions) count the holders.
  - A run that holds it passes RV(lease) on to every task that changes something. Once another run has taken the lock,
    these tasks change nothing any more and fail with C(error=lock), even if they were under way, or if their process
    stood still for an hour.
  - Whoever gets the lock touches O(traffic), O(entry_service), O(canary_drain) and the journal. An annotation is added
    to each object and taken out again, so that the object ends as it was but any write that was meant for it as it was
    before is refused.
  - While a release is held for long M(claude_enhancer.rollout.release_watchdog) renews the lock, as long as
    C(ansible-playbook) lives and isn't stopped.
  - A lock that isn't renewed for its O(duration) may be taken without a reason. By one look this is judged by the API
    server's clock alone, which the Lease's times are written by too, so that no difference between the clocks of two
    machines takes a lock from anybody; while O(wait) lasts, also by how long the Lease was seen unchanged, which needs
    no other clock at all.
  - On the machine of the holder the lock of an C(ansible-playbook) that has ended may be taken at once.
author:
  - Claude Enhancer operations team (@claude-enhancer)
options:
  action:
    description:
      - V(acquire) takes the lock if it is free, has run out or is one's own already (O(lease)), and otherwise fails
        with who holds it, since when and until when.
      - V(take_over) takes it from whoever holds it, for a O(reason). The Lease says from whom and why, and so does the
        journal of a release in progress, as the event C(lock_taken_over).
      - V(renew) makes O(lease) last for its duration from now on, and fails where it is lost. It is no change.
      - V(release) gives O(lease) back.
      - Both need O(lease).
      - V(read) tells who holds it.
    type: str
    choices: [acquire, take_over, renew, release, read]
    default: read
  application:
    description: Name of the application under release.
    type: str
    required: true
  namespace:
    description: Namespace of the application.
    type: str
    required: true
  release_id:
    description: Id of the release, which becomes a part of the holder's name.
    type: str
    default: ''
  duration:
    description: For how many seconds the lock is held without being renewed; 3 or more.
    type: int
    default: 60
  wait:
    description: For how many seconds to wait for a lock that is held.
    type: float
    default: 0
  reason:
    description: Why the lock is taken from its holder. Required for O(action=take_over).
    type: str
    default: ''
  seen:
    description:
      - The holder of the time at which this run looked at the world, as C(lock_seen) of
        M(claude_enhancer.rollout.release_preflight) says. The lock is refused if it had another one since.
    type: str
  traffic:
    description:
      - What carries the weight, in the words of M(claude_enhancer.rollout.traffic_weight), to be touched when the lock
        is taken.
    type: dict
  entry_service:
    description: Name of the entry Service, to be touched when the lock is taken.
    type: str
  canary_drain:
    description:
      - C(release_canary_drain) of the inventory, whose objects are to be touched when the lock is taken. Of each the
        C(api_version), C(kind) and C(name) are read, in O(namespace).
    type: list
    elements: dict
    default: []
  api_patience:
    description:
      - For how many seconds O(action=renew) is tried again while the Kubernetes API is away. That it was away is a
        warning.
    type: float
    default: 120
  directory:
    description:
      - Folder for the file that says when the lock was last renewed.
      - Without it C($XDG_STATE_HOME/claude_enhancer.rollout) or C(~/.local/state/claude_enhancer.rollout).
    type: path
  who:
    description: Who runs the release, as in M(claude_enhancer.rollout.release_journal).
    type: str
  controller:
    description: The machine this is run from, as in M(claude_enhancer.rollout.release_journal).
    type: str
extends_documentation_fragment:
  - claude_enhancer.rollout.lease
  - claude_enhancer.rollout.cluster
  - claude_enhancer.rollout.attributes
  - claude_enhancer.rollout.attributes.changes
attributes:
  check_mode:
    details:
      - Nothing is acquired, so RV(lease) is not returned. The task fails where it would fail outside check mode.
notes:
  - Runs on the control node. The C(environment) of a task does not reach it, so give the connection as options.
  - Needs the verbs C(get), C(create) and C(update) on C(leases) of C(coordination.k8s.io) in the release's namespace,
    and C(patch) on what is touched.
  - HAProxy's runtime API knows no versions. There the lock is looked at right before a change, so a controller that
    stands still between these two can still make that one change.
seealso:
  - module: claude_enhancer.rollout.release_watchdog
  - module: claude_enhancer.rollout.release_journal
"""

EXAMPLES = r"""
- name: Be the only one who releases
  claude_enhancer.rollout.release_lock:
    action: acquire
    application: claude-enhancer
    namespace: claude-enhancer
    release_id: 5.1-20261120T100000Z
    traffic: "{{ release_traffic }}"
    entry_service: claude-enhancer-service
  register: lock

- name: Set a weight only while this run holds the lock
  claude_enhancer.rollout.traffic_weight:
    namespace: claude-enhancer
    name: claude-enhancer
    stable: {host: claude-enhancer, subset: stable}
    candidate: {host: claude-enhancer, subset: candidate}
    weight: 5
    lease: "{{ lock.lease }}"

- name: Take the lock from a run that nobody can reach any more
  claude_enhancer.rollout.release_lock:
    action: take_over
    reason: the laptop of the one who started it is at the bottom of the sea
    application: claude-enhancer
    namespace: claude-enhancer
    traffic: "{{ release_traffic }}"
    entry_service: claude-enhancer-service
  register: lock

- name: Give it back
  claude_enhancer.rollout.release_lock:
    action: release
    application: claude-enhancer
    namespace: claude-enhancer
    lease: "{{ lock.lease }}"
"""

RETURN = r"""
lease:
  description: What this run holds, to be given as C(lease) to the tasks that change something.
  returned: O(action=acquire), O(action=take_over) and O(action=renew), outside check mode
  type: dict
held:
  description: Whether this run holds the lock now.
  returned: success
  type: bool
state:
  description: V(free), V(ours), V(expired) or V(held) (by another run).
  returned: success
  type: str
lock:
  description: The lock as it stands.
  returned: success, and failure because of the lock
  type: dict
  contains:
    holder:
      description: Who holds it; empty where nobody does.
      type: str
      sample: kim@ops1:5.1-20261120T100000Z:3f9a41c7
    transitions:
      description: How many holders there were before this one; null where there is no Lease.
      type: int
    since:
      description: Since when.
      type: str
    renewed:
      description: When it was last renewed.
      type: str
    duration:
      description: For how many seconds it is held from then on.
      type: float
    expires:
      description: When others may take it.
      type: str
    expires_in:
      description: The same in seconds from now, by the API server's clock.
      type: float
    taken_over:
      description: From whom the holder took it (C(from)), and the C(reason), where it did.
      type: dict
taken_from:
  description: Who held it before, where it was taken from somebody.
  returned: O(action=acquire) and O(action=take_over)
  type: str
why:
  description: Why it could be taken, or O(reason).
  returned: O(action=acquire) and O(action=take_over)
  type: str
waited:
  description: For how many seconds it was waited for.
  returned: O(action=acquire) and O(action=take_over)
  type: float
touched:
  description: The objects whose version was moved.
  returned: O(action=acquire) and O(action=take_over)
  type: list
  elements: str
error:
  description: Kind of the failure; V(lock) where another run holds the lock.
  returned: failure
  type: str
  sample: lock
"""
