# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the collection's action plugins have in common: options, one way to fail."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import RolloutError


class ReleaseAction(ActionBase):
    """An action that says what its options are (``spec``) and does its work in :meth:`act`.

    The options are documented in the module of the same name, which never runs.
    """

    TRANSFERS_FILES = False
    _requires_connection = False

    spec: t.ClassVar[ArgumentSpec]

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        try:
            result.update(self.act(self.options()))
        except RolloutError as error:
            result.update(error.payload(), failed=True)
        return result

    def options(self) -> dict[str, t.Any]:
        """The task's options as ``spec`` reads them. Raises InputError."""
        return self.spec.validate(self._task.args)

    def act(self, options: dict[str, t.Any]) -> dict[str, t.Any]:
        """Do the work; returns the task's result. Raises RolloutError."""
        raise NotImplementedError
