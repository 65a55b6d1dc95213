"""Make the agent files of a version: ``python -m rehearsal.app.agents 5.1 DIR`` writes them by category."""

from __future__ import annotations

import argparse
from pathlib import Path

from rehearsal.app.agents_catalogue import CATALOGUE, COLORS, TOOLS, Entry

VERSIONS = ("5.0", "5.1")

# What 5.1 changed in the set.
_DESCRIPTIONS_5_1 = {
    "backend-architect": "Designs services, their interfaces, their data and their failure modes",
    "workflow-optimizer": "Shortens workflows and runs independent phases side by side",
    "orchestrator": "Assigns work to the other agents and follows it to its end",
}
_TOOLS_5_1 = {"performance-engineer": ("Read", "Grep", "Glob", "Bash", "Task")}


def make_agent_files(version: str) -> dict[str, str]:
    """All 61 agent files of ``version``: ``<category>__<name>.md`` → text. Raises ValueError for another version."""
    if version not in VERSIONS:
        raise ValueError(f"version {version!r}: there are agent files for {', '.join(VERSIONS)}")
    return {
        f"{category}__{entry.name}.md": _text(category, entry, version)
        for category, entries in CATALOGUE.items()
        for entry in entries
    }


def write_agent_files(version: str, folder: Path) -> list[Path]:
    """Write the files of ``version`` into sub-folders of ``folder`` by category; answers their paths."""
    paths = []
    for key, text in make_agent_files(version).items():
        path = folder.joinpath(*key.split("__", 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


def _text(category: str, entry: Entry, version: str) -> str:
    description, tools = entry.description, TOOLS[category]
    if version == "5.1":
        description = _DESCRIPTIONS_5_1.get(entry.name, description)
        tools = _TOOLS_5_1.get(entry.name, tools)
    head = [
        f"name: {entry.name}",
        f"description: {description}",
        f"category: {category}",
        f"tools: [{', '.join(tools)}]",
    ]
    if category in COLORS:
        head.append(f"color: {COLORS[category]}")
    title = entry.name.replace("-", " ").capitalize()
    return "\n".join(["---", *head, "---", "", f"# {title}", "", f"{description}.", "", _body(category, entry)])


def _body(category: str, entry: Entry) -> str:
    subjects = "\n".join(
        f"- **{word.capitalize()}**: say what was found, what was done and what is left." for word in entry.focus
    )
    first, *others = entry.focus
    return f"""## Subjects

{subjects}

## Way of working

1. Read what the phase handed over before touching anything.
2. Begin with {first}; take up {" and ".join(others)} once that stands.
3. Keep each change small enough to be reviewed in one sitting.
4. Report numbers with their unit and where they were measured.

## Hand-over

The next phase gets a summary of at most ten lines, the files changed, and open questions by name.
Anything outside the category {category} goes back to the orchestrator.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the agent files of a version into a folder.")
    parser.add_argument("version", choices=VERSIONS)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    paths = write_agent_files(arguments.version, arguments.folder)
    print(f"{len(paths)} agent files of {arguments.version} in {arguments.folder}")


if __name__ == "__main__":
    main()
