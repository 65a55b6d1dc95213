# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One look at a source: what fails on the way becomes part of its answers."""

from __future__ import annotations

import math
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import QueryError, SourceDownError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.answers import NoEvidence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.verdicts import NO_EVIDENCE, SOURCE_DOWN

Result = t.TypeVar("Result")


class SourceLook:
    """Things asked at one time, ``at`` by the source's clock; NaN where the source is down.

    Once it is down nothing more is asked: that would only wait for the same timeout.
    """

    def __init__(self, now: t.Callable[[], float], at: float | None, *, strict: bool) -> None:
        self._strict = strict
        self._down = ""
        self.at = math.nan if at is None else at
        if at is None:
            try:
                self.at = now()
            except SourceDownError as error:
                self._down = error.message

    def ask(self, ask: t.Callable[[], Result], failed: t.Callable[[str, str], Result]) -> Result:
        """What ``ask`` returns, or ``failed`` of the problem (``source_down``, ``no_evidence``) and its reason."""
        try:
            if not self._down:
                return ask()
        except SourceDownError as error:
            self._down = error.message
        except QueryError as error:
            if self._strict:
                raise
            return failed(NO_EVIDENCE, error.message)
        except NoEvidence as error:
            return failed(NO_EVIDENCE, str(error))
        return failed(SOURCE_DOWN, self._down)
