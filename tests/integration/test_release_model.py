"""Releases of which anything happens in any order: what holds after each step.

Two controllers (``ann``, ``bob``), each an ``ansible-playbook`` of its own, go through the tasks of ``deploy.yml`` by
the modules' own code, over HTTP against the rehearsal API. Between two tasks, and at any request, each may be killed,
with or without its watchdog; the API refuses, doesn't answer, or takes a change and loses the answer; the other takes
the lock over, a person rolls back, people move the weight, switch the entry Service, edit what is none of the
release's, delete what carries the weight; pods break, Deployments are scaled, time passes, clocks jump. After each
step:

- Each weighted route adds up to 100.
- A side that has no ready endpoint gets no more of the weight, nor of the entry Service, by any write of ours; but
  taking everything back to stable is never held up. Pods that break under their weight keep it until a trigger, the
  watchdog or a rollback takes it back.
- Whoever isn't the last to have had the lock changes neither weight, entry Service nor journal. Only a rollback that a
  person starts takes traffic back before it has the lock.
- The journal has every event that was seen before, in its place; what was done since is in it, in order and once;
  nothing is in it that nobody tried. Its header is what its events make of it.
- Weight and entry Service are as the journal says, unless somebody else moved them or what took them back was cut off.
- A person's rollback succeeds once there is something to take back and stable stands: weight 0, the entry Service at
  stable, nothing left of the candidate, every object as in the snapshot but for what others edited, which stays and is
  named. A second one changes nothing. A run that was still under way changes nothing any more.

``RELEASE_MODEL_EXAMPLES`` is how many histories are tried (30).
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import itertools
import os
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from ansible_collections.claude_enhancer.rollout.plugins.action import release_lock, release_rollback
from ansible_collections.claude_enhancer.rollout.plugins.module_utils import journal as record
from ansible_collections.claude_enhancer.rollout.plugins.module_utils import rollback, rollback_rest
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.clock import SystemClock
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.cluster import Cluster
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import NotRoutedError, RolloutError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.expected_world import compare, expected
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_fence import LeaseFence
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.release_world import look
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.resume import CHOICES, RESUME
from ansible_collections.claude_enhancer.rollout.plugins.modules import object_snapshot
from tests.integration.api_only import api
from tests.integration.release_run import Run, Told, TriggerError, Watchdog, roll_back, run_module
from tests.integration.release_stand import (
    BLUE,
    BLUE_REPLICAS,
    CANARY,
    CASES,
    GREEN,
    SELECTORS,
    Case,
    Object,
    Process,
    Stand,
)
from tests.integration.release_wire import AFTER, BEFORE, TROUBLE, DiedError, Fault

BLOCK = 94
EXAMPLES = int(os.environ.get("RELEASE_MODEL_EXAMPLES", "30"))
MEANWHILE = ("takes over", "rolls back", "weight", "entry", "label", "time")
PODS = "the candidate's pods break"
NAMES = ("ann", "bob")
EDITS = ("label", "entry", "blue", "timeout", "rule")


class Inline(concurrent.futures.Executor):
    """Steps that a rollback takes side by side, one after another, so that a run can be repeated."""

    def __init__(self, _threads: int) -> None:
        pass

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        done: concurrent.futures.Future[Any] = concurrent.futures.Future()
        try:
            done.set_result(work(*args, **kwargs))
        except BaseException as error:
            done.set_exception(error)
        return done


class Current:
    """The stand of the example under way, for what stands in for the machine's clock, network and edge."""

    stand: Stand


