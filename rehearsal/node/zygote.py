"""A small process that loads what images run once, then forks a process per container.

It has one thread, so that forking is safe, and speaks JSON lines over a socket with the node. It asks with
``{"op": "start", "id", "entry", "argv", "env", "cwd", "log", "title"}``, answered by ``{"id", "pid"}`` or
``{"id", "error"}``, and ``{"op": "signal", "id", "signal"}``; each end of a process is told once:
``{"id", "exit": status}`` with a negative number for a signal. When the node goes, by whatever end, all processes go.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
CHUNK = 65536
LONGEST_LINE = 16384
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Stream:
    """One output of a container on its way to the log."""

    name: bytes
    fd: int
    pending: bytes = b""


@dataclass
class Child:
    """A container's first process."""

    id: int
    pid: int
    log: int
    streams: list[Stream] = field(default_factory=list)


class Zygote:
    """Forks, collects output and reaps, for one node."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._pid = os.getpid()
        self._children: dict[int, Child] = {}
        self._selector = selectors.DefaultSelector()
        self._unread = b""
        self._wakeup, wake = socket.socketpair()
        wake.setblocking(False)
        self._wakeup.setblocking(False)
        self._wake = wake

    def serve(self) -> None:
        """Work until the node's end of the channel is closed, then end all processes."""
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(self._channel, selectors.EVENT_READ, self._hear)
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._reap)
        try:
            while True:
                for key, _ in self._selector.select():
                    key.data()
        except (EOFError, ConnectionError):
            pass
        finally:
            for child in self._children.values():
                _kill_session(child.pid)

    def _hear(self) -> None:
        received = self._channel.recv(CHUNK)
        if not received:
            raise EOFError
        *lines, self._unread = (self._unread + received).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))

    def _obey(self, request: dict[str, Any]) -> None:
        if request["op"] == "signal":
            child = next((each for each in self._children.values() if each.id == request["id"]), None)
            if child is not None:
                _send_signal(child.pid, request["signal"])
            return
        try:
            self._tell({"id": request["id"], "pid": self._start(request)})
        except OSError as error:
            self._tell({"id": request["id"], "error": str(error)})

    def _tell(self, message: dict[str, Any]) -> None:
        self._channel.sendall(json.dumps(message).encode() + b"\n")

    def _start(self, request: dict[str, Any]) -> int:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        out, child_out = os.pipe()
        err, child_err = os.pipe()
        pid = os.fork()
        if pid == 0:
            _be_container(request, child_out, child_err, self._pid)
        os.close(child_out)
        os.close(child_err)
        child = Child(request["id"], pid, log, [Stream(b"stdout", out), Stream(b"stderr", err)])
        for stream in child.streams:
            os.set_blocking(stream.fd, False)
            self._selector.register(stream.fd, selectors.EVENT_READ, lambda s=stream: self._copy(child, s))
        self._children[pid] = child
        return pid

    def _copy(self, child: Child, stream: Stream) -> bool:
        """Write what a stream has to the log; False when there is nothing (more) to read."""
        if stream not in child.streams:
            # The container ended, and its streams were closed, since this was found readable.
            return False
        try:
            received = os.read(stream.fd, CHUNK)
        except BlockingIOError:
            return False
        if not received:
            self._close(child, stream)
            return False
        *lines, stream.pending = (stream.pending + received).split(b"\n")
        stamp = _timestamp() + b" " + stream.name
        text = b"".join(b"%s F %s\n" % (stamp, line) for line in lines)
        if len(stream.pending) > LONGEST_LINE:
            text += b"%s P %s\n" % (stamp, stream.pending)
            stream.pending = b""
        if text:
            os.write(child.log, text)
        return True

    def _close(self, child: Child, stream: Stream) -> None:
        if stream.pending:
            os.write(child.log, b"%s %s F %s\n" % (_timestamp(), stream.name, stream.pending))
        self._selector.unregister(stream.fd)
        os.close(stream.fd)
        child.streams.remove(stream)

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            self._wakeup.recv(CHUNK)
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                child = self._children.pop(pid, None)
                if child is not None:
                    self._finish(child, os.waitstatus_to_exitcode(status))

    def _finish(self, child: Child, status: int) -> None:
        """A container ends with its first process: end what else is in it, keep its last words, tell the node."""
        _kill_session(child.pid)
        for stream in list(child.streams):
            while self._copy(child, stream):
                pass
            if stream in child.streams:
                self._close(child, stream)
        os.close(child.log)
        self._tell({"id": child.id, "exit": status})


def _timestamp() -> bytes:
    now = time.time_ns()
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9))
    return b"%s.%09dZ" % (whole.encode(), now % 10**9)


def _send_signal(pid: int, number: int) -> None:
    if number == signal.SIGKILL:
        _kill_session(pid)
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _kill_session(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _be_container(request: dict[str, Any], out: int, err: int, parent: int) -> None:
    """In the forked process: become the container and never return."""
    status = 1
    try:
        os.setsid()
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _take_descriptors(out, err)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        _libc.prctl(PR_SET_NAME, request["title"].encode()[:15])
        status = _run(request["entry"], request["argv"])
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(status)


def _take_descriptors(out: int, err: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    for number, fd in enumerate((null, out, err)):
        os.dup2(fd, number)
    os.closerange(3, 65536)
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _run(entry: str | None, argv: list[str]) -> int:
    """Call the entry function, or become the program; the exit code."""
    if entry is None:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        try:
            os.execvp(argv[0], argv)
        except OSError as error:
            print(f"exec {argv[0]}: {error.strerror}", file=sys.stderr)
            return 128
    module, _, function = entry.partition(":")
    sys.argv = argv
    try:
        answer = getattr(importlib.import_module(module), function or "main")()
    except SystemExit as end:
        answer = end.code
    except KeyboardInterrupt:
        return 130
    if isinstance(answer, str):
        print(answer, file=sys.stderr)
        return 1
    return int(answer or 0)


def main(fd: int, modules: list[str]) -> None:
    """Load ``modules``, then serve the socket ``fd``."""
    os.umask(0o022)
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    _libc.prctl(PR_SET_NAME, b"zygote")
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:
            print(f"zygote: {module} not preloaded: {error!r}", file=sys.stderr)
    gc.collect()
    gc.freeze()
    Zygote(socket.socket(fileno=fd)).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
