# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts and stops the watchdog from the control node, where the process that it watches runs."""

from __future__ import annotations

import dataclasses
import os
import typing as t
from pathlib import Path

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import CLUSTER_ARGUMENTS, CLUSTER_SPEC
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import Author
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import default_author
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import LEASE_SPEC
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.processes import Process
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.watchdog import Duty
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.watchdog_process import (
    Watch,
    running,
    start,
    state_directory,
    stop,
)
from ansible_collections.claude_enhancer.rollout.plugins.plugin_utils.release_action import ReleaseAction

SPEC = ArgumentSpec(
    {
        "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
        "application": {"type": "str", "required": True},
        "namespace": {"type": "str", "required": True},
        "release_id": {"type": "str", "required": True},
        "traffic": {"type": "dict"},
        "scope": {"type": "str", "choices": ["stage", "release"], "default": "stage"},
        "on_interrupt": {"type": "str", "choices": ["roll_back", "hold"], "default": "roll_back"},
        "retry": {"type": "float", "default": 600.0},
        "settle": {"type": "float", "default": 15.0},
        "lifetime": {"type": "float", "default": 86400.0},
        "directory": {"type": "path"},
        "who": {"type": "str"},
        "controller": {"type": "str"},
    },
    required_if=(("state", "started", ("traffic",)),),
)

_FILES = ("kubeconfig", "ca_cert", "client_cert", "client_key")


class ActionModule(ReleaseAction):
    """The action plugin; its options are documented in the module of the same name."""

    spec = SPEC.merge(CLUSTER_SPEC, LEASE_SPEC)

    def act(self, options: dict[str, t.Any]) -> dict[str, t.Any]:
        watch = _watch(options)
        starting = options["state"] == "started"
        if self._task.check_mode:
            pid = running(watch)
            return {"changed": (pid is None) == starting, "pid": pid, "log": str(watch.log)}
        # The parent of the worker that runs this is the ansible-playbook process a person sees and ends.
        return start(watch, Process.of(os.getppid())) if starting else stop(watch)


def _watch(options: dict[str, t.Any]) -> Watch:
    usual = default_author()
    cluster: dict[str, t.Any] = {name: options.get(name) for name in CLUSTER_ARGUMENTS}
    # The watchdog works from another folder.
    cluster.update({name: os.path.abspath(cluster[name]) for name in _FILES if cluster[name]})
    return Watch(
        namespace=options["namespace"],
        application=options["application"],
        cluster=cluster,
        traffic=options["traffic"] or {},
        author=Author(options["who"] or usual.who, options["controller"] or usual.host),
        duty=Duty(**{field.name: options[field.name] for field in dataclasses.fields(Duty)}),
        directory=Path(options["directory"] or state_directory()).absolute(),
        lease=options["lease"],
    )
