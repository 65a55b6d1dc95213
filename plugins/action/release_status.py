# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints where a release stands, where a person sees it."""

from __future__ import annotations

import time
import typing as t

from ansible import constants as C
from ansible.utils.display import Display

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import CLUSTER_SPEC, Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.home_namespace import home_namespace
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.status import BAD, DOUBT, GOOD
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.status_world import read_status
from ansible_collections.claude_enhancer.rollout.plugins.plugin_utils.release_action import ReleaseAction

SPEC = ArgumentSpec({"application": {"type": "str"}, "namespace": {"type": "str"}}).merge(CLUSTER_SPEC)
_COLOURS = {GOOD: "COLOR_OK", BAD: "COLOR_ERROR", DOUBT: "COLOR_WARN"}


class ActionModule(ReleaseAction):
    """The action plugin; its options are documented in the module of the same name."""

    spec = SPEC

    def act(self, options: dict[str, t.Any]) -> dict[str, t.Any]:
        # Nothing is written; a request that would is judged by the API server and stored by none.
        cluster = Cluster.from_options(options, dry_run=True)
        namespace = options["namespace"] or home_namespace(options)
        told, facts = read_status(cluster, namespace, options["application"], time.time())
        display = Display()
        for line in told.lines:
            display.display(line.text, color=getattr(C, _COLOURS[line.tone]) if line.tone else None)
        return {"changed": False, **facts, "lines": [line.text for line in told.lines]}
