"""``make bench``: how fast weights move and come back, and what calls a release makes, on one world in one go."""

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

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import PROVIDERS
from rehearsal.cli import REPOSITORY, CommandError, home_of
from rehearsal.cli import load as steady_load
from rehearsal.cli.down import take_down
from rehearsal.cli.up import up
from rehearsal.load.report import read_report
from tests.bench import measure, report
from tests.bench.calls import Span, per_span
from tests.bench.figures import Measurements
from tests.bench.histories import Histories
from tests.bench.machine import Machine
from tests.bench.matrix import Matrix
from tests.bench.playbook import BenchError
from tests.bench.rollbacks import STAGES
from tests.bench.stand import Stand
from tests.bench.triggers import Triggers

LOAD_RATE = 300
# The load ends by itself, whatever becomes of the bench.
LOAD_DURATION = 900.0
RESULT = REPOSITORY / "build" / "bench.json"
PARTS = ("speed", "rollbacks", "triggers", "journal")
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
            "load": {"rate": load.rate, "sent": load.sent, "failed": load.failed, "lost": load.lost},
            "measurements": [one.document() for one in self.found.all()],
            "weight_change_calls": self.calls,
            "release_calls": [
                {"name": span.name, "seconds": span.ended - span.began, "calls": counts}
                for span, counts in self.release
            ],
        }

    def lines(self) -> list[str]:
        """Everything found, as a person reads it."""
        change_floor = self.found[measure.CHANGE_FLOOR]
        changes = [(change_floor, []), *((self.found[name], counts) for name, counts in self.calls.items())]
        compared = [self.found[name] for name in (measure.FLOOR, *measure.ROLLBACK)]
        others = [self.found[name] for name in measure.BREACH]
        release = report.releases(self.release) if self.release else ["API calls of one release: FAILED"]
        load = read_report(self.stand.world.home)
        told = (
            f"load of {load.rate:g} requests/s: {load.sent} sent, {load.failed} failed, those of the injected faults "
            f"included, {load.lost} lost"
        )
        parts = [report.times(compared, others), report.changes(changes, change_floor), release, [told]]
        return [line for part in parts for line in [*part, ""]]


def main() -> int:
    """Bring a world up, measure, take it away; 0 when everything could be measured."""
    options = parser().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    machine = Machine.look()
    began, clock = datetime.now(UTC), time.monotonic()
    print(machine.text(), flush=True)
    try:
        world = up(options.name, options.blue_replicas, options.block, keep=False)
        try:
            document, told, problems = measured(Stand(world), options)
        finally:
            take_down(home_of(options.name), keep=False)
    except (BenchError, CommandError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    seconds = time.monotonic() - clock
    head = {"began": began.isoformat(), "machine": machine.document(), "seconds": seconds, "problems": problems}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(head | document, indent=2) + "\n")
    print()
    print("\n".join([*told, *report.definitions(), "", machine.text()]))
    print(f"{seconds:.0f} s in all; every value is in {RESULT.relative_to(REPOSITORY)}")
    for problem in problems:
        print(f"PROBLEM: {problem}")
    return 1 if problems else 0


def measured(stand: Stand, options: argparse.Namespace) -> tuple[dict[str, Any], list[str], list[str]]:
    """What the chosen parts found: for the record, for people, and why it isn't whole."""
    document: dict[str, Any] = {"runs": options.runs}
    told: list[str] = []
    problems: list[str] = []
    steady_load.start(stand.world, LOAD_RATE, LOAD_DURATION)
    bench = Bench(stand, options.runs)
    measure.set_up(stand)
    if "speed" in options.parts:
        bench.run()
        document |= bench.document()
        told += bench.lines()
        problems += bench.problems()
    steady_load.stop(stand.world)
    if "rollbacks" in options.parts:
        matrix = Matrix(stand, options.runs, options.providers, options.stages, options.peer_stages)
        matrix.run(bench.say)
        document["matrix"] = matrix.document()
        told += matrix.lines()
        problems += matrix.problems
    if "triggers" in options.parts:
        # Twice as often: a trigger that is late now and then shows.
        triggers = Triggers(stand, 2 * options.runs, bench.say)
        triggers.run()
        document["triggers"] = triggers.document()
        told += triggers.lines()
        problems += triggers.problems
    if "journal" in options.parts:
        histories = Histories(stand, options.runs, bench.say)
        histories.run()
        document["journal"] = histories.document()
        told += histories.lines()
        problems += histories.problems
    return document, told, problems


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="python -m tests.bench.bench", description=__doc__)
    found.add_argument("--runs", type=int, default=10, help="how often each thing is measured (default: 10)")
    found.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure (default: all)")
    found.add_argument(
        "--providers", nargs="+", choices=PROVIDERS, default=PROVIDERS, help="to go back through (default: all)"
    )
    found.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES, help="to go back from (default: all)")
    found.add_argument(
        "--peer-stages", nargs="+", choices=STAGES, default=STAGES, help="stages the peers go back from (default: all)"
    )
    found.add_argument("--name", default="bench", help="name of the world (default: bench)")
    found.add_argument("--blue-replicas", type=int, default=6, help="pods of 5.0 (default: 6)")
    found.add_argument("--block", type=int, default=61, help="first loopback block 127.N to try (default: 61)")
    return found


if __name__ == "__main__":
    sys.exit(main())
