"""Every way back from every stage through every provider, and weights that go up and down under load."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import set_weight
from rehearsal.cli import load as steady_load
from tests.bench import measure, rollbacks
from tests.bench.figures import Measurement
from tests.bench.playbook import BenchError
from tests.bench.rollbacks import OURS, STAGES
from tests.bench.stage_state import StageState, traffic_provider
from tests.bench.stand import Stand
from tests.bench.table import number, table

LOAD_RATE = 200
# The load ends by itself, whatever becomes of the bench.
LOAD_DURATION = 3600.0
CHANGES = 200
PAUSE = 0.1
WEIGHTS = (0, 5, 20, 50, 100)
# By whole pods, a change takes as long as pods take to start, and requests to ended pods may fail.
NOT_STEADY = ("service",)


@dataclass(frozen=True)
class Cell:
    """One way back from one stage through one provider."""

    provider: str
    stage: str
    way: str

    def __str__(self) -> str:
        return f"{self.provider}, {self.stage}, {self.way}"


@dataclass(frozen=True)
class Changes:
    """What came of many changes of weight under load; ``median`` and ``longest`` are seconds of one change."""

    provider: str
    changes: int
    sent: int
    failed: int
    median: float
    longest: float


class Matrix:
    """All cells of ``providers`` x ``stages`` x ways, ``runs`` times each, and the floor as often beside them."""

    def __init__(
        self, stand: Stand, runs: int, providers: Sequence[str], stages: Sequence[str], peer_stages: Sequence[str]
    ) -> None:
        self.stand = stand
        self.runs = runs
        self.providers = providers
        self.floor = Measurement(measure.FLOOR)
        self.cells = {
            cell: (Measurement(f"{cell}: last request"), Measurement(f"{cell}: verified"))
            for provider in providers
            for stage in stages
            for way in rollbacks.ways()
            if way == OURS or stage in peer_stages
            for cell in (Cell(provider, stage, way),)
        }
        self.changes: list[Changes] = []
        self.load: dict[str, dict[str, int]] = {}
        self.problems: list[str] = []

    def run(self, say: Callable[[str], None], *, change: bool = True) -> None:
        """Measure provider by provider; what can't be measured is noted, and the rest goes on."""
        for provider in self.providers:
            steady_load.start(self.stand.world, LOAD_RATE, LOAD_DURATION, provider=provider)
            try:
                self._provider(provider, say, change=change and provider not in NOT_STEADY)
            except BenchError as error:
                self.problems.append(f"{provider}: {error}")
                say(f"{provider} FAILED: {error}")
            finally:
                steady_load.stop(self.stand.world)
                counted = steady_load.report(self.stand.world)
                self.load[provider] = {"sent": counted.sent, "failed": counted.failed}

    def _provider(self, provider: str, say: Callable[[str], None], *, change: bool) -> None:
        states = rollbacks.prepare(self.stand, provider)
        say(f"{provider}: a release was taken through all stages")
        if change:
            self.changes.append(self._change(provider, states["canary_expand"]))
            say(f"{provider}: {asdict(self.changes[-1])}")
        broken: set[Cell] = set()
        for number_of_run in range(self.runs):
            # The floor and all ways in turn, so that what else goes on in the machine meets each of them alike.
            self.floor.values.extend(measure.floor(self.stand).values())
            for cell in [cell for cell in self.cells if cell.provider == provider and cell not in broken]:
                self._cell(cell, states[cell.stage], f"{number_of_run + 1} of {self.runs}", say, broken)

    def _cell(self, cell: Cell, state: StageState, which: str, say: Callable[[str], None], broken: set[Cell]) -> None:
        try:
            times = rollbacks.way_back(self.stand, state, cell.way)
        except BenchError as error:
            self.problems.append(f"{cell}, run {which}: {error}")
            broken.add(cell)
            say(f"{cell} {which} FAILED: {error}")
            return
        for measured, value in zip(self.cells[cell], (times.last_request, times.verified), strict=True):
            measured.values.append(value)
        say(f"{cell} {which}: last request {times.last_request:.3f}, verified {times.verified:.3f}")

    def _change(self, provider: str, state: StageState) -> Changes:
        """Many changes of weight, one after the other, with users asking all the time."""
        state.restore()
        traffic = traffic_provider(self.stand.world, state.traffic)
        before = self.stand.load_after(time.time())
        draw, weight, seconds = random.Random(provider), state.weight, []
        for _change in range(CHANGES):
            weight = draw.choice([other for other in WEIGHTS if other != weight])
            began = time.monotonic()
            set_weight(traffic, weight, guard=False)
            seconds.append(time.monotonic() - began)
            time.sleep(PAUSE)
        set_weight(traffic, 0, guard=False)
        after = self.stand.load_after(time.time())
        return Changes(
            provider,
            CHANGES,
            after.sent - before.sent,
            after.failed - before.failed,
            statistics.median(seconds),
            max(seconds),
        )

    def document(self) -> dict[str, Any]:
        """Everything found, ready for JSON; times in seconds."""
        return {
            "floor": self.floor.document(),
            "rollbacks": [
                asdict(cell) | {"last_request": sent.document(), "verified": verified.document()}
                for cell, (sent, verified) in self.cells.items()
            ],
            "changes": [asdict(one) for one in self.changes],
            "load": self.load,
        }

    def lines(self) -> list[str]:
        """Everything found, as a person reads it."""
        return [*self._rollback_lines(), "", *self._change_lines()]

    def _rollback_lines(self) -> list[str]:
        floor = [number(self.floor.median), number(self.floor.maximum), "1.00", "", "", str(len(self.floor.values))]
        rows = [["floor", "", "", *floor]]
        for cell, (sent, verified) in self.cells.items():
            figures = [number(sent.median), number(sent.maximum), number(sent.times(self.floor), 2)]
            figures += [number(verified.median), number(verified.maximum), str(len(sent.values))]
            rows.append([cell.provider, str(STAGES.index(cell.stage) + 1), cell.way, *figures])
        headings = ["rollback", "stage", "by", "last request s", "max", "x floor", "verified s", "max", "runs"]
        return table(headings, rows)

    def _change_lines(self) -> list[str]:
        rows = [
            [one.provider, str(one.changes), number(one.median), number(one.longest), str(one.sent), str(one.failed)]
            for one in self.changes
        ]
        return table(["weights up and down", "changes", "median s", "max s", "requests", "failed"], rows)
