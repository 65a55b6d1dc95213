from __future__ import annotations

import typing as t

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import (
    FakeClock,
    format_duration,
    format_plan,
    parse_duration,
)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(5, 5), ("5", 5), ("5s", 5), ("250ms", 0.25), ("10m", 600), ("1h", 3600), ("1h30m", 5400), (0, 0), ("0.5s", 0.5)],
)
def test_durations(value: t.Any, seconds: float) -> None:
    assert parse_duration(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", ["abc", "", "5 minutes", "-5s", -1, None, True, "nan", "inf", [], "5sx"])
def test_what_is_not_a_duration_is_named(value: t.Any) -> None:
    with pytest.raises(ValueError) as caught:
        parse_duration(value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-7200, "T-120"), (0, "T+0"), (2050, "T+34:10"), (7200, "T+120"), (86400, "T+24h"), (90000, "T+25h")],
)
def test_plan_time(seconds: float, text: str) -> None:
    assert format_plan(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(7, "0:07"), (2050, "34:10"), (3900, "1:05:00"), (-3, "0:00")])
def test_duration_text(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_fake_clock_moves_both_hands_together() -> None:
    clock = FakeClock(start=100)
    clock.sleep(2.5)
    assert (clock.now(), clock.monotonic()) == (102.5, 2.5)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)
