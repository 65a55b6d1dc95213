"""The load counts every request once, whatever the server does to it."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from rehearsal.load import LoadReport, read_report
from rehearsal.load import generator as generator_module
from rehearsal.load.generator import Load
from rehearsal.load.mix import Request, endless_mix, request
from rehearsal.world import World

REPOSITORY = Path(__file__).resolve().parents[2]
ADDRESS = "127.53.0.9"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nx-claude-version: 5.0\r\ncontent-length: 2\r\n\r\nok"


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """The next request, head and body. Raises IncompleteReadError when the client is gone."""
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.startswith(b"content-length")]
    return head + (await reader.readexactly(int(lengths[0])) if lengths else b"")


def answering(answer: Callable[[bytes], bytes]) -> Handler:
    """A server that keeps its connections and gives ``answer(request)``."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(answer(await read_request(reader)))

    return handle


def closing_after(answers: int, last: bytes = b"") -> Handler:
    """A server that answers so many requests per connection, then reads one more, writes ``last`` and hangs up."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(answers):
            await read_request(reader)
            writer.write(OK)
        await read_request(reader)
        writer.write(last)
        writer.close()

    return handle


def run_load(
    home: Path, handler: Handler | None, requests: Iterator[Request], *, rate: float = 100, duration: float = 0.5,
    sessions: int = 0, others: Sequence[tuple[str, int]] = (),
) -> LoadReport:  # fmt: skip
    """Put a load on ``handler`` (on nothing where None) and on ``others`` in turns, and read its report."""

    async def quiet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert handler is not None
        try:
            await handler(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(quiet, ADDRESS, 0)
        port = server.sockets[0].getsockname()[1]
        if handler is None:
            server.close()
            await server.wait_closed()
        await Load(home, [(ADDRESS, port), *others], requests, rate=rate, duration=duration, sessions=sessions).run()
        server.close()

    asyncio.run(run())
    report = read_report(home)
    assert report.finished
    assert report.in_flight == 0
    assert report.sent == report.answered + report.lost
    assert sum(second["sent"] for second in report.timeline) == report.sent
    assert sum(second["failed"] for second in report.timeline) == report.failed
    assert sum(sum(second["versions"].values()) for second in report.timeline) == report.answered
    return report


def endless(method: str) -> Iterator[Request]:
    while True:
        yield request(method, "/", "example.com", {"a": 1} if method == "POST" else None)


def test_addresses_take_turns(tmp_path: Path) -> None:
    report = run_load(tmp_path, answering(lambda _: OK), endless("GET"), others=[(ADDRESS, 9)])
    assert (report.sent, report.answered, report.lost) == (50, 25, 25)
    assert {failure["error"].partition(":")[0] for failure in report.failures} == {"no connection"}


def test_every_answer_is_counted_by_its_version(tmp_path: Path) -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    report = run_load(
        tmp_path, answering(lambda data: OK if b"agents" in data else chunked), endless_mix("example.com")
    )
    assert (report.sent, report.failed, report.reconnected) == (50, 0, 0)
    assert report.statuses == {"200": 50}
    assert set(report.versions) == {"5.0", "none"}
    assert report.versions["5.0"].answered + report.versions["none"].answered == 50
    assert report.started < report.versions["5.0"].last_sent < report.versions["5.0"].last_answer < report.updated
    assert 0 < (report.latency["p50"] or 0) <= (report.latency["p99"] or 0) <= (report.latency["max"] or 0) < 1


@pytest.mark.parametrize("workflows", [0, 1, 8])
def test_of_each_20_requests_so_many_start_a_workflow(workflows: int) -> None:
    mix = endless_mix("example.com", workflows)
    assert [sum(next(mix).method == "POST" for _ in range(20)) for _ in range(3)] == [workflows] * 3


def test_an_answer_of_500_and_above_failed_and_one_of_404_did_not(tmp_path: Path) -> None:
    answers = {b"/api/v1/agents": b"500 Oops", b"/health": b"404 Not Found"}

    def answer(data: bytes) -> bytes:
        status = answers.get(data.split()[1], b"200 OK")
        return b"HTTP/1.1 " + status + b"\r\nx-claude-version: 5.1\r\ncontent-length: 0\r\n\r\n"

    report = run_load(tmp_path, answering(answer), endless_mix("example.com"), duration=0.4)
    assert report.statuses == {"200": 20, "404": 6, "500": 14}
    assert (report.failed, report.lost) == (14, 0)
    assert report.versions["5.1"].failed == 14
    assert {failure["error"] for failure in report.failures} == {"status 500"}


def test_a_kept_connection_found_closed_costs_a_get_nothing_but_is_told(tmp_path: Path) -> None:
    report = run_load(tmp_path, closing_after(3), endless("GET"))
    assert report.failed == 0
    assert report.reconnected >= 10


def test_a_post_is_never_sent_twice(tmp_path: Path) -> None:
    report = run_load(tmp_path, closing_after(3), endless("POST"))
    assert report.reconnected == 0
    assert report.lost >= 10
    assert report.failures[0]["method"] == "POST"


def test_a_new_connection_that_is_closed_is_a_failure(tmp_path: Path) -> None:
    report = run_load(tmp_path, closing_after(0), endless("GET"))
    assert (report.lost, report.answered, report.reconnected) == (50, 0, 0)


def test_an_answer_cut_off_is_a_failure_and_is_not_sent_again(tmp_path: Path) -> None:
    report = run_load(tmp_path, closing_after(3, last=OK[:-1]), endless("GET"))
    assert report.reconnected == 0
    assert report.lost >= 10
    assert len(report.failures) == report.lost


def test_where_nothing_listens_every_request_is_lost(tmp_path: Path) -> None:
    report = run_load(tmp_path, None, endless("GET"))
    assert report.lost == report.sent == 50
    assert "no connection" in report.failures[0]["error"]


def test_no_answer_in_time_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)

    monkeypatch.setattr(generator_module, "TIMEOUT", 0.2)
    report = run_load(tmp_path, silent, endless("GET"), duration=0.3)
    assert report.lost == report.sent == 30
    assert {failure["error"] for failure in report.failures} == {"timeout"}


def test_sessions_keep_their_cookie_and_tell_who_changed_sides(tmp_path: Path) -> None:
    seen: set[bytes] = set()
    serial = itertools.count()

    def answer(data: bytes) -> bytes:
        cookies = [line for line in data.split(b"\r\n") if line.startswith(b"cookie:")]
        if cookies:
            seen.add(cookies[0])
            return b"HTTP/1.1 200 OK\r\nx-claude-version: 5.1\r\ncontent-length: 0\r\n\r\n"
        head = b"HTTP/1.1 200 OK\r\nx-claude-version: 5.0\r\ncontent-length: 0\r\n"
        return head + b"set-cookie: claude-session=%d; Path=/\r\n\r\n" % next(serial)

    report = run_load(tmp_path, answering(answer), endless("GET"), sessions=5)
    assert report.versions["5.0"].answered == 5
    assert report.session_switches == {"5.0 -> 5.1": 5}
    assert len(seen) == 5


def test_the_command_ends_in_good_order_on_sigterm(tmp_path: Path) -> None:
    World.make("load", tmp_path, 53).save()
    command = [sys.executable, "-m", "rehearsal.load", "--home", str(tmp_path), "--rate", "50", "--duration", "60"]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=os.environ, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 10
        while not (tmp_path / "load.json").exists() or read_report(tmp_path).sent < 10:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert not read_report(tmp_path).finished
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=5)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    report = read_report(tmp_path)
    assert report.finished
    assert report.lost == report.sent
    assert f"sent {report.sent}, failed {report.sent}" in output


@pytest.mark.parametrize(
    "options",
    [["--rate", "0"], ["--duration", "-1"], ["--sessions", "-1"], ["--workflows", "9"], ["--url", "ftp://x"], []],
)
def test_wrong_options_are_refused_by_name(tmp_path: Path, options: list[str]) -> None:
    command = [sys.executable, "-m", "rehearsal.load", "--home", str(tmp_path), *options]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=20, check=False)
    assert result.returncode == 2
    assert (options[0] if options else "--home") in result.stderr
