"""Start, find, measure and stop the operating system processes of a world.

Every process of a world carries the world's folder in its environment (``REHEARSAL_PART_OF``), so that what belongs to
a world can be found even after its supervisor was killed, and a process that merely got a recycled id is never hit.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

MARKER = "REHEARSAL_PART_OF"
LISTEN_STATE = "0A"


@dataclass(frozen=True)
class Identity:
    """A process beyond doubt: its id and when it began (clock ticks since boot, from ``/proc/<pid>/stat``)."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Identity:
        """The process that has ``pid`` now. Raises ProcessLookupError when there is none."""
        return cls(pid, start_ticks(pid))

    def alive(self) -> bool:
        """True while this very process runs; a zombie counts as gone."""
        try:
            return start_ticks(self.pid) == self.started
        except ProcessLookupError:
            return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process and no other; nothing happens when it is gone."""
        try:
            handle = os.pidfd_open(self.pid)
        except OSError:
            return
        try:
            if self.alive():
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)


def start_ticks(pid: int) -> int:
    """When the process began, in clock ticks since boot. Raises ProcessLookupError when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessLookupError(pid) from error
    if fields[0] in "ZX":
        raise ProcessLookupError(pid)
    return int(fields[19])


async def start(
    command: Sequence[str | Path],
    log: Path,
    *,
    user: str | None = None,
    death_signal: str = "KILL",
    env: Mapping[str, str] | None = None,
) -> asyncio.subprocess.Process:
    """Start a child that dies when this process does, its output appended to ``log``.

    ``setpriv`` (util-linux) sets the parent death signal and the user in the child, because doing that in Python
    between fork and exec is unsafe once there are threads.
    """
    wrapped = ["setpriv", f"--pdeathsig={death_signal}"]
    if user is not None:
        wrapped += [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *wrapped,
            "--",
            *command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(env or {})},
        )


async def stop(process: asyncio.subprocess.Process, number: signal.Signals, grace: float = 5.0) -> None:
    """Send ``number``, wait ``grace`` seconds for the end, then kill."""
    if process.returncode is not None:
        return
    try:
        process.send_signal(number)
        await asyncio.wait_for(process.wait(), grace)
    except ProcessLookupError:
        pass
    except TimeoutError:
        process.kill()
        await process.wait()


def of_world(home: Path) -> list[Identity]:
    """Every living process that carries the mark of the world in ``home``, this process excepted."""
    mark = f"{MARKER}={home}".encode()
    found = []
    for pid in psutil.pids():
        if pid == os.getpid():
            continue
        try:
            identity = Identity.of(pid)
            if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(identity)
        except (OSError, ProcessLookupError):
            continue
    return found


def descendants(pid: int) -> list[Identity]:
    """All living processes below ``pid``."""
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    found = []
    for child in children:
        try:
            found.append(Identity.of(child.pid))
        except ProcessLookupError:
            continue
    return found


def end(processes: Iterable[Identity], grace: float = 3.0) -> list[Identity]:
    """Ask the processes to end, kill them after ``grace`` seconds; returns those that still live after that."""
    remaining = [process for process in processes if process.alive()]
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 2.0)):
        for process in remaining:
            process.signal(number)
        remaining = wait_gone(remaining, patience)
    return remaining


def wait_gone(processes: Iterable[Identity], timeout: float) -> list[Identity]:
    """Wait up to ``timeout`` seconds for the processes to end; returns those that live on."""
    deadline = time.monotonic() + timeout
    remaining = [process for process in processes if process.alive()]
    while remaining and time.monotonic() < deadline:
        time.sleep(0.02)
        remaining = [process for process in remaining if process.alive()]
    return remaining


def pss(pid: int) -> int:
    """Proportional set size in bytes: shared pages are divided among those that share them. 0 when it is gone."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def age(pid: int) -> float:
    """Seconds since the process began; 0 when it is gone."""
    try:
        return time.time() - psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0


def listeners(network: str) -> list[str]:
    """``address:port`` of every TCP socket that listens in ``network`` (CIDR, IPv4)."""
    wanted = ipaddress.ip_network(network)
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        address, _, port = local.partition(":")
        host = ipaddress.ip_address(socket.ntohl(int(address, 16)))
        if state == LISTEN_STATE and host in wanted:
            found.append(f"{host}:{int(port, 16)}")
    return sorted(found)
