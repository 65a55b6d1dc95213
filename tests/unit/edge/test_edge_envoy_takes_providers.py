"""Envoy itself checks what is made of HTTPRoutes, Ingresses and Routes."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rehearsal.edge.configuration import Configuration
from tests.unit.edge.edge_objects import Object
from tests.unit.edge.provider_objects import CANDIDATE, STABLE, configured, http_route, ingress, path, weights_rule
from tests.unit.edge.provider_strategies import HTTP_ROUTES, OPENSHIFT_ROUTES, ingresses
from tests.unit.edge.test_edge_envoy_takes_it import verdict

MANY = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))


def is_taken(made: Configuration, folder: Path) -> None:
    assert [problem for problem in made.problems if problem.reason == "NotTranslated"] == []
    assert verdict(made, folder) == ""


@MANY
@given(route=HTTP_ROUTES)
def test_whatever_http_route_is_translated_is_taken(tmp_path: Path, route: Object) -> None:
    is_taken(configured(tmp_path, route), tmp_path)


@MANY
@given(items=ingresses())
def test_whatever_ingress_is_translated_is_taken(tmp_path: Path, items: list[Object]) -> None:
    is_taken(configured(tmp_path, *items), tmp_path)


@MANY
@given(route=OPENSHIFT_ROUTES, without=st.sampled_from([(), (STABLE,), (CANDIDATE,), (STABLE, CANDIDATE)]))
def test_whatever_route_is_translated_is_taken(tmp_path: Path, route: Object, without: tuple[str, ...]) -> None:
    is_taken(configured(tmp_path, route, without=without), tmp_path)


def test_rewrites_of_paths(tmp_path: Path) -> None:
    rules = [
        weights_rule(
            5, matches=[path("/a.b")], filters=[rewrite({"type": "ReplacePrefixMatch", "replacePrefixMatch": to})]
        )
        for to in ("/", "/x", "/x/")
    ]
    rules.append(weights_rule(5, filters=[rewrite({"type": "ReplaceFullPath", "replaceFullPath": r"/a\b"})]))
    main = ingress("claude-enhancer", STABLE, ("/app(/|$)(.*)", "ImplementationSpecific"), rewrite_target="/$2")
    is_taken(configured(tmp_path, http_route(*rules), main), tmp_path)


def rewrite(change: Object) -> Object:
    return {"type": "URLRewrite", "urlRewrite": {"path": change}}
