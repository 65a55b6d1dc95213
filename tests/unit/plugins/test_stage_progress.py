from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.criteria import read_conditions
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.judgement import Measurement, judge
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.progress import (
    PlanClock,
    bar_line,
    length,
    look_line,
    plain,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.stage import Look

METRICS: dict[str, t.Any] = {
    "error_rate": {"kind": "ratio", "bad": "b", "total": "t", "window": "5s"},
    "agents": {"kind": "gauge", "query": "agents"},
}
READ = read_conditions(
    METRICS,
    [{"metric": "error_rate", "below": "0.1%"}, {"metric": "agents", "at_least": 61}],
    [{"metric": "error_rate", "above": "0.5%"}, {"metric": "agents", "below": 58}],
)
START = 1_790_000_000.0
PLAN = PlanClock(START, 0.01)
GOOD = Measurement(5.0, bad=0, total=12041, samples=1)
LOST = Measurement(5.0, problem="source_down", reason="refused")


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[None]:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def look(errors: Measurement = GOOD, agents: float = 61, **facts: t.Any) -> Look:
    counted = Measurement(5.0, values=(agents,), samples=1)
    judged = [judge(one, errors if one.metric.name == "error_rate" else counted) for one in READ.all]
    return Look(1, START + 20.5, 20.5, 7.7, tuple(judged), **facts)


def test_a_good_look_in_one_line() -> None:
    assert plain(look_line(look(), 5, PLAN)) == (
        "T+34:10  14:13:40  5 %  ✓ error_rate 0 % < 0.1 % (12 041)  ✓ agents 61 ≥ 61  2 triggers quiet  0:08 left"
    )


def test_every_verdict_has_its_mark_and_tone() -> None:
    tones = {text[0]: tone for text, tone in look_line(look(LOST, 60), 5, None) if tone}
    assert tones == {"!": "doubt", "✗": "bad"}
    nothing = dataclasses.replace(LOST, problem="no_evidence")
    assert any(text.startswith("? error_rate - < 0.1 %") for text, _tone in look_line(look(nothing), 5, None))


def test_a_fired_trigger_comes_first_and_says_what_was_done() -> None:
    bad = look(Measurement(5.0, bad=30, total=100, samples=1))
    breach = bad.judgements[0]
    line = look_line(dataclasses.replace(bad, breach=breach, withdrawn=True), 0, PLAN)
    assert plain(line).split("  ")[3] == "✗ error_rate 30 % > 0.5 % (100)"
    assert line[-1] == ("all traffic back on stable", "bad")
    assert look_line(dataclasses.replace(bad, breach=breach), 5, PLAN)[-1].text == "STAGE ENDED"


def test_an_extended_stage_counts_up() -> None:
    late = dataclasses.replace(look(), left=-95.0, extended=True)
    assert look_line(late, 5, PLAN)[-1].text == "1:35 over"


@pytest.mark.parametrize("width", range(50, 130))
def test_a_line_fits_the_terminal_and_keeps_its_ends(width: int) -> None:
    line = look_line(look(), 5, PLAN, width)
    assert length(line) <= width
    assert plain(line).startswith("T+34:10  14:13:40  5 %  ✓")
    assert plain(line).endswith("0:08 left")


def test_counts_go_before_bounds_and_bounds_before_conditions() -> None:
    full = length(look_line(look(), 5, PLAN))
    assert "(12 041)" not in plain(look_line(look(), 5, PLAN, full - 1))
    assert "< 0.1 %" in plain(look_line(look(), 5, PLAN, full - 9))
    assert "< 0.1 %" not in plain(look_line(look(), 5, PLAN, full - 10))
    assert "agents 61" in plain(look_line(look(), 5, PLAN, full - 20))
    assert "…" in plain(look_line(look(), 5, PLAN, 60))


@pytest.mark.parametrize(("spent", "full"), [(0.0, 0), (30.0, 15), (60.0, 30), (90.0, 30)])
def test_the_bar_fills_with_time(spent: float, full: int) -> None:
    shown = bar_line(spent, 60.0, START, PLAN, 79)
    assert shown.count("█") == full
    assert len(shown) <= 79
    assert ("over" in shown) is (spent > 60)


@pytest.mark.parametrize("width", [10, 30, 45, 200])
def test_the_bar_fits_whatever_there_is(width: int) -> None:
    assert len(bar_line(10, 60, START, PLAN, width)) <= width
