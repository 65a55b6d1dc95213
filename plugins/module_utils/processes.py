# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes by identity, and a way to leave one running that has nothing of its parent's left."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import typing as t
import warnings
from dataclasses import dataclass
from pathlib import Path

_ENDED = ("Z", "X")
_STOPPED = ("T", "t")
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Process:
    """A process by its id and start time (clock ticks since boot; 0 where there is no /proc), so that another process
    which gets the same id later is not taken for it.
    """

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process:
        _state, started = _stat(pid)
        return cls(pid, started)

    def alive(self) -> bool:
        """Whether it still runs; one that has ended and is not yet reaped does not."""
        if not self.started:
            return _answers(self.pid)
        state, started = _stat(self.pid)
        return started == self.started and state not in _ENDED

    def stopped(self) -> bool:
        """Whether it lives and does nothing until someone lets it: by SIGSTOP, a debugger, or its cgroup's freezer."""
        return _stat(self.pid)[0] in _STOPPED or _frozen(self.pid)

    def evidence(self) -> dict[str, t.Any]:
        """Where it runs, for :func:`ended_here`; empty where this machine can't tell."""
        place = machine()
        return {"machine": place, "pid": self.pid, "started": self.started} if place and self.started else {}


def machine() -> str:
    """This boot of this machine and this space of process ids; empty where there is no such thing to read."""
    try:
        return f"{boot()} {os.readlink('/proc/self/ns/pid')}" if boot() else ""
    except OSError:
        return ""


def boot() -> str:
    """An id that each start of the machine gives anew; empty where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def ended_here(evidence: t.Mapping[str, t.Any]) -> bool:
    """Whether ``evidence`` is of a process of this machine that is gone; False of those of others, which can't be seen.

    Two containers on one machine don't see each other's processes, so the space of process ids has to be the same too.
    """
    if not evidence.get("started") or evidence.get("machine") != machine():
        return False
    return not Process(int(evidence["pid"]), int(evidence["started"])).alive()


def _frozen(pid: int) -> bool:
    """Whether the freezer of its cgroup (version 2) holds it, or one above; a frozen process shows no state for it."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        place = next(line.removeprefix("0::/") for line in lines if line.startswith("0::/"))
        return "frozen 1" in (_CGROUPS / place / "cgroup.events").read_text().splitlines()
    except (OSError, StopIteration):
        return False


def _stat(pid: int) -> tuple[str, int]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "", 0
    # The command, in parentheses, may hold spaces and parentheses itself.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def detach(run: t.Callable[[t.Callable[[str], None]], None], timeout: float) -> str:
    """Run ``run`` in a process of its own that outlives this one; returns the line it reports.

    The process is in a session of its own, and each file descriptor it inherited is exchanged for the null device: a
    pipe held open by it would keep its reader waiting. They are exchanged and not closed, since objects of the parent
    still close those numbers later. ``run`` is called with ``report``, of which the first line counts. No exit handler
    of the parent runs. Returns an empty line if nothing was reported within ``timeout`` seconds or the process died.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python warns of forking with threads; the child runs nothing that could wait for one of them.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _become_grandchild(run, writer)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as answers:
        ready, _write, _error = select.select([answers], [], [], timeout)
        return answers.readline().strip() if ready else ""


def _become_grandchild(run: t.Callable[[t.Callable[[str], None]], None], writer: int) -> t.NoReturn:
    # Nothing may leave this function: the code above it on the stack belongs to another process.
    try:
        os.setsid()
        if os.fork() > 0:
            os._exit(0)
        _shed(keep=writer)

        run(_reporter(writer))
    finally:
        os._exit(0)


def _reporter(writer: int) -> t.Callable[[str], None]:
    open_ends = [writer]

    def report(line: str) -> None:
        # Once only: after that the descriptor's number may mean another file.
        while open_ends:
            descriptor = open_ends.pop()
            with contextlib.suppress(BrokenPipeError):
                os.write(descriptor, f"{line}\n".encode())
            os.close(descriptor)

    return report


def _shed(keep: int) -> None:
    """Let go of what was inherited: files, working directory, signal handlers."""
    null = os.open(os.devnull, os.O_RDWR)
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else map(str, range(256)):
        descriptor = int(name)
        if descriptor not in (keep, null):
            with contextlib.suppress(OSError):
                os.fstat(descriptor)
                os.dup2(null, descriptor)
    os.close(null)
    os.chdir("/")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
