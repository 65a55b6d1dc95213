"""The record of a load: ``load.json`` in the world's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE_NAME = "load.json"


@dataclass(frozen=True)
class VersionReport:
    """What one version of the application answered. Times in unix seconds, latencies in seconds.

    ``last_sent`` is when the latest request that this version answered was sent.
    """

    answered: int
    failed: int
    first_answer: float
    last_answer: float
    last_sent: float
    latency: Mapping[str, float | None]


@dataclass(frozen=True)
class LoadReport:
    """A load, finished or still going on.

    ``sent == answered + lost + in_flight``; ``failed`` counts the lost ones (no whole answer) and answers of 500 and
    above; ``reconnected`` were sent again because a kept connection was already closed, as browsers do.
    ``latency`` and ``lag`` have p50, p95, p99 and max in seconds, None before the first answer; ``lag`` is how late
    requests went out, the generator's own delay. ``versions`` goes by the header ``x-claude-version``, ``none`` where
    an answer had none. ``timeline`` has per second ``second``, ``sent``, ``failed``, ``versions``; ``failures`` the
    first 1000. ``cpu`` is processor time used so far, in seconds.
    """

    rate: float
    duration: float
    sessions: int
    started: float
    updated: float
    finished: bool
    cpu: float
    sent: int
    answered: int
    lost: int
    failed: int
    in_flight: int
    reconnected: int
    statuses: Mapping[str, int]
    latency: Mapping[str, float | None]
    lag: Mapping[str, float | None]
    versions: Mapping[str, VersionReport]
    session_switches: Mapping[str, int]
    timeline: list[dict[str, Any]]
    failures: list[dict[str, Any]]


def report_file(home: Path) -> Path:
    """Where the load of the world in ``home`` keeps its report."""
    return home / FILE_NAME


def read_report(home: Path) -> LoadReport:
    """The newest report of the world in ``home``. Raises FileNotFoundError when no load was ever started there."""
    document = json.loads(report_file(home).read_text())
    document["versions"] = {name: VersionReport(**facts) for name, facts in document["versions"].items()}
    return LoadReport(**document)


def write_report(home: Path, document: Mapping[str, Any]) -> None:
    """Put ``document`` (the fields of LoadReport) in place; a reader sees the old or the new one, never half."""
    path = report_file(home)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(document))
    partial.replace(path)
