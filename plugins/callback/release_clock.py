# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: release_clock
type: stdout
short_description: The release clock as people read it
version_added: 0.1.0
author:
  - Claude Enhancer operations team (@claude-enhancer)
description:
  - Shows each play as a stage with the time of day, the time since the start and, once the release's plan is known,
    the time on the plan such as C(T+30).
  - Below it one line for each task that changed something or failed. Tasks that are ok or skipped show with C(-v).
  - A failure shows its whole message, and a list of problems one to a line. C(-v) adds the whole result.
  - What tasks print themselves, such as the progress of a stage, is passed through as it is.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - set as stdout in configuration
"""

import time
import typing as t

from ansible import constants
from ansible.executor.stats import AggregateStats
from ansible.executor.task_result import CallbackTaskResult
from ansible.playbook import Playbook
from ansible.playbook.play import Play
from ansible.playbook.task import Task
from ansible.playbook.task_include import TaskInclude
from ansible.plugins.callback.default import CallbackModule as DefaultCallback

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import format_duration, format_plan

_MOST_LAST_WORDS = 15
_INDENT = "          "
_COUNTS = ("ok", "changed", "failures", "unreachable", "skipped", "rescued", "ignored")


class CallbackModule(DefaultCallback):
    """One heading per play, one line per task that matters."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "claude_enhancer.rollout.release_clock"

    def __init__(self) -> None:
        super().__init__()
        self._start = time.monotonic()
        self._plan: tuple[float, float] | None = None
        self._failures: list[str] = []
        self._over = False

    # ---- headings

    def v2_playbook_on_start(self, playbook: Playbook) -> None:
        self._start = time.monotonic()

    def v2_playbook_on_play_start(self, play: Play) -> None:
        self._play = play
        if self._over:
            return
        dry = "   (dry run: nothing is changed)" if play.check_mode else ""
        heading = f"{self._clock()}   {play.get_name().strip()}{dry}"
        self._display.display(f"\n{heading}", color=constants.COLOR_HIGHLIGHT)

    def _clock(self) -> str:
        parts = [time.strftime("%H:%M:%S"), f"+{format_duration(time.monotonic() - self._start)}"]
        if self._plan:
            t_zero, scale = self._plan
            parts.append(format_plan((time.time() - t_zero) / scale))
        return "   ".join(parts)

    def _task_start(self, task: Task, prefix: str | None = None) -> None:
        self._last_task_name = task.get_name().strip()

    def _print_task_banner(self, task: Task) -> None:
        """The line of the task itself says which it is."""
        self._last_task_banner = task._uuid

    # ---- tasks

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        self._learn_plan(result)
        # Plays that follow have nothing to do, so they have no heading either.
        self._over = self._over or bool((result.result.get("ansible_facts") or {}).get("preflight_ends_here"))
        if isinstance(result.task, TaskInclude):
            return
        self._handle_warnings_and_exception(result)
        if result.task.loop and "results" in result.result:
            return  # each item had its line
        self._line_ok(result, "")

    def v2_runner_item_on_ok(self, result: CallbackTaskResult) -> None:
        if isinstance(result.task, TaskInclude):
            return
        self._handle_warnings_and_exception(result)
        self._line_ok(result, self._item(result))

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:
        self._handle_warnings(result.result)
        if result.task.loop and "results" in result.result:
            self._note_failure(result, ignore_errors)
            return  # each item had its line
        self._line_failed(result, "", "failed, ignored" if ignore_errors else "FAILED")
        self._note_failure(result, ignore_errors)

    def v2_runner_item_on_failed(self, result: CallbackTaskResult) -> None:
        self._handle_warnings(result.result)
        self._line_failed(result, self._item(result), "FAILED")

    def v2_runner_on_unreachable(self, result: CallbackTaskResult) -> None:
        self._handle_warnings(result.result)
        self._line_failed(result, "", "UNREACHABLE")
        self._note_failure(result, bool(result.task.ignore_unreachable))

    def v2_runner_on_skipped(self, result: CallbackTaskResult) -> None:
        if self._display.verbosity and self.get_option("display_skipped_hosts"):
            self._line("skipped", result, "", constants.COLOR_SKIP)

    def v2_runner_item_on_skipped(self, result: CallbackTaskResult) -> None:
        if self._display.verbosity and self.get_option("display_skipped_hosts"):
            self._line("skipped", result, self._item(result), constants.COLOR_SKIP)

    def v2_runner_retry(self, result: CallbackTaskResult) -> None:
        if self._display.verbosity:
            super().v2_runner_retry(result)

    def v2_playbook_on_include(self, included_file: t.Any) -> None:
        if self._display.verbosity:
            super().v2_playbook_on_include(included_file)

    def _item(self, result: CallbackTaskResult) -> str:
        return f" ({self._get_item_label(result.result)})"

    def _learn_plan(self, result: CallbackTaskResult) -> None:
        """Take T and the scale of the clock from the task that made the plan."""
        if result.task.action.endswith((".release_plan", ".release_preflight")) and "t_zero" in result.result:
            self._plan = (float(result.result["t_zero"]), float(result.result["time_scale"]))

    def _line(self, word: str, result: CallbackTaskResult, item: str, color: str) -> None:
        host = result.host.get_name()
        where = "" if host == "localhost" else f"  [{self.host_label(result)}]"
        name = (result.task_name or self._last_task_name or str(result.task)).strip()
        self._display.display(f"{time.strftime('%H:%M:%S')}  {word}  {name}{item}{where}", color=color)
        if self._display.verbosity >= 2:
            self._print_task_path(result.task)

    def _line_ok(self, result: CallbackTaskResult, item: str) -> None:
        changed = result.result.get("changed", False)
        spoken = result.result.get("_ansible_verbose_always") and "msg" in result.result
        if changed:
            self._line("changed", result, item, constants.COLOR_CHANGED)
        elif self._display.verbosity and self.get_option("display_ok_hosts") and not spoken:
            self._line("ok     ", result, item, constants.COLOR_OK)
        if spoken:
            self._say(result.result["msg"], constants.COLOR_OK)
        elif self._run_is_verbose(result):
            self._display.display(_INDENT + self._dump_results(result.result).strip())

    def _line_failed(self, result: CallbackTaskResult, item: str, word: str) -> None:
        self._line(word, result, item, constants.COLOR_ERROR)
        for line in _failure_lines(result.result):
            self._say(line, constants.COLOR_ERROR)
        if self._run_is_verbose(result):
            self._display.display(_INDENT + self._dump_results(result.result).strip(), color=constants.COLOR_ERROR)

    def _say(self, message: t.Any, color: str) -> None:
        lines = message if isinstance(message, list) else str(message).splitlines()
        for line in lines:
            self._display.display(f"{_INDENT}{line}", color=color)

    def _note_failure(self, result: CallbackTaskResult, ignored: bool) -> None:
        if not ignored:
            first = _failure_lines(result.result)[0].rstrip(":")
            self._failures.append(f"{(result.task_name or str(result.task)).strip()}: {first}")

    # ---- the end

    def v2_playbook_on_no_hosts_remaining(self) -> None:
        """The failure itself was shown."""

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        took = format_duration(time.monotonic() - self._start)
        self._display.display("")
        failed = False
        for host in sorted(stats.processed):
            counts = stats.summarize(host)
            bad = bool(counts["failures"] or counts["unreachable"])
            failed = failed or bad
            said = ", ".join(f"{counts[name]} {_word(name)}" for name in _COUNTS if counts[name])
            color = constants.COLOR_ERROR if bad else constants.COLOR_OK
            self._display.display(f"{host}: {said or 'nothing to do'}; {took}", color=color)
        if failed and self._failures:
            self._display.display(f"ended by  {self._failures[-1]}", color=constants.COLOR_ERROR)


def _word(count: str) -> str:
    return {"failures": "failed"}.get(count, count)


def _failure_lines(result: t.Mapping[str, t.Any]) -> list[str]:
    """The message in full; where there is a list of problems, these one to a line instead of all in a sentence."""
    if "censored" in result:
        return [str(result["censored"])]
    problems = result.get("problems")
    if isinstance(problems, list) and len(problems) > 1:
        return [f"{len(problems)} problems:", *(f"- {problem}" for problem in problems)]
    message = str(result.get("msg") or result.get("stderr") or result.get("module_stderr") or "no message")
    lines = [line for line in message.splitlines() if line.strip()] or ["no message"]
    return lines + _last_words(result)


def _last_words(result: t.Mapping[str, t.Any]) -> list[str]:
    """What a command that failed wrote last: its status alone tells nobody why."""
    if not result.get("rc") or not result.get("msg"):
        return []
    return [
        line
        for stream in ("stdout", "stderr")
        for line in [line for line in str(result.get(stream) or "").splitlines() if line.strip()][-_MOST_LAST_WORDS:]
    ]