def edge(options: Object, _clock: Any) -> Object:
    """The edge as a probe sees it: it does what the traffic object says."""
    weight = Current.stand.provider().read().weight
    if weight:
        raise NotRoutedError(f"{weight} % reach the candidate")
    return {"changed": False, "asked": options["requests"], "candidate": 0}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with api(tmp_path_factory.mktemp("api"), BLOCK) as cluster:
        yield cluster


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process of an example goes through its own wire, and by the example's own time."""

    def connect(_options: Any, *, dry_run: bool = False, timeout: float = 10.0) -> Cluster:
        return Current.stand.acting[-1].connect(dry_run=dry_run)

    monkeypatch.setattr(Cluster, "from_options", connect)
    monkeypatch.setattr(SystemClock, "now", lambda _clock: Current.stand.now())
    monkeypatch.setattr(SystemClock, "monotonic", lambda _clock: Current.stand.monotonic())
    monkeypatch.setattr(SystemClock, "sleep", lambda _clock, seconds: Current.stand.sleep(seconds))
    defaults = cast(dict[str, Any], LeaseFence.__init__.__kwdefaults__)
    monkeypatch.setitem(defaults, "clock", lambda: Current.stand.monotonic())
    monkeypatch.setattr(release_lock, "boottime", lambda: Current.stand.monotonic())
    futures = types.SimpleNamespace(ThreadPoolExecutor=Inline, wait=concurrent.futures.wait)
    monkeypatch.setattr(rollback, "concurrent", types.SimpleNamespace(futures=futures))
    monkeypatch.setattr(rollback_rest, "probe", edge)
    screen = types.SimpleNamespace(display=lambda *_args, **_options: None)
    monkeypatch.setattr(release_rollback, "Display", lambda: screen)


@dataclasses.dataclass(frozen=True)
class Plan:
    """A fault as it is drawn: at which request of the step, of what kind, how often, with which weight."""

    at: int
    kind: str
    times: int
    weight: int


TROUBLES = st.one_of(
    st.none(),
    st.builds(
        Plan,
        at=st.integers(0, 60),
        kind=st.sampled_from([PODS, "takes over", *TROUBLE, BEFORE, AFTER, *MEANWHILE]),
        times=st.sampled_from([1, 2, 12]),
        weight=st.sampled_from([0, 5, 30, 100]),
    ),
)
WHO = st.sampled_from(NAMES)


