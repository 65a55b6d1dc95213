"""The world that is measured, under its steady load: reading what it shows, breaking and healing it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from rehearsal import faults
from rehearsal.client import KubeClient
from rehearsal.load.report import LoadReport, read_report
from rehearsal.world import World
from scripts.rehearse.cluster import MESH, NAME, read_journal
from tests.bench.calls import Call, read_calls
from tests.bench.playbook import BenchError

STABLE, CANDIDATE = "5.0", "5.1"
PATIENCE = 30.0
POLL = 0.1
# The API server brings its audit log to disk every half second.
AUDIT_DELAY = 0.7


def wait_for(what: str, done: Callable[[], bool]) -> None:
    """Wait until ``done``. Raises BenchError naming ``what`` after ``PATIENCE`` seconds."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise BenchError(f"{what} did not come within {PATIENCE:.0f} s")
        time.sleep(POLL)


class Stand:
    """A running world with load on it."""

    def __init__(self, world: World) -> None:
        self.world = world

    def load_after(self, moment: float) -> LoadReport:
        """What the load counted, told after ``moment`` (unix seconds)."""
        wait_for("a report of the load", lambda: read_report(self.world.home).updated > moment)
        return read_report(self.world.home)

    def wait_for_candidate(self, since: float) -> None:
        """Wait until the candidate has answered a request that was sent after ``since``."""

        def answered() -> bool:
            counted = read_report(self.world.home).versions.get(CANDIDATE)
            return counted is not None and counted.last_sent > since

        wait_for("a request to the candidate", answered)

    def last_candidate_request(self, began: float, ended: float, *, quiet: float = 0.0) -> tuple[float, float]:
        """When the candidate's last request was sent, and answered; both unix seconds, within ``began`` and ``ended``.

        It may have come up to ``quiet`` seconds before ``began``, where requests are rare and the way back is fast:
        then that is ``began``. A request that got no answer with a version counts as the candidate's. Raises
        BenchError when there was none.
        """
        report = self.load_after(ended)
        counted = report.versions[CANDIDATE]
        lost = [failure for failure in report.failures if failure["version"] not in (STABLE, CANDIDATE)]
        sent = max([counted.last_sent, *(failure["sent"] for failure in lost)])
        answered = max([counted.last_answer, *(failure["time"] for failure in lost)])
        if not began - quiet <= sent <= ended:
            raise BenchError(
                f"the candidate's last request was sent {sent - began:.3f} s from the start of the process"
            )
        return max(sent, began), max(answered, began)

    def calls(self) -> list[Call]:
        """All that the audit log holds by now."""
        time.sleep(AUDIT_DELAY)
        with self.world.audit_log.open() as lines:
            return read_calls(lines)

    def journal(self) -> dict[str, Any]:
        """The journal as it lies in the cluster."""
        found = asyncio.run(read_journal(self.world))
        if found is None:
            raise BenchError("there is no journal in the cluster")
        return found

    def releasing(self) -> bool:
        """Whether a release is in progress."""
        found = asyncio.run(read_journal(self.world))
        return found is not None and found["state"] == "in_progress"

    def http_routes(self) -> list[dict[str, Any]]:
        """The routes of the VirtualService."""

        async def read() -> list[dict[str, Any]]:
            async with KubeClient.from_kubeconfig(self.world.kubeconfig, "rehearsal-bench") as client:
                routes: list[dict[str, Any]] = (await client.get(f"{MESH}/virtualservices/{NAME}"))["spec"]["http"]
                return routes

        return asyncio.run(read())

    def fault(self, body: dict[str, Any]) -> None:
        """Break the candidate's pods; ``{}`` heals them. Raises BenchError when one does not take it."""
        outcomes = asyncio.run(faults.inject(self.world, body, version=CANDIDATE, pod=None))
        refused = [f"{outcome.pod}: {outcome.error}" for outcome in outcomes if outcome.error]
        if refused:
            raise BenchError(f"a fault was not taken by {', '.join(refused)}")


def with_weight(routes: list[dict[str, Any]], weight: int) -> list[dict[str, Any]]:
    """Routes of a VirtualService, each weighted one with ``weight`` percent for the candidate."""
    shares = {"stable": 100 - weight, "candidate": weight}

    def destination(entry: dict[str, Any]) -> dict[str, Any]:
        return entry | {"weight": shares[entry["destination"]["subset"]]}

    def route(one: dict[str, Any]) -> dict[str, Any]:
        subsets = {entry["destination"].get("subset") for entry in one.get("route", [])}
        return one | {"route": [destination(entry) for entry in one["route"]]} if subsets == set(shares) else one

    return [route(one) for one in routes]
