"""What a pod is at a moment: its agents, its faults, its dependencies, its readiness."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time

from rehearsal.app.agent_files import AgentSet, load_agents
from rehearsal.app.connections import ping_redis, ping_tcp
from rehearsal.app.database import Database, DatabaseAway
from rehearsal.app.faults import FaultFile, Faults
from rehearsal.app.metrics import AgentMetrics, HttpMetrics, WorkflowMetrics
from rehearsal.app.readiness import (
    AgentCount,
    Check,
    Readiness,
    check_agents,
    check_connection,
    check_serving,
    check_start,
    judge,
)
from rehearsal.app.settings import Settings
from rehearsal.app.workflow_store import WorkflowStore
from rehearsal.app.workflows import WorkflowEngine

CRASH_DELAY_AT_START = 1.0
CRASH_DELAY_AT_FAULT = 0.05
CRASH_EXIT_CODE = 70
MEMORY_GROWTH_SECONDS = 3.0
MEMORY_STEPS = 30
MIB = 1024 * 1024

log = logging.getLogger(__name__)


class Pod:
    """One pod of the application. Create it inside the event loop that serves it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.started = time.monotonic()
        self.draining = False
        self.agents: AgentSet | None = None
        self.http_metrics = HttpMetrics()
        self.agent_metrics = AgentMetrics(self.agent_count, self.coordinates)
        self.workflow_metrics = WorkflowMetrics()
        self.database = Database(settings.database_url)
        self.store = WorkflowStore(self.database, settings.pod_name, settings.version)
        self.engine = WorkflowEngine(
            self.store,
            self.workflow_metrics,
            self.coordinates,
            phase_count=settings.phase_count,
            phase_seconds=settings.phase_seconds,
        )
        self.faults = Faults()
        self._fault_file = FaultFile(settings.state_dir)
        self._random = random.Random()
        self._crash: asyncio.TimerHandle | None = None
        self._growth: asyncio.Task[None] | None = None
        self._ballast: list[bytes] = []
        self._slow_until = 0.0

    async def start(self, faults: Faults) -> None:
        """Load agents, reach the database, begin with ``faults`` and those kept from before a restart."""
        self.faults = self._fault_file.read(faults)
        self._slow_until = self.started + self.faults.slow_start
        self._act_on_faults(CRASH_DELAY_AT_START)
        await self.database.open()
        self.engine.start()
        agents, problem = await asyncio.gather(
            asyncio.to_thread(load_agents, self.settings.agents_dir), self.database.problem()
        )
        self.agents = agents
        for failure in agents.failures:
            log.error("agent file %s", failure)
        log.info("loaded %d of %d agents", len(agents.agents), self.settings.agent_count)
        if problem:
            log.error("database: %s", problem)

    def drain(self) -> None:
        """Be ready for nothing new, from now on."""
        self.draining = True
        self.engine.stop_adopting()

    async def stop(self, timeout: float) -> None:
        """Let workflows end, then close what is open."""
        await self.engine.stop(timeout)
        await self.database.close()

    def agent_count(self) -> AgentCount:
        """Agents as they are now, the ``agents`` fault counted in."""
        total = self.settings.agent_count
        if self.agents is None:
            return AgentCount(False, total, 0, 0)
        down = min(self.faults.agents, len(self.agents.agents))
        return AgentCount(True, total, len(self.agents.agents) - down, len(self.agents.failures) + down)

    def coordinates(self) -> bool:
        """Whether the agents work together."""
        return self.agents is not None and not self.faults.coordination and self.agent_count().active > 0

    def startup(self) -> Readiness:
        """Over once the agents are loaded."""
        remaining = self._slow_until - time.monotonic()
        return judge([check_start(remaining), check_agents(self.agent_count())])

    async def readiness(self) -> Readiness:
        """All that must hold before requests may come, asked now. Takes at most about two seconds."""
        workflow, redis, external = await asyncio.gather(self._workflow_checks(), self._redis(), self._external())
        return judge([*self.startup().checks, *workflow, redis, external, check_serving(self.draining)])

    async def work(self) -> bool:
        """The time a request takes; False when an ``errors`` fault wants it to fail."""
        settings, faults = self.settings, self.faults
        seconds = 0.0
        if settings.work_median:
            seconds = settings.work_median * self._random.lognormvariate(0.0, settings.work_spread)
        if faults.latency:
            seconds += faults.latency * self._random.uniform(0.9, 1.1)
        if seconds:
            await asyncio.sleep(seconds)
        return not (faults.errors and self._random.random() < faults.errors)

    def set_faults(self, faults: Faults) -> None:
        """Put ``faults`` in force and keep what outlives a restart. Raises OSError when it can't be kept."""
        self._fault_file.write(faults)
        self.faults = faults
        log.warning("faults: %s", faults.as_dict())
        self._act_on_faults(CRASH_DELAY_AT_FAULT)

    def _act_on_faults(self, crash_delay: float) -> None:
        loop = asyncio.get_running_loop()
        if self._crash:
            self._crash.cancel()
        self._crash = loop.call_later(crash_delay, _die) if self.faults.crash else None
        if not self.faults.slow_start:
            self._slow_until = 0.0
        if self._growth:
            self._growth.cancel()
        self._growth = loop.create_task(self._grow(self.faults.memory))

    async def _grow(self, mib: int) -> None:
        """Hold ``mib`` MiB of memory that is really written to."""
        held = sum(map(len, self._ballast))
        if mib * MIB < held:
            self._ballast.clear()
            held = 0
        missing = mib * MIB - held
        for step in range(MEMORY_STEPS if missing else 0):
            self._ballast.append(b"\x55" * (missing * (step + 1) // MEMORY_STEPS - missing * step // MEMORY_STEPS))
            await asyncio.sleep(MEMORY_GROWTH_SECONDS / MEMORY_STEPS)

    async def _workflow_checks(self) -> tuple[Check, Check]:
        try:
            problem = await self.store.problem()
        except DatabaseAway as error:
            return check_connection("workflow", "the database is away"), check_connection("database", str(error))
        initialised = Check("workflow", problem is None, problem or f"{self.settings.phase_count} phases")
        return initialised, check_connection("database", None)

    async def _redis(self) -> Check:
        address = self.settings.redis
        problem = await ping_redis(address) if address else None
        return check_connection("redis", problem, configured=address is not None)

    async def _external(self) -> Check:
        services = self.settings.external
        problems = await asyncio.gather(*(ping_tcp(service) for service in services))
        text = "; ".join(problem for problem in problems if problem)
        return check_connection("external", text or None, configured=bool(services))


def _die() -> None:
    log.critical("crash fault: the process dies")
    os._exit(CRASH_EXIT_CODE)
