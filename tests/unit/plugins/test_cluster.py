"""The door to Kubernetes, against a server that answers as an API does, or as nobody should."""

from __future__ import annotations

import json
import socket
import time
import typing as t
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils import cluster as cluster_module
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import (
    CLUSTER_SPEC,
    Cluster,
    config_map,
    deployment,
    pod,
    service,
    virtual_service,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    InputError,
    NotFoundError,
    RolloutError,
    UnreachableError,
)
from tests.unit.plugins.web_server import Reply, Request, serve

REF = config_map("shop", "journal")


def open_cluster(url: str, **options: t.Any) -> Cluster:
    dry_run = options.pop("dry_run", False)
    return Cluster.from_options({"host": url, "api_key": "secret", **options}, dry_run=dry_run)


def status(code: int, reason: str, message: str = "said so") -> Reply:
    return Reply(code, json.dumps({"kind": "Status", "code": code, "reason": reason, "message": message}).encode())


def query(request: Request) -> dict[str, list[str]]:
    return parse_qs(urlsplit(request.path).query)


@pytest.mark.parametrize(
    ("ref", "path"),
    [
        (deployment("shop", "a"), "/apis/apps/v1/namespaces/shop/deployments/a"),
        (service("shop"), "/api/v1/namespaces/shop/services"),
        (virtual_service("s", "v"), "/apis/networking.istio.io/v1/namespaces/s/virtualservices/v"),
        (pod("", ""), "/api/v1/pods"),
        (service("a/b", "c?d"), "/api/v1/namespaces/a%2Fb/services/c%3Fd"),
    ],
)
def test_paths_need_no_discovery(ref: cluster_module.Ref, path: str) -> None:
    assert ref.path == path


def test_each_call_is_authenticated_and_counted() -> None:
    seen: list[Request] = []

    def answer(request: Request) -> Reply:
        seen.append(request)
        return Reply(body=b'{"items": [{"a": 1}]}')

    with serve(answer) as url:
        cluster = open_cluster(url, impersonate_user="deputy", impersonate_groups=["ops", "sre"])
        assert cluster.list(pod("shop"), {"b": "2", "a": "1"}) == [{"a": 1}]
        cluster.get(REF)
    assert cluster.calls == 2
    assert query(seen[0]) == {"labelSelector": ["a=1,b=2"]}
    assert seen[0].headers["authorization"] == "Bearer secret"
    assert seen[0].headers["impersonate-user"] == "deputy"


@pytest.mark.parametrize("dry_run", [False, True])
def test_every_write_is_a_dry_run_in_check_mode(dry_run: bool) -> None:
    seen: list[Request] = []

    def answer(request: Request) -> Reply:
        seen.append(request)
        return Reply()

    with serve(answer) as url:
        cluster = open_cluster(url, dry_run=dry_run)
        cluster.create(REF, {})
        cluster.replace(REF, {})
        cluster.patch(REF, {})
        cluster.patch(REF, [], kind="json")
        cluster.delete(REF)
    assert [request.method for request in seen] == ["POST", "PUT", "PATCH", "PATCH", "DELETE"]
    assert all(("dryRun" in query(request)) is dry_run for request in seen)
    assert urlsplit(seen[0].path).path == "/api/v1/namespaces/shop/configmaps"
    assert [request.headers["content-type"] for request in seen[2:4]] == [
        "application/merge-patch+json",
        "application/json-patch+json",
    ]


@pytest.mark.parametrize(
    ("reply", "error", "said"),
    [
        (status(401, "Unauthorized"), ForbiddenError, r"doesn't accept the credentials \(401\).*kubeconfig"),
        (status(403, "Forbidden", "user ops may not"), ForbiddenError, "user ops may not"),
        (status(404, "NotFound"), NotFoundError, "ConfigMap shop/journal doesn't exist"),
        (Reply(404, b"404 page not found\n"), NotFoundError, "doesn't serve configmaps of v1; is its CRD"),
        (status(409, "Conflict"), ConflictError, "refused with 409 Conflict: said so"),
        (status(422, "Invalid"), ClusterError, "GET of ConfigMap shop/journal was refused with 422 Invalid"),
        (Reply(500, b"broken"), ClusterError, "500 : broken"),
        (Reply(200, b"<html>"), UnreachableError, "isn't a Kubernetes API"),
    ],
)
def test_refusals_have_names(reply: Reply, error: type[RolloutError], said: str) -> None:
    with serve(lambda _request: reply) as url, pytest.raises(error, match=said) as caught:
        open_cluster(url).get(REF)
    assert "secret" not in str(caught.value.payload())


