"""The audit log: what is on record, in the form of audit.k8s.io, and when it is there."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rehearsal.cluster import audit, pki
from rehearsal.cluster.server import ApiServer
from rehearsal.world import World
from tests.unit.cluster.test_server import PODS, Client, serving

ISTIO = "/apis/networking.istio.io/v1/namespaces/default/virtualservices/v"


def recorded(folder: Path, requests: list[tuple[str, str, str, str]]) -> list[dict[str, Any]]:
    """The events after each (method, path, user, agent) was asked for."""

    async def run() -> list[dict[str, Any]]:
        world = World.make("test", folder, 44)
        credentials = pki.ensure(world)
        log = audit.AuditLog(world.audit_log)
        api = ApiServer(credentials, log)
        tokens = {user.name: token for token, user in pki.read_tokens(credentials).items()}
        writing = asyncio.create_task(log.run())
        async with serving(api.handle) as port, aiohttp.ClientSession() as session:
            client = Client(session, f"http://127.44.0.2:{port}", tokens)
            for method, path, user, agent in requests:
                await client.ask(method, path, user=user, User_Agent=agent)
            await api.handlers.close()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        return [json.loads(line) for line in world.audit_log.read_text().splitlines()]

    return asyncio.run(run())


def test_a_request_is_told_as_kube_apiserver_tells_it(tmp_path: Path) -> None:
    (found,) = recorded(tmp_path, [("GET", f"{PODS}/p/status?pretty=1", "admin", "claude-enhancer-rollout")])
    assert len(found.pop("auditID")) == 36
    received, told = (datetime.fromisoformat(found.pop(key)) for key in ("requestReceivedTimestamp", "stageTimestamp"))
    assert received <= told
    assert found == {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "stage": "ResponseComplete",
        "requestURI": f"{PODS}/p/status?pretty=1",
        "verb": "get",
        "user": {"username": "admin"},
        "userAgent": "claude-enhancer-rollout",
        "objectRef": {
            "resource": "pods",
            "namespace": "default",
            "name": "p",
            "apiVersion": "v1",
            "subresource": "status",
        },
        "responseStatus": {"metadata": {}, "code": 404},
    }


@pytest.mark.parametrize(
    ("request_", "verb", "user", "code"),
    [
        (("GET", PODS, "ops", "kubectl"), "list", "ops", 403),
        (("DELETE", PODS, "admin", "kubectl"), "deletecollection", "admin", 200),
        (("GET", "/readyz", "", "curl"), "get", "system:anonymous", 200),
        (("PATCH", ISTIO, "admin", "kubectl"), "patch", "admin", 404),
    ],
)
def test_refusals_strangers_and_other_paths(
    tmp_path: Path, request_: tuple[str, str, str, str], verb: str, user: str, code: int
) -> None:
    (found,) = recorded(tmp_path, [request_])
    assert (found["verb"], found["user"]["username"], found["responseStatus"]["code"]) == (verb, user, code)
    assert ("objectRef" in found) == (request_[1] != "/readyz")


def test_the_worlds_own_parts_are_not_on_record(tmp_path: Path) -> None:
    asked = [("GET", PODS, "admin", agent) for agent in ("rehearsal", "rehearsal-node", "kubectl")]
    assert [found["userAgent"] for found in recorded(tmp_path, asked)] == ["kubectl"]


def test_a_watch_is_on_record_once(tmp_path: Path) -> None:
    watch = f"{PODS}?watch=1&sendInitialEvents=true&timeoutSeconds=1"
    (found,) = recorded(tmp_path, [("GET", watch, "admin", "kubectl")])
    assert (found["verb"], found["stage"], found["responseStatus"]["code"]) == ("watch", "ResponseStarted", 200)


def test_what_was_noted_is_soon_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "FLUSH_SECONDS", 0.01)

    async def run() -> None:
        log = audit.AuditLog(tmp_path / "logs" / "audit.log")
        writing = asyncio.create_task(log.run())
        log.note({"kind": "Event"})
        assert (tmp_path / "logs" / "audit.log").read_text() == ""
        await asyncio.sleep(0.1)
        assert (tmp_path / "logs" / "audit.log").read_text() == '{"kind":"Event"}\n'
        writing.cancel()

    asyncio.run(run())
