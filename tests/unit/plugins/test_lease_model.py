"""Several controllers at once, their requests in any order, and time that passes in any of them or in none.

Each controller is a thread that stops before every request until it is its turn; whose turn it is, hypothesis says. A
controller that isn't let go on for long is one that was frozen. What must never be: a change by a controller of a
lower number once one of a higher number has the lock.
"""

from __future__ import annotations

import tempfile
import threading
import typing as t
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.claude_enhancer.rollout.plugins.module_utils.entry_service import EntryService
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.errors import RolloutError
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal import Author
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.journal_store import JournalStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease import Claim
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_fence import (
    LeaseFence,
    hold_of,
    note_renewed,
    take,
)
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.lease_store import LeaseStore
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.refs import Ref, config_map, service
from ansible_collections.claude_enhancer.rollout.plugins.module_utils.traffic import (
    Limits,
    TrafficProvider,
    make_ready,
    open_provider,
    set_weight,
)
from tests.unit.plugins.fake_cluster import FakeCluster
from tests.unit.plugins.test_traffic_weight import NAMESPACE, OBJECT, OPTIONS, make_cluster

ENTRY, JOURNAL = service(NAMESPACE, "entry"), config_map(NAMESPACE, "shop-release-journal")
FENCED = (OBJECT, ENTRY, JOURNAL)
SIDES = {"blue": {"app": "shop", "version": "5.0"}, "green": {"app": "shop", "version": "5.1"}}
DURATION = 60
LIMIT = 10.0
Step = tuple[str, t.Any]


class World:
    """The API, its time, who holds which number, and what was done wrong."""

    def __init__(self) -> None:
        self.cluster = make_cluster()
        self.cluster.put(ENTRY, {"spec": {"selector": SIDES["blue"], "ports": [{"port": 80}]}})
        self.seconds = 0.0
        self.newest = -1
        self.wrong: list[str] = []
        self.landed: list[tuple[str, int, str]] = []

    def note(self, who: str, number: int | None, what: str) -> None:
        if number is None or number < self.newest:
            self.wrong.append(f"{who} ({number}) {what} after number {self.newest} had the lock")
        else:
            self.landed.append((who, number, what))


class Controller(threading.Thread):
    """One run: takes the lock and goes through ``steps`` until one is refused; the API as it sees it."""

    def __init__(self, world: World, name: str, steps: list[Step], skew: float, folder: Path) -> None:
        super().__init__(name=name, daemon=True)
        self.world = world
        self.steps = steps
        self.skew = skew
        self.number: int | None = None
        self.crash: BaseException | None = None
        self.turn = threading.Semaphore(0)
        self.stopped = threading.Semaphore(0)
        self.over = False
        self.pending: t.Any = None
        self.server, self.dry_run, self.date, self.calls = "https://fake", False, 0.0, 0
        self._record = folder / f"{name}.json"

    # ---- turns

    def go_on(self) -> None:
        """Let it do one request, and come back when it is about to do the next or is through."""
        self.turn.release()
        assert self.stopped.acquire(timeout=LIMIT), f"{self.name} hangs"

    def _wait(self, what: t.Any = None) -> None:
        self.pending = what
        self.stopped.release()
        assert self.turn.acquire(timeout=LIMIT)

    # ---- the API

    def _ask(self, method: str, ref: Ref, *arguments: t.Any, **options: t.Any) -> t.Any:
        self._wait((method, ref))
        self.calls += 1
        self.date = 1_800_000_000.0 + int(self.world.seconds)
        cluster = self.world.cluster
        before = _content(cluster, ref)
        try:
            return getattr(cluster, method)(ref, *arguments, **options)
        finally:
            # The first journal of all is made where there is nothing yet that has a version.
            if ref in FENCED and before is not None and _content(cluster, ref) != before:
                self.world.note(self.name, self.number, f"changed {ref}")

    def get(self, ref: Ref) -> t.Any:
        return self._ask("get", ref)

    def find(self, ref: Ref) -> t.Any:
        return self._ask("find", ref)

    def list(self, ref: Ref, label_selector: t.Any = None) -> t.Any:
        return self._ask("list", ref, label_selector)

    def create(self, ref: Ref, body: t.Any) -> t.Any:
        return self._ask("create", ref, body)

    def replace(self, ref: Ref, body: t.Any) -> t.Any:
        return self._ask("replace", ref, body)

    def patch(self, ref: Ref, body: t.Any, kind: str = "merge") -> t.Any:
        return self._ask("patch", ref, body, kind)

    # ---- the clock

    def now(self) -> float:
        return self.world.seconds + self.skew

    monotonic = now

    def sleep(self, seconds: float) -> None:
        self._wait()
        self.world.seconds += seconds

    # ---- the work

    def run(self) -> None:
        try:
            self._work()
        except RolloutError:
            pass  # refused, and that is the end of a run
        except BaseException as error:
            self.crash = error
        finally:
            self.over = True
            self.stopped.release()

    def _work(self) -> None:
        cluster = t.cast(t.Any, self)
        store = LeaseStore(cluster, NAMESPACE, "shop", self, lambda _process: False)
        for step, argument in self.steps:
            if step == "acquire":
                claim = Claim(self.name, DURATION, reason="test")
                at = self.now()
                acquired, _touched = take(store, claim, lambda: FENCED, force=bool(argument), wait=0.0)
                self.number = acquired.lock.transitions
                self.world.newest = max(self.world.newest, self.number)
                fence = LeaseFence(store, hold_of(store, acquired, str(self._record)), clock=self.now)
                note_renewed(fence.hold, at + acquired.waited)
                provider = open_provider("istio", cluster, OPTIONS, fence)
                make_ready(provider)
            else:
                self._change(step, argument, provider, fence)

    def _change(self, step: str, argument: t.Any, provider: TrafficProvider, fence: LeaseFence) -> None:
        cluster = t.cast(t.Any, self)
        if step == "weight":
            set_weight(provider, argument, guard=False, limits=Limits())
        elif step == "back":
            set_weight(provider, 0, guard=argument)
        elif step == "renew":
            at = self.now()
            fence.store.renew(fence.hold)
            note_renewed(fence.hold, at)
        elif step == "switch":
            selector, rollback = argument
            entry = EntryService(cluster, NAMESPACE, "entry", self, fence)
            entry.switch(SIDES[selector], rollback=rollback, wait_timeout=0)
        elif step == "release":
            fence.store.release(fence.hold)
        else:
            author = Author(self.name, "ops")
            journal = JournalStore(cluster, NAMESPACE, "shop", author, self, fence)
            journal.open("r1", {"stable": "1", "candidate": "2"}, {}, {})


