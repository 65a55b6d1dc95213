"""Bearing with an API that is away: for as long as was said, and with nothing else."""

from __future__ import annotations

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import FakeClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    JournalError,
    RolloutError,
    UnreachableError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.patience import Patience, is_away

AWAY = UnreachableError("no answer", reason="timeout")


class Work:
    """Fails until ``back`` (seconds from the start), each try taking ``cost`` seconds."""

    def __init__(self, clock: FakeClock, back: float, error: RolloutError, cost: float = 0.0) -> None:
        self.clock, self.back, self.error, self.cost = clock, back, error, cost
        self.tries = 0

    def __call__(self) -> str:
        self.tries += 1
        self.clock.advance(self.cost)
        if self.clock.monotonic() < self.back:
            raise self.error
        return "done"


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (AWAY, True),
        (UnreachableError("x", reason="tls"), False),
        (ClusterError("x", status=503), True),
        (ClusterError("x", status=429), True),
        (ConflictError("x", status=409), False),
        (ForbiddenError("x", status=403), False),
        (JournalError("x"), False),
    ],
)
def test_what_passes_by_itself(error: RolloutError, away: bool) -> None:
    assert is_away(error) == away
    clock = FakeClock()
    work = Work(clock, 5, error)
    if away:
        assert Patience(clock, 10).get(work) == "done"
    else:
        with pytest.raises(type(error)):
            Patience(clock, 10).get(work)
        assert work.tries == 1


def test_it_says_for_how_long_the_api_was_away() -> None:
    clock = FakeClock()
    patience = Patience(clock, 120)
    assert patience.get(Work(clock, 60, AWAY, cost=0.5)) == "done"
    assert 58 <= patience.waited <= 61
    assert patience.get(Work(clock, 0, AWAY)) == "done"
    assert patience.waited == 0


def test_it_ends_when_it_was_said_to() -> None:
    clock = FakeClock()
    work = Work(clock, 1000, UnreachableError("no answer"), cost=0.5)
    with pytest.raises(UnreachableError, match=r"no answer; this was tried again for \d+ s \(api_patience\)"):
        Patience(clock, 30).get(work)
    assert clock.monotonic() <= 31


def test_without_patience_the_first_answer_counts() -> None:
    clock = FakeClock()
    work = Work(clock, 1, UnreachableError("no answer"))
    with pytest.raises(UnreachableError, match=r"^no answer$"):
        Patience(clock, 0).get(work)
    assert work.tries == 1
