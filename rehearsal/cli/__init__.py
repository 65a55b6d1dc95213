"""The commands of ``python -m rehearsal``, one file each, and what they share."""

from __future__ import annotations

import os
from pathlib import Path

from rehearsal.world import World

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = REPOSITORY / "build" / "cache"
DEFAULT_NAME = "rehearsal"


class CommandError(Exception):
    """A command can't do what it was asked; the message is for the person who asked."""


def home_of(name: str) -> Path:
    """The folder of the world ``name``: below ``REHEARSAL_HOME``, or ``build/rehearsal`` of the repository."""
    base = os.environ.get("REHEARSAL_HOME")
    return (Path(base).resolve() if base else REPOSITORY / "build" / "rehearsal") / name


def load_world(name: str) -> World:
    """The world ``name``. Raises CommandError when there is none."""
    try:
        return World.load(home_of(name))
    except FileNotFoundError:
        option = "" if name == DEFAULT_NAME else f" --name {name}"
        raise CommandError(f"no world {name!r} is up; start it with: python -m rehearsal up{option}") from None


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log file; empty when there is none."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
