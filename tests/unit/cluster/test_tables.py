"""Cells of ``kubectl get``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rehearsal.cluster.resources import BUILTIN
from rehearsal.cluster.tables import columns_of, duration, json_path, row_of

POD = next(resource for resource in BUILTIN if resource.kind == "Pod")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (5, "5s"),
        (119, "119s"),
        (190, "3m10s"),
        (1800, "30m"),
        (4 * 3600 + 60, "4h1m"),
        (30 * 3600, "30h"),
        (86400 * 9, "9d"),
    ],
)
def test_durations(seconds: int, expected: str) -> None:
    moment = datetime.now(UTC) - timedelta(seconds=seconds + 0.2)
    assert duration(moment.isoformat().replace("+00:00", "Z")) == expected


def test_simple_json_paths() -> None:
    item = {"s": {"c": [{"type": "Ready", "status": "True"}, {"type": "X", "status": "False"}], "n": 3}}
    assert json_path(item, ".s.n") == 3
    assert json_path(item, ".s.c[1].type") == "X"
    assert json_path(item, '.s.c[?(@.type=="Ready")].status') == "True"
    assert json_path(item, ".s.c[*].type") == "Ready,X"
    assert json_path(item, ".s.nothing") is None


@pytest.mark.parametrize(
    ("status", "deleted", "expected"),
    [
        ({"phase": "Pending"}, False, ["p", "0/1", "Pending", "0"]),
        (
            {"phase": "Running", "containerStatuses": [{"ready": True, "restartCount": 0}]},
            False,
            ["p", "1/1", "Running", "0"],
        ),
        (
            {
                "phase": "Running",
                "containerStatuses": [{"restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
            },
            False,
            ["p", "0/1", "CrashLoopBackOff", "2"],
        ),
        ({"phase": "Running"}, True, ["p", "0/1", "Terminating", "0"]),
    ],
)
def test_the_state_of_a_pod_in_a_word(status: dict[str, Any], deleted: bool, expected: list[str]) -> None:
    metadata = {"name": "p"} | ({"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleted else {})
    pod = {"metadata": metadata, "spec": {"containers": [{"name": "c"}]}, "status": status}
    assert row_of(pod, POD)[:4] == expected
    assert [column["name"] for column in columns_of(POD)] == [
        "Name",
        "Ready",
        "Status",
        "Restarts",
        "Age",
        "IP",
        "Node",
    ]
