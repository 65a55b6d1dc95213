"""Processor time and memory of containers, read from /proc at most every few seconds."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

OLDEST = 2.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """Seconds of processor time so far, and bytes of memory with shared pages divided among those who share them."""

    cpu_seconds: float
    memory_bytes: int


def read_usage(pid: int) -> Usage | None:
    """What a process and its descendants use; None when it has gone."""
    try:
        own = _read_one(pid)
    except (OSError, ValueError, IndexError):
        return None
    below = [usage for child in _children(pid) if (usage := read_usage(child)) is not None]
    return Usage(
        own.cpu_seconds + sum(usage.cpu_seconds for usage in below),
        own.memory_bytes + sum(usage.memory_bytes for usage in below),
    )


def _read_one(pid: int) -> Usage:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kilobytes = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    # utime, stime and the same of children that have ended.
    return Usage(sum(map(int, fields[11:15])) / TICKS, kilobytes * 1024)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class UsageReader:
    """Keeps the latest usage of processes, so that frequent questions cost one reading every few seconds."""

    def __init__(self) -> None:
        self._known: dict[int, Usage] = {}
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()

    async def usage(self, pids: Iterable[int]) -> dict[int, Usage]:
        """Usage by process id, not older than two seconds; those that have gone are left out."""
        wanted = set(pids)
        async with self._lock:
            if time.monotonic() - self._read_at > OLDEST or not wanted <= self._known.keys():
                self._known = await asyncio.to_thread(_read_all, wanted)
                self._read_at = time.monotonic()
        return {pid: self._known[pid] for pid in wanted if pid in self._known}


def _read_all(pids: set[int]) -> dict[int, Usage]:
    return {pid: usage for pid in pids if (usage := read_usage(pid)) is not None}