def test_find_gives_none_for_what_is_not_there() -> None:
    with serve(lambda _request: status(404, "NotFound")) as url:
        assert open_cluster(url).find(REF) is None


@pytest.mark.parametrize(
    ("method", "first", "calls"),
    [
        ("get", status(503, "ServiceUnavailable"), 2),
        ("get", status(429, "TooManyRequests"), 2),
        ("get", Reply(None), 2),
        ("patch", Reply(None), 2),
        ("patch", status(429, "TooManyRequests"), 2),
        ("create", status(429, "TooManyRequests"), 2),
        ("delete", status(503, "ServiceUnavailable"), 2),
        ("delete", Reply(None), 2),
    ],
)
def test_what_can_do_no_harm_is_tried_again(method: str, first: Reply, calls: int) -> None:
    replies = iter([first])
    with serve(lambda _request: next(replies, Reply())) as url:
        cluster = open_cluster(url)
        getattr(cluster, method)(*([REF] if method in ("get", "delete") else [REF, {}]))
    assert cluster.calls == calls


@pytest.mark.parametrize("first", [Reply(None), status(503, "ServiceUnavailable")])
@pytest.mark.parametrize("method", ["create", "replace"])
def test_a_write_that_may_have_been_done_is_not_repeated(method: str, first: Reply) -> None:
    with serve(lambda _request: first) as url:
        cluster = open_cluster(url)
        with pytest.raises(ClusterError):
            getattr(cluster, method)(REF, {})
    assert cluster.calls == 1


def test_an_api_that_is_not_there_is_given_up_on_soon() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(UnreachableError, match=r"can't be reached: .*refused.*check kubeconfig"):
            open_cluster(url).get(REF)
    assert time.monotonic() - started < 4


def test_an_api_that_hangs_is_waited_for_no_longer_than_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(UnreachableError, match=r"didn't answer within 0.3 s \(api_timeout\)"):
            open_cluster(url, api_timeout=0.3).get(REF)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("text", "context", "said"),
    [
        (None, None, "kubeconfig .*: can't be used to reach a cluster"),
        ("[unclosed", None, "kubeconfig .*: can't be used"),
        ("just text", None, "kubeconfig .*: can't be used"),
        (json.dumps({"contexts": [], "clusters": [], "users": []}), "prod", r"\(context prod\).*prod"),
    ],
)
def test_a_kubeconfig_that_is_no_use_is_named(tmp_path: Path, text: str | None, context: str | None, said: str) -> None:
    path = tmp_path / "kubeconfig"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=said):
        Cluster.from_options({"kubeconfig": str(path), "context": context})


def test_a_kubeconfig_gives_server_and_token_and_options_win(tmp_path: Path) -> None:
    tokens: list[str] = []

    def answer(request: Request) -> Reply:
        tokens.append(request.headers["authorization"])
        return Reply()

    with serve(answer) as url:
        path = tmp_path / "kubeconfig"
        named = {"name": "x", "cluster": {"server": url}}
        context = {"name": "x", "context": {"cluster": "x", "user": "x"}}
        user = {"name": "x", "user": {"token": "from-file"}}
        path.write_text(
            json.dumps({"clusters": [named], "contexts": [context], "users": [user], "current-context": "x"})
        )
        for options in ({}, {"api_key": "from-option"}):
            cluster = Cluster.from_options({"kubeconfig": str(path), **options})
            cluster.get(REF)
            assert cluster.server == url
    assert tokens == ["Bearer from-file", "Bearer from-option"]


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ca_cert"):
        Cluster.from_options({"host": "https://127.0.0.1:1", "api_key": "x", "ca_cert": str(tmp_path / "none.pem")})


def test_without_the_client_library_a_sentence_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "IMPORT_ERROR", "Traceback ...")
    with pytest.raises(RolloutError, match="kubernetes"):
        Cluster.from_options({"host": "http://127.0.0.1:1", "api_key": "x"})


def test_options_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8S_AUTH_KUBECONFIG", "/etc/kubeconfig")
    monkeypatch.setenv("K8S_AUTH_VERIFY_SSL", "no")
    options = CLUSTER_SPEC.validate({})
    assert (options["kubeconfig"], options["validate_certs"], options["api_timeout"]) == ("/etc/kubeconfig", False, 10)


def test_specs_merge_with_their_rules() -> None:
    spec = CLUSTER_SPEC.merge(ArgumentSpec({"weight": {"type": "int"}}))
    with pytest.raises(InputError, match="client_cert, client_key"):
        spec.validate({"client_cert": "/a"})
    assert spec.validate({"weight": "5"})["weight"] == 5
    with pytest.raises(ValueError, match="weight"):
        spec.merge(ArgumentSpec({"weight": {}}))
