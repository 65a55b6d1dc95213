"""The node's end of the zygote: start a process, signal it, learn of its end."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
REPOSITORY = Path(__file__).resolve().parents[2]
LONGEST_MESSAGE = 2**20
BETWEEN_ZYGOTES = 0.2


class StartError(Exception):
    """A process could not be started."""


@dataclass(frozen=True)
class ProcessSpec:
    """What to run: an ``entry`` ("module:function") or, when None, the program ``argv[0]``."""

    entry: str | None
    argv: Sequence[str]
    env: dict[str, str]
    cwd: str
    log: str
    title: str


@dataclass
class Process:
    """A started process. ``exited`` becomes its exit status, negative for the signal that ended it."""

    id: int
    pid: int
    exited: asyncio.Future[int]


class Runtime:
    """Runs processes through a zygote, which is replaced should it die."""

    def __init__(self, modules: Sequence[str], log_file: Path) -> None:
        self._modules = modules
        self._log_file = log_file
        self._serial = itertools.count(1)
        self._starting: dict[int, asyncio.Future[Process]] = {}
        self._running: dict[int, Process] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._connected = asyncio.Event()

    async def run(self) -> None:
        """Keep a zygote until cancelled; then it and all its processes are gone."""
        while True:
            await self._keep_zygote()
            log.warning("the zygote ended: its containers ended with it")
            await asyncio.sleep(BETWEEN_ZYGOTES)

    async def start(self, spec: ProcessSpec) -> Process:
        """Start a process. Raises StartError."""
        await self._connected.wait()
        number = next(self._serial)
        answer = asyncio.get_running_loop().create_future()
        self._starting[number] = answer
        self._send({"op": "start", "id": number} | asdict(spec))
        return await answer

    def signal(self, process: Process, number: int) -> None:
        """Send a signal; SIGKILL goes to all that the container started. Nothing happens to one that ended."""
        if not process.exited.done():
            self._send({"op": "signal", "id": process.id, "signal": int(number)})

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer is not None:
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def _keep_zygote(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs, self._log_file.open("ab") as output:
            zygote = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "rehearsal.node.zygote",
                str(theirs.fileno()),
                *self._modules,
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])},
                start_new_session=True,
            )
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=LONGEST_MESSAGE)
        self._connected.set()
        try:
            while line := await reader.readline():
                self._hear(json.loads(line))
        except ConnectionError as error:
            log.debug("zygote: %s", error)
        finally:
            self._connected.clear()
            self._writer.close()
            self._writer = None
            self._all_ended()
            with suppress(ProcessLookupError):
                if zygote.returncode is None:
                    await _wait_or_kill(zygote)

    def _hear(self, message: dict[str, Any]) -> None:
        number = message["id"]
        if "exit" in message:
            process = self._running.pop(number)
            if not process.exited.done():
                process.exited.set_result(message["exit"])
            return
        starting = self._starting.pop(number)
        if "pid" in message:
            exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._running[number] = Process(number, message["pid"], exited)
        if starting.done():
            self._send({"op": "signal", "id": number, "signal": int(signal.SIGKILL)})
        elif "error" in message:
            starting.set_exception(StartError(message["error"]))
        else:
            starting.set_result(self._running[number])

    def _all_ended(self) -> None:
        for starting in self._starting.values():
            if not starting.done():
                starting.set_exception(StartError("the zygote ended"))
        for process in self._running.values():
            if not process.exited.done():
                process.exited.set_result(-int(signal.SIGKILL))
        self._starting.clear()
        self._running.clear()


async def _wait_or_kill(process: asyncio.subprocess.Process) -> None:
    try:
        await asyncio.wait_for(process.wait(), 1.0)
    except TimeoutError:
        process.kill()
        await process.wait()
