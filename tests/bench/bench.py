"""``make bench``: how fast weights move, and how many API calls a release makes, all on one world in one go."""

from __future__ import annotations

import argparse
import functools
import json
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from rehearsal.cli import REPOSITORY, CommandError, home_of
from rehearsal.cli import load as steady_load
from rehearsal.cli.down import take_down
from rehearsal.cli.up import up
from rehearsal.load.report import read_report
from tests.bench import measure, report
from tests.bench.calls import Span, per_span
from tests.bench.figures import Measurements
from tests.bench.machine import Machine
from tests.bench.playbook import BenchError
from tests.bench.stand import Stand

LOAD_RATE = 300
# The load ends by itself, whatever becomes of the bench.
LOAD_DURATION = 900.0
RESULT = REPOSITORY / "build" / "bench.json"
TIMES = [measure.FLOOR, *measure.ROLLBACK, *measure.BREACH]


class Bench:
    """One run of everything; what was found is in its attributes."""

    def __init__(self, stand: Stand, runs: int) -> None:
        self.stand = stand
        self.runs = runs
        self.ways = measure.ways()
        changes = [name for way in self.ways for name in (measure.up_name(way), measure.down_name(way))]
        self.found = Measurements([*TIMES, measure.CHANGE_FLOOR, *changes], runs)
        self.calls: dict[str, list[int]] = {name: [] for name in changes}
        self.release: list[tuple[Span, dict[str, int]]] = []
        self.release_problem = "not measured"
        self._began = time.monotonic()

    def run(self) -> None:
        """Measure everything; what can't be measured is noted, and the rest goes on."""
        self.say(f"load of {LOAD_RATE} requests/s is on")
        measure.set_up(self.stand)
        self._repeat("rollback", [measure.FLOOR, *measure.ROLLBACK], self._rollback)
        try:
            measure.stage_one(self.stand)
            self._changes()
            self._repeat("breach", measure.BREACH, self._breach)
        except BenchError as error:
            self.found.fail([*measure.BREACH, measure.CHANGE_FLOOR, *self.calls], str(error))
        self._release()

    def say(self, text: str) -> None:
        """A line of progress."""
        print(f"{time.monotonic() - self._began:6.1f} s  {text}", flush=True)

    def _repeat(self, what: str, names: list[str], once: Callable[[int], dict[str, float]]) -> None:
        for number in range(self.runs):
            if not self._attempt(what, names, number, once):
                return

    def _attempt(self, what: str, names: list[str], number: int, once: Callable[[int], dict[str, float]]) -> bool:
        """One run of ``names``; whether it could be made."""
        try:
            values = once(number)
        except BenchError as error:
            self.found.fail(names, str(error))
            self.say(f"{what} {number + 1} of {self.runs} FAILED: {error}")
            return False
        self.found.add(values)
        told = ", ".join(f"{name.removeprefix(f'{what}: ')} {value:.3f}" for name, value in values.items())
        self.say(f"{what} {number + 1} of {self.runs}: {told}")
        return True

    def _rollback(self, _number: int) -> dict[str, float]:
        measure.stage_one(self.stand)
        return measure.floor(self.stand) | measure.timed_rollback(self.stand)

    def _breach(self, number: int) -> dict[str, float]:
        return measure.breach(self.stand, number / self.runs)

    def _changes(self) -> None:
        """All ways in turn, so that what else goes on in the machine meets each of them alike."""
        measure.set_weight(self.stand, "traffic_weight", 0)
        failed: set[str] = set()
        for number in range(self.runs):
            self._attempt("floor", [measure.CHANGE_FLOOR], number, self._change_floor)
            for way in self.ways:
                names = [measure.up_name(way), measure.down_name(way)]
                once = functools.partial(self._change, way)
                if way not in failed and not self._attempt(way, names, number, once):
                    failed.add(way)

    def _change_floor(self, _number: int) -> dict[str, float]:
        return measure.floor(self.stand, measure.CHANGE_FLOOR)

    def _change(self, way: str, _number: int) -> dict[str, float]:
        seconds, calls = measure.weight_change(self.stand, way)
        for name, number in calls.items():
            self.calls[name].append(number)
        return seconds

    def _release(self) -> None:
        try:
            measure.rollback(self.stand)
            whole, stages, calls = measure.whole_release(self.stand)
        except BenchError as error:
            self.release_problem = str(error)
            self.say(f"FAILED: {error}")
            return
        self.release = [(span, dict(counts)) for span, counts in per_span(calls, stages)]
        self.release_problem = ""
        self.say(f"a whole release: {whole.ended - whole.began:.1f} s, {len(calls)} API calls")

    def problems(self) -> list[str]:
        """Why the bench is not whole, one sentence each."""
        release = [f"API calls of one release: {self.release_problem}"] if self.release_problem else []
        return [*self.found.problems(), *release]

    def document(self) -> dict[str, Any]:
        """Everything found, ready for JSON; times in seconds."""
        load = read_report(self.stand.world.home)
        return {
            "runs": self.runs,
            "seconds": time.monotonic() - self._began,
            "load": {"rate": load.rate, "sent": load.sent, "failed": load.failed, "lost": load.lost},
            "measurements": [one.document() for one in self.found.all()],
            "weight_change_calls": self.calls,
            "release_calls": [
                {"name": span.name, "seconds": span.ended - span.began, "calls": counts}
                for span, counts in self.release
            ],
            "problems": self.problems(),
        }

    def lines(self) -> list[str]:
        """Everything found, as a person reads it."""
        change_floor = self.found[measure.CHANGE_FLOOR]
        changes = [(change_floor, []), *((self.found[name], counts) for name, counts in self.calls.items())]
        compared = [self.found[name] for name in (measure.FLOOR, *measure.ROLLBACK)]
        others = [self.found[name] for name in measure.BREACH]
        release = report.releases(self.release) if self.release else ["API calls of one release: FAILED"]
        parts = [report.times(compared, others), report.changes(changes, change_floor), release]
        return [line for part in parts for line in [*part, ""]]


