# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes all traffic back within ansible-playbook itself: a module would start a Python and import everything anew."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import CLUSTER_SPEC, Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.home_namespace import home_namespace
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.withdrawal import withdraw
from ansible_collections.claude_enhancer.rollout.plugins.plugin_utils.release_action import ReleaseAction

SPEC = ArgumentSpec({"application": {"type": "str"}, "namespace": {"type": "str"}}).merge(CLUSTER_SPEC)


class ActionModule(ReleaseAction):
    """The action plugin; its options are documented in the module of the same name."""

    spec = SPEC

    def act(self, options: dict[str, t.Any]) -> dict[str, t.Any]:
        cluster = Cluster.from_options(options, dry_run=self._task.check_mode)
        return withdraw(cluster, options["namespace"] or home_namespace(options), options["application"])
