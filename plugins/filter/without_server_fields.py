# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Kubernetes object as its owner wrote it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: without_server_fields
short_description: Strip what the API server adds from a Kubernetes object
version_added: 0.1.0
description:
  - Returns the object without C(status) and without the metadata that the API server owns, so that it can be kept in a
    snapshot and applied again.
author:
  - Claude Enhancer operations team (@claude-enhancer)
options:
  _input:
    description: A Kubernetes object.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Keep what is there
  ansible.builtin.set_fact:
    kept: "{{ found.resources | map('claude_enhancer.rollout.without_server_fields') | list }}"
"""

RETURN = r"""
_value:
  description: The object without what the server owns.
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import server_fields


def without_server_fields(item: t.Any) -> dict[str, t.Any]:
    """``item`` without status and server-owned metadata. Raises AnsibleFilterError for what is no object."""
    if not isinstance(item, t.Mapping) or not isinstance(item.get("metadata"), t.Mapping):
        raise AnsibleFilterError(f"without_server_fields: takes a Kubernetes object, not {type(item).__name__}")
    return server_fields.without_server_fields(item)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"without_server_fields": without_server_fields}