def main() -> int:
    """Bring a world up, measure, take it away; 0 when everything could be measured."""
    options = parser().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    machine = Machine.look()
    began = datetime.now(UTC)
    print(machine.text(), flush=True)
    try:
        world = up(options.name, options.blue_replicas, options.block, keep=False)
        try:
            steady_load.start(world, LOAD_RATE, LOAD_DURATION)
            bench = Bench(Stand(world), options.runs)
            bench.run()
            steady_load.stop(world)
            document = {"began": began.isoformat(), "machine": machine.document()} | bench.document()
        finally:
            take_down(home_of(options.name), keep=False)
    except (BenchError, CommandError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    show(bench, machine, document)
    return 1 if bench.problems() else 0


def show(bench: Bench, machine: Machine, document: dict[str, Any]) -> None:
    """Keep the record and print it."""
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(document, indent=2) + "\n")
    load = document["load"]
    print()
    print("\n".join(bench.lines()))
    print("\n".join(report.definitions()))
    print()
    print(machine.text())
    print(
        f"load of {load['rate']:g} requests/s: {load['sent']} sent, {load['failed']} failed, those of the injected "
        f"faults included, {load['lost']} lost"
    )
    print(f"{document['seconds']:.0f} s in all; every value is in {RESULT.relative_to(REPOSITORY)}")
    for problem in document["problems"]:
        print(f"PROBLEM: {problem}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="python -m tests.bench.bench", description=__doc__)
    found.add_argument("--runs", type=int, default=5, help="how often each thing is measured (default: 5)")
    found.add_argument("--name", default="bench", help="name of the world (default: bench)")
    found.add_argument("--blue-replicas", type=int, default=6, help="pods of 5.0 (default: 6)")
    found.add_argument("--block", type=int, default=61, help="first loopback block 127.N to try (default: 61)")
    return found


if __name__ == "__main__":
    sys.exit(main())
