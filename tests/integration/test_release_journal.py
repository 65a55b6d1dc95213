"""The journal through ansible-playbook, against the emulated API."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster, config_map
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore
from rehearsal.world import NAMESPACE
from tests.integration.api_only import PROGRAM, api, away, environment, forget_releases, results, write_playbook
from tests.unit.plugins.web_server import Reply, Request, serve

BLOCK = 76
APPLICATION = "claude-enhancer"
MODULE = "claude_enhancer.rollout.release_journal"
VERSIONS = {"stable": "5.0", "candidate": "5.1"}
PLAN = {
    "release_stages": [{"name": "canary", "weight": 5}, {"name": "expand", "weight": 20}],
    "release_prometheus": {"url": "http://prometheus", "password": "s3cret"},
}


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("api")
    with api(home, BLOCK):
        yield home / "kubeconfig"


@pytest.fixture
def cluster(kubeconfig: Path) -> Cluster:
    """The API without any journal."""
    cluster = Cluster.from_options({"kubeconfig": str(kubeconfig)})
    forget_releases(cluster)
    return cluster


def task(action: str, **options: Any) -> dict[str, Any]:
    return {MODULE: {"action": action, "application": APPLICATION, "namespace": NAMESPACE, **options}}


def opening(release_id: str = "5.1-a") -> dict[str, Any]:
    return task("open", release_id=release_id, versions=VERSIONS, plan=PLAN)


def test_a_release_from_open_to_done(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    answers = results(
        tmp_path,
        kubeconfig,
        [
            opening(),
            task("record", what="snapshot", data={"weight": 0}),
            task("begin", stage="expand"),
            task("begin", stage="canary"),
            task("begin", stage="canary"),
            task("end", stage="canary", data={"verdict": "pass", "share": 5.1}),
            task("begin", stage="canary"),
            task("close", state="done"),
            {MODULE: {"action": "read", "namespace": NAMESPACE}},
        ],
    )
    opened, _snapshot, too_early, begun, again, ended, passed_over, done, read = answers
    assert (opened["changed"], opened["resumed"]) == (True, False)
    assert "plan: not stored in the journal, since it looks like a secret: release_prometheus.password" in str(
        opened["warnings"]
    )
    assert too_early["failed"]
    assert too_early["error"] == "journal"
    assert "'expand' can't begin: stage 'canary' comes before it" in too_early["msg"]
    assert (begun["changed"], begun["ended"], begun["resumed"]) == (True, False, False)
    assert (again["changed"], again["resumed"]) == (False, True)
    assert ended["next_stage"] == "expand"
    assert (passed_over["changed"], passed_over["ended"]) == (False, True)
    assert (done["changed"], done["state"]) == (True, "done")
    assert read["application"] == APPLICATION, "found by its labels"
    assert read["journal"]["snapshot"] == {"weight": 0}
    assert read["journal"]["stages"]["canary"]["result"]["share"] == 5.1
    assert [event["seq"] for event in read["journal"]["events"]] == [1, 2, 3, 4, 5]
    stored = cluster.get(config_map(NAMESPACE, f"{APPLICATION}-release-journal"))
    assert "s3cret" not in json.dumps(stored)


def test_the_next_release_keeps_the_finished_one(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    answers = results(
        tmp_path,
        kubeconfig,
        [opening(), task("close", state="rolled_back"), opening("5.1-B"), task("read", release_id="5.1-a")],
    )
    assert answers[2]["release_id"] == "5.1-B"
    assert answers[3]["state"] == "rolled_back"
    assert cluster.get(config_map(NAMESPACE, f"{APPLICATION}-release-5.1-a"))


def test_check_mode_writes_nothing_and_diff_shows_what_would_be(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path
) -> None:
    opened, begun = results(tmp_path, kubeconfig, [opening(), task("begin", stage="expand")], "--check", "--diff")
    assert opened["changed"]
    assert opened["diff"]["before"] == {}
    assert opened["diff"]["after"]["release_id"] == "5.1-a"
    assert begun["changed"]
    assert "would not be possible" in str(begun["warnings"])
    assert cluster.find(config_map(NAMESPACE, f"{APPLICATION}-release-journal")) is None


def test_the_summary_reads_the_journal_and_says_where_it_is(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    showing = {"claude_enhancer.rollout.release_summary": {"namespace": NAMESPACE}}
    archived = {"claude_enhancer.rollout.release_summary": {"namespace": NAMESPACE, "release_id": "5.1-a"}}
    missing, _opened, _closed, shown, _next, old = results(
        tmp_path,
        kubeconfig,
        [showing, opening(), task("close", state="done"), showing, opening("5.1-b"), archived],
    )
    assert (missing["failed"], missing["error"]) == (True, "journal")
    assert shown["outcome"].startswith("DONE: 5.1 serves all traffic")
    assert [stage["name"] for stage in shown["stages"]] == ["canary", "expand"]
    assert f"Record: ConfigMap {NAMESPACE}/{APPLICATION}-release-journal" in shown["lines"]
    assert f"Record: ConfigMap {NAMESPACE}/{APPLICATION}-release-5.1-a" in old["lines"]


def test_bad_connections_are_said_in_one_sentence(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    away, unknown = results(
        tmp_path,
        kubeconfig,
        [
            task("read", host="https://127.76.0.9:6443", api_key="x"),
            task("read", api_key="nobody"),
        ],
    )
    assert (away["failed"], away["error"]) == (True, "unreachable")
    assert "https://127.76.0.9:6443" in away["msg"]
    assert (unknown["failed"], unknown["error"]) == (True, "forbidden")


def test_two_playbooks_at_once_lose_no_event(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    store = JournalStore(cluster, NAMESPACE, APPLICATION)
    store.open("5.1-a", VERSIONS, PLAN, {})
    writers = []
    for name in ("ann", "bob"):
        folder = tmp_path / name
        folder.mkdir()
        note = {**task("record", what="note", who=name, data={"n": "{{ item }}"}), "loop": list(range(6))}
        path = write_playbook(folder / "play.yml", [{"name": "Note", **note}])
        writers.append(
            subprocess.Popen(
                [str(PROGRAM), str(path)], cwd=folder, env=environment(folder, kubeconfig), stdout=subprocess.PIPE
            )
        )
    for writer in writers:
        said, _nothing = writer.communicate(timeout=60)
        assert writer.returncode == 0, said.decode()
    check_all_there(store, {("ann", str(n)) for n in range(6)} | {("bob", str(n)) for n in range(6)})


def test_many_writers_at_once_lose_no_event(kubeconfig: Path, cluster: Cluster) -> None:
    JournalStore(cluster, NAMESPACE, APPLICATION).open("5.1-a", VERSIONS, PLAN, {})

    def write(number: int) -> None:
        own = JournalStore(Cluster.from_options({"kubeconfig": str(kubeconfig)}), NAMESPACE, APPLICATION)
        for n in range(10):
            own.record("note", data={"n": f"{number}-{n}"})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    store = JournalStore(cluster, NAMESPACE, APPLICATION)
    who = store.author.who
    check_all_there(store, {(who, f"{number}-{n}") for number in range(4) for n in range(10)})


def check_all_there(store: JournalStore, wanted: set[tuple[str, str]]) -> None:
    journal = store.read()
    assert journal is not None
    assert [event["seq"] for event in journal.events] == list(range(1, len(wanted) + 2))
    assert {(event["who"], str(event["data"]["n"])) for event in journal.events[1:]} == wanted


def test_a_write_bears_with_an_api_that_is_away_and_says_so(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    JournalStore(cluster, NAMESPACE, APPLICATION).open("5.1-a", VERSIONS, PLAN, {})
    (tmp_path / "play").mkdir()

    def write(**options: Any) -> dict[str, Any]:
        begin = task("begin", stage="canary", api_timeout=0.5, **options)
        (answer,) = results(tmp_path / "play", kubeconfig, [begin])
        return answer

    with ThreadPoolExecutor(1) as pool:
        with away(kubeconfig.parent):
            began = time.monotonic()
            refused = write(api_patience=0)
            once = time.monotonic() - began
            late = write(api_patience=2)
            patient = pool.submit(write, api_patience=60)
            # Long enough for it to have tried, on a machine that is as busy as it was.
            time.sleep(3 + 2 * once)
            assert not patient.done()
        done = patient.result()
    assert (refused["failed"], refused["error"]) == (True, "unreachable")
    assert "(api_patience)" not in refused["msg"]
    assert late["msg"].endswith("s (api_patience)")
    assert (done["failed"], done["stage"]) == (False, "canary")
    assert any("the Kubernetes API was away for" in warning for warning in done["warnings"])


def test_what_was_written_is_not_written_again_where_its_answer_got_lost(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path
) -> None:
    store = JournalStore(cluster, NAMESPACE, APPLICATION)
    store.open("5.1-a", VERSIONS, PLAN, {})
    store.begin("canary")
    with losing_answers(kubeconfig, tmp_path) as cut:
        ended, noted = results(
            tmp_path,
            cut,
            [task("end", stage="canary", data={"verdict": "pass"}), task("record", what="note", data={"n": 1})],
        )
    journal = store.read()
    assert journal is not None
    assert (ended["failed"], ended["changed"], ended["ended_stages"]) == (False, True, ["canary"])
    assert (noted["failed"], noted["changed"]) == (False, True)
    assert [event["what"] for event in journal.events] == ["opened", "stage_begun", "stage_ended", "note"]


@contextlib.contextmanager
def losing_answers(kubeconfig: Path, folder: Path) -> Iterator[Path]:
    """The kubeconfig of an API that does each write, and of which no answer to one arrives."""
    entry = yaml.safe_load(kubeconfig.read_text())
    user, server = entry["users"][0]["user"], entry["clusters"][0]["cluster"]
    context = ssl.create_default_context(cadata=base64.b64decode(server["certificate-authority-data"]).decode())

    def answer(request: Request) -> Reply:
        headers: dict[str, str] = {
            name: request.headers[name] for name in ("accept", "content-type") if name in request.headers
        }
        headers["authorization"] = f"Bearer {user['token']}"
        url = server["server"] + request.path
        asked = urllib.request.Request(url, request.body or None, headers, method=request.method)
        try:
            with urllib.request.urlopen(asked, context=context, timeout=20) as reply:
                found = Reply(reply.status, reply.read())
        except urllib.error.HTTPError as error:
            return Reply(error.code, error.read())
        return found if request.method == "GET" else Reply(None)

    with serve(answer) as url:
        entry["clusters"][0]["cluster"] = {"server": url}
        entry["users"][0]["user"] = {}
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(entry))
        yield path
