"""``make bench-kill``: a release whose controller is killed, and what becomes of it when it is resumed or rolled back.

Killed is the whole process group of ``ansible-playbook``, with SIGKILL: at every boundary between two tasks, and at
random moments. First one release is killed at each boundary in turn and resumed each time; then at random moments;
then, for boundaries spread over the whole release, a new one is killed there and rolled back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rehearsal.cli import REPOSITORY, CommandError, home_of
from rehearsal.cli import load as steady_load
from rehearsal.cli.down import take_down
from rehearsal.cli.up import up
from rehearsal.world import World
from scripts.rehearse import cluster
from tests.bench import table
from tests.bench.kills import run
from tests.bench.kills.world_state import Objects, Rows, differences, read_objects
from tests.bench.playbook import BenchError

RESULT = REPOSITORY / "build" / "bench-kill.json"
LOAD_RATE, LOAD_SECONDS = 120, 14_400.0
SEED = 20261121
# A fast clock has few requests and workflows to judge by, so that gates tell only what is far apart.
RELEASE: dict[str, Any] = {
    "release_time_scale": 0.004,
    "release_green_replicas": 2,
    "release_canary_replicas": {"start": 1, "expand": 2},
    "release_unacceptable": {"error_rate": 0.3, "slow": 0.5, "workflow_failure_rate": 0.9},
    "release_workflow_quota": 1,
}
BACK = {"rollback_reason": "bench", "rollback_force": True}
RESUMED, ROLLED_BACK = "resumed", "rolled back"


@dataclass
class Part:
    """One row of the table: how many kills there were, and what came of them."""

    name: str
    kills: int = 0
    resumed: int = 0
    rolled_back: int = 0
    requests: int = 0
    failed: int = 0
    lost: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def row(self) -> list[str]:
        counts = (self.kills, self.resumed, self.rolled_back, self.requests, self.failed, self.lost, len(self.problems))
        return [self.name, *map(str, counts), f"{self.seconds:.0f}"]


class Kills:
    """The parts of the bench, one after the other in one world under load."""

    def __init__(self, world: World, options: argparse.Namespace, say: Callable[[str], None]) -> None:
        self._world = world
        self._options = options
        self._say = say
        self._draw = random.Random(options.seed)
        self._rows = Rows.watch(world)
        self._before: Objects = {}
        self.boundaries: list[str] = []
        self.parts: list[Part] = []

    def measure(self) -> None:
        for name, part in {
            "at each boundary, resumed": self._at_each_boundary,
            "at random moments, resumed": self._at_random_moments,
            "at boundaries, rolled back": self._rolled_back,
        }.items():
            self.parts.append(Part(name))
            self._measure(self.parts[-1], part)

    def _measure(self, part: Part, work: Callable[[Part], None]) -> None:
        """One part under a load of its own; what can't go on is a problem of the part."""
        began = time.monotonic()
        self._before = read_objects(self._world)
        steady_load.start(self._world, LOAD_RATE, LOAD_SECONDS, workflows=2)
        try:
            work(part)
        except BenchError as error:
            part.problems.append(str(error))
        finally:
            time.sleep(1.0)
            steady_load.stop(self._world)
        counted = steady_load.report(self._world)
        part.requests, part.failed, part.lost = counted.sent, counted.failed, self._rows.lost()
        part.seconds = time.monotonic() - began
        self._say(f"{part.name}: {part.kills} kills, {part.failed} of {part.requests} requests failed")

    # ---- killed and resumed

    def _at_each_boundary(self, part: Part) -> None:
        seen: dict[str, None] = {}
        while True:
            ran = run.until_new_boundary(self._world, RELEASE, seen, self._options.every)
            seen |= dict.fromkeys(ran.passed)
            if ran.where is None:
                break
            part.kills += 1
            self._say(f"{part.kills:4} killed at {ran.where}")
            if part.kills > self._options.most:
                ran = run.to_end(self._world, "deploy", RELEASE)
                break
        self.boundaries = list(seen)
        self._must_be_released(part, ran)
        self._back(part)

    def _at_random_moments(self, part: Part) -> None:
        longest = self._options.moment
        for _kill in range(self._options.moments):
            ran = run.until_moment(self._world, RELEASE, self._draw.uniform(0.3, longest))
            if ran.where is None:
                self._must_be_released(part, ran)
                self._back(part)
                continue
            part.kills += 1
            self._say(f"{part.kills:4} killed {ran.where}")
        self._must_be_released(part, run.to_end(self._world, "deploy", RELEASE))
        self._back(part)

    def _must_be_released(self, part: Part, ran: run.Killed) -> None:
        """The run that was let go to its end finished the release."""
        state = self._state()
        if ran.status != 0 or state != "done":
            part.problems.append(f"resumed: exit status {ran.status}, the journal says {state}: {ran.said}")
        else:
            part.resumed = part.kills

    # ---- killed and rolled back

    def _rolled_back(self, part: Part) -> None:
        for boundary in self._chosen():
            ran = run.until_boundary(self._world, RELEASE, boundary)
            if ran.where is None:
                part.problems.append(f"{boundary}: never came (exit status {ran.status}): {ran.said}")
            else:
                part.kills += 1
                self._say(f"{part.kills:4} killed at {boundary}")
            if self._back(part):
                part.rolled_back += ran.where is not None

    def _chosen(self) -> Sequence[str]:
        """Boundaries at even distances, first and last among them."""
        count, whole = self._options.rollbacks, self.boundaries
        if count >= len(whole):
            return whole
        return [whole[round(number * (len(whole) - 1) / max(1, count - 1))] for number in range(count)]

    def _back(self, part: Part) -> bool:
        """Take the release back, if one was opened; whether everything is as it was before."""
        state = self._state()
        if state is not None and state != "rolled_back":
            ran = run.to_end(self._world, "rollback", BACK)
            if ran.status != 0:
                part.problems.append(f"rollback.yml ended with {ran.status}: {ran.said}")
                return False
        found = differences(self._before, self._settled())
        part.problems += found
        return not found

    def _settled(self) -> Objects:
        """The objects once two readings are the same: what was asked to go may take a moment."""
        last = read_objects(self._world)
        for _try in range(20):
            if not differences(self._before, last):
                break
            time.sleep(0.5)
            last = read_objects(self._world)
        return last

    def _state(self) -> str | None:
        journal = asyncio.run(cluster.read_journal(self._world))
        return None if journal is None else str(journal["state"])

    # ---- told

    def lines(self) -> list[str]:
        headings = ["killed", "kills", "resumed", "rolled back", "requests", "failed", "rows lost", "problems", "s"]
        told = [*table.table(headings, [part.row() for part in self.parts]), ""]
        told.append(f"{len(self.boundaries)} boundaries between tasks; {self._rows.count} rows of workflows")
        told += [f"PROBLEM: {part.name}: {problem}" for part in self.parts for problem in part.problems]
        return told

    @property
    def good(self) -> bool:
        return not any(part.problems or part.failed or part.lost or not part.requests for part in self.parts)

    def document(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "seed": self._options.seed,
            "boundaries": self.boundaries,
            "rows": self._rows.count,
            "parts": [asdict(part) for part in self.parts],
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when nothing was lost, else 1."""
    options = _options(arguments)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {text}", flush=True)

    try:
        world = up(options.name, options.blue_replicas, options.block, keep=False)
        try:
            kills = Kills(world, options, say)
            kills.measure()
        finally:
            take_down(home_of(options.name), keep=False)
    except CommandError as error:
        print(f"bench-kill: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    seconds = time.monotonic() - began
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(kills.document() | {"seconds": round(seconds, 1)}, indent=1) + "\n")
    print("\n".join(["", *kills.lines(), f"{seconds:.0f} s; all of it is in {RESULT.relative_to(REPOSITORY)}"]))
    return 0 if kills.good else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-kill", description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="kill at every so many boundaries (default: %(default)s)")
    parser.add_argument("--most", type=int, default=1000, help="kills at boundaries at most (default: %(default)s)")
    parser.add_argument("--moments", type=int, default=20, help="kills at random moments (default: %(default)s)")
    parser.add_argument("--moment", type=float, default=30.0, help="the latest, in seconds (default: %(default)s)")
    parser.add_argument("--rollbacks", type=int, default=20, help="kills that are rolled back (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="for the moments (default: %(default)s)")
    parser.add_argument("--name", default="kill", help="name of the world (default: %(default)s)")
    parser.add_argument("--blue-replicas", type=int, default=3, help="pods of 5.0 (default: %(default)s)")
    parser.add_argument("--block", type=int, default=81, help="first loopback block to try (default: %(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
