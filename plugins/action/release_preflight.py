# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks a release before its first change, on the control node, where its files are."""

from __future__ import annotations

import dataclasses
import time
import typing as t
from pathlib import Path

from ansible.utils.display import Display

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import CLUSTER_SPEC
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.preflight_facts import Facts, read_facts
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.preflight_world import World
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.resume import RESUME, ROLLBACK, problem_with
from ansible_collections.claude_enhancer.rollout.plugins.plugin_utils.release_action import ReleaseAction

SPEC = ArgumentSpec(
    {
        "release": {"type": "dict", "required": True},
        "lock_wait": {"type": "float", "default": 0.0},
        "take_over": {"type": "bool", "default": False},
    }
)
# A release is taken back by what its journal says; of the inventory no more is needed than where that is.
_WHERE = ("release_application", "release_namespace")


class ActionModule(ReleaseAction):
    """The action plugin; its options are documented in the module of the same name."""

    def options(self) -> dict[str, t.Any]:
        # Read part by part, so that what is wrong with the connection is told beside all other problems.
        return dict(self._task.args)

    def act(self, options: dict[str, t.Any]) -> dict[str, t.Any]:
        return {"changed": False, **_preflight(options)}


def _preflight(arguments: dict[str, t.Any]) -> dict[str, t.Any]:
    """Timeline and snapshot of the release. Raises InputError with everything that is in its way."""
    asked = arguments.pop("resume", RESUME) or RESUME
    given = {name: arguments.pop(name) for name in SPEC.arguments if name in arguments}
    options = SPEC.validate(given)
    facts: Facts = options["release"]
    read = read_facts(facts, time.time())
    world = World(facts, read, asked, lock_wait=options["lock_wait"], take_over=options["take_over"])
    problems = [problem] if (problem := problem_with(asked)) else []
    if asked == ROLLBACK:
        problems += [one for one in read.problems if one.startswith(_WHERE)]
    else:
        problems += [*read.problems, *_missing_files(facts)]
    try:
        connection = CLUSTER_SPEC.validate(arguments)
    except InputError as error:
        problems.append(f"release_cluster: {error.message}")
    else:
        (world.ask_journal_only if asked == ROLLBACK else world.ask)(connection)
    problems += world.problems
    if problems:
        raise _in_the_way(problems)
    for notice in world.notices:
        Display().display(notice)
    return _result(read.timeline, world)


def _in_the_way(problems: list[str]) -> InputError:
    count = len(problems)
    told = problems[0] if count == 1 else f"{count} problems, and nothing was touched: {'; '.join(problems)}"
    return InputError(told, problems=problems)


def _result(timeline: dict[str, t.Any], world: World) -> dict[str, t.Any]:
    result = {
        **timeline,
        "release_id": world.release_id,
        "snapshot": world.snapshot,
        "lock_seen": world.lock_seen,
        "resume": dataclasses.asdict(world.resume),
        "notices": world.notices,
    }
    return {**result, "warnings": world.warnings} if world.warnings else result


def _missing_files(facts: Facts) -> t.Iterator[str]:
    agents, manifest = facts.get("release_agents"), facts.get("release_candidate_manifest")
    directory = agents.get("directory") if isinstance(agents, t.Mapping) else None
    if directory and not Path(str(directory)).is_dir():
        yield f"release_agents.directory: {directory} is no folder; name the one with the candidate's agent files"
    if not manifest:
        yield "release_candidate_manifest: is missing or empty: name the template of the candidate's Deployment"
    elif not Path(str(manifest)).is_file():
        yield f"release_candidate_manifest: there is no file {manifest}; name the candidate's template"
