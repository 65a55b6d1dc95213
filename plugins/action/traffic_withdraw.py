# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes all traffic back within ansible-playbook itself: a module would start a Python and import everything anew."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import CLUSTER_SPEC, Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import RolloutError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.home_namespace import home_namespace
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.withdrawal import withdraw

SPEC = ArgumentSpec({"application": {"type": "str"}, "namespace": {"type": "str"}}).merge(CLUSTER_SPEC)


class ActionModule(ActionBase):
    """The action plugin; its options are documented in the module of the same name."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        try:
            options = SPEC.validate(self._task.args)
            cluster = Cluster.from_options(options, dry_run=self._task.check_mode)
            result.update(withdraw(cluster, options["namespace"] or home_namespace(options), options["application"]))
        except RolloutError as error:
            result.update(error.payload(), failed=True)
        return result
