"""Probes are made exactly when they should be, and add up as the thresholds say."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rehearsal.node.probes import Outcome, ProbeSpec, ProbeTracker, keep_probing


class FakeClock:
    """Time passes only when told to; after ``end`` everything stops."""

    def __init__(self, end: float) -> None:
        self.time = 100.0
        self._end = self.time + end

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.stop_at_end()

    def stop_at_end(self) -> None:
        if self.time > self._end:
            raise asyncio.CancelledError


def times(spec: ProbeSpec, end: float, took: float = 0.0) -> list[float]:
    """Seconds after the start at which probes are made, each taking ``took``."""
    clock, asked = FakeClock(end), []

    async def ask(_: ProbeSpec) -> Outcome:
        asked.append(round(clock.now() - 100, 6))
        clock.time += took
        clock.stop_at_end()
        return Outcome(True)

    async def run() -> None:
        await keep_probing(ProbeTracker(spec, False), 100.0, ask, lambda *_: None, clock)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    return asked


def test_first_after_the_initial_delay_then_every_period() -> None:
    assert times(ProbeSpec({}, initial_delay=5, period=10), 40) == [5, 15, 25, 35]
    assert times(ProbeSpec({}, period=1), 3) == [0, 1, 2, 3]


def test_the_length_of_a_probe_does_not_move_the_next() -> None:
    assert times(ProbeSpec({}, initial_delay=1, period=2), 7, took=0.5) == [1, 3, 5, 7]


def test_a_probe_longer_than_its_period_is_not_made_twice_at_once() -> None:
    assert times(ProbeSpec({}, period=1), 9, took=2.5) == [0, 2.5, 5, 7.5]


def test_defaults_are_those_of_kubernetes() -> None:
    assert ProbeSpec.from_manifest({}) == ProbeSpec({}, 0, 10, 1, 3, 1)
    manifest: dict[str, Any] = {
        "initialDelaySeconds": 1,
        "periodSeconds": 2,
        "timeoutSeconds": 3,
        "failureThreshold": 4,
        "successThreshold": 5,
    }
    assert ProbeSpec.from_manifest(manifest) == ProbeSpec(manifest, 1, 2, 3, 4, 5)


def results(initial: bool | None, answers: str, failures: int, successes: int) -> str:
    tracker = ProbeTracker(ProbeSpec({}, failure_threshold=failures, success_threshold=successes), initial)
    shown = ""
    for answer in answers:
        before = tracker.result
        assert tracker.record(answer == "+") == (tracker.result != before)
        shown += {True: "+", False: "-", None: "?"}[tracker.result]
    return shown


@pytest.mark.parametrize(
    ("initial", "answers", "failures", "successes", "shown"),
    [
        (False, "-+", 3, 1, "-+"),
        (True, "--+---", 3, 1, "+++++-"),
        (False, "+-++", 3, 2, "---+"),
        (None, "--+", 3, 1, "??+"),
        (None, "---", 3, 1, "??-"),
        (True, "-+-+-", 1, 1, "-+-+-"),
    ],
)
def test_thresholds(initial: bool | None, answers: str, failures: int, successes: int, shown: str) -> None:
    assert results(initial, answers, failures, successes) == shown


@settings(deadline=None)
@given(st.text("+-", max_size=40), st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_a_result_changes_only_after_enough_answers_in_a_row(
    answers: str, failures: int, successes: int, initial: bool
) -> None:
    shown = results(initial, answers, failures, successes)
    state = "+" if initial else "-"
    for position, now in enumerate(shown):
        needed = successes if now == "+" else failures
        row = answers[max(0, position + 1 - needed) : position + 1]
        if now != state:
            assert row == now * needed
        else:
            other = "-" if now == "+" else "+"
            enough = failures if other == "-" else successes
            assert answers[max(0, position + 1 - enough) : position + 1] != other * enough
        state = now
