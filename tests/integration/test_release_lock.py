"""The lock between real ansible-playbooks against the emulated API: one at a time, and nothing by who lost it."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import (
    Cluster,
    Ref,
    config_map,
    service,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import LockError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Claim, Lock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_fence import hold_of
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_store import LeaseStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import lease, virtual_service
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import open_provider, set_weight
from rehearsal.world import NAMESPACE
from tests.integration.api_only import (
    PROGRAM,
    TRAFFIC,
    api,
    candidate_weight,
    environment,
    forget_releases,
    results,
    write_playbook,
)

BLOCK = 92
LEASE = lease(NAMESPACE, f"{NAMESPACE}-release-lock")
OBJECT = virtual_service(NAMESPACE, NAMESPACE)
ENTRY = service(NAMESPACE, "claude-enhancer-service")
PLACE = {"application": NAMESPACE, "namespace": NAMESPACE}
RELEASE = {**PLACE, "release_id": "5.1-a"}
PLAN = {"release_stages": [{"name": "canary"}, {"name": "expand"}]}
VERSIONS = {"stable": "5.0", "candidate": "5.1"}
LOCK = "claude_enhancer.rollout.release_lock"
HELD = "{{ lock.lease }}"
SHORT = 3
"""Seconds that a lock lasts in these tests."""
PATIENCE = 60.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("api")
    with api(home, BLOCK):
        yield home


@pytest.fixture
def kubeconfig(home: Path) -> Path:
    return home / "kubeconfig"


@pytest.fixture
def cluster(kubeconfig: Path) -> Cluster:
    """The API with no release, no lock, an entry Service and no weight on the candidate."""
    cluster = Cluster.from_options({"kubeconfig": str(kubeconfig)})
    forget_releases(cluster)
    for ref in (LEASE, ENTRY):
        if cluster.find(ref):
            cluster.delete(ref)
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": ENTRY.name, "namespace": NAMESPACE}}
    cluster.create(ENTRY, {**body, "spec": {"selector": {"app": "x", "version": "5.0"}, "ports": [{"port": 80}]}})
    set_weight(open_provider("istio", cluster, TRAFFIC), 0, guard=False)
    return cluster


def store_of(cluster: Cluster) -> LeaseStore:
    return LeaseStore(cluster, NAMESPACE, NAMESPACE, ended=lambda _process: False)


def lock_in(cluster: Cluster) -> Lock:
    lock = store_of(cluster).read()
    assert lock is not None
    return lock


def acquiring(action: str = "acquire", **options: Any) -> dict[str, Any]:
    given = {"action": action, **RELEASE, "traffic": TRAFFIC, "entry_service": ENTRY.name, **options}
    return {"name": "Lock", LOCK: given, "register": "lock"}


def opening() -> dict[str, Any]:
    given = {"action": "open", **RELEASE, "plan": PLAN, "versions": VERSIONS, "lease": HELD}
    return {"name": "Open", "claude_enhancer.rollout.release_journal": given}


def watching(**options: Any) -> dict[str, Any]:
    given = {**RELEASE, "traffic": TRAFFIC, "settle": 0.5, "scope": "release", "lease": HELD, **options}
    return {"name": "Watch", "claude_enhancer.rollout.release_watchdog": given}


def weight(percent: int, **options: Any) -> dict[str, Any]:
    given = {**TRAFFIC, "weight": percent, "guard": False, "lease": HELD, **options}
    return {"name": f"Weight {percent}", "claude_enhancer.rollout.traffic_weight": given}


def holding(gate: Path) -> dict[str, Any]:
    return {"name": "Hold", "ansible.builtin.wait_for": {"path": str(gate), "timeout": 60, "sleep": 1}}


class Run:
    """An ansible-playbook in a session of its own; ``gate`` lets it go on after its hold."""

    def __init__(self, folder: Path, kubeconfig: Path, tasks: list[dict[str, Any]]) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.gate = folder / "gate"
        path = write_playbook(folder / "play.yml", tasks)
        self.output = (folder / "output").open("w+")
        self.process = subprocess.Popen(
            [str(PROGRAM), str(path)],
            cwd=folder,
            env=environment(folder, kubeconfig),
            stdout=self.output,
            stderr=self.output,
            start_new_session=True,
        )

    def said(self) -> str:
        return (self.folder / "output").read_text()

    def flat(self) -> str:
        """What it said, however it was wrapped."""
        return re.sub(r"\s+", " ", self.said())

    def wait_for_hold(self) -> None:
        wait_until(lambda: "TASK [Hold]" in self.said() or self.process.poll() is not None, self.said)
        assert self.process.poll() is None, self.said()

    def end(self) -> int:
        self.gate.touch()
        return self.process.wait(PATIENCE)

    def log(self) -> str:
        return "".join(path.read_text() for path in (self.folder / "state").rglob("*.log"))

    def clean_up(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        self.output.close()


@contextlib.contextmanager
def running(folder: Path, kubeconfig: Path, *tasks: dict[str, Any]) -> Iterator[Run]:
    run = Run(folder, kubeconfig, list(tasks))
    try:
        yield run
    finally:
        run.clean_up()


def wait_until(condition: Callable[[], Any], told: Callable[[], str] = str, seconds: float = PATIENCE) -> float:
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, f"not within {seconds} s: {told()}"
        time.sleep(0.02)
    return time.monotonic() - start


def versions(cluster: Cluster, *refs: Ref) -> list[str]:
    return [cluster.get(ref)["metadata"]["resourceVersion"] for ref in refs]


def content(cluster: Cluster, ref: Ref) -> dict[str, Any]:
    """An object but for what every write of it changes."""
    found = cluster.get(ref)
    for key in ("resourceVersion", "managedFields", "generation"):
        found["metadata"].pop(key, None)
    return found


# ---- one task


def test_taking_renewing_and_giving_back(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    before, contents = versions(cluster, OBJECT, ENTRY), [content(cluster, ref) for ref in (OBJECT, ENTRY)]
    same = {**PLACE, "lease": "{{ r0.lease }}"}
    read, renew, release = ({LOCK: {"action": action, **same}} for action in ("read", "renew", "release"))
    again = {LOCK: {"action": "acquire", **same}}
    first, mine, renewed, own, given_back, twice, late = results(
        tmp_path, kubeconfig, [{LOCK: acquiring(who="kim", controller="ops1")[LOCK]}, read, renew, again, release,
                               release, renew]
    )  # fmt: skip
    assert re.fullmatch(r"kim@ops1:5\.1-a:[0-9a-f]{8}", first["lease"]["holder"])
    assert (first["changed"], first["held"], first["taken_from"], first["lease"]["transitions"]) == (True, True, "", 0)
    assert first["touched"] == [str(ENTRY), str(OBJECT)]
    assert versions(cluster, OBJECT, ENTRY) != before
    assert [content(cluster, ref) for ref in (OBJECT, ENTRY)] == contents
    assert (mine["state"], mine["held"]) == ("ours", True)
    assert 55 < mine["lock"]["expires_in"] <= 60
    assert (renewed["changed"], own["changed"], own["lease"]) == (False, False, first["lease"])
    assert (given_back["changed"], given_back["state"], twice["changed"]) == (True, "free", False)
    assert (late["failed"], late["error"]) == (True, "lock")
    assert lock_in(cluster).holder == ""


def test_check_mode_acquires_nothing_and_says_whether_it_could(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path
) -> None:
    before = versions(cluster, OBJECT, ENTRY)
    (could,) = results(tmp_path, kubeconfig, [{LOCK: acquiring()[LOCK]}], "--check")
    assert (could["changed"], could["held"], "lease" in could) == (True, False, False)
    assert cluster.find(LEASE) is None
    assert versions(cluster, OBJECT, ENTRY) == before
    store_of(cluster).acquire(Claim("eve@elsewhere"))
    (could_not,) = results(tmp_path, kubeconfig, [{LOCK: acquiring()[LOCK]}], "--check")
    assert (could_not["failed"], could_not["error"]) == (True, "lock")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"action": "take_over"}, "reason: must say why"),
        ({"duration": 2, "wait": -1}, "duration: must be 3 seconds or more, not 2; wait: must be 0 or more seconds"),
        ({"action": "renew"}, "action is renew but all of the following are missing: lease"),
    ],
)
def test_what_can_not_work_is_refused(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    (answer,) = results(tmp_path, kubeconfig, [{LOCK: {"action": "acquire", **PLACE, **options}}])
    assert answer["failed"]
    assert said in answer["msg"]
    assert cluster.find(LEASE) is None


def allow(cluster: Cluster, *rules: tuple[str, str, list[str]]) -> None:
    """Let the user ops do what ``rules`` (API group, resource, verbs) say, and nothing else."""
    rbac = "rbac.authorization.k8s.io"
    role, binding = (
        Ref(f"{rbac}/v1", kind, f"{kind.lower()}s", NAMESPACE, "releases") for kind in ("Role", "RoleBinding")
    )
    for ref in (role, binding):
        if cluster.find(ref):
            cluster.delete(ref)
    given = [{"apiGroups": [group], "resources": [resource], "verbs": verbs} for group, resource, verbs in rules]
    meta = {"metadata": {"name": "releases", "namespace": NAMESPACE}, "apiVersion": role.api_version}
    cluster.create(role, {**meta, "kind": "Role", "rules": given})
    subjects = [{"kind": "User", "name": "ops", "apiGroup": rbac}]
    named = {"kind": "Role", "name": "releases", "apiGroup": rbac}
    cluster.create(binding, {**meta, "kind": "RoleBinding", "subjects": subjects, "roleRef": named})


TRAFFIC_RIGHTS = (
    ("networking.istio.io", "virtualservices", ["get", "patch"]),
    ("", "services", ["get", "patch"]),
    ("", "configmaps", ["get", "list", "patch"]),
    ("", "pods", ["list"]),
)


def test_a_right_that_is_missing_is_named_and_those_that_are_are_enough(
    home: Path, cluster: Cluster, tmp_path: Path
) -> None:
    ops = home / "kubeconfig-ops"
    allow(cluster, *TRAFFIC_RIGHTS)
    tasks = [{LOCK: acquiring()[LOCK]}]
    (refused,) = results(tmp_path, ops, tasks)
    assert refused["error"] == "forbidden"
    assert "get, create and update on leases of coordination.k8s.io in namespace claude-enhancer" in refused["msg"]
    allow(cluster, *TRAFFIC_RIGHTS, ("coordination.k8s.io", "leases", ["get", "create", "update"]))
    release = {LOCK: {"action": "release", **PLACE, "lease": "{{ r0.lease }}"}}
    taken, released = results(tmp_path, ops, [*tasks, release])
    assert (taken["held"], released["changed"]) == (True, True), taken


# ---- two runs


def test_of_two_that_start_together_one_runs_and_the_other_says_who(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path
) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    with contextlib.ExitStack() as stack:
        runs = [
            stack.enter_context(
                running(folder, kubeconfig, acquiring(who=folder.name), opening(), holding(folder / "gate"), weight(5))
            )
            for folder in folders
        ]
        wait_until(lambda: any(run.process.poll() is not None for run in runs), lambda: runs[0].said())
        (refused,) = [run for run in runs if run.process.poll() is not None]
        (runner,) = [run for run in runs if run is not refused]
        runner.wait_for_hold()
        assert refused.process.returncode == 2
        holder = lock_in(cluster).holder
        assert holder.startswith(f"{runner.folder.name}@")
        assert f"is held by {holder} since {iso(cluster)}" in refused.flat()
        assert re.search(r"last renewed \d+ s ago, runs out in \d+ s unless renewed", refused.flat())
        assert candidate_weight(cluster) == 0
        assert runner.end() == 0, runner.said()
    assert candidate_weight(cluster) == 5


def iso(cluster: Cluster) -> str:
    since: str = cluster.get(LEASE)["spec"]["acquireTime"]
    return since


def test_the_frozen_one_loses_the_lock_and_its_next_change_is_refused(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    short = acquiring(duration=SHORT, who="ann")
    with running(
        first, kubeconfig, short, opening(), watching(), weight(5), holding(first / "gate"), weight(20)
    ) as run:
        run.wait_for_hold()
        time.sleep(2 * SHORT)
        assert lock_in(cluster).holder.startswith("ann@"), "it was renewed all the time"
        os.killpg(run.process.pid, signal.SIGSTOP)
        taking = acquiring(duration=SHORT, wait=4 * SHORT, who="bob")
        # A machine of its own, so to say: what is noted of the lock there is not to be found here.
        (taken,) = results(mkdir(second), kubeconfig, [{LOCK: taking[LOCK]}])
        assert not taken["failed"], taken["msg"]
        assert taken["taken_from"].startswith("ann@")
        assert taken["waited"] < 3 * SHORT
        os.killpg(run.process.pid, signal.SIGCONT)
        assert run.end() == 2
        assert re.search(r"this run \(ann@.*\) has lost the lock of claude-enhancer: it is held by bob@", run.flat())
        assert candidate_weight(cluster) == 5, "nothing of it is changed by who lost it, the watchdog included"
        wait_until(lambda: "has lost the lock" in run.log(), run.log)
        wait_until(lambda: re.search(r"leave: .*has lost the lock", run.log()), run.log)
    events = [event for event in journal(cluster) if event["what"] == "lock_taken_over"]
    assert events[0]["data"]["from"].startswith("ann@")
    assert events[0]["data"]["to"].startswith("bob@")


def mkdir(path: Path) -> Path:
    path.mkdir()
    return path


def journal(cluster: Cluster) -> list[dict[str, Any]]:
    found = JournalStore(cluster, NAMESPACE, NAMESPACE).read()
    assert found is not None
    return list(found.events)


def test_it_is_taken_over_for_a_reason_while_it_is_held(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with running(first, kubeconfig, acquiring(who="ann"), opening(), holding(first / "gate"), weight(5)) as run:
        run.wait_for_hold()
        taking = acquiring("take_over", who="bob", reason="nobody can reach ann")
        (taken,) = results(mkdir(second), kubeconfig, [{LOCK: taking[LOCK]}])
        assert taken["why"] == "nobody can reach ann"
        assert run.end() == 2
        assert "taken over from ann@" in run.flat()
        assert "nobody can reach ann" in run.flat()
    assert candidate_weight(cluster) == 0
    (event,) = [event for event in journal(cluster) if event["what"] == "lock_taken_over"]
    assert (event["data"]["why"], event["data"]["transitions"]) == ("nobody can reach ann", 1)
    assert lock_in(cluster).taken_over["reason"] == "nobody can reach ann"


def test_a_killed_run_keeps_nobody_waiting(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with running(
        first, kubeconfig, acquiring(who="ann"), opening(), watching(), weight(5), holding(first / "gate")
    ) as run:
        run.wait_for_hold()
        os.killpg(run.process.pid, signal.SIGKILL)
        run.process.wait(10)
        (taken,) = results(mkdir(second), kubeconfig, [{LOCK: acquiring(who="bob")[LOCK]}])
        assert not taken["failed"], taken["msg"]
        assert taken["why"] in ("", "the process that held it has ended")
        wait_until(lambda: "the lock is given back" in run.log() or "leave: " in run.log(), run.log)


def test_the_watchdog_gives_the_lock_back_once_the_weight_is_safe(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path
) -> None:
    folder = tmp_path / "first"
    with running(
        folder, kubeconfig, acquiring(who="ann"), opening(), watching(), weight(5), holding(folder / "gate")
    ) as run:
        run.wait_for_hold()
        os.killpg(run.process.pid, signal.SIGKILL)
        run.process.wait(10)
        wait_until(lambda: lock_in(cluster).holder == "", run.log, 5)
        assert candidate_weight(cluster) == 0
    assert [event["what"] for event in journal(cluster)][-1] == "interrupted"


# ---- many at once


def test_of_many_at_once_exactly_one_has_it(kubeconfig: Path, cluster: Cluster) -> None:
    def work(number: int) -> str:
        store = store_of(Cluster.from_options({"kubeconfig": str(kubeconfig)}))
        try:
            return store.acquire(Claim(f"run{number}")).lock.holder
        except LockError as error:
            return str(error.details["lock"]["holder"])

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(work, range(8)))
    assert set(seen) == {lock_in(cluster).holder}
    assert lock_in(cluster).transitions == 0


def test_many_who_wait_get_it_one_after_the_other(kubeconfig: Path, cluster: Cluster) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> int:
        store = store_of(Cluster.from_options({"kubeconfig": str(kubeconfig)}))
        acquired = store.acquire(Claim(f"run{number}", 10), wait=50)
        inside.append(number)
        most.append(len(inside))
        for _ in range(3):
            store.renew(hold_of(store, acquired))
        inside.remove(number)
        assert store.release(hold_of(store, acquired))
        return acquired.lock.transitions

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        numbers = list(pool.map(work, range(6)))
    assert (sorted(numbers), max(most)) == (list(range(6)), 1)


# ---- a rollback


def test_a_rollback_takes_the_lock_and_fences_a_release_that_still_runs(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    facts = {
        "release_traffic": TRAFFIC,
        "release_namespace": NAMESPACE,
        "release_stable": {"version": "5.0", "deployment": "none"},
        "release_entry_service": {"name": ENTRY.name, "stable_selector": {"app": "x", "version": "5.0"}},
    }
    with running(
        first, kubeconfig, acquiring(who="ann"), opening(), weight(5), holding(first / "gate"), weight(20)
    ) as run:
        run.wait_for_hold()
        rolling = {"reason": "error_rate_high", "part": "traffic", "release": facts}
        (back,) = results(mkdir(second), kubeconfig, [{"claude_enhancer.rollout.release_rollback": rolling}])
        assert candidate_weight(cluster) == 0
        assert back["lock_taken_from"].startswith("ann@")
        steps = {step["name"]: step for step in back["steps"]}
        assert steps["weight"]["at"] < steps["lock"]["at"] < steps["unlock"]["at"]
        assert run.end() == 2
        assert "has lost the lock" in run.flat()
    assert candidate_weight(cluster) == 0
    assert lock_in(cluster).holder == ""


def test_a_rollback_of_a_run_that_lost_the_lock_leaves_everything(
    kubeconfig: Path, cluster: Cluster, tmp_path: Path
) -> None:
    rolling = {"reason": "error_rate_high", "part": "traffic", "lease": "{{ r0.lease }}"}
    other = acquiring("take_over", reason="test", who="bob")[LOCK]
    tasks: list[dict[str, Any]] = [
        {LOCK: acquiring(who="ann")[LOCK]},
        {"claude_enhancer.rollout.release_journal": {"action": "open", **RELEASE, "plan": PLAN, "versions": VERSIONS}},
        {"claude_enhancer.rollout.traffic_weight": {**TRAFFIC, "weight": 5, "guard": False}},
        {LOCK: other},
        {"claude_enhancer.rollout.release_rollback": rolling},
    ]
    *_others, back = results(tmp_path, kubeconfig, tasks)
    assert (back["failed"], back["error"]) == (True, "lock")
    assert candidate_weight(cluster) == 5
    assert lock_in(cluster).holder.startswith("bob@")


def test_a_rollback_goes_on_where_the_lock_can_not_be_had(home: Path, cluster: Cluster, tmp_path: Path) -> None:
    allow(cluster, *TRAFFIC_RIGHTS)
    set_weight(open_provider("istio", cluster, TRAFFIC), 5, guard=False)
    facts = {
        "release_traffic": TRAFFIC,
        "release_namespace": NAMESPACE,
        "release_application": NAMESPACE,
        "release_entry_service": {"name": ENTRY.name, "stable_selector": {"app": "x", "version": "5.0"}},
    }
    rolling = {"reason": "x", "part": "traffic", "namespace": NAMESPACE, "release": facts}
    (back,) = results(tmp_path, home / "kubeconfig-ops", [{"claude_enhancer.rollout.release_rollback": rolling}])
    assert candidate_weight(cluster) == 0
    assert (back["failed"], back["weight"]) == (False, {"before": 5, "after": 0}), back
    (warning,) = [warning for warning in back["warnings"] if warning.startswith("lock: ")]
    assert "leases" in warning


def test_config_maps_of_the_journal_are_touched_too(kubeconfig: Path, cluster: Cluster, tmp_path: Path) -> None:
    JournalStore(cluster, NAMESPACE, NAMESPACE).open("5.1-a", VERSIONS, PLAN, {})
    ref = config_map(NAMESPACE, f"{NAMESPACE}-release-journal")
    before, stood = versions(cluster, ref), content(cluster, ref)
    (taken,) = results(tmp_path, kubeconfig, [{LOCK: acquiring()[LOCK]}])
    assert str(ref) in taken["touched"]
    assert versions(cluster, ref) != before
    assert content(cluster, ref) == stood