class ReleaseModel(RuleBasedStateMachine):
    """See the module."""

    base: Cluster
    case: Case
    folder: Path
    serial = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.failing = False

    @initialize()
    def begin(self) -> None:
        number = next(self.serial)
        self.stand = Current.stand = Stand(self.base, self.case, f"model-{self.case.provider}-{number}", self.folder)
        self.runs = {name: Run(self.stand, name) for name in NAMES}
        self.told = Told()
        self.orphans: list[Watchdog] = []
        self.seen: dict[str, list[Object]] = {}
        self.tampered = False
        self.disturbed = False
        self.versions: list[str] = []

    # ---- what controllers do

    @rule(
        who=WHO, resume=st.sampled_from([RESUME, *CHOICES]), take_over=st.booleans(), tasks=st.integers(1, 30),
        trouble=TROUBLES,
    )  # fmt: skip
    def deploy(self, who: str, resume: str, take_over: bool, tasks: int, trouble: Plan | None) -> None:
        """Start ``deploy.yml``, or go on with the one under way, for some tasks."""
        run = self.runs[who]
        if run.script is None:
            run.start(resume, take_over=take_over)
        self._advance(run, tasks, trouble)
        self._check()

    @precondition(lambda self: any(run.in_stage and run.script for run in self.runs.values()))
    @rule(trouble=TROUBLES)
    def trigger(self, trouble: Plan | None) -> None:
        """A gate fails while a stage is held."""
        run = next(run for run in self.runs.values() if run.in_stage and run.script)
        self._advance(run, 9, trouble, TriggerError("error_rate is too high"))
        self._check()

    @precondition(lambda self: any(run.script for run in self.runs.values()))
    @rule(watchdog=st.booleans())
    def killed(self, watchdog: bool) -> None:
        self._die(next(run for run in self.runs.values() if run.script), watchdog=watchdog)

    @precondition(lambda self: self.orphans)
    @rule(trouble=TROUBLES)
    def watchdog(self, trouble: Plan | None) -> None:
        """The watchdog of a run that was killed does its duty."""
        self._relieve(self.orphans.pop(0), trouble)
        self._check()

    @rule(trouble=TROUBLES, part=st.sampled_from(["all", "traffic"]))
    def person_rolls_back(self, trouble: Plan | None, part: str) -> None:
        self._roll_back(trouble, part)
        self._check()

    # ---- what else happens

    @rule(data=st.data(), what=st.sampled_from(["edited", "pods", "scaled", "moved", "gone", "time", "clock"]))
    def others(self, data: st.DataObject, what: str) -> None:
        """People, pods and clocks."""
        stand = self.stand
        name = data.draw(st.sampled_from([BLUE, CANARY, GREEN]), "name") if what in ("pods", "scaled") else ""
        if what == "edited":
            stand.edit(data.draw(st.sampled_from(EDITS), "what"))
        elif what == "pods":
            stand.break_pods(name, broken=data.draw(st.booleans(), "broken"))
        elif what == "scaled":
            self._scaled(name, data.draw(st.sampled_from([0, BLUE_REPLICAS]), "replicas"))
        elif what == "time":
            stand.seconds += data.draw(st.sampled_from([1.0, 30.0, 70.0]), "seconds")
        elif what == "clock":
            run = self.runs[data.draw(WHO, "whose")]
            run.skew = run.process.skew = data.draw(st.sampled_from([-3600.0, -5.0, 5.0, 3600.0]), "ahead by")
        else:
            self._moved(data.draw(st.sampled_from([0, 5, 30, 100]), "weight"), what)
        self._check()

    def _scaled(self, name: str, replicas: int) -> None:
        journal = self.stand.store.head()
        # How many there should be is known while there is a release.
        if name != BLUE or (journal is not None and not journal.closed):
            self.stand.scale(name, replicas)

    def _moved(self, weight: int, what: str) -> None:
        """Somebody moves the weight, switches the entry Service, deletes what carries the weight or applies it."""
        self.tampered = True
        if what == "gone":
            (self.stand.delete_traffic if weight else self.stand.apply_traffic)()
        elif weight in (0, 100):
            self.stand.edit_entry("candidate" if weight else "stable")
        else:
            self.stand.edit_weight(weight)

    def teardown(self) -> None:
        if self.failing or not hasattr(self, "stand"):
            return
        self.stand.apply_traffic()
        for name in (BLUE, CANARY, GREEN):
            self.stand.break_pods(name, broken=False)
        self._taken_back()

    # ---- one step

    def _advance(self, run: Run, tasks: int, trouble: Plan | None, thrown: RolloutError | None = None) -> None:
        script = run.script
        assert script is not None
        run.process.wire.expect(self._fault(trouble, run))
        try:
            if thrown is not None:
                script.throw(thrown)  # type: ignore[attr-defined]
            for _each in range(tasks):
                said = next(script)
                if trouble is not None and trouble.kind == PODS and said.endswith(("deployed", "full_switch begun")):
                    self._break_candidate()
        except StopIteration:
            self._over(run)
        except DiedError:
            self._die(run, watchdog=True)
        except RolloutError as error:
            run.refused = error
            self._over(run)
        finally:
            run.process.wire.expect(None)

    def _break_candidate(self) -> None:
        """Those that are to get more now; of pods that break between the look and the write nobody can know."""
        for name in (CANARY, GREEN):
            self.stand.break_pods(name, broken=True)

    def _fault(self, trouble: Plan | None, actor: Run | None = None) -> Fault | None:
        self.disturbed = self.disturbed or trouble is not None
        if trouble is None or trouble.kind == PODS:
            return None
        if trouble.kind not in MEANWHILE:
            return Fault(trouble.at, trouble.kind, trouble.times)
        return Fault(trouble.at, trouble.kind, meanwhile=lambda: self._meanwhile(trouble, actor))

    def _meanwhile(self, trouble: Plan, actor: Run | None) -> None:
        """What others do between two requests of the step."""
        if trouble.kind == "takes over":
            other = next(run for run in self.runs.values() if run is not actor)
            if other.script is None:
                other.start(RESUME, take_over=True)
            self._advance(other, 3, None)
        elif trouble.kind == "rolls back":
            self._roll_back(None, "all")
        elif trouble.kind == "time":
            self.stand.seconds += 70
        elif trouble.kind == "label":
            self.stand.edit("label")
        else:
            self.tampered = True
            if trouble.kind == "weight":
                self.stand.edit_weight(trouble.weight)
            else:
                self.stand.edit_entry("candidate" if trouble.weight else "stable")

    def _die(self, run: Run, *, watchdog: bool) -> None:
        run.process.wire.dead = True
        self._collect(run)
        run.script = None
        if run.watchdog and watchdog:
            self.orphans.append(run.watchdog)

    def _over(self, run: Run) -> None:
        """The playbook has ended; its watchdog sees that."""
        self._collect(run)
        run.script = None
        if run.watchdog:
            self._relieve(run.watchdog, None)

    def _relieve(self, watchdog: Watchdog, trouble: Plan | None) -> None:
        watchdog.process.wire.expect(self._fault(trouble))
        try:
            watchdog.relieve(self.told)
        except (DiedError, RolloutError):
            pass
        finally:
            watchdog.process.wire.expect(None)

    def _roll_back(self, trouble: Plan | None, part: str) -> Object:
        process = Process(self.stand, "a person's rollback")
        process.wire.expect(self._fault(trouble))
        try:
            return roll_back(self.stand, process, self.told, part=part)
        except (DiedError, RolloutError) as error:
            return {"failed": True, "raised": error}

    def _collect(self, run: Run) -> None:
        self.told.may += run.told.may
        self.told.must += run.told.must
        run.told.may, run.told.must = [], []

    # ---- what holds

    def _check(self) -> None:
        self.failing = True
        for run in self.runs.values():
            self._collect(run)
        assert not self.stand.wrong, self.stand.wrong
        self._check_sums()
        touched = (self.stand.traffic_ref.path, self.stand.entry_ref.path, self.stand.journal_path)
        versions = [
            (self.stand.live.get(path) or {"metadata": {}})["metadata"].get("resourceVersion") for path in touched
        ]
        if versions != self.versions or self.told.must or self.stand.taking_back:
            self._check_truth(self._check_journal())
        self.told, self.disturbed, self.versions = Told(), False, versions
        self.failing = False

    def _check_sums(self) -> None:
        found = self.stand.get(self.stand.traffic_ref)
        if found is not None and self.case.provider == "istio":
            for route in found["spec"]["http"]:
                weights = [one.get("weight", 0) for one in route["route"]]
                assert len(weights) == 1 or sum(weights) == 100, (route["name"], weights)

    def _check_journal(self) -> record.Journal | None:
        now = self.stand.store.read()
        if now is None:
            assert not self.seen, "a journal was there, and is gone"
            return None
        news: list[Object] = []
        for release_id in [*self.seen, now.release_id]:
            if release_id == now.release_id and release_id in self.seen and release_id != list(self.seen)[-1]:
                raise AssertionError(f"{release_id} is in progress again")
            found = now if release_id == now.release_id else self.stand.store.read(release_id)
            assert found is not None, f"the journal of {release_id} is gone"
            events, had = list(found.events), self.seen.get(release_id, [])
            assert events[: len(had)] == had, "what was in the journal is another now"
            assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
            assert folded(found) == found.header
            news += events[len(had) :]
            self.seen[release_id] = events
        self._check_news([(event["what"], event["stage"]) for event in news])
        return now

    def _check_news(self, news: list[tuple[str, str | None]]) -> None:
        unexplained = collections.Counter(news) - collections.Counter(self.told.may)
        assert not unexplained, f"nobody tried, or not as often: {unexplained}; tried: {self.told.may}"
        rest = iter(news)
        missing = [one for one in self.told.must if one not in rest]
        assert not missing, f"done, and not in the journal in this order: {missing}; there: {news}"

    def _check_truth(self, journal: record.Journal | None) -> None:
        if self.stand.taking_back:
            self.tampered = True
            self.stand.taking_back = False
        if journal is None or self.stand.get(self.stand.traffic_ref) is None:
            return
        if len(journal.events) == 1 and not self.disturbed:
            self.tampered = False  # it was proven before it was opened
        if self.tampered:
            return
        must = expected(journal)
        found = compare(must, look(self.base, self.stand.namespace, journal.header["plan"], must))
        said = [one.what for one in found.differences if one.variable in ("release_traffic", "release_entry_service")]
        assert said == [], [event["what"] for event in journal.events]

    # ---- taking back

    def _taken_back(self) -> None:
        answer = self._roll_back(None, "all")
        assert not answer.get("failed"), answer
        self._check()
        assert {route.weight for route in self.stand.provider().read().routes} == {0}
        journal = self.stand.store.head()
        deployments = self.stand.deployments()
        assert CANARY not in deployments
        assert GREEN not in deployments or deployments[GREEN]["spec"]["replicas"] == 0
        selector = self.stand.get(self.stand.entry_ref)["spec"]["selector"]
        if journal is None:
            assert SELECTORS["stable"].items() <= selector.items()
            return
        assert journal.state == record.ROLLED_BACK
        assert selector == journal.header["snapshot"]["entry_selector"]
        self._as_in_the_snapshot(journal)
        before = self.stand.fingerprint()
        again = self._roll_back(None, "all")
        assert (again.get("failed"), again["changed"]) == (None, False), again
        assert self.stand.fingerprint() == before
        self._stays_back()

    def _as_in_the_snapshot(self, journal: record.Journal) -> None:
        """But for what others edited, which is named."""
        name = journal.header["snapshot"]["objects"]["name"]
        process = Process(self.stand, "restore")
        answer = run_module(self.stand, process, object_snapshot, action="restore", name=name,
                            application="claude-enhancer", namespace=self.stand.namespace)  # fmt: skip
        assert (answer["changed"], answer["problems"]) == (name in self.stand.blurred and answer["changed"], []), answer
        named = {(one["object"], one["field"]) for one in answer["kept"]}
        known = {(str(edit.ref), edit.field) for edit in self.stand.edits}
        since = {(str(edit.ref), edit.field) for edit in self.stand.edits if edit.number > self.stand.snapshots[name]}
        assert since <= named, (since, named)
        assert named <= known, (named, known)
        for edit in self.stand.edits:
            value: Any = self.stand.get(edit.ref)
            for key in edit.path:
                value = value[key]
            assert value == edit.value, edit

    def _stays_back(self) -> None:
        """Whoever was still at it has lost the lock."""
        refs = (self.stand.traffic_ref, self.stand.entry_ref)
        before = [self.stand.get(ref)["spec"] for ref in refs]
        for run in self.runs.values():
            if run.script is not None and run.hold:
                self._advance(run, 4, None)
        for orphan in self.orphans:
            self._relieve(orphan, None)
        self._check()
        assert [self.stand.get(ref)["spec"] for ref in refs] == before


def folded(journal: record.Journal) -> Object:
    """The header that the events make of what a release is opened with."""
    empty = {"sequence": 0, "state": record.IN_PROGRESS, "stage": None, "stages": {}, "ended": None,
             "controller": None, "rollback": None}  # fmt: skip
    header = {**journal.header, **empty}
    for event in journal.events:
        header = record.applied(header, event)
    return header


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("provider", ["istio"])
def test_whatever_happens_in_whatever_order(provider: str, base: Cluster, machine: None, tmp_path: Path) -> None:
    facts = {"base": base, "case": CASES[provider], "folder": tmp_path}
    # What explains a failure would trace every line, which takes hours here.
    phases = [Phase.generate, Phase.shrink]
    limits = settings(
        max_examples=EXAMPLES, stateful_step_count=14, deadline=None, derandomize=True, phases=phases,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(type("ModelOfProvider", (ReleaseModel,), facts), settings=limits)
