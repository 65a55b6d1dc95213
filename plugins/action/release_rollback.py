# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes a release back within ansible-playbook itself: a module would start a Python and import everything anew."""

from __future__ import annotations

import os
import typing as t

from ansible import constants as C
from ansible.utils.display import Display

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import SystemClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import CLUSTER_SPEC, Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.home_namespace import home_namespace
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import LEASE_SPEC
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.processes import Process
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback import Asked, roll_back
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.rollback_steps import Step
from ansible_collections.claude_enhancer.rollout.plugins.plugin_utils.release_action import ReleaseAction

SPEC = ArgumentSpec(
    {
        "application": {"type": "str"},
        "namespace": {"type": "str"},
        "reason": {"type": "str", "required": True},
        "decided": {"type": "float"},
        "part": {"type": "str", "choices": ["all", "traffic"], "default": "all"},
        "release": {"type": "dict", "default": {}},
        "verify_timeout": {"type": "float", "default": 30.0},
        "strength_timeout": {"type": "float", "default": 120.0},
        "probe_requests": {"type": "int", "default": 100},
    }
).merge(CLUSTER_SPEC, LEASE_SPEC)


class TerminalShow:
    """A line for each step as soon as it is over."""

    def __init__(self, display: Display) -> None:
        self._display = display

    def step(self, step: Step) -> None:
        colour = C.COLOR_ERROR if step.failed else C.COLOR_CHANGED if step.changed else C.COLOR_OK
        self._display.display(step.text, color=colour)


class ActionModule(ReleaseAction):
    """The action plugin; its options are documented in the module of the same name."""

    spec = SPEC

    def act(self, options: dict[str, t.Any]) -> dict[str, t.Any]:
        asked = _asked(options)
        cluster = Cluster.from_options(options, dry_run=self._task.check_mode)
        namespace = options["namespace"] or home_namespace(options)
        return roll_back(cluster, namespace, options["application"], asked, SystemClock(), TerminalShow(Display()))


def _asked(options: dict[str, t.Any]) -> Asked:
    if not options["reason"].strip():
        raise InputError(
            "reason: must say why (error_rate_high, response_time_slow, agent_coordination_failed, "
            "resource_exhaustion, user_reported_issues, manual_intervention or words of your own)"
        )
    for option in ("verify_timeout", "strength_timeout"):
        if options[option] < 0:
            raise InputError(f"{option}: must be 0 or more seconds, not {options[option]:g}")
    if options["probe_requests"] < 1:
        raise InputError(f"probe_requests: must be 1 or more, not {options['probe_requests']}")
    same = ("reason", "decided", "release", "verify_timeout", "strength_timeout", "probe_requests", "lease")
    # The parent of the worker that runs this is the ansible-playbook process that a lock is held for.
    process = Process.of(os.getppid()).evidence()
    return Asked(whole=options["part"] == "all", process=process, **{name: options[name] for name in same})
