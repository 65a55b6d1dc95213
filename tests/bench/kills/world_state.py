"""What a world holds that a release must leave as it was, or finish: objects, weights, rows of the workflow tables."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import psycopg

from rehearsal.client import KubeClient, Object
from rehearsal.world import World
from tests.bench.stage_state import COLLECTIONS, written

OWN = ("app.kubernetes.io/managed-by", "claude_enhancer.rollout")
TABLES = ("workflow_states", "workflow_phase_log")

Objects = dict[str, Object]
"""By their path in the API."""


def read_objects(world: World) -> Objects:
    """All that a release may touch, as its owners wrote it; what the collection keeps of releases is left out."""

    async def read() -> Objects:
        found: Objects = {}
        async with KubeClient.from_kubeconfig(world.kubeconfig, "rehearsal-bench") as client:
            for collection in COLLECTIONS:
                for item in (await client.get(collection))["items"]:
                    if (item["metadata"].get("labels") or {}).get(OWN[0]) != OWN[1]:
                        found[f"{collection}/{item['metadata']['name']}"] = written(item)
        return found

    return asyncio.run(read())


def differences(before: Objects, after: Objects) -> list[str]:
    """What is not as it was, one sentence each. Pure."""
    names = {path: path.rsplit("/", 2)[-2:] for path in before.keys() | after.keys()}
    told = [f"{'/'.join(names[path])} is gone" for path in before.keys() - after.keys()]
    told += [f"{'/'.join(names[path])} is left over" for path in after.keys() - before.keys()]
    for path in before.keys() & after.keys():
        fields = sorted(_changed(before[path], after[path]))
        if fields:
            told.append(f"{'/'.join(names[path])} differs in {', '.join(fields)}")
    return sorted(told)


def _changed(one: Any, other: Any, at: str = "") -> set[str]:
    """Paths of the fields that differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = one.keys() | other.keys()
        return {path for key in keys for path in _changed(one.get(key), other.get(key), f"{at}.{key}".lstrip("."))}
    return set() if one == other else {at}


@dataclass
class Rows:
    """Keys of rows that were ever seen, per table: each must stay."""

    world: World
    seen: dict[str, set[str]]

    @classmethod
    def watch(cls, world: World) -> Rows:
        rows = cls(world, {table: set() for table in TABLES})
        rows.lost()
        return rows

    def lost(self) -> int:
        """How many of the rows that were ever seen are not there now; remembers those that are."""
        missing = 0
        with psycopg.connect(self.world.postgres_dsn) as connection:
            for table, known in self.seen.items():
                now = {str(key) for (key,) in connection.execute(f"SELECT id FROM {table}")}
                missing += len(known - now)
                known |= now
        return missing

    @property
    def count(self) -> int:
        return sum(len(known) for known in self.seen.values())
