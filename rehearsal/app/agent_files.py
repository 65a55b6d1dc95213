"""Load the agent files mounted into a pod: Markdown with YAML front matter."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REQUIRED = ("name", "description", "category")
WORKERS = 4
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class AgentFileError(Exception):
    """A file is no agent file; the message says where and why."""


@dataclass(frozen=True)
class Agent:
    """What one agent file declares; ``instructions`` is the Markdown after the front matter."""

    name: str
    description: str
    category: str
    tools: tuple[str, ...]
    color: str | None
    instructions: str


@dataclass(frozen=True)
class AgentSet:
    """All files of a folder: ``agents`` by name, and one message for each file that does not parse."""

    agents: tuple[Agent, ...] = ()
    failures: tuple[str, ...] = ()


def load_agents(folder: Path) -> AgentSet:
    """Read every ``*.md`` below ``folder`` in parallel. Never raises for a bad file: it becomes a failure."""
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="agents") as pool:
        results = list(pool.map(lambda path: _load_one(path, folder), _agent_paths(folder)))
    agents: dict[str, Agent] = {}
    failures: list[str] = []
    for where, result in results:
        if isinstance(result, str):
            failures.append(result)
        elif result.name in agents:
            failures.append(f"{where}: the name {result.name!r} is taken by another file")
        else:
            agents[result.name] = result
    return AgentSet(tuple(sorted(agents.values(), key=lambda agent: agent.name)), tuple(failures))


def parse_agent(text: str, where: str) -> Agent:
    """The agent that ``text`` declares. Raises AgentFileError naming ``where`` and the line."""
    head, instructions = _split(text, where)
    try:
        fields = yaml.load(head, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 2 if error.problem_mark else 2
        raise AgentFileError(f"{where}:{line}: front matter is not YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise AgentFileError(f"{where}:2: front matter is not YAML: {error}") from error
    if not isinstance(fields, dict):
        raise AgentFileError(f"{where}:2: front matter is not a mapping")
    for key in REQUIRED:
        if not isinstance(fields.get(key), str) or not fields[key].strip():
            raise AgentFileError(f"{where}:1: front matter has no {key!r}")
    return Agent(
        name=fields["name"],
        description=fields["description"],
        category=fields["category"],
        tools=_tools(fields.get("tools"), where),
        color=str(fields["color"]) if fields.get("color") else None,
        instructions=instructions.strip(),
    )


def _agent_paths(folder: Path) -> Iterator[Path]:
    """Agent files in a stable order. A ConfigMap volume keeps its real files below ``..data``: not seen twice."""
    for path in sorted(folder.rglob("*.md")):
        if not any(part.startswith("..") for part in path.relative_to(folder).parts):
            yield path


def _load_one(path: Path, folder: Path) -> tuple[str, Agent | str]:
    where = str(path.relative_to(folder))
    try:
        return where, parse_agent(path.read_text(encoding="utf-8"), where)
    except AgentFileError as error:
        return where, str(error)
    except (OSError, UnicodeDecodeError) as error:
        return where, f"{where}: can't be read: {error}"


def _split(text: str, where: str) -> tuple[str, str]:
    """Front matter and the rest, both without the ``---`` lines."""
    lines = text.removeprefix("\ufeff").splitlines()
    if not lines or lines[0].rstrip() != "---":
        raise AgentFileError(f"{where}:1: no front matter")
    for number, line in enumerate(lines[1:], start=1):
        if line.rstrip() == "---":
            return "\n".join(lines[1:number]), "\n".join(lines[number + 1 :])
    raise AgentFileError(f"{where}:1: front matter is not closed by ---")


def _tools(value: object, where: str) -> tuple[str, ...]:
    """``tools`` as a YAML list or as words between commas."""
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word.strip() for word in words):
        raise AgentFileError(f"{where}:1: front matter has no list 'tools'")
    return tuple(word.strip() for word in words)
