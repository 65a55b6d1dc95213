"""Faults the application can be told to have, and what of them outlives a restart."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

MAXIMUM_MEMORY_MIB = 4096


class FaultError(Exception):
    """A fault that can't be had; the message names key and value."""


@dataclass(frozen=True)
class Faults:
    """The faults in force. All zero is health.

    ``errors`` is the share of requests answered 500, ``latency`` seconds added to each, ``agents`` how many agents
    are down, ``coordination`` whether agents fail to coordinate, ``memory`` MiB held for nothing, ``crash`` whether
    the process dies, ``slow_start`` seconds the next start takes longer.
    """

    errors: float = 0.0
    latency: float = 0.0
    agents: int = 0
    coordination: bool = False
    memory: int = 0
    crash: bool = False
    slow_start: float = 0.0

    def changed(self, body: object, *, agent_count: int) -> Faults:
        """These faults with those of ``body`` put in; an empty mapping heals all. Raises FaultError."""
        if not isinstance(body, dict):
            raise FaultError(f'faults are a JSON object, not {_show(body)}; for example {{"errors": 0.3}}')
        if not body:
            return Faults()
        checks = _checks(agent_count)
        for key, value in body.items():
            if key not in checks:
                raise FaultError(f"{key}={_show(value)}: no such fault; there are {', '.join(checks)}")
            holds, wanted = checks[key]
            if not holds(value):
                raise FaultError(f"{key}={_show(value)}: must be {wanted}")
        return replace(self, **body)

    def as_dict(self) -> dict[str, float | int | bool]:
        return asdict(self)


class FaultFile:
    """Keeps the faults that concern a start (``crash``, ``slow_start``) in a file of the pod."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "faults.json"

    def read(self, start: Faults) -> Faults:
        """``start`` with what was kept. A file that does not parse is no fault."""
        try:
            kept = json.loads(self._path.read_text())
            return start.changed(kept, agent_count=0) if kept else start
        except (FileNotFoundError, ValueError, FaultError):
            return start

    def write(self, faults: Faults) -> None:
        """Keep what outlives a restart; nothing to keep removes the file. Raises OSError."""
        kept = {key: value for key, value in faults.as_dict().items() if key in ("crash", "slow_start") and value}
        if not kept:
            self._path.unlink(missing_ok=True)
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(kept))
        partial.replace(self._path)


def _checks(agent_count: int) -> dict[str, tuple[Callable[[object], bool], str]]:
    return {
        "errors": (_number(0, 1), "a share from 0 to 1"),
        "latency": (_number(0, 60), "seconds from 0 to 60"),
        "agents": (_whole(agent_count), f"a whole number from 0 to {agent_count}"),
        "coordination": (_switch, "true or false"),
        "memory": (_whole(MAXIMUM_MEMORY_MIB), f"whole MiB from 0 to {MAXIMUM_MEMORY_MIB}"),
        "crash": (_switch, "true or false"),
        "slow_start": (_number(0, 600), "seconds from 0 to 600"),
    }


def _number(least: float, most: float) -> Callable[[object], bool]:
    def holds(value: object) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most

    return holds


def _whole(most: int) -> Callable[[object], bool]:
    def holds(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most

    return holds


def _switch(value: object) -> bool:
    return isinstance(value, bool)


def _show(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return json.dumps(value)[:80]
