"""The image table of the rehearsal cluster: what a container of an image runs, in place of a registry.

``REHEARSAL_IMAGES`` may name a JSON file with more: ``{"name": {"entry": "module:function", "env": {...}}}`` or
``{"name": {"command": ["program", "argument"]}}``. A name without a tag stands for any tag.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

APPLICATION = "claude-enhancer"


@dataclass(frozen=True)
class Image:
    """What runs: ``entry`` ("module:function", preloaded and forked) or ``command`` (a program), with default env."""

    entry: str | None = None
    command: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)


def split_reference(reference: str) -> tuple[str, str]:
    """Name without registry and folder, and tag: ``registry.example.com/team/app:5.1`` is ``("app", "5.1")``."""
    name, _, tag = reference.partition("@")[0].rpartition("/")[2].partition(":")
    return name, tag or "latest"


def find_image(reference: str) -> Image | None:
    """The image a manifest names, or None when no registry here has it."""
    name, tag = split_reference(reference)
    if name == APPLICATION and tag.split(".")[0] == "5":
        return Image("rehearsal.app.main:main", env={"CLAUDE_VERSION": tag})
    if name == "busybox":
        return Image(command=("sh",))
    more = additional_images()
    return more.get(f"{name}:{tag}") or more.get(name)


def additional_images() -> dict[str, Image]:
    """The images ``REHEARSAL_IMAGES`` adds. Raises OSError or ValueError for a file that is not what it should be."""
    path = os.environ.get("REHEARSAL_IMAGES")
    if not path:
        return {}
    table = json.loads(Path(path).read_text())
    return {
        name: Image(facts.get("entry"), tuple(facts.get("command", ())), dict(facts.get("env", {})))
        for name, facts in table.items()
    }


def entry_modules() -> list[str]:
    """The modules of all entry points: what is worth loading before the first container starts."""
    entries = ["rehearsal.app.main:main"] + [image.entry for image in additional_images().values() if image.entry]
    return sorted({entry.partition(":")[0] for entry in entries})
