"""The recorded exchanges with a real kube-apiserver, replayed in order: same status, same meaning."""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from rehearsal.client import KubeClient
from rehearsal.world import World

RECORD = json.loads((Path(__file__).parents[1] / "fixtures" / "kubernetes_api_exchanges.json").read_text())
NAMESPACE = RECORD["namespace"]
PLACEHOLDER = re.compile(r"<(uid|time|ip|token)>")
VERSION = re.compile(r"<rv (\d+)>")
CONFIG_MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
UID = "00000000-0000-0000-0000-000000000000"

# What the recording did between two exchanges without writing it down: the objects the next one needs.
PREPARED: dict[str, list[dict[str, Any]]] = {
    "list-all": [
        {"metadata": {"name": "agent-0", "labels": {"tier": "standard", "phase": "0"}}},
        {"metadata": {"name": "agent-1", "labels": {"tier": "standard", "phase": "1"}}},
        {"metadata": {"name": "agent-2", "labels": {"tier": "system"}}},
    ],
    "finalizer-delete": [{"metadata": {"name": "fin", "finalizers": ["example.com/hold"]}}],
}


class Replay:
    """Sends requests as the recording's client did, and remembers what placeholders stood for."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.context = ssl.create_default_context(cafile=str(world.home / "pki" / "ca.crt"))
        tokens = [line.split(",")[:2] for line in (world.home / "pki" / "tokens.csv").read_text().splitlines()]
        self.tokens = {name: token for token, name in tokens} | {"bad": "nobody-issued-this"}
        self.answers: dict[str, Any] = {}
        self.versions: dict[tuple[str, str], str] = {}

    def send(
        self, method: str, path: str, *, token: str = "admin", body: str | None = None, content_type: str | None = None
    ) -> tuple[int, Any]:
        target = urlsplit(self.world.api_url)
        connection = http.client.HTTPSConnection(str(target.hostname), target.port, timeout=10, context=self.context)
        headers = {"Authorization": f"Bearer {self.tokens[token]}", "User-Agent": "Python-urllib/3.11"}
        if content_type:
            headers["Content-Type"] = content_type
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            raw = answer.read().decode()
        finally:
            connection.close()
        if "json" not in (answer.getheader("Content-Type") or ""):
            return answer.status, {"<text>": raw}
        lines = [line for line in raw.splitlines() if line.strip()]
        return answer.status, [json.loads(line) for line in lines] if "watch=1" in path else json.loads(raw)

    def write(self, method: str, path: str, body: Any, content_type: str = "application/json") -> Any:
        status, answer = self.send(method, path, body=json.dumps(body), content_type=content_type)
        assert status < 300, answer
        return answer

    def body_of(self, exchange: dict[str, Any]) -> str | None:
        if exchange["rawBody"] is not None:
            return str(exchange["rawBody"])
        body = exchange["body"]
        if body is None:
            return None
        if body == "<the object of dep-get, with its old resourceVersion>":
            return json.dumps(self.answers["dep-get"])
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        text = json.dumps(body).replace("<time>", moment).replace("<uid>", UID)
        if "<stale rv>" in text:
            text = text.replace("<stale rv>", self.answers["dep-get"]["metadata"]["resourceVersion"])
        return re.sub(r"<(\d+) times (.)>", lambda match: match[2] * int(match[1]), text)

    def run(self, exchange: dict[str, Any]) -> tuple[int, Any]:
        for item in PREPARED.get(exchange["id"], []):
            self.write("POST", CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap"} | item)
        path = exchange["path"]
        if exchange["id"] == "watch-selector":
            return self.watched(path)
        status, answer = self.send(
            exchange["method"],
            path,
            token=exchange["token"],
            body=self.body_of(exchange),
            content_type=exchange["contentType"],
        )
        self.answers[exchange["id"]] = answer
        return status, answer

    def watched(self, path: str) -> tuple[int, Any]:
        """The watch, while another thread does to a config map what the recording did."""
        _, listed = self.send("GET", CONFIG_MAPS)
        path = path.replace("<rv of a list>", listed["metadata"]["resourceVersion"])
        actor = threading.Thread(target=self.act)
        actor.start()
        started = time.monotonic()
        result = self.send("GET", path)
        actor.join()
        assert 2.5 < time.monotonic() - started < 4.5, "timeoutSeconds=3 must end the stream"
        return result

    def act(self) -> None:
        merge = "application/merge-patch+json"
        time.sleep(0.3)
        item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "w", "labels": {"watched": "yes"}}}
        self.write("POST", CONFIG_MAPS, item | {"data": {"n": "1"}})
        self.write("PATCH", f"{CONFIG_MAPS}/w", {"data": {"n": "2"}}, merge)
        self.write("PATCH", f"{CONFIG_MAPS}/w", {"metadata": {"labels": {"watched": None}}}, merge)
        self.write("PATCH", f"{CONFIG_MAPS}/w", {"metadata": {"labels": {"watched": "yes"}}}, merge)
        self.write("DELETE", f"{CONFIG_MAPS}/w", None)


def differences(replay: Replay, exchange: dict[str, Any], status: int, answer: Any) -> list[str]:
    """How an answer is not what was recorded; nothing when it is."""
    wanted = exchange["response"]
    if status != exchange["status"]:
        return [f"status {status} instead of {exchange['status']}: {json.dumps(answer)[:300]}"]
    if status >= 400:
        return [] if wanted == answer else failure_differences(wanted, answer)
    if isinstance(wanted, list):
        events = [
            {"type": e["type"], "name": e["object"]["metadata"]["name"], "data": e["object"].get("data")}
            | {"kind": e["object"]["kind"]}
            for e in answer
        ]
        return [] if events == wanted else [f"events {events}"]
    if "names" in wanted:
        return list_differences(replay, wanted, answer)
    if "resources" in wanted:
        return named_differences(wanted["resources"], answer["resources"])
    if "groups" in wanted:
        return named_differences(wanted["groups"], answer["groups"])
    # Of some answers only the part that matters was recorded.
    if exchange["id"] == "crd-create":
        answer = {"kind": answer["kind"], "metadata": {"name": answer["metadata"]["name"]}}
    elif exchange["id"] == "svc-switch":
        answer = {"spec": {"selector": answer["spec"]["selector"]}}
    elif exchange["id"] in ("version", "api-versions"):
        answer = {key: answer[key] for key in wanted}
    return subset(replay, wanted, answer, "")


def failure_differences(wanted: dict[str, Any], answer: dict[str, Any]) -> list[str]:
    """Compare what the meaning of a failure is: reason, code, what it is about, which fields, and a text for people."""
    found = []
    for key in ("kind", "status", "reason", "code", "<text>"):
        if wanted.get(key) != answer.get(key):
            found.append(f"{key}: {answer.get(key)!r} instead of {wanted.get(key)!r}")
    left, right = wanted.get("details"), answer.get("details")
    if (left is None) != (right is None):
        return [*found, f"details: {right} instead of {left}"]
    for key in ("name", "kind", "group"):
        if (left or {}).get(key) != (right or {}).get(key):
            found.append(f"details.{key}: {(right or {}).get(key)!r} instead of {(left or {}).get(key)!r}")
    causes = [[(c.get("reason"), c.get("field")) for c in (part or {}).get("causes", [])] for part in (left, right)]
    if causes[0] != causes[1]:
        found.append(f"causes: {causes[1]} instead of {causes[0]}")
    return found


def list_differences(replay: Replay, wanted: dict[str, Any], answer: dict[str, Any]) -> list[str]:
    items = answer["items"]
    shown = {
        "kind": answer["kind"],
        "names": [item["metadata"]["name"] for item in items],
    }
    shown |= {key: answer[key] for key in ("apiVersion", "metadata") if key in wanted}
    if "itemsCarryKind" in wanted:
        shown["itemsCarryKind"] = any("kind" in item or "apiVersion" in item for item in items)
    found = subset(replay, wanted, shown, "")
    if "continue" in wanted.get("metadata", {}):
        status, rest = replay.send("GET", f"{CONFIG_MAPS}?limit=2&continue={answer['metadata']['continue']}")
        names = [item["metadata"]["name"] for item in rest["items"]]
        if status != 200 or names != ["agent-2", "agents"] or "continue" in rest["metadata"]:
            found.append(f"continue leads to {names}")
    return found


def named_differences(wanted: list[dict[str, Any]], answer: list[dict[str, Any]]) -> list[str]:
    """Everything recorded must be there, as recorded and in that order; more may be."""
    names = [entry["name"] for entry in wanted]
    found = [entry for entry in answer if entry["name"] in names]
    return [f"{b} instead of {a}" for a, b in zip(wanted, found, strict=False) if a != b] + (
        [] if len(found) == len(wanted) else [f"only {[entry['name'] for entry in found]}"]
    )


def subset(replay: Replay, wanted: Any, answer: Any, path: str) -> list[str]:
    """Compare an object: what was recorded must be there, and nothing else beside it."""
    if path.endswith(".managedFields"):
        key = ("operation", "manager", "subresource")
        wanted, answer = (sorted(side or [], key=lambda e: [e.get(k, "") for k in key]) for side in (wanted, answer))
    if isinstance(wanted, dict) and isinstance(answer, dict):
        extra = set(answer) - set(wanted)
        found = [f"{path}.{key} should not be there" for key in sorted(extra)]
        for key, value in wanted.items():
            if key not in answer:
                found.append(f"{path}.{key} is missing")
            else:
                found += subset(replay, value, answer[key], f"{path}.{key}")
        return found
    if isinstance(wanted, list) and isinstance(answer, list):
        if len(wanted) != len(answer):
            return [f"{path}: {answer} instead of {wanted}"]
        pairs = enumerate(zip(wanted, answer, strict=True))
        return [line for at, pair in pairs for line in subset(replay, *pair, f"{path}[{at}]")]
    if isinstance(wanted, str) and PLACEHOLDER.fullmatch(wanted):
        return [] if isinstance(answer, str) and answer else [f"{path}: {answer!r} instead of a value"]
    if isinstance(wanted, str) and VERSION.fullmatch(wanted):
        return version_differences(replay, wanted, answer, path)
    return [] if wanted == answer and type(wanted) is type(answer) else [f"{path}: {answer!r} instead of {wanted!r}"]


def version_differences(replay: Replay, wanted: str, answer: Any, path: str) -> list[str]:
    """The same placeholder always stands for the same version, different ones for different versions."""
    if not isinstance(answer, str) or not answer.isdigit():
        return [f"{path}: {answer!r} is no resource version"]
    known = replay.versions.setdefault(("recorded", wanted), answer)
    back = replay.versions.setdefault(("answered", answer), wanted)
    if known != answer or back != wanted:
        return [f"{path}: {answer} for {wanted}, but {known} stands for it and {answer} for {back}"]
    return []


def test_every_exchange_has_the_recorded_meaning(api_world: World, capsys: pytest.CaptureFixture[str]) -> None:
    replay = Replay(api_world)
    failed: dict[str, list[str]] = {}
    for exchange in RECORD["exchanges"]:
        found = differences(replay, exchange, *replay.run(exchange))
        if found:
            failed[exchange["id"]] = found
    total = len(RECORD["exchanges"])
    with capsys.disabled():
        # Also from a worker of pytest-xdist, whose standard output goes nowhere.
        os.write(2, f"\nexchanges: {total - len(failed)}/{total}\n".encode())
    assert total == 82
    assert not failed, json.dumps(failed, indent=1)


@pytest.mark.parametrize("change", ["status", "spec", "version", "cause"])
def test_the_comparison_sees_a_difference(change: str) -> None:
    """A replay that can't fail proves nothing: each kind of difference is noticed."""
    by_id = {exchange["id"]: exchange for exchange in RECORD["exchanges"]}
    exchange = by_id["dep-invalid" if change == "cause" else "dep-get"]
    answer = json.loads(json.dumps(exchange["response"]).replace('"<rv 2>"', '"7"'))
    replay = Replay.__new__(Replay)
    replay.versions = {}
    assert differences(replay, exchange, exchange["status"], answer) == []
    status = exchange["status"]
    if change == "status":
        status = 500
    elif change == "spec":
        answer["spec"]["replicas"] = 99
    elif change == "version":
        replay.versions = {("recorded", "<rv 2>"): "6"}
    else:
        answer["details"]["causes"].pop()
    assert differences(replay, exchange, status, answer) != []


def test_the_client_of_this_repository_reads_the_same_kubeconfig(api_world: World) -> None:
    assert KubeClient.from_kubeconfig(api_world.kubeconfig).server == api_world.api_url
