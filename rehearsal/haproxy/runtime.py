"""HAProxy's runtime API, as much of it as the feeder and ``status`` need."""

from __future__ import annotations

import asyncio
from pathlib import Path

_PATIENCE = 2.0


async def ask(socket: Path, *commands: str) -> str:
    """All answers to the commands, given in one go. Raises OSError when nobody answers, TimeoutError when too late."""
    async with asyncio.timeout(_PATIENCE):
        reader, writer = await asyncio.open_unix_connection(socket)
        try:
            writer.write("; ".join(commands).encode() + b"\n")
            return (await reader.read()).decode()
        finally:
            writer.close()
