"""Short questions to other services: are you there?"""

from __future__ import annotations

import asyncio

from rehearsal.app.settings import Address

TIMEOUT = 0.5


async def ping_tcp(address: Address) -> str | None:
    """None when something listens there, else what went wrong."""
    return await _ask(address, b"", b"")


async def ping_redis(address: Address) -> str | None:
    """None when a Redis server answers there (asking for a password is an answer), else what went wrong."""
    problem = await _ask(address, b"PING\r\n", b"+PONG")
    return None if problem and "NOAUTH" in problem else problem


async def _ask(address: Address, question: bytes, wanted: bytes) -> str | None:
    where = f"{address.host}:{address.port}"
    try:
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            try:
                if not question:
                    return None
                writer.write(question)
                answer = await reader.readline()
            finally:
                writer.close()
    except TimeoutError:
        return f"{where}: no answer in {TIMEOUT:g} s"
    except OSError as error:
        return f"{where}: {error.strerror or error}"
    return None if answer.startswith(wanted) else f"{where}: answered {answer[:60]!r}"
