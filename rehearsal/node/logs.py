"""Container logs: lines ``<time> <stream> <F|P> <text>`` on disk, answered as a kubelet answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from rehearsal.objects import parse_time, utc_now

LOOK_AGAIN = 0.1
CHUNK = 2**20


@dataclass(frozen=True)
class LogOptions:
    """What of a log is wanted. ``since`` is a time as text that sorts as the times in the log do."""

    tail: int | None = None
    follow: bool = False
    timestamps: bool = False
    since: str = ""
    limit_bytes: int | None = None
    previous: bool = False

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> LogOptions:
        """From the query of a log request. Raises ValueError for a number or time that is none."""
        since = ""
        if "sinceSeconds" in query:
            since = (utc_now() - timedelta(seconds=int(query["sinceSeconds"]))).strftime("%Y-%m-%dT%H:%M:%S.%f")
        elif "sinceTime" in query:
            since = parse_time(query["sinceTime"]).strftime("%Y-%m-%dT%H:%M:%S.%f")
        return cls(
            int(query["tailLines"]) if "tailLines" in query else None,
            _is_true(query.get("follow")),
            _is_true(query.get("timestamps")),
            since,
            int(query["limitBytes"]) if "limitBytes" in query else None,
            _is_true(query.get("previous")),
        )


def _is_true(text: str | None) -> bool:
    return text in ("true", "1", "True")


def render(line: bytes, options: LogOptions) -> bytes:
    """One line of the file as it is shown; empty when it is too old."""
    stamp, _, rest = line.partition(b" ")
    _, tag, text = rest.split(b" ", 2)
    if options.since and stamp.decode() < options.since:
        return b""
    shown = stamp + b" " + text if options.timestamps else text
    return shown if tag == b"P" else shown + b"\n"


def read_log(path: Path, options: LogOptions) -> tuple[bytes, int]:
    """The wanted part of a log, and the offset up to which the file was read."""
    if not path.exists():
        return b"", 0
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    lines = content[:end].split(b"\n")[:-1]
    if options.tail is not None:
        lines = lines[max(0, len(lines) - options.tail) :]
    return b"".join(render(line, options) for line in lines), end


async def stream_log(path: Path, options: LogOptions, is_over: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The wanted part, and when following what is added, until ``is_over`` says that nothing more will come."""
    shown, offset = await asyncio.to_thread(read_log, path, options)
    if options.limit_bytes is not None:
        yield shown[: options.limit_bytes]
        return
    yield shown
    while options.follow:
        over = is_over()
        added = await asyncio.to_thread(_read_from, path, offset)
        if added:
            offset += len(added)
            yield b"".join(render(line, options) for line in added.split(b"\n")[:-1])
        elif over:
            return
        else:
            await asyncio.sleep(LOOK_AGAIN)


def _read_from(path: Path, offset: int) -> bytes:
    """Whole lines from ``offset`` on."""
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read(CHUNK)
    return content[: content.rfind(b"\n") + 1]
