"""What the supervisor of a world writes down about its parts, for ``status`` and ``down`` to read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rehearsal.processes import Identity


@dataclass
class Part:
    """One part of a world: a process of its own, or a task within the supervisor (``process`` is None then)."""

    name: str
    process: Identity | None = None
    running: bool = True
    restarts: int = 0


@dataclass
class State:
    """The supervisor and its parts."""

    supervisor: Identity
    parts: dict[str, Part] = field(default_factory=dict)

    def save(self, home: Path) -> None:
        partial = home / "state.json.partial"
        partial.write_text(json.dumps(asdict(self), indent=2) + "\n")
        partial.replace(home / "state.json")

    @classmethod
    def load(cls, home: Path) -> State | None:
        """What was written last; None when there is nothing that can be read."""
        try:
            facts = json.loads((home / "state.json").read_text())
        except (FileNotFoundError, ValueError):
            return None
        parts = {name: _part(entry) for name, entry in facts["parts"].items()}
        return cls(Identity(**facts["supervisor"]), parts)


def _part(entry: dict[str, object]) -> Part:
    process = entry.pop("process")
    identity = Identity(**process) if isinstance(process, dict) else None
    return Part(process=identity, **entry)  # type: ignore[arg-type]
