# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a source of measurements is. Another source is one file with a class that has these methods."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import Metric
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import Measurement
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.samples import Course, Samples

__all__ = ["Course", "Key", "Need", "Samples", "Source"]

Need = tuple[Metric, float]
"""A metric and the window, in seconds, to measure it over."""
Key = tuple[str, float]
"""Name and window of a measured metric."""


class Source(t.Protocol):
    """Answers what was measured; judges nothing. All times are unix seconds by the source's own clock.

    Whoever asks several things of one look asks them with the same ``at``, from :meth:`now`. A source that is down
    and a query that fails become answers that say so; with ``strict`` a query that fails raises QueryError.
    """

    @property
    def warnings(self) -> t.Sequence[str]:
        """What people should know of the source beside its answers, such as a clock that is wrong."""

    def now(self) -> float:
        """The source's clock. Raises SourceDownError."""

    def check(self, needs: t.Iterable[Need]) -> list[dict[str, t.Any]]:
        """Ask each query once. Raises QueryError with all that are refused, SourceDownError."""

    def unknown(self, needs: t.Iterable[Need]) -> list[str]:
        """Names in the queries that the source has never heard of, a sentence each. Raises SourceDownError."""

    def measure(
        self, needs: t.Iterable[Need], *, strict: bool = False, at: float | None = None
    ) -> dict[Key, Measurement]:
        """Each metric over its window."""

    def samples(
        self, since: t.Mapping[str, float], *, strict: bool = False, at: float | None = None
    ) -> dict[str, Samples]:
        """The raw samples of counters, each since its own time; keys are :meth:`Metric.selector`'s."""

    def course(
        self, metric: Metric, seconds: float, step: float, *, strict: bool = False, at: float | None = None
    ) -> Course:
        """A gauge over the last ``seconds``."""

    def close(self) -> None:
        """Let go of connections."""
