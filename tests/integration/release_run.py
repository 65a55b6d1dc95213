"""A controller of a modelled release: the tasks of the playbooks, one after another, by the modules' own code."""

from __future__ import annotations

import copy
import dataclasses
import json
import types
from collections.abc import Iterator
from typing import Any, cast

import urllib3

from ansible_collections.claude_enhancer.rollout.plugins.action.release_lock import ActionModule as LockAction
from ansible_collections.claude_enhancer.rollout.plugins.action.release_rollback import ActionModule as RollbackAction
from ansible_collections.claude_enhancer.rollout.plugins.module_utils import watchdog_process
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.arguments import ArgumentSpec
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import CLUSTER_SPEC
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import (
    InputError,
    LockError,
    RolloutError,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import Author
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import LEASE_SPEC
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_fence import LeaseFence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.preflight_facts import Read
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.preflight_world import World
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.processes import Process as SystemProcess
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import Ref, deployment
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.resume import RESUME, ROLLBACK
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import TRAFFIC_SPEC, make_ready
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.watchdog import Duty
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.watchdog_lease import Keeper
from ansible_collections.claude_enhancer.rollout.plugins.modules import (
    object_snapshot,
    release_journal,
    service_switch,
    traffic_weight,
)
from tests.integration.release_stand import (
    APP,
    BLUE_REPLICAS,
    CANARY,
    CANDIDATE,
    ENTRY,
    GREEN,
    PLAYBOOK,
    STAGES,
    VERSIONS,
    Object,
    Process,
    Stand,
    a_deployment,
)

_WORK = {
    release_journal: release_journal.SPEC.merge(CLUSTER_SPEC, LEASE_SPEC),
    traffic_weight: CLUSTER_SPEC.merge(TRAFFIC_SPEC, LEASE_SPEC, traffic_weight.WEIGHT_SPEC),
    service_switch: CLUSTER_SPEC.merge(LEASE_SPEC, service_switch.SWITCH_SPEC),
    object_snapshot: object_snapshot.SPEC.merge(CLUSTER_SPEC, LEASE_SPEC),
}
# What neither Prometheus nor an edge stands for here isn't asked about.
_UNASKED = ["release_prometheus: none", "release_edge: none"]
_BRINGS = {"canary_start": (CANARY, "canary", 1), "canary_expand": (CANARY, "canary", 2),
           "bluegreen_prepare": (GREEN, "green", BLUE_REPLICAS)}  # fmt: skip


class TriggerError(RolloutError):
    """A stage's trigger, or a gate that failed."""


class TaskError(RolloutError):
    """A task of another collection failed."""


@dataclasses.dataclass
class Told:
    """The events that a step may have written, and those it was told are written."""

    may: list[tuple[str, str | None]] = dataclasses.field(default_factory=list)
    must: list[tuple[str, str | None]] = dataclasses.field(default_factory=list)

    def attempt(self, what: str, stage: str | None = None) -> None:
        self.may.append((what, stage))

    def done(self, what: str, stage: str | None = None) -> None:
        self.must.append((what, stage))


def run_module(stand: Stand, process: Process, module: types.ModuleType, /, **options: Any) -> Object:
    """What the module's ``run`` calls, in this process. Raises RolloutError."""
    spec: ArgumentSpec = _WORK[module]
    params = spec.validate(options)
    stand_in = types.SimpleNamespace(params=params, check_mode=False, _diff=True, warn=lambda _said: None)
    with stand.acts(process):
        return cast(Object, module.work(stand_in))


def run_action(stand: Stand, process: Process, plugin: Any, /, **options: Any) -> Object:
    """What the action plugin's ``run`` calls. Raises RolloutError."""
    task = types.SimpleNamespace(args={key: value for key, value in options.items() if value is not None})
    task.check_mode = False
    acting = plugin(task, None, None, None, None, None)
    with stand.acts(process):
        return cast(Object, acting.act(acting.options()))


def roll_back(
    stand: Stand, process: Process, told: Told, *, lease: Object | None = None, part: str = "all", reason: str = "model"
) -> Object:
    """``release_rollback``, as a person starts it, or with the ``lease`` of a run."""
    for _each in ("rolling_back", "rolled_back"):
        told.attempt("state_changed")
    told.attempt("rollback_unfinished")
    told.attempt("rolled_back_again")
    stand.taking_back = True
    answer = run_action(
        stand, process, RollbackAction,
        application=APP, namespace=stand.namespace, reason=reason, part=part, lease=lease, release=stand.facts,
        probe_requests=1, verify_timeout=2.0, strength_timeout=1.0,
    )  # fmt: skip
    stand.taking_back = bool(answer.get("failed"))
    return answer


class Watchdog:
    """The watchdog of a run: a process of its own that lives on when the run is gone."""

    def __init__(self, stand: Stand, run: Process, hold: Object, release_id: str) -> None:
        self._stand = stand
        self.process = Process(stand, f"watchdog of {run.name}", run.skew)
        self.process.number = run.number
        self.release_id = release_id
        author = Author(run.name, run.name)
        duty = Duty(release_id, scope="release", retry=3.0, settle=0.5)
        traffic = stand.facts["release_traffic"]
        self._watch = watchdog_process.Watch(stand.namespace, APP, {}, traffic, author, duty, stand.folder, hold)
        with stand.acts(self.process):
            self._store, self._provider = self._watch.open()
            make_ready(self._provider)
            self._fence = LeaseFence.from_option(self._provider.cluster, hold)

    def relieve(self, told: Told) -> None:
        """Raises RolloutError, as what ``_serve`` gives up with."""
        for _each in range(3):
            journal = self._store.head()
            told.attempt("interrupted", journal.begun_stage if journal else None)
            told.attempt("interrupted")
        self._stand.taking_back = True
        with self._stand.acts(self.process):
            watchdog_process._relieve(
                self._watch, SystemProcess.of(1), self._store, self._provider, cast(Keeper, self._fence), None,
                lambda _line: None,
            )  # fmt: skip
        self._stand.taking_back = False


class Run:
    """One ``ansible-playbook`` after another on one machine. ``script`` is the one under way, stopped between tasks."""

    def __init__(self, stand: Stand, name: str) -> None:
        self.stand = stand
        self.name = name
        self.told = Told()
        self.skew = 0.0
        self.release_id = ""
        self.process = Process(stand, name)
        self.script: Iterator[str] | None = None
        self.hold: Object | None = None
        self.watchdog: Watchdog | None = None
        self.in_stage = ""
        self.refused: RolloutError | None = None

    def start(self, resume: str, *, take_over: bool) -> None:
        self.process = Process(self.stand, self.name, self.skew)
        self.hold, self.watchdog, self.in_stage, self.refused = None, None, "", None
        self.script = self._deploy(resume, take_over)

    # ---- deploy.yml

    def _deploy(self, resume: str, take_over: bool) -> Iterator[str]:
        moves, checked = self.stand.moves, self._checked(resume, take_over)
        yield "checked"
        if checked.resume.take_back:
            answer = roll_back(self.stand, self.process, self.told, reason=checked.resume.reason)
            if answer.get("failed"):
                raise TaskError(answer["msg"])
            yield "taken back"
        if checked.resume.ends:
            return
        if checked.resume.take_back:
            moves, checked = self.stand.moves, self._checked(RESUME, take_over)
            yield "checked again"
        self._lock(checked, take_over)
        yield "locked"
        kept = self._module(
            object_snapshot, action="take", release_id=checked.release_id, release=self.stand.facts, lease=self.hold
        )  # fmt: skip
        if moves != self.stand.moves:
            self.stand.blurred.add(str(kept["name"]))
        yield "kept"
        self._open(checked, kept)
        yield "opened"
        assert self.hold is not None
        self.watchdog = Watchdog(self.stand, self.process, self.hold, self.release_id)
        yield "watched"
        for stage in STAGES:
            yield from self._stage(stage)
        self._close()
        yield "closed"

    def _checked(self, resume: str, take_over: bool) -> World:
        timeline = {"release_id": f"5.1-{round(self.stand.seconds)}"}
        with self.stand.acts(self.process):
            world = World(self.stand.facts, Read(timeline, _UNASKED), resume, take_over=take_over)
            (world.ask_journal_only if resume == ROLLBACK else world.ask)({})
        if world.problems:
            raise InputError("; ".join(world.problems), problems=world.problems)
        return world

    def _lock(self, checked: World, take_over: bool) -> None:
        self.told.attempt("lock_taken_over")
        taken = run_action(
            self.stand, self.process, LockAction,
            action="take_over" if take_over else "acquire", reason="the model says so" if take_over else "",
            application=APP, namespace=self.stand.namespace, release_id=checked.release_id, seen=checked.lock_seen,
            canary_drain=[self.stand.case.drain],
            traffic=self.stand.facts["release_traffic"], entry_service=ENTRY, who=self.name, controller=self.name,
            directory=str(self.stand.folder / self.name),
        )  # fmt: skip
        self.hold = taken["lease"]

    def _open(self, checked: World, kept: Object) -> None:
        self.told.attempt("opened")
        self.told.attempt("taken_up")
        opened = self._module(
            release_journal, action="open", release_id=checked.release_id, versions=VERSIONS, plan=self.stand.facts,
            snapshot={**checked.snapshot, "objects": kept["snapshot"]}, lease=self.hold,
        )  # fmt: skip
        self.release_id = str(opened["release_id"])
        self.told.done("taken_up" if opened["resumed"] else "opened")

    def _stage(self, stage: Object) -> Iterator[str]:
        name = str(stage["name"])
        self.told.attempt("stage_begun", name)
        begun = self._journal(action="begin", stage=name)
        if begun["ended"]:
            return
        if not begun["resumed"]:
            self.told.done("stage_begun", name)
        self.in_stage = name
        try:
            yield f"{name} begun"
            yield from self._changed(stage)
            self.told.attempt("stage_ended", name)
            self._journal(action="end", stage=name, data={"weight": stage["weight"], "verdict": "pass"})
            self.told.done("stage_ended", name)
        except RolloutError as error:
            yield from self._failed(name, error)
        self.in_stage = ""
        yield f"{name} ended"

    def _changed(self, stage: Object) -> Iterator[str]:
        name = str(stage["name"])
        if name in _BRINGS:
            yield from self._deployed(*_BRINGS[name])
        snapshot = self._journal(action="read")["journal"]["snapshot"]
        self._module(
            traffic_weight, **self.stand.facts["release_traffic"], weight=stage["weight"], lease=self.hold,
            stable_replicas=snapshot.get("stable_replicas"),
        )  # fmt: skip
        yield f"{name} has its weight"
        if name == "full_switch":
            self._module(service_switch, name=ENTRY, selector={"version": CANDIDATE}, lease=self.hold, wait_timeout=1.0)
            yield "switched"
            yield from self._cleaned_up()

    def _deployed(self, name: str, kind: str, replicas: int) -> Iterator[str]:
        self._fence()
        yield "fenced"
        ref, body = deployment(self.stand.namespace, name), a_deployment(name, CANDIDATE, kind, replicas)
        if self._playbook("GET", ref) is None:
            self._playbook("POST", ref.collection, body)
        else:
            self._playbook("PATCH", ref, body)
        found = self._playbook("GET", ref)
        if ((found or {}).get("status") or {}).get("readyReplicas", 0) < replicas:
            raise TaskError(f"{name} did not get ready")
        yield f"{name} deployed"

    def _cleaned_up(self) -> Iterator[str]:
        drain = self.stand.case.drain
        ref = self.stand.rule_ref if drain["kind"] == "DestinationRule" else self.stand.traffic_ref
        version = ((self._playbook("GET", ref) or {}).get("metadata") or {}).get("resourceVersion")
        yield "read"
        self._fence()
        yield "fenced"
        unchanged = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
        self._playbook("PATCH", ref, [unchanged, *drain["patch"]])
        yield "drained"
        self._fence()
        yield "fenced"
        self._playbook("DELETE", deployment(self.stand.namespace, CANARY))
        yield "canary removed"

    def _failed(self, name: str, error: RolloutError) -> Iterator[str]:
        """``failed.yml`` of the role stage; raises what it ends with."""
        back = self._back(part="traffic")
        yield "traffic back"
        if back.get("error") == "lock":
            raise LockError(back["msg"])
        self.told.attempt("stage_ended", name)
        self._journal(action="end", stage=name, data={"verdict": "fail", "failure": error.message})
        self.told.done("stage_ended", name)
        yield "failure noted"
        answer = self._back(part="all")
        if answer.get("failed"):
            raise TaskError(answer["msg"])
        raise error

    def _back(self, part: str) -> Object:
        try:
            return roll_back(self.stand, self.process, self.told, lease=self.hold, part=part, reason="a trigger")
        except RolloutError as error:
            if part == "traffic":
                return {"failed": True, **error.payload()}
            raise

    def _close(self) -> None:
        self._fence()
        self.told.attempt("state_changed")
        self._module(release_journal, action="close", state="done", lease=self.hold)
        self.told.done("state_changed")
        run_action(
            self.stand, self.process, LockAction,
            action="release", application=APP, namespace=self.stand.namespace, lease=self.hold,
        )  # fmt: skip

    # ---- tasks

    def _module(self, module: types.ModuleType, **options: Any) -> Object:
        options = {"namespace": self.stand.namespace, **options}
        if module in (release_journal, object_snapshot):
            options = {"application": APP, "who": self.name, "controller": self.name, **options}
        return run_module(self.stand, self.process, module, **copy.deepcopy(options))

    def _journal(self, **options: Any) -> Object:
        return self._module(release_journal, release_id=self.release_id, lease=self.hold, api_patience=3.0, **options)

    def _fence(self) -> None:
        run_action(
            self.stand, self.process, LockAction,
            action="renew", application=APP, namespace=self.stand.namespace, lease=self.hold,
        )  # fmt: skip

    def _playbook(self, method: str, ref: Ref, body: Any = None) -> Object | None:
        """A request of a task of kubernetes.core, which knows nothing of the lock."""
        base, process = self.stand.base, self.process
        kind = "json-patch" if isinstance(body, list) else "merge-patch" if method == "PATCH" else ""
        headers = {"Content-Type": f"application/{kind}+json" if kind else "application/json"}
        headers |= {"Accept": "application/json", **self.stand.headers}
        data = None if body is None else json.dumps(body).encode()
        process.by_playbook = True
        try:
            with self.stand.acts(process):
                url = f"{base.server}{ref.path}?fieldManager={PLAYBOOK}"
                answer = process.wire.request(method, url, body=data, headers=headers, retries=False)
        except urllib3.exceptions.HTTPError as error:
            raise TaskError(f"{method} {ref}: {error}") from error
        finally:
            process.by_playbook = False
        if answer.status == 404:
            return None
        if answer.status >= 300:
            raise TaskError(f"{method} {ref}: {answer.status}")
        return cast(Object, json.loads(answer.data))
