# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What every module says about itself; presets for those that change nothing."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    description: Will return details on what has changed, or would change in C(check_mode), when in diff mode.
  idempotent:
    description:
      - When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
      - This assumes that the system controlled or queried by the module has not changed in a relevant way.
  action_group:
    description: Use C(group/claude_enhancer.rollout.release) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - claude_enhancer.rollout.release
"""

    # For modules that change objects of the cluster; the API server judges the change in check mode.
    CHANGES = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - Every write is sent as a server-side dry run, so the API server judges it and stores nothing.
  diff_mode:
    support: full
  idempotent:
    support: full
"""

    # For modules that only look.
    READS = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - This action does not modify state, so it does the same in check mode.
  diff_mode:
    support: N/A
    details:
      - This action does not modify state.
  idempotent:
    support: full
    details:
      - This action does not modify state.
"""
