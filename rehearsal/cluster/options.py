"""What a write or a deletion is asked with, beside its body."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Options:
    """What a write was asked with, beside its body. ``warnings`` collects what the answer should warn of."""

    manager: str = "unknown"
    dry_run: bool = False
    validation: str = "Warn"
    force: bool = False
    warnings: list[str] = field(default_factory=list)


@dataclass
class DeleteOptions:
    """How to delete. ``grace`` in seconds, None for the kind's own; ``propagation`` as the API names it."""

    grace: int | None = None
    propagation: str = ""
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False
