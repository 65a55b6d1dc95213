"""How a world's start is told: lines in a file, written by the supervisor, followed by whoever waits for the world."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["step", "ready", "failed"]


@dataclass(frozen=True)
class Step:
    """One line. ``seconds`` since the start began; ``log`` the file that says more, for a failure."""

    kind: Kind
    seconds: float
    text: str
    log: str = ""


class Progress:
    """Writes the lines."""

    def __init__(self, home: Path) -> None:
        self._path = progress_file(home)
        self._began = time.monotonic()

    def tell(self, text: str, kind: Kind = "step", log: str = "") -> None:
        step = Step(kind, round(time.monotonic() - self._began, 2), text, log)
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(step)) + "\n")


def progress_file(home: Path) -> Path:
    return home / "progress.jsonl"


def read(home: Path, already: int = 0) -> Iterator[Step]:
    """The lines after the first ``already`` ones; a line being written is left for the next call."""
    try:
        text = progress_file(home).read_text()
    except FileNotFoundError:
        return
    complete = text[: text.rfind("\n") + 1].splitlines()
    for line in complete[already:]:
        yield Step(**json.loads(line))
