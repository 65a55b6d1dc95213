# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Argument specs as objects: they merge, and carry their rules (what excludes or requires what) with them."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError

Rules = tuple[tuple[t.Any, ...], ...]


@dataclasses.dataclass(frozen=True)
class ArgumentSpec:
    """Options of a module, or a part of them shared by several modules."""

    arguments: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    mutually_exclusive: Rules = ()
    required_together: Rules = ()
    required_one_of: Rules = ()
    required_if: Rules = ()

    def merge(self, *others: ArgumentSpec) -> ArgumentSpec:
        """All options and rules of this and the others; the same option twice is a programming error."""
        merged = self
        for other in others:
            twice = sorted(set(merged.arguments) & set(other.arguments))
            if twice:
                raise ValueError(f"options declared twice: {', '.join(twice)}")
            merged = ArgumentSpec(
                arguments={**merged.arguments, **other.arguments},
                mutually_exclusive=merged.mutually_exclusive + other.mutually_exclusive,
                required_together=merged.required_together + other.required_together,
                required_one_of=merged.required_one_of + other.required_one_of,
                required_if=merged.required_if + other.required_if,
            )
        return merged

    def module(self, *, supports_check_mode: bool = True) -> AnsibleModule:
        """The running module, its options checked."""
        return AnsibleModule(supports_check_mode=supports_check_mode, **self._as_keywords())

    def validate(self, options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """``options`` with defaults and environment filled in, for callers that aren't modules.

        Raises InputError naming all that is wrong.
        """
        result = ArgumentSpecValidator(**self._as_keywords()).validate(dict(options))
        if result.error_messages:
            raise InputError("; ".join(result.error_messages))
        return dict(result.validated_parameters)

    def _as_keywords(self) -> dict[str, t.Any]:
        return {
            "argument_spec": dict(self.arguments),
            "mutually_exclusive": list(self.mutually_exclusive),
            "required_together": list(self.required_together),
            "required_one_of": list(self.required_one_of),
            "required_if": list(self.required_if),
        }
