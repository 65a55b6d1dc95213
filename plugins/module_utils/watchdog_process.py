# Copyright (c) 2026 Claude Enhancer operations team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watchdog as a process: one per release and machine, started and stopped through a lock file."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import signal
import time
import traceback
import typing as t
from dataclasses import asdict, dataclass
from pathlib import Path

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import SystemClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import JournalError, RolloutError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import Author, iso
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_fence import LeaseFence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.processes import Process, detach
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import (
    TrafficProvider,
    make_ready,
    open_provider,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.watchdog import POLL, Duty, relieve, settle
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.watchdog_lease import Keeper

STOP = signal.SIGUSR1
"""Ends the watch. SIGTERM does not: whoever ends ansible-playbook by its name or its service ends this with it."""
READY = "ready"
_START_TIMEOUT = 30.0
_END_TIMEOUT = 5.0


@dataclass(frozen=True)
class Watch:
    """All that a watchdog needs: where the release is, how to get there, what to do, and the lock of the run if any."""

    namespace: str
    application: str
    cluster: t.Mapping[str, t.Any]
    traffic: t.Mapping[str, t.Any]
    author: Author
    duty: Duty
    directory: Path
    lease: t.Mapping[str, t.Any] | None = None

    def open(self) -> tuple[JournalStore, TrafficProvider]:
        """A connection of its own. Raises RolloutError when the release or its traffic object can't be used.

        After the run the lock need not be held any more, as long as nobody else has had it since.
        """
        cluster = Cluster.from_options(self.cluster)
        fence = LeaseFence.from_option(cluster, self.lease, lenient=True)
        options = {"namespace": self.namespace, **self.traffic}
        provider = open_provider(str(options.pop("provider", "istio")), cluster, options, fence)
        return JournalStore(cluster, self.namespace, self.application, self.author, fence=fence), provider

    def keeper(self, main: Process, log: t.Callable[[str], None], tell: t.Callable[[str], None]) -> Keeper | None:
        """What renews the lock, over a connection of its own; None where there is no lock."""
        fence = LeaseFence.from_option(Cluster.from_options(self.cluster), self.lease)
        return Keeper(fence.store, fence.hold, main, log, tell) if fence else None

    @property
    def lock(self) -> Path:
        place = f"{self.cluster.get('host')} {self.cluster.get('kubeconfig')} {self.cluster.get('context')}"
        digest = hashlib.sha256(f"{place} {self.namespace} {self.application}".encode()).hexdigest()[:12]
        return self.directory / f"watchdog-{self.application}-{digest}.lock"

    @property
    def log(self) -> Path:
        return self.directory / f"watchdog-{self.application}-{self.duty.release_id}.log"

    @property
    def fingerprint(self) -> str:
        """Equal for two watches that would do the same."""
        facts = json.dumps([asdict(self.duty), dict(self.traffic), dict(self.lease or {})], sort_keys=True, default=str)
        return hashlib.sha256(facts.encode()).hexdigest()[:12]


def state_directory() -> Path:
    """Where lock and log are kept unless said otherwise."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "claude_enhancer.rollout"


# ---- from the main process's side ------------------------------------------------------------------------------


def start(watch: Watch, main: Process) -> dict[str, t.Any]:
    """Have a watchdog watch ``main``; the one that does already is left alone.

    Raises RolloutError when the release can't be watched, JournalError when another process releases here.
    """
    watch.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    holder = _holder(watch)
    if holder and Process(**holder["main"]) == main and holder["fingerprint"] == watch.fingerprint:
        return {"changed": False, "pid": holder["watchdog"]["pid"], "log": str(watch.log)}
    if holder:
        _relieve_of_duty(watch, holder, main)
    _check(watch)
    terminal = _terminal_of(main)
    answer = detach(lambda report: _serve(watch, main, terminal, report), _START_TIMEOUT)
    word, _space, said = answer.partition(" ")
    if word != READY:
        raise JournalError(f"the watchdog did not start: {said or 'no answer'}; see {watch.log}", log=str(watch.log))
    return {"changed": True, "pid": int(said), "log": str(watch.log)}


def stop(watch: Watch) -> dict[str, t.Any]:
    """End the watch; no change when there is none."""
    holder = _holder(watch)
    if holder is None:
        return {"changed": False, "pid": None, "log": str(watch.log)}
    _end(Process(**holder["watchdog"]), watch)
    return {"changed": True, "pid": holder["watchdog"]["pid"], "log": str(watch.log)}


def running(watch: Watch) -> int | None:
    """The id of the watchdog's process, if there is one."""
    holder = _holder(watch)
    return holder["watchdog"]["pid"] if holder else None


def _check(watch: Watch) -> None:
    """Fail here and now, where a person sees it, and not in the background."""
    store, provider = watch.open()
    make_ready(provider)
    journal = store.read()
    if journal is None or journal.release_id != watch.duty.release_id:
        there = f"the journal is that of {journal.release_id}" if journal else "there is no journal"
        raise JournalError(f"release_id: {watch.duty.release_id} can't be watched: {there}; open the release first")


def _holder(watch: Watch) -> dict[str, t.Any] | None:
    return holder_of(watch.lock)


def holder_of(lock: Path) -> dict[str, t.Any] | None:
    """Who holds the lock: {watchdog, main, fingerprint, release_id}; None when nobody does."""
    try:
        with lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return t.cast("dict[str, t.Any]", json.load(file))
    except (FileNotFoundError, ValueError):
        pass
    return None


def _relieve_of_duty(watch: Watch, holder: dict[str, t.Any], main: Process) -> None:
    """End the watchdog that holds the lock, unless it watches another process that still runs."""
    theirs = Process(**holder["main"])
    watchdog = Process(**holder["watchdog"])
    if theirs != main and theirs.alive():
        raise JournalError(
            f"process {theirs.pid} on this machine is releasing {watch.application} already, watched by {watchdog.pid};"
            " wait for it or end it",
            pid=theirs.pid,
        )
    if theirs != main:
        # It is just taking traffic back for a process that is gone: let it finish.
        _wait(watchdog, _END_TIMEOUT)
    _end(watchdog, watch)


def _end(watchdog: Process, watch: Watch) -> None:
    if watchdog.alive():
        with contextlib.suppress(ProcessLookupError):
            os.kill(watchdog.pid, STOP)
    if not _wait(watchdog, _END_TIMEOUT):
        raise JournalError(f"watchdog {watchdog.pid} does not end; see {watch.log}", pid=watchdog.pid)


def _wait(process: Process, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while process.alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _terminal_of(main: Process) -> str | None:
    """The terminal that the main process writes its errors to, if it is one."""
    try:
        path = os.readlink(f"/proc/{main.pid}/fd/2")
    except OSError:
        return None
    return path if path.startswith(("/dev/pts/", "/dev/tty")) else None


# ---- the watchdog's own side -----------------------------------------------------------------------------------


class _Stopped(BaseException):
    """Told to end."""


def _serve(watch: Watch, main: Process, terminal: str | None, report: t.Callable[[str], None]) -> None:
    """The life of the watchdog."""
    log = _log_to(watch.log)
    try:
        signal.signal(STOP, _stopped)
        _name_process()
        with _locked(watch, main):
            store, provider = watch.open()
            make_ready(provider)
            keeper = watch.keeper(main, log, lambda said: _tell(terminal, f"release {watch.duty.release_id}: {said}"))
            if keeper:
                keeper.start()
            log(f"watching process {main.pid} for release {watch.duty.release_id} ({watch.duty.on_interrupt})")
            report(f"{READY} {os.getpid()}")
            if _outlived(main, watch.duty.lifetime):
                _relieve(watch, main, store, provider, keeper, terminal, log)
            else:
                log(f"ends after {watch.duty.lifetime:g} s, its longest life; process {main.pid} still runs")
    except _Stopped:
        log("stopped")
    except RolloutError as error:
        log(f"gave up: {error.message}")
        report(f"failed {error.message}")
        _tell(terminal, f"release {watch.duty.release_id}: traffic was NOT taken back: {error.message}")
    except BaseException as error:
        log(traceback.format_exc())
        report(f"failed {error!r}")


def _stopped(_number: int, _frame: t.Any) -> None:
    raise _Stopped


def _outlived(main: Process, lifetime: float) -> bool:
    deadline = time.monotonic() + lifetime
    while main.alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True


def _relieve(
    watch: Watch,
    main: Process,
    store: JournalStore,
    provider: TrafficProvider,
    keeper: Keeper | None,
    terminal: str | None,
    log: t.Callable[[str], None],
) -> None:
    log(f"process {main.pid} is gone")
    clock = SystemClock()
    done = relieve(store, provider, watch.duty, clock, log)
    if keeper:
        keeper.give_back()
    later = settle(store, provider, watch.duty, clock, log)
    for data in itertools.chain([done] if done else [], later):
        what = "traffic is back on stable" if data["on_interrupt"] == "roll_back" else "traffic is left as it is"
        weights = f"candidate weight {data['weight_before']} -> {data['weight_after']}"
        _tell(terminal, f"release {watch.duty.release_id}: {data['why']}; {what} ({weights}, {data['seconds']:.2f} s)")


@contextlib.contextmanager
def _locked(watch: Watch, main: Process) -> t.Iterator[None]:
    with watch.lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(f"another watchdog holds {watch.lock}") from None
        facts = {
            "watchdog": asdict(Process.of(os.getpid())),
            "main": asdict(main),
            "fingerprint": watch.fingerprint,
            "release_id": watch.duty.release_id,
        }
        file.truncate(0)
        file.write(json.dumps(facts))
        file.flush()
        yield


def _log_to(path: Path) -> t.Callable[[str], None]:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def log(line: str) -> None:
        os.write(descriptor, f"{iso(time.time())} [{os.getpid()}] {line}\n".encode())

    return log


def _name_process() -> None:
    """Be called something else than ansible-playbook, so that ending that by name spares this."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text("release-watch")


def _tell(terminal: str | None, line: str) -> None:
    if terminal is None:
        return
    # Never as the controlling terminal: its closing must not end this process.
    with contextlib.suppress(OSError):
        descriptor = os.open(terminal, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
        os.write(descriptor, f"\r\n{line}\r\n".encode())
        os.close(descriptor)
