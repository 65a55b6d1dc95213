"""The release that is simulated: stages, limits and triggers as the inventory has them. Pure but for one read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import parse_duration
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.analysis import Limits, Risks
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.metrics.catalogue import DEFAULT_MAX_AGE
from rehearsal.cli import REPOSITORY

VARIABLES = REPOSITORY / "inventories" / "claude_enhancer" / "group_vars" / "all"
_LATENCY_QUANTILE = 0.95
# Kinds of metrics that are judged by counts of requests, each of which takes its part of the risk.
_COUNTED = ("ratio", "quantile")
Conditions = Sequence[Mapping[str, Any]]
_REFERENCE = re.compile(r"\{\{\s*(\w+(?: \+ \w+)*)\s*\}\}")


@dataclass(frozen=True)
class Stage:
    """One weighted stage; times in seconds.

    ``errors`` are shares of failed requests. ``slow`` are shares of requests slower than ``latency`` (the bound to
    advance), ``slow_trigger`` of those slower than ``latency_trigger``. More than ``agents`` failed agents fire.
    ``risks`` are those of one condition.
    """

    name: str
    seconds: float
    extension: float
    errors: Limits
    latency: float
    latency_trigger: float
    slow: Limits
    slow_trigger: Limits
    agents: int
    risks: Risks


@dataclass(frozen=True)
class Plan:
    """A release; times in seconds.

    A stage has no evidence while the newest sample is older than ``freshness``, or no request came for ``quiet``; for
    ``grace`` that is borne.
    """

    stages: tuple[Stage, ...]
    interval: float
    grace: float
    freshness: float
    quiet: float

    @property
    def seconds(self) -> float:
        """How long it takes when no stage is extended."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def longest(self) -> float:
        """How long it takes when every stage is extended."""
        return self.seconds + sum(stage.extension for stage in self.stages)

    @property
    def ends(self) -> tuple[float, ...]:
        """Planned end of each stage, in seconds from the first one's start."""
        return tuple(sum(stage.seconds for stage in self.stages[: number + 1]) for number in range(len(self.stages)))


def read_plan(variables: Path = VARIABLES) -> Plan:
    """The plan in the variables of an inventory. Raises KeyError where a stage lacks a bound that the bench needs."""
    said = yaml.safe_load((variables / "stages.yml").read_text())
    measured = yaml.safe_load((variables / "metrics.yml").read_text())
    counted = {name for name, metric in measured["release_metrics"].items() if metric["kind"] in _COUNTED}
    weighted = [stage for stage in said["release_stages"] if stage["weight"] > 0]
    whole = Risks(said["release_false_rollback"], said["release_false_advance"])
    # The stages share what may be risked of good releases, as the role stage has it.
    each = whole.of_each(len(weighted))
    return Plan(
        stages=tuple(_stage(stage, said, counted, each) for stage in weighted),
        interval=float(said["release_watch_interval"]),
        grace=float(said["release_evidence_grace"]),
        freshness=DEFAULT_MAX_AGE,
        quiet=max(DEFAULT_MAX_AGE, parse_duration(measured["release_metric_window"])),
    )


def _resolved(entries: str | Conditions, said: Mapping[str, Any]) -> Conditions:
    """A list stands as it is; a template that names lists, as in the inventory, is looked up."""
    if not isinstance(entries, str):
        return entries
    found = _REFERENCE.fullmatch(entries.strip())
    if not found:
        raise KeyError(entries)
    return [entry for name in found[1].split(" + ") for entry in _resolved(said[name], said)]


def _stage(stage: Mapping[str, Any], said: Mapping[str, Any], counted: set[str], risks: Risks) -> Stage:
    criteria, triggers = _resolved(stage["criteria"], said), _resolved(stage["triggers"], said)
    tests = [
        entry for entry in (*criteria, *triggers) if entry["metric"] in counted and entry.get("evidence") != "point"
    ]
    # Comparisons with stable have their part of the risk, but are not simulated.
    good = {entry["metric"]: entry for entry in criteria if "compared_with" not in entry}
    bad = {entry["metric"]: entry for entry in triggers if "compared_with" not in entry}
    slow = 1 - _LATENCY_QUANTILE
    return Stage(
        name=stage["name"],
        seconds=60.0 * stage["minutes"],
        extension=60.0 * stage["extend_minutes"],
        errors=Limits(good["error_rate"]["below"], bad["error_rate"]["above"]),
        latency=good["p95_latency"]["below"],
        latency_trigger=bad["p95_latency"]["above"],
        slow=Limits(slow, slow),
        slow_trigger=Limits(said["release_acceptable"]["slow"], slow),
        agents=bad["agents_failed"]["above"],
        risks=risks.of_each(len(tests)),
    )
