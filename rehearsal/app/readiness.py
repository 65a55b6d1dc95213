"""When a pod is ready: pure judgement of what the parts report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Check:
    """One condition of readiness: whether it holds, and the words a person reads."""

    name: str
    holds: bool
    detail: str


@dataclass(frozen=True)
class Readiness:
    """All conditions together; ready only when each holds."""

    checks: tuple[Check, ...]

    @property
    def ready(self) -> bool:
        return all(check.holds for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        return {
            "status": "ready" if self.ready else "not ready",
            "checks": {check.name: {"holds": check.holds, "detail": check.detail} for check in self.checks},
        }


@dataclass(frozen=True)
class AgentCount:
    """Agents of a pod as counted now."""

    loaded: bool
    total: int
    active: int
    failed: int


def check_agents(count: AgentCount) -> Check:
    """Holds once loading has ended with agents in hand: single failures are the metrics' business."""
    if not count.loaded:
        return Check("agents", False, "still loading")
    return Check("agents", count.active > 0, f"{count.active} of {count.total} active, {count.failed} failed")


def check_start(remaining: float) -> Check:
    """Holds when the start is over; ``remaining`` is in seconds."""
    return Check("start", remaining <= 0, "done" if remaining <= 0 else f"starting, {remaining:.1f} s to go")


def check_serving(draining: bool) -> Check:
    """Fails from the moment the pod was told to stop."""
    return Check("serving", not draining, "draining" if draining else "accepting requests")


def check_connection(name: str, problem: str | None, configured: bool = True) -> Check:
    """Holds without a problem; a part that is not configured holds too, and says so."""
    if not configured:
        return Check(name, True, "not configured")
    return Check(name, problem is None, problem or "connected")


def judge(checks: Iterable[Check]) -> Readiness:
    """Readiness from the checks."""
    return Readiness(tuple(checks))
