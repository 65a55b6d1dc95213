# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Holding a stage: look, judge, act on a trigger first, and decide at the end. Time, source and traffic are passed in.

Looks stand on a grid from the start, so they neither drift nor overlap: one that takes too long costs the next ones.
The last look is at the very end.

A stage lasts as long as the monotonic clock says. The wall clock is read to tell people when something was, and
decides nothing: one that is set, by an hour forward or back, ends no stage early and holds none longer. That it was set
is said, and by how much, so that the stages after it can move with it. While the machine sleeps its monotonic clock may
stand still; the stage is then held for the rest of its time afterwards. What was measured goes by the clock of its
source (``metrics/source_clock.py``), which is compared with ours and never mixed with it.

Holding needs the source of measurements alone. Ending a stage needs the Kubernetes API, for the journal and for what
comes next; where that is away at the end, the stage is held on, its triggers on guard, until it is back.
"""

from __future__ import annotations

import dataclasses
import math
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import Clock, format_duration
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ForbiddenError,
    InputError,
    LockError,
    NotFoundError,
    RolloutError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import (
    Judgement,
    overall,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.observer import Observer
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.source import Source
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.verdicts import (
    FAIL,
    NO_EVIDENCE,
    PASS,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.stage_record import History, summary
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.stage_settings import (
    SLACK,
    WHEN_SURE,
    Settings,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.stage_spans import Spans

_TICK = 1.0
_WITHDRAW_PAUSE = 0.25
# Seconds for which traffic is tried to be taken back where waiting won't help, and by a process that is told to end.
_HOPELESS_PATIENCE = 5.0
_LAST_PATIENCE = 30.0
_HISTORY_POINTS = 500
_TOLERATED = 5.0
"""Seconds by which the wall clock may go away from the monotonic one before it is said."""


class Traffic(t.Protocol):
    """What carries the weight of the stage, made ready before the stage is held."""

    def withdraw(self) -> bool:
        """Give all traffic to stable; whether anything had to change."""

    def weight(self) -> int:
        """The weight as it stands in the cluster now."""

    def api_problem(self) -> str:
        """Why the Kubernetes API is away; empty where it answers."""


class Show(t.Protocol):
    """Tells people. ``tick`` comes about once a second, ``look`` after each look and whatever it led to, ``say`` where
    something stands in the way.
    """

    def look(self, look: Look) -> None: ...

    def say(self, text: str) -> None: ...

    def tick(self, left: float) -> None: ...


@dataclasses.dataclass(frozen=True)
class Look:
    """One look. ``elapsed`` and ``left`` in seconds against the start and the planned end, ``at`` unix time."""

    number: int
    at: float
    elapsed: float
    left: float
    judgements: tuple[Judgement, ...]
    breach: Judgement | None = None
    withdrawn: bool = False
    extended: bool = False

    @property
    def verdict(self) -> str:
        return overall(self.judgements)


@dataclasses.dataclass
class Outcome:
    """How the stage ended. ``decision`` is ``advance``, ``roll_back`` or ``fail``; only ``pass`` advances.

    ``api_away`` are the seconds for which the Kubernetes API held its end up, ``clock_moved`` those that the wall clock
    was set forward by meanwhile (back, where negative).
    """

    verdict: str
    decision: str
    reason: str
    started: float
    ended: float
    planned_end: float
    last: Look | None = None
    looks: int = 0
    skipped: int = 0
    breach: Judgement | None = None
    withdrawn: bool = False
    changed: bool = False
    problem: str = ""
    api_away: float = 0.0
    clock_moved: float = 0.0
    times: dict[str, float] = dataclasses.field(default_factory=dict)
    history: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    measured: dict[str, dict[str, t.Any]] = dataclasses.field(default_factory=dict)

    @property
    def extended(self) -> float:
        """Seconds that the stage was held beyond its planned end."""
        return max(0.0, -self.last.left) if self.last else 0.0


class Hold:
    """Holds one stage, once."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        source: Source | None = None,
        versions: t.Mapping[str, str] | None = None,
        traffic: Traffic | None = None,
        show: Show | None = None,
    ) -> None:
        settings.check()
        self._settings = settings
        self._clock = clock
        self._source = source
        self._observer = (
            Observer(settings.conditions, source, versions or {}, settings.watch)
            if source and settings.conditions.all
            else None
        )
        self._traffic = traffic
        self._show = show
        self._begin = clock.monotonic()
        self._outcome = Outcome(
            NO_EVIDENCE, "fail", "", clock.now(), clock.now(), planned_end=clock.now() + settings.seconds
        )
        self._history = History(_HISTORY_POINTS)
        self._spans = Spans(settings)
        self._passed = ""
        self._away_since: float | None = None

    @property
    def outcome(self) -> Outcome:
        """What is known so far; final once :meth:`run` returned."""
        return self._outcome

    def run(self) -> Outcome:
        """Hold until the stage is decided. Whatever ends it otherwise first takes traffic back, unless asked not to."""
        try:
            self._hold()
        except BaseException:
            if self._settings.on_interrupt == "roll_back":
                self._withdraw(min(_LAST_PATIENCE, self._settings.api_patience))
            self._finish()
            raise
        self._finish()
        if self._outcome.withdrawn:
            self._verify()
        self._outcome.measured = self._summary()
        return self._outcome

    def look_once(self) -> Outcome:
        """Look and judge, decide and change nothing."""
        look = self._look(0.0, strict=True)
        self._record(look)
        self._tell(look)
        self._conclude(look.verdict, "advance" if look.verdict == PASS else "fail", "looked once")
        self._finish()
        return self._outcome

    def _hold(self) -> None:
        due = 0.0
        while True:
            self._wait_until(due)
            if self._take_look(due):
                return
            due = self._next_due(due)

    def _take_look(self, due: float) -> bool:
        """One look and what follows from it; true when the stage is decided. Acting comes before recording."""
        look = self._look(due, strict=self._outcome.looks == 0)
        self._spans.note(due, look.judgements)
        breach = next((one for one in look.judgements if self._spans.breached(one, due)), None)
        if breach:
            self._outcome.times["breach_seen"] = self._clock.now()
            self._withdraw(self._settings.api_patience)
            look = dataclasses.replace(look, breach=breach, withdrawn=self._outcome.withdrawn)
            self._outcome.breach = breach
            self._conclude(FAIL, "roll_back", breach.text)
        else:
            self._decide(look, due)
        self._record(look)
        self._tell(look)
        self._notice_moved_clock()
        return bool(self._outcome.reason)

    def _decide(self, look: Look, due: float) -> None:
        settings = self._settings
        for judgement, policy in self._spans.expired(look.judgements, due):
            reason = (
                f"{judgement.condition.role} {judgement.condition.name} {_without(judgement)} for {settings.grace:g} s"
            )
            if policy == "roll_back":
                self._outcome.times["breach_seen"] = self._clock.now()
                self._withdraw(settings.api_patience)
            self._conclude(judgement.verdict, policy, f"{reason}: {judgement.reason}")
            return
        if not self._passed:
            self._judge(look, due)
        if self._passed:
            self._end_with_the_api()

    def _judge(self, look: Look, due: float) -> None:
        """Whether the stage has passed, or can't any more. What passed is ended by its triggers alone."""
        settings = self._settings
        sure = settings.advance == WHEN_SURE and due + SLACK >= settings.warm_up + settings.observe
        if due + SLACK < settings.seconds and not (sure and settings.conditions.criteria):
            return
        short = self._spans.short(look.judgements, due)
        if not short:
            self._passed = "all criteria held" if settings.conditions.all else "the time is over"
        elif due + SLACK >= settings.seconds + settings.extend_by:
            self._conclude(self._spans.worst(short), "fail", "; ".join(text for _one, text in short))

    def _end_with_the_api(self) -> None:
        """Advance once the Kubernetes API answers; until then hold on, for as long as is borne."""
        problem = self._traffic.api_problem() if self._traffic else ""
        now = self._clock.monotonic()
        if self._away_since is not None:
            self._outcome.api_away = now - self._away_since
        if not problem:
            if self._away_since is not None:
                self._say(f"the Kubernetes API is back after {format_duration(self._outcome.api_away)}: going on")
            self._conclude(PASS, "advance", self._passed)
            return
        patience = self._settings.api_patience
        if self._away_since is None:
            self._away_since = now
            self._say(
                f"the stage has passed and is held on, for {format_duration(patience)} at most, until the Kubernetes"
                f" API is back, which its end needs: {problem}"
            )
        if self._outcome.api_away >= patience:
            held = format_duration(self._outcome.api_away)
            self._conclude(FAIL, "fail", f"{self._passed}, but for {held} (api_patience) it couldn't end: {problem}")

    def _conclude(self, verdict: str, decision: str, reason: str) -> None:
        self._outcome.verdict, self._outcome.decision, self._outcome.reason = verdict, decision, reason

    def _look(self, due: float, *, strict: bool) -> Look:
        counts = due + SLACK >= self._settings.warm_up
        judgements = self._observer.look(strict=strict, criteria_count=counts) if self._observer else ()
        return Look(
            number=self._outcome.looks + 1,
            at=self._clock.now(),
            elapsed=due,
            left=self._settings.seconds - due,
            judgements=judgements,
            extended=due > self._settings.seconds + SLACK,
        )

    def _withdraw(self, patience: float) -> None:
        """All traffic to stable, tried again until the API takes it: nothing else is worth doing meanwhile."""
        if self._traffic is None:
            return
        began = self._clock.monotonic()
        while True:
            try:
                self._outcome.changed = self._traffic.withdraw()
            except RolloutError as error:
                hopeless = isinstance(error, (ForbiddenError, InputError, NotFoundError))
                limit = min(patience, _HOPELESS_PATIENCE) if hopeless else patience
                if not self._outcome.problem:
                    self._say(f"TRAFFIC IS NOT BACK ON STABLE YET, trying for {limit:g} s: {error.message}")
                self._outcome.problem = error.message
                if isinstance(error, LockError):  # it is another controller's weight now
                    return
                if self._clock.monotonic() - began + _WITHDRAW_PAUSE > limit:
                    return
                self._clock.sleep(_WITHDRAW_PAUSE)
            else:
                self._outcome.times["weight_zero"] = self._clock.now()
                self._outcome.withdrawn, self._outcome.problem = True, ""
                return

    def _verify(self) -> None:
        try:
            weight = self._traffic.weight() if self._traffic else 0
        except RolloutError as error:
            self._outcome.problem = f"read back failed: {error.message}"
            return
        if weight == 0:
            self._outcome.times["verified"] = self._clock.now()
        else:
            self._outcome.problem = f"the weight reads {weight} after it was set to 0: someone else moves it"

    def _record(self, look: Look) -> None:
        self._outcome.looks += 1
        self._outcome.last = look
        self._history.add(
            {
                "t": round(look.elapsed, 2),
                "verdict": look.verdict,
                "values": {one.condition.metric.name: one.value for one in look.judgements},
            }
        )

    def _tell(self, look: Look) -> None:
        if self._show:
            self._show.look(look)

    def _say(self, text: str) -> None:
        if self._show:
            self._show.say(text)

    def _wait_until(self, due: float) -> None:
        while (left := self._begin + due - self._clock.monotonic()) > 0:
            if self._show:
                self._show.tick(self._settings.seconds - (self._clock.monotonic() - self._begin))
            self._clock.sleep(min(left, _TICK))

    def _next_due(self, due: float) -> float:
        """The next free place on the grid; the planned end and the last end are places too."""
        elapsed = self._clock.monotonic() - self._begin
        steps = max(1, math.ceil((elapsed - due) / self._settings.interval - SLACK))
        self._outcome.skipped += steps - 1
        coming = due + steps * self._settings.interval
        for end in (self._settings.seconds, self._settings.seconds + self._settings.extend_by):
            if due + SLACK < end < coming:
                return end
        return coming

    def _notice_moved_clock(self) -> None:
        held = self._clock.monotonic() - self._begin
        moved = self._clock.now() - self._outcome.started - held
        if abs(moved - self._outcome.clock_moved) <= _TOLERATED:
            return
        self._outcome.clock_moved = moved if abs(moved) > _TOLERATED else 0.0
        if not self._outcome.clock_moved:
            self._say("the clock of this machine shows again what it would, had it not been set")
            return
        where = "ahead of" if moved > 0 else "behind"
        self._say(
            f"the clock of this machine was set, or the machine slept: it is {format_duration(abs(moved))} {where} what"
            " it would show; the stage lasts as long as before, and those after it move with the clock"
        )

    def _finish(self) -> None:
        self._outcome.ended = self._clock.now()
        self._outcome.history = self._history.points

    def _summary(self) -> dict[str, dict[str, t.Any]]:
        """Each metric over the whole time held, from counts where it has them; and its least and most on looks."""
        # To the millisecond: nothing from before the stage may count.
        spent = math.floor((self._clock.monotonic() - self._begin) * 1000) / 1000
        metrics = {one.metric.name: one.metric for one in self._settings.conditions.all}
        if not metrics or not self._source:
            return {}
        windows = {name: max(metric.window, spent) for name, metric in metrics.items()}
        whole = self._source.measure([(metric, windows[name]) for name, metric in metrics.items()])
        return {
            name: summary(metric, whole[name, windows[name]], self._history.points) for name, metric in metrics.items()
        }


def _without(judgement: Judgement) -> str:
    return "had no evidence" if judgement.verdict == NO_EVIDENCE else "had its source down"
