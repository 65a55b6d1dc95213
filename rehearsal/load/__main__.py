"""``python -m rehearsal.load``: put a steady load on the edge of a world and count what comes back."""

from __future__ import annotations

import argparse
import asyncio
import resource
import signal
from pathlib import Path
from urllib.parse import urlsplit

from rehearsal.load.generator import Load
from rehearsal.load.mix import MOST_WORKFLOWS, endless_mix
from rehearsal.load.report import read_report
from rehearsal.world import EDGE_HOSTNAME, World

_LONGEST = 86_400.0
_HIGHEST_RATE = 5_000.0


def main() -> None:
    """Exits 0 when the load ran to its end or was told to stop, whatever it met: the report tells that."""
    options = _options()
    _allow_many_connections()
    asyncio.run(_run(options))
    report = read_report(options.home)
    print(f"sent {report.sent}, failed {report.failed}, reconnected {report.reconnected}")


async def _run(options: argparse.Namespace) -> None:
    load = Load(
        options.home,
        options.url or [_address(World.load(options.home).edge_url)],
        endless_mix(options.hostname, options.workflows),
        rate=options.rate,
        duration=options.duration,
        sessions=options.sessions,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, load.stop)
    await load.run()


def _address(url: str) -> tuple[str, int]:
    """Host and port of an ``http`` URL. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{url!r} is not a URL like http://127.21.0.1:8000")
    return parts.hostname, parts.port or 80


def _url(text: str) -> tuple[str, int]:
    try:
        return _address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m rehearsal.load", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder of the world; load.json is written there")
    parser.add_argument("--rate", type=float, default=300.0, help="requests per second (default %(default)s)")
    parser.add_argument("--duration", type=float, default=150.0, help="seconds to send for (default %(default)s)")
    parser.add_argument("--sessions", type=int, default=0, help="users with cookies of their own; 0 for no cookies")
    parser.add_argument(
        "--workflows",
        type=int,
        default=1,
        metavar="N",
        help="of each 20 requests, so many start a workflow (default 1)",
    )
    parser.add_argument(
        "--url",
        type=_url,
        action="append",
        help="where to send; given several times, requests take turns (default: the world's Envoy)",
    )
    parser.add_argument("--hostname", default=EDGE_HOSTNAME, help="Host header (default %(default)s)")
    options = parser.parse_args()
    if not 0 < options.rate <= _HIGHEST_RATE:
        parser.error(f"--rate {options.rate}: must be above 0 and at most {_HIGHEST_RATE:g}")
    if not 0 < options.duration <= _LONGEST:
        parser.error(f"--duration {options.duration}: must be above 0 and at most {_LONGEST:g} seconds")
    if options.sessions < 0:
        parser.error(f"--sessions {options.sessions}: must not be negative")
    if not 0 <= options.workflows <= MOST_WORKFLOWS:
        parser.error(f"--workflows {options.workflows}: must be 0 to {MOST_WORKFLOWS}")
    if not (options.home / "world.json").exists():
        parser.error(f"--home {options.home}: there is no world; start one with python -m rehearsal up")
    return options


def _allow_many_connections() -> None:
    """When nothing answers, ten seconds of requests are open at once; the usual soft limit is 1024 files."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
