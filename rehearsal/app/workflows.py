"""The workflow engine of a pod: eight phases, the fourth with tasks in parallel."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from rehearsal.app.database import DatabaseAway
from rehearsal.app.metrics import WorkflowMetrics
from rehearsal.app.workflow_store import PhaseEnd, Workflow, WorkflowStore

PARALLEL_PHASE = 3
PARALLEL_TASKS = 4
ADOPT_SECONDS = 2.0
ADOPT_MOST = 4
STALE_SECONDS = 15.0
RETRY_SECONDS = 0.3

log = logging.getLogger(__name__)


class PhaseError(Exception):
    """A phase could not do its work."""


class WorkflowEngine:
    """Runs workflows as tasks of the event loop.

    ``coordinates`` tells whether agents coordinate: without that no phase with parallel tasks succeeds.
    ``phase_seconds`` is about how long a phase takes.
    """

    def __init__(
        self,
        store: WorkflowStore,
        metrics: WorkflowMetrics,
        coordinates: Callable[[], bool],
        *,
        phase_count: int,
        phase_seconds: float,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._coordinates = coordinates
        self._phase_count = phase_count
        self._phase_seconds = phase_seconds
        self._random = random.Random()
        self._running: set[asyncio.Task[None]] = set()
        self._adopting: asyncio.Task[None] | None = None

    @property
    def running(self) -> int:
        return len(self._running)

    def start(self) -> None:
        """Begin to take over workflows that other pods left."""
        self._adopting = asyncio.create_task(self._adopt_forever())

    def stop_adopting(self) -> None:
        """Take over nothing more; what runs runs on."""
        if self._adopting:
            self._adopting.cancel()

    async def submit(self, name: str, payload: dict[str, Any]) -> Workflow:
        """Write a new workflow and run it. Raises DatabaseAway."""
        workflow = await self._store.create(name, payload)
        self._launch(workflow)
        return workflow

    async def stop(self, timeout: float) -> None:
        """Let running workflows end within ``timeout`` seconds; hand the others over to other pods."""
        self.stop_adopting()
        if not self._running:
            return
        _, late = await asyncio.wait(self._running, timeout=timeout)
        if late:
            for task in late:
                task.cancel()
            await asyncio.wait(late)
            try:
                await self._store.hand_over()
            except DatabaseAway as error:
                log.warning("workflows could not be handed over, they are taken over as stale: %s", error)

    def _launch(self, workflow: Workflow) -> None:
        task = asyncio.create_task(self._run(workflow))
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._metrics.errors.inc()
            log.error("a workflow was given up", exc_info=error)

    async def _run(self, workflow: Workflow) -> None:
        current: Workflow | None = workflow
        while current is not None and current.status == "running":
            current = await self._run_phase(current)

    async def _run_phase(self, workflow: Workflow) -> Workflow | None:
        """Do the work of the phase the workflow stands in and write its end."""
        started_at = datetime.now(UTC)
        try:
            detail = await self._work(workflow.phase)
        except PhaseError as error:
            self._metrics.errors.inc()
            log.error("workflow %s failed in phase %d: %s", workflow.id, workflow.phase, error)
            end = PhaseEnd(workflow.phase, workflow.phase, "failed", "failure", {"error": str(error)}, started_at)
        else:
            last = workflow.phase >= self._phase_count - 1
            following, status = (workflow.phase, "completed") if last else (workflow.phase + 1, "running")
            end = PhaseEnd(workflow.phase, following, status, "success", detail, started_at)
        written = await self._write(workflow, end)
        if written is not None:
            self._count(end)
        return written

    async def _work(self, phase: int) -> dict[str, Any]:
        if phase != PARALLEL_PHASE:
            await self._task()
            return {}
        if not self._coordinates():
            raise PhaseError("agents do not coordinate")
        await asyncio.gather(*(self._task() for _ in range(PARALLEL_TASKS)))
        return {"parallel_tasks": PARALLEL_TASKS}

    async def _task(self) -> None:
        await asyncio.sleep(self._phase_seconds * self._random.uniform(0.7, 1.3))

    async def _write(self, workflow: Workflow, end: PhaseEnd) -> Workflow | None:
        """Write until the database takes it: its absence delays a workflow and does not fail it."""
        while True:
            try:
                return await self._store.end_phase(workflow, end)
            except DatabaseAway as error:
                log.warning("workflow %s waits for the database: %s", workflow.id, error)
                await asyncio.sleep(RETRY_SECONDS)

    def _count(self, end: PhaseEnd) -> None:
        (self._metrics.moved if end.result == "success" else self._metrics.stuck).inc()
        if end.status == "completed":
            self._metrics.succeeded.inc()
        elif end.status == "failed":
            self._metrics.failed.inc()

    async def _adopt_forever(self) -> None:
        # A workflow is written at least once a phase: one that was not for several phases has lost its pod.
        stale = max(STALE_SECONDS, 4 * self._phase_seconds)
        while True:
            await asyncio.sleep(ADOPT_SECONDS * self._random.uniform(0.8, 1.2))
            try:
                for workflow in await self._store.adopt(stale, ADOPT_MOST):
                    log.info("took over workflow %s in phase %d", workflow.id, workflow.phase)
                    self._launch(workflow)
            except DatabaseAway as error:
                log.warning("no look for workflows left by other pods: %s", error)
