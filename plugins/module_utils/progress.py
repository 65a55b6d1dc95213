# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The line per look that people read at a glance, and the bar between looks. Pure: text in pieces, each with a tone."""

from __future__ import annotations

import dataclasses
import sys
import time
import typing as t

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import format_duration, format_plan
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import (
    Judgement,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.values import format_count, format_value
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.verdicts import (
    FAIL,
    NO_EVIDENCE,
    PASS,
    SOURCE_DOWN,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.stage import Look

_MARKS = {PASS: ("✓", "good"), FAIL: ("✗", "bad"), NO_EVIDENCE: ("?", "doubt"), SOURCE_DOWN: ("!", "doubt")}
_GAP = "  "
_FULL, _WITHOUT_COUNTS, _WITHOUT_BOUNDS = range(3)


class Piece(t.NamedTuple):
    """Some text; ``tone`` is ``good``, ``bad``, ``doubt`` or empty."""

    text: str
    tone: str = ""


@dataclasses.dataclass(frozen=True)
class PlanClock:
    """The plan's clock: ``start_at`` is T in unix seconds, ``time_scale`` wall seconds per second of the plan."""

    start_at: float
    time_scale: float = 1.0

    def text(self, at: float) -> str:
        return format_plan((at - self.start_at) / self.time_scale)


def look_line(look: Look, weight: int | None, plan: PlanClock | None, width: int | None = None) -> list[Piece]:
    """One look in one line of at most ``width`` characters: counts go first, then bounds, then the end of the list."""
    limit = sys.maxsize if width is None else width
    head = [Piece(_GAP.join(_head(look.at, weight, plan)))]
    tail = [Piece(f"{format_duration(-look.left)} over" if look.extended else f"{format_duration(look.left)} left")]
    if look.breach:
        tail = [Piece("all traffic back on stable" if look.withdrawn else "STAGE ENDED", "bad")]
    for level in (_FULL, _WITHOUT_COUNTS, _WITHOUT_BOUNDS):
        middle = _conditions(look, level)
        line = _joined([*head, *middle, *tail])
        if length(line) <= limit:
            return line
    room = limit - length(head) - length(tail) - 2 * len(_GAP)
    return [*head, Piece(_GAP), *_cut(_joined(middle), room), Piece(_GAP), *tail]


def bar_line(spent: float, seconds: float, at: float, plan: PlanClock | None, width: int) -> str:
    """How much of the stage is over, as a bar that fits into ``width`` characters."""
    share = min(1.0, spent / seconds) if seconds > 0 else 1.0
    left = seconds - spent
    text = f"{format_duration(left)} left" if left >= 0 else f"{format_duration(-left)} over"
    label = _GAP.join([f"{share * 100:3.0f} %", *_head(at, None, plan), text])
    cells = max(0, min(30, width - len(label) - len(_GAP) - 2))
    full = round(share * cells)
    return f"{'█' * full}{'░' * (cells - full)}{_GAP}{label}"[:width]


def length(pieces: t.Iterable[Piece]) -> int:
    return sum(len(piece.text) for piece in pieces)


def plain(pieces: t.Iterable[Piece]) -> str:
    """The line without tones, as a log keeps it."""
    return "".join(piece.text for piece in pieces)


def _head(at: float, weight: int | None, plan: PlanClock | None) -> list[str]:
    parts = [plan.text(at)] if plan else []
    parts.append(time.strftime("%H:%M:%S", time.localtime(at)))
    return parts if weight is None else [*parts, f"{weight} %"]


def _conditions(look: Look, level: int) -> list[Piece]:
    """Criteria, then the triggers that aren't quiet, then how many are."""
    criteria = [one for one in look.judgements if not one.condition.is_trigger]
    triggers = [one for one in look.judgements if one.condition.is_trigger]
    loud = [one for one in triggers if one.verdict != PASS]
    pieces = [_condition(one, level) for one in [*loud, *criteria]]
    quiet = len(triggers) - len(loud)
    if quiet:
        pieces.append(Piece(f"{quiet} trigger{'s' if quiet > 1 else ''} quiet"))
    return pieces


def _condition(judgement: Judgement, level: int) -> Piece:
    condition = judgement.condition
    mark, tone = _MARKS[judgement.verdict]
    if condition.advisory and tone == "bad":
        tone = "doubt"
    words = [mark, condition.name, format_value(judgement.value, condition.metric.unit)]
    if level < _WITHOUT_BOUNDS:
        words.append(condition.target)
    if level < _WITHOUT_COUNTS and judgement.evidence.get("total"):
        words.append(f"({format_count(judgement.evidence['total'])}{_how_sure(judgement)})")
    return Piece(" ".join(words), tone)


def _how_sure(judgement: Judgement) -> str:
    """Of a criterion that weighs all requests: how many of them may offend at most."""
    share = judgement.evidence.get("offending_share")
    if not share or judgement.condition.is_trigger:
        return ""
    return f", surely ≤ {format_value(share['most'], 'percent')}"


def _joined(pieces: t.Sequence[Piece]) -> list[Piece]:
    joined: list[Piece] = []
    for piece in pieces:
        joined += [Piece(_GAP), piece] if joined else [piece]
    return joined


def _cut(pieces: t.Iterable[Piece], room: int) -> list[Piece]:
    """The pieces as far as there is ``room``, the last one ending in a sign that there is more."""
    kept: list[Piece] = []
    for piece in pieces:
        if len(piece.text) >= room:
            kept.append(Piece(piece.text[: max(0, room - 1)] + "…", piece.tone))
            break
        kept.append(piece)
        room -= len(piece.text)
    return kept
