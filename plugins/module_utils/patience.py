# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bearing with a Kubernetes API that is away for a while: what is worth it, for how long, and that it is said."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import ClusterError, UnreachableError

_PAUSE = 1.0
_BUSY = 429
_BROKEN = 500
T = t.TypeVar("T")


def is_away(error: Exception) -> bool:
    """Whether the API gave no answer, or one that only says it can't work now; bad trust doesn't pass by itself."""
    if isinstance(error, UnreachableError):
        return error.reason != "tls"
    return isinstance(error, ClusterError) and (error.status == _BUSY or error.status >= _BROKEN)


class Patience:
    """Does work that needs the API, again and again for ``seconds`` while that is away.

    ``waited`` are the seconds from the first failure to the end, 0 where there was none.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self.waited = 0.0

    def get(self, work: t.Callable[[], T]) -> T:
        """The result of ``work``. Raises its error where that won't pass, or has lasted for too long."""
        failed: float | None = None
        while True:
            try:
                result = work()
            except ClusterError as error:
                now = self._clock.monotonic()
                failed = now if failed is None else failed
                if not is_away(error) or self._seconds <= 0:
                    raise
                if now - failed + _PAUSE > self._seconds:
                    error.message += f"; this was tried again for {now - failed:.0f} s (api_patience)"
                    raise
                self._clock.sleep(_PAUSE)
            else:
                self.waited = 0.0 if failed is None else self._clock.monotonic() - failed
                return result
