"""Weights as a person would write them into the routes."""

from __future__ import annotations

import copy

import yaml

from rehearsal.manifests import __path__ as manifests
from tests.bench.stand import with_weight


def test_only_routes_with_both_sides_change() -> None:
    with open(f"{next(iter(manifests))}/60-traffic.yaml") as file:
        objects = [body for body in yaml.safe_load_all(file) if body and body["kind"] == "VirtualService"]
    routes = objects[0]["spec"]["http"]
    before = copy.deepcopy(routes)
    changed = with_weight(routes, 5)
    assert routes == before
    assert with_weight(changed, 0) == with_weight(before, 0)
    pairs = [[entry.get("weight") for entry in route["route"]] for route in changed]
    assert {tuple(pair) for pair in pairs if len(pair) == 2} == {(95, 5)}
    assert [one for one in changed if len(one["route"]) == 1] == [one for one in before if len(one["route"]) == 1]