def _content(cluster: FakeCluster, ref: Ref) -> t.Any:
    """What a controller may not change without the lock: an object but for its version and its touching."""
    try:
        found = cluster.stored(ref)
    except KeyError:
        return None
    return {key: value for key, value in found.items() if key != "metadata"}


CHANGE: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("weight"), st.sampled_from([5, 20, 50])),
    st.tuples(st.just("back"), st.booleans()),
    st.tuples(st.just("switch"), st.tuples(st.sampled_from(sorted(SIDES)), st.booleans())),
    st.tuples(st.just("journal"), st.none()),
    st.tuples(st.just("renew"), st.none()),
    st.tuples(st.just("release"), st.none()),
)
RUN = st.tuples(st.booleans(), st.lists(CHANGE, min_size=1, max_size=4), st.floats(-1e5, 1e5))
RUNS = st.lists(RUN, min_size=2, max_size=3)


def interleave(world: World, controllers: list[Controller], data: st.DataObject) -> None:
    for controller in controllers:
        controller.start()
        assert controller.stopped.acquire(timeout=LIMIT)
    while waiting := [controller for controller in controllers if not controller.over]:
        world.seconds += data.draw(st.sampled_from([0.0, 0.0, 0.0, 1.0, 30.0, 70.0]), label="seconds")
        data.draw(st.sampled_from(waiting), label="turn").go_on()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(runs=RUNS, data=st.data())
def test_nobody_changes_anything_once_a_later_one_has_the_lock(runs: list[t.Any], data: st.DataObject) -> None:
    world = World()
    with tempfile.TemporaryDirectory() as folder:
        controllers = [
            Controller(world, f"run{index}", [("acquire", force), *steps], skew, Path(folder))
            for index, (force, steps, skew) in enumerate(runs)
        ]
        interleave(world, controllers, data)
    for controller in controllers:
        if controller.crash:
            raise controller.crash
    assert world.wrong == []


def test_each_gets_its_turn_when_the_one_before_is_through() -> None:
    """Without it the property above could hold because nobody ever gets anywhere."""
    world = World()
    with tempfile.TemporaryDirectory() as folder:
        steps: list[Step] = [("acquire", False), ("weight", 5), ("switch", ("green", True)), ("journal", None),
                             ("back", False), ("release", None)]  # fmt: skip
        for index in range(2):
            controller = Controller(world, f"run{index}", steps, 0.0, Path(folder))
            controller.start()
            assert controller.stopped.acquire(timeout=LIMIT)
            while not controller.over:
                controller.go_on()
            assert controller.crash is None
    assert world.wrong == []
    numbers = [(number, what) for _who, number, what in world.landed]
    assert (0, f"changed {OBJECT}") in numbers
    assert (1, f"changed {OBJECT}") in numbers
    assert (0, f"changed {ENTRY}") in numbers


def test_the_frozen_one_is_refused_when_it_wakes() -> None:
    """The order that the property is about, once by hand: looked at the lock, frozen, taken over, woken."""
    world = World()
    with tempfile.TemporaryDirectory() as folder:
        frozen = Controller(world, "frozen", [("acquire", False), ("weight", 5)], 0.0, Path(folder))
        frozen.start()
        assert frozen.stopped.acquire(timeout=LIMIT)
        while frozen.number is None or frozen.pending != ("patch", OBJECT):
            frozen.go_on()
        other = Controller(world, "other", [("acquire", False), ("weight", 20)], 0.0, Path(folder))
        world.seconds += 70
        other.start()
        assert other.stopped.acquire(timeout=LIMIT)
        while not other.over:
            other.go_on()
        while not frozen.over:
            frozen.go_on()
    assert world.wrong == []
    assert [who for who, _number, what in world.landed if what == f"changed {OBJECT}"] == ["other"]
