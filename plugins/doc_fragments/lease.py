# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The lock that a run holds, the same words in every module that changes something for a release."""

    DOCUMENTATION = r"""
options:
  lease:
    description:
      - The lock that this run holds, as M(claude_enhancer.rollout.release_lock) returned it in C(lease).
      - Once another controller has taken it, nothing is changed any more and the module fails with C(error=lock).
      - Without it no lock is looked at.
    type: dict
    version_added: 0.3.0
    suboptions:
      namespace:
        description: Namespace of the release.
        type: str
        required: true
      application:
        description: Name of the application under release.
        type: str
        required: true
      holder:
        description: The name under which it is held.
        type: str
        required: true
      transitions:
        description: The how manieth holder this is; every later one has a greater number.
        type: int
        required: true
      uid:
        description: Id of the Lease.
        type: str
        required: true
      duration:
        description: For how many seconds it is held without being renewed.
        type: float
        required: true
      record:
        description: File on the control node that says when it was last renewed.
        type: str
        default: ''
"""
