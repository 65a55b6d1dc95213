# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Steps of which none may stop the next: each is timed and told as it ends, and what went wrong is collected."""

from __future__ import annotations

import dataclasses
import threading
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ClusterError,
    RolloutError,
    UnreachableError,
)

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 1.0


@dataclasses.dataclass(frozen=True)
class Done:
    """What a step did, in words. ``facts`` belong to the result; ``diff`` is one of Ansible's."""

    says: str
    changed: bool = False
    warnings: tuple[str, ...] = ()
    facts: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    diff: t.Mapping[str, t.Any] | None = None


@dataclasses.dataclass(frozen=True)
class Step:
    """One step that is over: ``at`` are the seconds from the start of all steps until it began."""

    name: str
    at: float
    seconds: float
    changed: bool
    says: str
    failed: bool = False

    def as_dict(self) -> dict[str, t.Any]:
        return dataclasses.asdict(self)

    @property
    def text(self) -> str:
        """One line for people; the time is when the step was over."""
        mark = "FAILED " if self.failed else "changed" if self.changed else "ok     "
        return f"+{self.at + self.seconds:6.2f} s  {mark}  {self.name:<13}  {self.says}  ({self.seconds:.2f} s)"


class Show(t.Protocol):
    """Where each step is told as soon as it is over."""

    def step(self, step: Step) -> None: ...


class Steps:
    """The steps taken so far, from any thread. What fails is tried anew for ``patience`` seconds from the start."""

    def __init__(self, clock: Clock, show: Show, patience: float) -> None:
        self._clock = clock
        self._show = show
        self._lock = threading.Lock()
        self._began = clock.monotonic()
        self._patience = patience
        self._until = self._began + patience
        self._taken: list[Step] = []
        self._done: dict[str, Done] = {}
        self.problems: list[str] = []
        self.warnings: list[str] = []

    @property
    def taken(self) -> list[Step]:
        """In the order in which they began."""
        return sorted(self._taken, key=lambda step: step.at)

    @property
    def changed(self) -> bool:
        return any(step.changed for step in self._taken)

    @property
    def facts(self) -> dict[str, t.Any]:
        """The facts of all steps."""
        return {name: fact for done in self._done.values() for name, fact in done.facts.items()}

    @property
    def diffs(self) -> list[t.Mapping[str, t.Any]]:
        return [done.diff for done in self._done.values() if done.diff is not None]

    def take(self, name: str, work: t.Callable[[], Done], *, needed: bool = True) -> Done | None:
        """Do ``work``; None where it failed, which is a problem, or a warning where it isn't ``needed``.

        What is needed and may go well a moment later is tried again as long as there is time.
        """
        began = self._clock.monotonic()
        try:
            done = self._persist(work) if needed else work()
        except Exception as error:
            # Whatever it is, a rollback must not end here: the next steps take users off the candidate.
            self._fail(name, began, _told(error), needed=needed)
            return None
        with self._lock:
            self._done[name] = done
            self.warnings += done.warnings
        self.note(name, began, done.says, changed=done.changed)
        return done

    def renew_patience(self) -> None:
        """Start the time for trying again anew, after a step that was waited for on purpose."""
        self._until = self._clock.monotonic() + self._patience

    def refuse(self, name: str, why: str) -> None:
        """A step that can't be taken; a problem."""
        self._fail(name, self._clock.monotonic(), why, needed=True)

    def _persist(self, work: t.Callable[[], Done]) -> Done:
        pause = _FIRST_PAUSE
        while True:
            try:
                return work()
            except ClusterError as error:
                if not worth_repeating(error) or self._clock.monotonic() + pause > self._until:
                    raise
            self._clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _fail(self, name: str, began: float, why: str, *, needed: bool) -> None:
        with self._lock:
            (self.problems if needed else self.warnings).append(f"{name}: {why}")
        self.note(name, began, why, failed=True)

    def note(self, name: str, began: float, says: str, *, changed: bool = False, failed: bool = False) -> None:
        """A step that is over; ``began`` is the clock's monotonic time."""
        seconds = self._clock.monotonic() - began
        step = Step(name, round(began - self._began, 3), round(seconds, 3), changed, says, failed)
        with self._lock:
            self._taken.append(step)
            self._show.step(step)


def worth_repeating(error: ClusterError) -> bool:
    """Whether the API may answer better in a moment."""
    if isinstance(error, UnreachableError):
        return error.reason != "tls"
    return error.status in (409, 429) or error.status >= 500


def _told(error: Exception) -> str:
    if isinstance(error, RolloutError):
        return error.message
    return f"unexpected {type(error).__name__}: {error}; report it with the journal, and run the rollback again"
