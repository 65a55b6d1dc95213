# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Holds a stage on the control node, where its progress is seen and a trigger acts in the process that saw it."""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import sys
import types
import typing as t

from ansible import constants as C
from ansible.utils.color import stringc
from ansible.utils.display import Display

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import SystemClock, format_time
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import CLUSTER_SPEC, Cluster, Ref
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import InputError, RolloutError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import LEASE_SPEC
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_fence import LeaseFence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.conditions import POLICIES, Conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.criteria import (
    RISK_ARGUMENTS,
    read_conditions,
    read_risks,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.prometheus import (
    VERSIONS_OPTION,
    PrometheusSource,
    prometheus_option,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.patience import is_away
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.progress import (
    PlanClock,
    bar_line,
    look_line,
    plain,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.stage import Hold, Look, Outcome
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.stage_settings import ADVANCE, AT_END, Settings
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import (
    TrafficProvider,
    make_ready,
    open_provider,
    set_weight,
)
from ansible_collections.claude_enhancer.rollout.plugins.plugin_utils.release_action import ReleaseAction

SPEC = ArgumentSpec(
    {
        "stage": {"type": "str", "required": True},
        "seconds": {"type": "float"},
        "until": {"type": "float"},
        "at_least": {"type": "float", "default": 0.0},
        "interval": {"type": "float", "default": 10.0},
        "prometheus": prometheus_option(required=False),
        "versions": VERSIONS_OPTION,
        "metrics": {"type": "dict", "default": {}},
        "criteria": {"type": "list", "elements": "dict", "default": []},
        "triggers": {"type": "list", "elements": "dict", "default": []},
        **RISK_ARGUMENTS,
        "advance": {"type": "str", "choices": list(ADVANCE), "default": AT_END},
        "observe": {"type": "float"},
        "extend_by": {"type": "float", "default": 0.0},
        "warm_up": {"type": "float", "default": 0.0},
        "grace": {"type": "float", "default": 60.0},
        "api_patience": {"type": "float", "default": 300.0},
        "on_no_evidence": {"type": "str", "choices": list(POLICIES), "default": "hold"},
        "on_source_down": {"type": "str", "choices": list(POLICIES), "default": "hold"},
        "on_interrupt": {"type": "str", "choices": ["roll_back", "hold"], "default": "roll_back"},
        "traffic": {"type": "dict"},
        "weight": {"type": "int"},
        "plan": {
            "type": "dict",
            "options": {"start_at": {"type": "raw"}, "time_scale": {"type": "float", "default": 1.0}},
        },
    },
    required_one_of=(("seconds", "until"),),
    mutually_exclusive=(("seconds", "until"),),
).merge(CLUSTER_SPEC, LEASE_SPEC)

# What every user may ask: the kinds that the API serves.
_SERVED = Ref("v1", "APIResourceList", "")
_COLOURS = {"good": "COLOR_OK", "bad": "COLOR_ERROR", "doubt": "COLOR_WARN"}
_CLEAR_LINE = "\r\033[K"
# Lines for a stage that only waits, however long it is.
_WAITING_LOOKS = 20


def _inherited_stderr() -> int | None:
    try:
        return os.dup(2)
    except OSError:
        return None


# This file is imported in the ansible-playbook process, and its workers are forked from there without a terminal.
# So here is where to see whether there is one. The copy of standard error serves for one sentence when the process
# that shows a worker's output is interrupted and no longer does so.
INTERACTIVE = sys.stdout.isatty()
LAST_WORDS = _inherited_stderr()


class Interrupted(BaseException):
    """The hold was interrupted from outside; not an error that anything on the way may handle."""

    def __init__(self, cause: str, signum: int = 0) -> None:
        super().__init__(cause)
        self.cause = cause
        self.signum = signum


class WorkerClock(SystemClock):
    """The machine's clock in a worker: it also notices, once, that the process which started the worker is gone."""

    def __init__(self) -> None:
        self._parent = os.getppid()
        self._told = False

    def sleep(self, seconds: float) -> None:
        if os.getppid() != self._parent and not self._told:
            self._told = True
            raise Interrupted("ansible-playbook is gone")
        super().sleep(seconds)


class PreparedTraffic:
    """A provider that was opened and read, and its lock looked at, before it is needed.

    ``away`` says why that couldn't be done where the Kubernetes API is away. Then it is done when traffic has to be
    taken back.
    """

    def __init__(self, provider: TrafficProvider) -> None:
        self._provider = provider
        self.first_weight: int | None = None
        self.away = ""
        try:
            self.first_weight = make_ready(provider).weight
        except RolloutError as error:
            if not self.api_problem():
                raise
            self.away = error.message

    def withdraw(self) -> bool:
        return set_weight(self._provider, 0, guard=False).changed

    def weight(self) -> int:
        return self._provider.read().weight

    def api_problem(self) -> str:
        # Whatever else the API says to this, it is there.
        try:
            self._provider.cluster.find(_SERVED)
        except RolloutError as error:
            return error.message if is_away(error) else ""
        return ""


class TerminalShow:
    """Lines for each look, coloured where colours are; on a terminal a bar below them in between."""

    def __init__(self, display: Display, seconds: float, weight: int | None, plan: PlanClock | None) -> None:
        self._display = display
        self._seconds = seconds
        self._weight = weight
        self._plan = plan
        self._clock = SystemClock()

    def look(self, look: Look) -> None:
        weight = 0 if look.withdrawn else self._weight
        pieces = look_line(look, weight, self._plan, self._display.columns if INTERACTIVE else None)
        line = "".join(stringc(text, getattr(C, _COLOURS[tone])) if tone else text for text, tone in pieces)
        self._display.display((_CLEAR_LINE if INTERACTIVE else "") + line, screen_only=True)
        self._display.display(plain(pieces), log_only=True)

    def say(self, text: str) -> None:
        line = f"{format_time(self._clock.now())}  {text}"
        self._display.display((_CLEAR_LINE if INTERACTIVE else "") + line, color=C.COLOR_WARN)

    def tick(self, left: float) -> None:
        if INTERACTIVE:
            width = min(self._display.columns, 79)
            line = bar_line(self._seconds - left, self._seconds, self._clock.now(), self._plan, width)
            self._display.display(_CLEAR_LINE + line, screen_only=True, newline=False)

    def close(self) -> None:
        if INTERACTIVE:
            self._display.display(_CLEAR_LINE, screen_only=True, newline=False)


class ActionModule(ReleaseAction):
    """The action plugin; its options are documented in the module of the same name."""

    spec = SPEC

    def act(self, options: dict[str, t.Any]) -> dict[str, t.Any]:
        versions = {side: version for side, version in options["versions"].items() if version}
        conditions = read_conditions(
            options["metrics"], options["criteria"], options["triggers"], versions=versions, stage=options["stage"]
        )
        source = _source(options, conditions, versions)
        plan = _plan_clock(options["plan"])
        clock = WorkerClock()
        settings = _settings(options, conditions, clock.now())
        settings.check()
        traffic = _traffic(options, dry_run=self._task.check_mode)
        weight = options["weight"]
        if weight is None and traffic:
            weight = traffic.first_weight
        show = TerminalShow(Display(), settings.seconds, weight, plan)
        hold = Hold(settings, clock, source, versions, traffic, show)
        if traffic and traffic.away:
            show.say(f"the stage is held without the Kubernetes API, which only its end needs: {traffic.away}")
        try:
            with _interruptible(options["stage"], hold):
                outcome = hold.look_once() if self._task.check_mode else hold.run()
        except RolloutError as error:
            error.details.update(_result(options, hold.outcome, weight))
            raise
        finally:
            show.close()
        result = _result(options, outcome, weight) | _failure(options["stage"], outcome, self._task.check_mode)
        return result | ({"warnings": list(source.warnings)} if source and source.warnings else {})


def _source(options: dict[str, t.Any], conditions: Conditions, versions: dict[str, str]) -> PrometheusSource | None:
    if not conditions.all:
        return None
    if not options["prometheus"]:
        raise InputError(f"prometheus: is needed for the criteria and triggers of stage {options['stage']}.")
    return PrometheusSource.from_options(options["prometheus"], versions)


def _traffic(options: dict[str, t.Any], *, dry_run: bool) -> PreparedTraffic | None:
    if not options["traffic"]:
        return None
    cluster = Cluster.from_options(options, dry_run=dry_run)
    name = options["traffic"].get("provider") or "istio"
    fence = LeaseFence.from_option(cluster, options["lease"])
    return PreparedTraffic(open_provider(name, cluster, options["traffic"], fence))


def _settings(options: dict[str, t.Any], conditions: Conditions, now: float) -> Settings:
    asked = options["seconds"] if options["until"] is None else options["until"] - now
    seconds = max(0.0, asked, options["at_least"])
    interval = options["interval"]
    observe = min(seconds, 2 * interval) if options["observe"] is None else options["observe"]
    if not conditions.all:
        interval, observe = max(interval, seconds / _WAITING_LOOKS), 0.0
    same = (
        "extend_by",
        "warm_up",
        "grace",
        "api_patience",
        "on_no_evidence",
        "on_source_down",
        "on_interrupt",
        "advance",
    )
    return Settings(
        seconds=seconds,
        interval=interval,
        conditions=conditions,
        observe=observe,
        risks=read_risks(options),
        **{name: options[name] for name in same},
    )


def _plan_clock(plan: dict[str, t.Any] | None) -> PlanClock | None:
    if not plan or plan["start_at"] in (None, ""):
        return None
    if plan["time_scale"] <= 0:
        raise InputError(f"plan.time_scale: {plan['time_scale']:g} must be more than 0.")
    try:
        start_at = float(plan["start_at"])
    except (TypeError, ValueError):
        try:
            start_at = datetime.datetime.fromisoformat(str(plan["start_at"])).timestamp()
        except ValueError:
            raise InputError(
                f"plan.start_at: {plan['start_at']!r} is neither unix time nor such as 2026-11-20T10:00:00+00:00."
            ) from None
    return PlanClock(start_at, plan["time_scale"])


@contextlib.contextmanager
def _interruptible(stage: str, hold: Hold) -> t.Iterator[None]:
    """Make SIGINT and SIGTERM raise Interrupted, once: what follows then must not be interrupted again.

    After an interruption the worker ends as its own handlers would have ended it, since nobody reads its result.
    """
    signals = (signal.SIGINT, signal.SIGTERM)

    def interrupt(signum: int, _frame: types.FrameType | None) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(signal.Signals(signum).name, signum)

    before: dict[int, t.Any] = {each: signal.signal(each, interrupt) for each in signals}
    try:
        yield
    except Interrupted as interruption:
        _last_words(interruption.cause, stage, hold.outcome)
        if not interruption.signum:
            os._exit(1)
        signal.signal(interruption.signum, before[interruption.signum])
        os.kill(os.getpid(), interruption.signum)
        raise
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _last_words(cause: str, stage: str, outcome: Outcome) -> None:
    """Say what became of the weight, where the one who interrupted sees it."""
    if outcome.withdrawn:
        said = "all traffic is back on stable"
    elif outcome.problem:
        said = f"TRAFFIC IS NOT BACK ON STABLE: {outcome.problem}"
    else:
        said = "the weight was left as it is"
    if LAST_WORDS is not None:
        with contextlib.suppress(OSError):
            os.write(LAST_WORDS, f"\nstage {stage} was interrupted ({cause}): {said}\n".encode())


def _result(options: dict[str, t.Any], outcome: Outcome, weight: int | None) -> dict[str, t.Any]:
    judgements = outcome.last.judgements if outcome.last else ()
    return {
        "changed": outcome.changed,
        "stage": options["stage"],
        "verdict": outcome.verdict,
        "decision": outcome.decision,
        "reason": outcome.reason,
        "rolled_back": outcome.withdrawn,
        "weight": 0 if outcome.withdrawn else weight,
        "breached": outcome.times.get("breach_seen"),
        "breach": outcome.breach.as_dict() if outcome.breach else None,
        "times": outcome.times,
        "judgements": [judgement.as_dict() for judgement in judgements],
        "text": [judgement.text for judgement in judgements],
        "looks": outcome.looks,
        "skipped": outcome.skipped,
        "history": outcome.history,
        "measured": outcome.measured,
        "started": outcome.started,
        "ended": outcome.ended,
        "planned_end": outcome.planned_end,
        "extended": outcome.extended,
        "api_away": round(outcome.api_away, 3),
        "clock_moved": round(outcome.clock_moved, 3),
    }


def _failure(stage: str, outcome: Outcome, check_mode: bool) -> dict[str, t.Any]:
    """``failed`` and ``msg``. In check mode a verdict is told and fails nothing, since nothing was held."""
    if outcome.decision == "advance" or check_mode:
        return {"msg": f"stage {stage}: {outcome.reason}"}
    if outcome.withdrawn:
        took = outcome.times["weight_zero"] - outcome.times["breach_seen"]
        done = f"; all traffic is back on stable, {took * 1000:.0f} ms after it was seen"
    else:
        done = ""
    problem = f"; {outcome.problem}" if outcome.problem else ""
    return {"failed": True, "error": "stage_failed", "msg": f"stage {stage}: {outcome.reason}{done}{problem}"}
