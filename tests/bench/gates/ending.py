"""How a rule ended each of many releases, and what that says of the rule. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.evidence import clopper_pearson
from tests.bench.gates.scenarios import Simulated
from tests.bench.gates.streams import Bools, Floats, Ints

PROMOTED, ROLLED_BACK, UNDECIDED = 0, 1, 2
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rule:
    """A rule set: ``family`` is who judges so, ``settings`` how; ``documented`` when they are its own example's."""

    family: str
    settings: str
    documented: bool = False

    @property
    def name(self) -> str:
        return f"{self.family} {self.settings}".strip()


@dataclass(frozen=True)
class Endings:
    """Per release: PROMOTED, ROLLED_BACK or UNDECIDED (held back for want of evidence), and when, in seconds.

    ``advanced`` is when each stage (columns) was left for the next; infinite where it never was.
    """

    ending: Ints
    at: Floats
    advanced: Floats


def cut_off(rolled_back: Floats, advanced: Floats) -> Endings:
    """What is left of stages that would be ``advanced``, when each release is rolled back at a time, or never (inf)."""
    kept = np.where(advanced < rolled_back[:, None], advanced, np.inf)
    promoted = np.isfinite(kept[:, -1])
    at = np.where(promoted, kept[:, -1], rolled_back)
    ending = np.where(promoted, PROMOTED, np.where(np.isfinite(at), ROLLED_BACK, UNDECIDED))
    return Endings(ending, at, kept)


@dataclass
class Tally:
    """Counts of releases of one scenario.

    ``early`` ones were stopped before their fault began, and are counted as nothing else. ``advanced`` left a stage
    after they were bad; ``blind`` left one in which no request was counted. ``delays`` are seconds from bad to stopped,
    infinite for those never stopped.
    """

    releases: int = 0
    early: int = 0
    rolled_back: int = 0
    undecided: int = 0
    advanced: int = 0
    blind: int = 0
    delays: list[float] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        for name in ("releases", "early", "rolled_back", "undecided", "advanced", "blind"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.delays += other.delays

    @property
    def judged(self) -> int:
        """Releases that were not stopped early."""
        return self.releases - self.early

    def delay(self, share: float) -> float | None:
        """Seconds within which ``share`` of the bad releases were stopped; infinite if fewer were, None without any."""
        if not self.delays:
            return None
        return float(np.quantile(self.delays, share, method="higher"))

    def document(self) -> dict[str, Any]:
        """Ready for JSON, which has no infinity: a time that is never reached is the word ``never``."""
        times = {f"delay_{name}": self.delay(share) for name, share in (("median", 0.5), ("p95", 0.95))}
        return {
            "releases": self.releases,
            "early": self.early,
            "rolled_back": self.rolled_back,
            "undecided": self.undecided,
            "advanced": self.advanced,
            "blind": self.blind,
            **{name: "never" if time is not None and np.isinf(time) else time for name, time in times.items()},
        }


def tally(endings: Endings, simulated: Simulated) -> Tally:
    """What came of releases that were simulated so."""
    bad_from, stopped = simulated.bad_from, endings.ending != PROMOTED
    bad = np.isfinite(bad_from)
    early = bad & stopped & (endings.at < simulated.begins)
    late = np.isfinite(endings.advanced) & (endings.advanced > bad_from[:, None])
    # A slow rise may be seen while it is still short of what is called bad.
    since = np.maximum(endings.at - np.where(bad, bad_from, 0.0), 0.0)
    delays = np.where(stopped, since, np.inf)[bad & ~early]
    return Tally(
        releases=len(bad_from),
        early=int(early.sum()),
        rolled_back=int(((endings.ending == ROLLED_BACK) & ~early).sum()),
        undecided=int(((endings.ending == UNDECIDED) & ~early).sum()),
        advanced=int((late.any(axis=1) & ~early).sum()),
        blind=int(_blind(endings, simulated).any(axis=1).sum()),
        delays=delays.tolist(),
    )


def _blind(endings: Endings, simulated: Simulated) -> Bools:
    """Whether each stage was left without one request counted in it."""
    ends = endings.advanced
    begins = np.concatenate([np.zeros_like(ends[:, :1]), ends[:, :-1]], axis=1)
    left = np.isfinite(ends)
    counted = simulated.candidate.requests_by(np.where(left, ends, 0.0))
    before = simulated.candidate.requests_by(np.where(left, begins, 0.0))
    blind: Bools = left & (counted == before)
    return blind


@dataclass(frozen=True)
class Rate:
    """``count`` of ``total``, per 1000, with a two-sided interval at CONFIDENCE."""

    count: int
    total: int

    @property
    def per_1000(self) -> float:
        return 1000 * self.count / self.total if self.total else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        least, most = clopper_pearson(self.count, self.total, CONFIDENCE)
        return 1000 * least, 1000 * most

    def text(self) -> str:
        """``1.5 (0.3-4.4)``."""
        least, most = self.interval
        return f"{_short(self.per_1000)} ({_short(least)}–{_short(most)})"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == 0 else f"{value:.1f}"
