"""The variables of the production inventory, filled in as Ansible would."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml
from jinja2.nativetypes import NativeEnvironment

FOLDER = Path(__file__).resolve().parents[3] / "inventories" / "claude_enhancer" / "group_vars" / "all"
FILES = ("release.yml", "metrics.yml", "stages.yml", "alerts.yml", "dashboards.yml")


@functools.cache
def inventory() -> dict[str, Any]:
    """Every variable of ``FILES``."""
    written: dict[str, Any] = {"inventory_dir": "inventory"}
    for name in FILES:
        written |= yaml.safe_load((FOLDER / name).read_text())
    environment = NativeEnvironment()

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [filled(item) for item in value]
        if not isinstance(value, str) or "{{" not in value:
            return value
        whole = value.startswith("{{") and value.endswith("}}") and value.count("{{") == 1
        read = environment.from_string(value).render(written) if whole else rendered(value)
        return filled(read)

    def rendered(value: str) -> str:
        """Text around an expression stays text: 5.1 in a title is no number."""
        return "".join(str(part) for part in environment.from_string(value).root_render_func(context(value)))

    def context(value: str) -> Any:
        return environment.from_string(value).new_context(written)

    return {name: filled(value) for name, value in written.items()}


def versions() -> dict[str, str]:
    """What the catalogue's ``$stable`` and ``$candidate`` stand for."""
    values = inventory()
    return {side: values[f"release_{side}"]["version"] for side in ("stable", "candidate")}
