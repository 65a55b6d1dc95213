# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One tree of errors, and the one place where an error becomes a module's failure.

Everything below ``module_utils`` returns or raises; only :func:`run` exits a module.
"""

from __future__ import annotations

import re
import typing as t

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


class RolloutError(Exception):
    """Something that stops the work, said in one sentence: what, where and the way out.

    ``details`` is the state that led to it; it is returned beside ``msg`` and must survive JSON.
    """

    def __init__(self, message: str, **details: t.Any) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, t.Any] = details

    def __str__(self) -> str:
        return self.message

    @property
    def code(self) -> str:
        """Stable name for playbooks to compare with: ``NotRoutedError`` is ``not_routed``."""
        name = type(self).__name__.removesuffix("Error")
        return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()

    def payload(self) -> dict[str, t.Any]:
        """Arguments for ``fail_json``."""
        return {**self.details, "msg": self.message, "error": self.code}


class InputError(RolloutError):
    """An option, or an object an option names, that can't be worked with."""


class ClusterError(RolloutError):
    """The Kubernetes API answered with an error: HTTP ``status`` and the API's ``reason``."""

    def __init__(self, message: str, *, status: int, reason: str = "", **details: t.Any) -> None:
        super().__init__(message, status=status, reason=reason, **details)
        self.status = status
        self.reason = reason


class NotFoundError(ClusterError):
    """404. ``served`` is false where the cluster doesn't serve the kind at all (no such CRD)."""

    @property
    def served(self) -> bool:
        return bool(self.details.get("served", True))


class ConflictError(ClusterError):
    """409, or a weight that someone else moved meanwhile."""


class ForbiddenError(ClusterError):
    """401 or 403: the credentials are unknown or lack the right."""


class UnreachableError(ClusterError):
    """No answer: refused, timed out, no name, no trust. ``status`` is 0."""

    def __init__(self, message: str, *, reason: str = "", **details: t.Any) -> None:
        super().__init__(message, status=0, reason=reason, **details)


class GuardError(RolloutError):
    """A change refused because it isn't safe now."""


class NotRoutedError(RolloutError):
    """The edge doesn't route as it was asked to."""


class SourceDownError(RolloutError):
    """The source of measurements doesn't answer."""


class QueryError(RolloutError):
    """The source of measurements refused the query."""


class LockError(RolloutError):
    """The lock of a release is held by another controller, or was lost to one; ``lock`` in the details says by whom."""


class JournalError(RolloutError):
    """The journal is missing, damaged, or held by another release."""


def run(module: AnsibleModule, work: t.Callable[[AnsibleModule], dict[str, t.Any]]) -> None:
    """Do ``work`` and exit the module with its result, or fail with the error it raised."""
    try:
        result = work(module)
    except RolloutError as error:
        module.fail_json(**error.payload())
    else:
        module.exit_json(**result)
