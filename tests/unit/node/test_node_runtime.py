"""Processes through the zygote: started, heard, signalled, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from rehearsal.node.runtime import REPOSITORY, Process, ProcessSpec, Runtime, StartError

FOLDER = Path(__file__).parent


def spec(tmp_path: Path, *argv: str, entry: str | None = None, **env: str) -> ProcessSpec:
    environment = {"PATH": os.environ["PATH"]} | env
    return ProcessSpec(entry, list(argv), environment, str(tmp_path), str(tmp_path / "0.log"), "test")


def with_runtime(tmp_path: Path, work: Callable[[Runtime], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        runtime = Runtime([], tmp_path / "node.log")
        keeping = asyncio.create_task(runtime.run())
        try:
            return await asyncio.wait_for(work(runtime), 20)
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])

    return asyncio.run(run())


async def to_end(runtime: Runtime, what: ProcessSpec) -> int:
    process = await runtime.start(what)
    return await process.exited


def lines(tmp_path: Path) -> list[list[str]]:
    return [line.split(" ", 3)[1:] for line in (tmp_path / "0.log").read_text().splitlines()]


def is_there(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait_gone(pids: list[int], seconds: float = 5.0) -> list[int]:
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(map(is_there, pids)):
        time.sleep(0.02)
    return [pid for pid in pids if is_there(pid)]


def test_a_program_has_the_environment_folder_and_log_it_was_given(tmp_path: Path) -> None:
    what = spec(tmp_path, "sh", "-c", "echo $GREETING; pwd >&2; exit 3", GREETING="hello")
    assert with_runtime(tmp_path, lambda runtime: to_end(runtime, what)) == 3
    assert sorted(lines(tmp_path)) == [["stderr", "F", str(tmp_path)], ["stdout", "F", "hello"]]


def test_an_entry_point_is_called_with_its_own_environment(tmp_path: Path) -> None:
    (tmp_path / "sample_entry.py").write_text(
        "import os, sys\n"
        "def main():\n"
        "    print(os.environ['ANSWER'], sys.argv)\n"
        "    print('unended', end='')\n"
        "    return 7\n"
    )
    what = spec(tmp_path, "image", "one", entry="sample_entry:main", ANSWER="42")
    saved = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = str(tmp_path)
    try:
        assert with_runtime(tmp_path, lambda runtime: to_end(runtime, what)) == 7
    finally:
        os.environ["PYTHONPATH"] = saved
    assert lines(tmp_path) == [["stdout", "F", "42 ['image', 'one']"], ["stdout", "F", "unended"]]


def test_an_entry_point_that_raises_leaves_its_traceback(tmp_path: Path) -> None:
    what = spec(tmp_path, "image", entry="no_such_module:main")
    assert with_runtime(tmp_path, lambda runtime: to_end(runtime, what)) == 1
    assert "No module named 'no_such_module'" in (tmp_path / "0.log").read_text()


def test_a_missing_program_ends_with_128(tmp_path: Path) -> None:
    assert with_runtime(tmp_path, lambda runtime: to_end(runtime, spec(tmp_path, "no-such-program"))) == 128


def test_a_log_that_cannot_be_written_is_a_start_error(tmp_path: Path) -> None:
    what = ProcessSpec(None, ["true"], {}, str(tmp_path), str(tmp_path / "absent" / "0.log"), "test")
    with pytest.raises(StartError, match="absent"):
        with_runtime(tmp_path, lambda runtime: to_end(runtime, what))


def test_signals_reach_the_process_and_the_status_names_them(tmp_path: Path) -> None:
    async def work(runtime: Runtime) -> tuple[int, int]:
        answers = []
        for number in (signal.SIGTERM, signal.SIGKILL):
            process = await runtime.start(spec(tmp_path, "sleep", "60"))
            runtime.signal(process, number)
            answers.append(await process.exited)
        return answers[0], answers[1]

    assert with_runtime(tmp_path, work) == (-signal.SIGTERM, -signal.SIGKILL)


def test_what_a_container_started_ends_with_it(tmp_path: Path) -> None:
    what = spec(tmp_path, "sh", "-c", "sleep 60 & echo $!; exit 0")
    assert with_runtime(tmp_path, lambda runtime: to_end(runtime, what)) == 0
    assert wait_gone([int(lines(tmp_path)[0][2])]) == []


def test_many_processes_that_end_at_once_are_all_told_and_heard(tmp_path: Path) -> None:
    async def work(runtime: Runtime) -> list[int]:
        what = [spec(tmp_path, "sh", "-c", "sleep 0.2; echo last words; exit 5") for _ in range(40)]
        return await asyncio.gather(*(to_end(runtime, each) for each in what))

    assert with_runtime(tmp_path, work) == [5] * 40
    assert lines(tmp_path) == [["stdout", "F", "last words"]] * 40


def test_a_dead_zygote_ends_its_processes_and_is_replaced(tmp_path: Path) -> None:
    async def work(runtime: Runtime) -> tuple[int, Process, int]:
        process = await runtime.start(spec(tmp_path, "sleep", "60"))
        os.kill(parent_of(process.pid), signal.SIGKILL)
        status = await process.exited
        return status, process, await to_end(runtime, spec(tmp_path, "true"))

    status, process, later = with_runtime(tmp_path, work)
    assert (status, later) == (-signal.SIGKILL, 0)
    assert wait_gone([process.pid]) == []


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


HOLDER = """
import asyncio, sys
from pathlib import Path
from rehearsal.node.runtime import ProcessSpec, Runtime
async def main():
    folder = Path(sys.argv[1])
    runtime = Runtime([], folder / "node.log")
    keeping = asyncio.create_task(runtime.run())
    for number in range(3):
        argv = ["sh", "-c", "trap '' TERM; sleep 60 & echo $!; wait"]
        log = str(folder / f"{number}.log")
        process = await runtime.start(ProcessSpec(None, argv, {"PATH": sys.argv[2]}, str(folder), log, "held"))
        print(process.pid, flush=True)
    print("done", flush=True)
    await keeping
asyncio.run(main())
"""


def test_nothing_is_left_when_the_node_is_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path), os.environ["PATH"]],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    try:
        assert holder.stdout is not None
        pids = [int(line) for line in iter(lambda: holder.stdout.readline().strip(), "done")]  # type: ignore[union-attr]
        pids += [parent_of(pids[0])]
        below = [int(line[2]) for number in range(3) for line in read_when_there(tmp_path / f"{number}.log")]
        assert len(pids + below) == 7
        assert all(map(is_there, pids + below))
    finally:
        holder.kill()
        holder.wait()
    assert wait_gone(pids + below) == []


def read_when_there(log: Path) -> list[list[str]]:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        found = [line.split(" ", 3)[1:] for line in log.read_text().splitlines()]
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"nothing in {log}")
