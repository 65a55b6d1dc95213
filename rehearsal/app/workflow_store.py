"""Workflow state in PostgreSQL. Each step is one statement, so it either happened or it did not."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from rehearsal.app.database import Database

_COLUMNS = "id, name, phase, status, payload, version, owner, created_at, updated_at"

_CREATE = f"""
INSERT INTO workflow_states (id, name, payload, version, owner) VALUES ($1, $2, $3, $4, $5) RETURNING {_COLUMNS}"""

# The conditions on owner and phase keep a pod from writing over one that took the workflow from it.
_ADVANCE = f"""
WITH moved AS (
    UPDATE workflow_states SET phase = $4, status = $5, updated_at = now()
    WHERE id = $1 AND owner = $2 AND phase = $3 AND status = 'running' RETURNING {_COLUMNS}
), logged AS (
    INSERT INTO workflow_phase_log (workflow_id, phase, result, detail, version, pod, started_at)
    SELECT id, $3, $6, $7, $8, $2, $9 FROM moved
)
SELECT {_COLUMNS} FROM moved"""

_ADOPT = f"""
UPDATE workflow_states SET owner = $1, updated_at = now() WHERE id IN (
    SELECT id FROM workflow_states
    WHERE status = 'running' AND (owner IS NULL OR updated_at < now() - make_interval(secs => $2))
    ORDER BY updated_at LIMIT $3 FOR UPDATE SKIP LOCKED
) RETURNING {_COLUMNS}"""


@dataclass(frozen=True)
class Workflow:
    """One row of ``workflow_states``."""

    id: uuid.UUID
    name: str
    phase: int
    status: str
    payload: dict[str, Any]
    version: str
    owner: str | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def from_record(cls, record: asyncpg.Record) -> Workflow:
        fields = dict(record)
        fields["payload"] = json.loads(fields["payload"])
        return cls(**fields)

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": str(self.id),
            "name": self.name,
            "phase": self.phase,
            "status": self.status,
            "payload": self.payload,
            "version": self.version,
            "pod": self.owner,
            "created_at": self.created_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
        }


@dataclass(frozen=True)
class PhaseEnd:
    """How a phase ended; ``following`` is the phase the workflow stands in afterwards."""

    phase: int
    following: int
    status: str
    result: str
    detail: dict[str, Any]
    started_at: datetime


class WorkflowStore:
    """The workflows of all pods, written as ``owner`` (the pod) of ``version``. All methods raise DatabaseAway."""

    def __init__(self, database: Database, owner: str, version: str) -> None:
        self._database = database
        self._owner = owner
        self._version = version

    async def problem(self) -> str | None:
        """Why workflows can't be kept, or None."""
        row = await self._database.fetchrow(
            "SELECT to_regclass('workflow_states') IS NOT NULL AND to_regclass('workflow_phase_log') IS NOT NULL AS ok"
        )
        return None if row is not None and row["ok"] else "table workflow_states or workflow_phase_log is missing"

    async def create(self, name: str, payload: dict[str, Any]) -> Workflow:
        row = await self._database.fetchrow(
            _CREATE, uuid.uuid4(), name, json.dumps(payload), self._version, self._owner
        )
        assert row is not None, "INSERT ... RETURNING answers a row"
        return Workflow.from_record(row)

    async def find(self, workflow_id: uuid.UUID) -> Workflow | None:
        row = await self._database.fetchrow(f"SELECT {_COLUMNS} FROM workflow_states WHERE id = $1", workflow_id)
        return Workflow.from_record(row) if row else None

    async def newest(self, status: str | None, limit: int) -> list[Workflow]:
        """At most ``limit`` workflows, those of ``status`` only if given."""
        rows = await self._database.fetch(
            f"SELECT {_COLUMNS} FROM workflow_states WHERE $1::text IS NULL OR status = $1 "
            "ORDER BY created_at DESC LIMIT $2",
            status,
            limit,
        )
        return [Workflow.from_record(row) for row in rows]

    async def phases(self, workflow_id: uuid.UUID) -> list[dict[str, Any]]:
        """The log of a workflow, oldest first, as JSON values."""
        rows = await self._database.fetch(
            "SELECT phase, result, detail, version, pod, started_at, ended_at FROM workflow_phase_log "
            "WHERE workflow_id = $1 ORDER BY id",
            workflow_id,
        )
        return [
            dict(row)
            | {
                "detail": json.loads(row["detail"]),
                "started_at": row["started_at"].isoformat(),
                "ended_at": row["ended_at"].isoformat(),
            }
            for row in rows
        ]

    async def end_phase(self, workflow: Workflow, end: PhaseEnd) -> Workflow | None:
        """Write the end of a phase. None when the workflow is no longer ours or no longer runs."""
        row = await self._database.fetchrow(
            _ADVANCE,
            workflow.id,
            self._owner,
            end.phase,
            end.following,
            end.status,
            end.result,
            json.dumps(end.detail),
            self._version,
            end.started_at,
        )
        if row is not None:
            return Workflow.from_record(row)
        # An earlier try may have been written although its answer was lost with the connection.
        current = await self.find(workflow.id)
        ours = current is not None and current.owner == self._owner
        return current if ours and current is not None and _is_written(current, end) else None

    async def adopt(self, stale: float, most: int) -> list[Workflow]:
        """Take over running workflows without an owner, or not written for ``stale`` seconds."""
        rows = await self._database.fetch(_ADOPT, self._owner, stale, most)
        return [Workflow.from_record(row) for row in rows]

    async def hand_over(self) -> None:
        """Leave our running workflows to other pods."""
        await self._database.fetch(
            "UPDATE workflow_states SET owner = NULL WHERE owner = $1 AND status = 'running'", self._owner
        )


def _is_written(current: Workflow, end: PhaseEnd) -> bool:
    return (current.phase, current.status) == (end.following, end.status)
