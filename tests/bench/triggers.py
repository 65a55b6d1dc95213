"""How soon a trigger sees a fault, and that it sees none where there is none: real requests, real Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rehearsal.cli import load as steady_load
from tests.bench import measure, report
from tests.bench.figures import Measurements
from tests.bench.playbook import BenchError
from tests.bench.stand import Stand

LOAD_RATE = 400
LOAD_DURATION = 3600.0
SOON = 3.0
HEALTHY_SECONDS = 30.0


class Triggers:
    """``runs`` breaches, then ``runs`` healthy holds, in stage 1 under its own criteria and triggers."""

    def __init__(self, stand: Stand, runs: int, say: Callable[[str], None]) -> None:
        self._stand = stand
        self._runs = runs
        self._say = say
        self._times = Measurements(measure.BREACH, runs)
        self._fired: list[str] = []
        self._healthy_looks = 0
        self._healthy = 0
        self.problems: list[str] = []

    def run(self) -> None:
        """Measure everything; what can't be measured becomes a problem."""
        steady_load.start(self._stand.world, LOAD_RATE, LOAD_DURATION)
        try:
            measure.stage_one(self._stand)
            self._repeat("fault", self._breach)
            self._repeat("no fault", self._no_fault)
        except BenchError as error:
            self.problems.append(f"triggers: {error}")
            self._say(f"FAILED: {error}")
        finally:
            steady_load.stop(self._stand.world)
        self.problems += self._times.problems()
        if self._fired:
            self.problems.append(f"a trigger fired in {len(self._fired)} of {self._healthy} healthy runs")

    @property
    def soon(self) -> int:
        """In how many runs the fault was seen within ``SOON`` seconds."""
        return sum(seconds <= SOON for seconds in self._times[measure.FAULT_SEEN].values)

    def document(self) -> dict[str, Any]:
        """Everything found, ready for JSON; times in seconds."""
        return {
            "rate": LOAD_RATE,
            "weight": measure.STAGE_ONE_WEIGHT,
            "errors": measure.ERRORS,
            "soon": SOON,
            "seen_soon": self.soon,
            "measurements": [one.document() for one in self._times.all()],
            "healthy": {
                "runs": self._healthy,
                "seconds": HEALTHY_SECONDS,
                "looks": self._healthy_looks,
                "fired": self._fired,
            },
        }

    def lines(self) -> list[str]:
        """Everything found, as a person reads it."""
        times = self._times.all()
        return [
            *report.times([], times),
            f"seen within {SOON:g} s: {self.soon} of {self._runs}, at {measure.STAGE_ONE_WEIGHT} % of {LOAD_RATE} "
            f"requests/s, {measure.ERRORS['errors']:.0%} of the candidate's answers errors, a look a second",
            f"without a fault: {len(self._fired)} triggers fired in {self._healthy} runs of {HEALTHY_SECONDS:g} s, "
            f"{self._healthy_looks} looks",
            "",
        ]

    def _repeat(self, what: str, once: Callable[[int], str]) -> None:
        for number in range(self._runs):
            self._say(f"{what} {number + 1} of {self._runs}: {once(number)}")

    def _breach(self, number: int) -> str:
        values = measure.breach(self._stand, number / self._runs)
        self._times.add(values)
        return ", ".join(f"{name.removeprefix('breach: ')} {value:.3f}" for name, value in values.items())

    def _no_fault(self, _number: int) -> str:
        held = measure.healthy_hold(self._stand, HEALTHY_SECONDS)
        self._healthy += 1
        self._healthy_looks += held["looks"]
        if held["breach"]:
            self._fired.append(held["breach"]["text"])
            return f"FIRED: {held['breach']['text']}"
        return f"{held['looks']} looks, {held['verdict']}"
