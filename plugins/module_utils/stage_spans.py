# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""For how long each condition of a stage has been what it is, and what follows from that. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.conditions import Condition
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import (
    Judgement,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.verdicts import (
    FAIL,
    NO_EVIDENCE,
    PASS,
    SOURCE_DOWN,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.stage_settings import SLACK, Settings

UNDECIDED = "undecided"


class Spans:
    """Since when each condition has been passing, firing, or without a judgement, by the grid's time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._since: dict[tuple[str, str], tuple[str, float]] = {}
        self._failed: dict[tuple[str, str], str] = {}

    def note(self, due: float, judgements: t.Iterable[Judgement]) -> None:
        for judgement in judgements:
            key = judgement.condition.key
            if judgement.verdict != PASS:
                self._failed[key] = judgement.verdict
            # What came before the warm-up is over is not counted, save for triggers.
            if due + SLACK < self._settings.warm_up and not judgement.fires:
                self._since.pop(key, None)
                continue
            # A source that comes and goes lacks evidence all along.
            state = judgement.verdict if judgement.verdict in (PASS, FAIL) else NO_EVIDENCE
            if judgement.undecided:
                state = UNDECIDED
            if self._since.get(key, ("", 0.0))[0] != state:
                self._since[key] = (state, due)

    def lasted(self, condition: Condition, due: float) -> float:
        """Seconds for which the condition's verdict has been what it is."""
        since = self._since.get(condition.key)
        return due - since[1] if since else 0.0

    def breached(self, judgement: Judgement, due: float) -> bool:
        """Whether this is a trigger that fires, has for as long as it asks for, and counts."""
        condition = judgement.condition
        lasted = self.lasted(condition, due) + SLACK >= (condition.lasting or 0.0)
        return judgement.fires and lasted and not condition.advisory

    def expired(self, judgements: t.Iterable[Judgement], due: float) -> t.Iterator[tuple[Judgement, str]]:
        """Judgements that have lacked evidence or source for as long as is borne, with what to do then."""
        for judgement in judgements:
            condition = judgement.condition
            policy = "hold"
            if judgement.verdict == NO_EVIDENCE:
                policy = condition.on_no_evidence or self._settings.on_no_evidence
            elif judgement.verdict == SOURCE_DOWN:
                policy = condition.on_source_down or self._settings.on_source_down
            if judgement.undecided:
                continue  # the end of the stage decides
            counted = due + SLACK >= self._settings.warm_up and not condition.advisory
            if policy != "hold" and counted and self.lasted(condition, due) + SLACK >= self._settings.grace:
                yield judgement, policy

    def short(self, judgements: t.Iterable[Judgement], due: float) -> list[tuple[Judgement, str]]:
        """Why the stage may not advance: conditions that do not pass, or have not for long enough."""
        found = []
        for judgement in judgements:
            condition = judgement.condition
            asked = 0.0 if condition.is_trigger else self._settings.asked(condition)
            if condition.advisory:
                continue
            if judgement.verdict != PASS:
                found.append((judgement, judgement.text))
            elif (held := self.lasted(condition, due)) + SLACK < asked:
                found.append((judgement, f"{condition.role} {condition.name} held for {held:g} of {asked:g} s"))
        return found

    def worst(self, short: t.Iterable[tuple[Judgement, str]]) -> str:
        """The verdict for what is short: one that passes at last is judged by what it was before."""
        verdicts = {
            one.verdict if one.verdict != PASS else self._failed.get(one.condition.key, NO_EVIDENCE)
            for one, _text in short
        }
        return next(verdict for verdict in (FAIL, SOURCE_DOWN, NO_EVIDENCE) if verdict in verdicts)
