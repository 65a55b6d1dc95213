# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: api_away
short_description: Whether a task failed since the Kubernetes API could not be reached
version_added: 0.3.0
author:
  - Claude Enhancer operations team (@claude-enhancer)
description:
  - Whether the result of a task of C(kubernetes.core) says that no answer came, so that the same task may go well when
    the API is back. An answer that says no, a certificate that is not trusted, and a wait that took too long are none.
options:
  _input:
    description: What the task registered.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Deploy, and bear with an API that is away for a while
  kubernetes.core.k8s:
    state: present
    src: deployment.yml
  register: deployed
  until: deployed is not claude_enhancer.rollout.api_away
  retries: 24
  delay: 5
"""

RETURN = r"""
_value:
  description: Whether the API was away.
  type: bool
"""

import typing as t

_NO_ANSWER = (
    "Max retries exceeded with url",
    "Failed to establish a new connection",
    "Connection aborted",
    "Connection broken",
    "Connection reset by peer",
    "Remote end closed connection",
    "Read timed out",
)
_UNTRUSTED = ("SSLError", "CERTIFICATE_VERIFY_FAILED")


def api_away(result: t.Any) -> bool:
    """See DOCUMENTATION."""
    if not isinstance(result, t.Mapping) or not result.get("failed"):
        return False
    said = " ".join(str(result.get(key) or "") for key in ("msg", "module_stderr"))
    return any(one in said for one in _NO_ANSWER) and not any(one in said for one in _UNTRUSTED)


class TestModule:
    """What Jinja gets."""

    def tests(self) -> dict[str, t.Callable[..., bool]]:
        """The tests by their names."""
        return {"api_away": api_away}
